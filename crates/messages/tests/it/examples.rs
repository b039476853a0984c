//! One example per schema and version in `examples/`. A released file is never edited: a new version gets a new file.

use std::collections::BTreeMap;

use expect_test::expect_file;
use forewarn_messages::{
    AlertCommand, AlertTransition, BatchSample, Body, Command, ConditionChange, DeadLetter,
    DeadReason, FailurePrediction, FeatureVector, Headers, LimitReading, Part, Prediction,
    ProcessedMetric, ResourceChange, SampleBatch, SeriesVerdict, SystemMetric, Tick, TrainCommand,
    Verdict,
};
use forewarn_types::{
    AlertState, EventTime, FailureKind, Kind, LogId, LogTime, MetricType, PredictionState,
    ResourceKey, ResourceState, Severity, Src, StepLength, VerdictState,
};
use uuid::Uuid;

const STEP_END: EventTime = EventTime(1_767_225_601_000);
const LOG_TIME: LogTime = LogTime(1_767_225_601_250);

fn web_01() -> ResourceKey {
    ResourceKey::new("web-01")
}

/// The body's JSON is the example's, and the example decodes to the body.
fn check<B: Body + PartialEq + std::fmt::Debug>(body: &B, example: &expect_test::ExpectFile) {
    let json: serde_json::Value = serde_json::from_slice(&body.to_json()).expect("bodies are JSON");
    example.assert_eq(&format!(
        "{}\n",
        serde_json::to_string_pretty(&json).expect("a value")
    ));

    let src = Src::root(LogId(Uuid::from_u128(7)), 3, 42).derive(1);
    let sealed = body.seal(
        Some(src),
        Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
    );
    let pairs = sealed.headers.to_pairs();
    let headers = Headers::from_pairs(pairs.iter().map(|(name, value)| (*name, value.as_bytes())))
        .expect("readable");
    assert_eq!(headers, sealed.headers);
    assert_eq!(&B::decode(&headers, &sealed.body).expect("decodes"), body);
}

#[test]
fn samples() {
    let sample = |metric: &str, metric_type, time, value| BatchSample {
        metric: metric.into(),
        tags: BTreeMap::new(),
        metric_type,
        time,
        value,
    };
    let mut on_disk = sample("system.disk.io", MetricType::Counter, None, 1_048_576.0);
    on_disk.tags = [("disk.io.direction", "read"), ("system.device", "sda")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let batch = SampleBatch {
        resource: web_01(),
        kind: Kind::Server,
        source: "host".into(),
        interval: StepLength::SECOND,
        backfill: false,
        time: EventTime(1_767_225_600_000),
        samples: vec![
            sample(
                "system.memory.utilization",
                MetricType::Gauge,
                None,
                0.1 + 0.2,
            ),
            on_disk,
            sample(
                "system.uptime",
                MetricType::Gauge,
                Some(EventTime(1_767_225_600_500)),
                86_400.0,
            ),
        ],
    };
    check(
        &SystemMetric::Samples(batch),
        &expect_file!["../../examples/samples.v1.json"],
    );
}

#[test]
fn ticks() {
    let tick = Tick {
        log: LogId(Uuid::from_u128(7)),
        genesis: true,
    };
    check(
        &SystemMetric::Tick(tick),
        &expect_file!["../../examples/tick.v1.json"],
    );
    check(
        &ProcessedMetric::Tick(tick),
        &expect_file!["../../examples/tick.v1.json"],
    );
    check(
        &Prediction::Tick(tick),
        &expect_file!["../../examples/tick.v1.json"],
    );
}

#[test]
fn feature_vectors() {
    let vector = FeatureVector {
        resource: web_01(),
        kind: Kind::Server,
        feature_set: "host/1".into(),
        step: StepLength::SECOND,
        step_end: STEP_END,
        incomplete: true,
        values: vec![Some(0.25), None, Some(0.1)],
        limits: vec![LimitReading {
            kind: FailureKind::DiskFull,
            subject: "/var".into(),
            used: 9.0e9,
            limit: 1.0e10,
        }],
        late: 2,
        backfill: false,
    };
    check(
        &ProcessedMetric::Vector(vector),
        &expect_file!["../../examples/feature_vector.v1.json"],
    );
}

#[test]
fn resource_changes() {
    let change = ResourceChange {
        resource: web_01(),
        kind: Kind::Server,
        state: ResourceState::Silent,
        log_time: LOG_TIME,
        step_end: STEP_END,
    };
    check(
        &ProcessedMetric::Resource(change.clone()),
        &expect_file!["../../examples/resource_change.v1.json"],
    );
    check(
        &Prediction::Resource(change),
        &expect_file!["../../examples/resource_change.v1.json"],
    );
}

#[test]
fn verdicts() {
    let verdict = Verdict {
        resource: web_01(),
        kind: Kind::Server,
        feature_set: "host/1".into(),
        model_set: "6d2f".into(),
        step: StepLength::SECOND,
        step_end: STEP_END,
        state: VerdictState::Scored,
        eta_seconds: None,
        score: Some(1.5),
        p: Some(3.9e-6),
        p0: Some(2.5e-4),
        confidence: Some(0.75),
        parts: vec![
            Part {
                metric: "cpu.utilization".into(),
                part: 1.25,
                value: 0.98,
                expected: 0.11,
            },
            Part {
                metric: "load.1m".into(),
                part: 0.25,
                value: 4.0,
                expected: 0.3,
            },
        ],
        series: vec![SeriesVerdict {
            metric: "cpu.utilization".into(),
            score: 1.75,
            p: 1.0e-7,
            p0: 5.0e-6,
            value: 0.98,
            expected: 0.11,
            lower: Some(0.0),
            upper: Some(0.4),
        }],
        backfill: false,
    };
    check(
        &Prediction::Verdict(verdict),
        &expect_file!["../../examples/verdict.v1.json"],
    );
}

#[test]
fn condition_changes() {
    let change = ConditionChange {
        rule: "cpu-high".into(),
        rules: "9b1c".into(),
        resource: web_01(),
        kind: Kind::Server,
        subject: "cpu.utilization".into(),
        holds: true,
        value: Some(0.97),
        threshold: Some(0.95),
        step_end: STEP_END,
        backfill: false,
    };
    check(
        &Prediction::Condition(change),
        &expect_file!["../../examples/condition_change.v1.json"],
    );
}

#[test]
fn failure_predictions() {
    let prediction = FailurePrediction {
        resource: web_01(),
        kind: Kind::Server,
        failure: FailureKind::DiskFull,
        subject: "/var".into(),
        first_step: EventTime(1_767_225_541_000),
        step_end: STEP_END,
        state: PredictionState::Open,
        used: 9.0e9,
        limit: 9.5e9,
        slope: 1.0e6,
        p10_seconds: Some(410.0),
        p50_seconds: Some(500.0),
        p90_seconds: Some(640.5),
        probability: 0.97,
        horizon_seconds: 86_400.0,
        baseline_seconds: Some(455.0),
        reason: None,
        lead_seconds: None,
        backfill: false,
    };
    check(
        &Prediction::Failure(prediction),
        &expect_file!["../../examples/failure_prediction.v1.json"],
    );
}

#[test]
fn alert_transitions() {
    let transition = AlertTransition {
        alert_id: Uuid::from_u128(11),
        sequence: 2,
        rule: "disk-full".into(),
        resource: web_01(),
        subject: "/var".into(),
        from: Some(AlertState::Predicted),
        to: AlertState::Open,
        severity: Severity::High,
        title: "web-01: /var is full".into(),
        log_time: LOG_TIME,
        step_end: STEP_END,
        actor: None,
        message: None,
        command_id: None,
    };
    check(
        &transition,
        &expect_file!["../../examples/alert_transition.v1.json"],
    );
    let acknowledged = AlertTransition {
        sequence: 3,
        from: Some(AlertState::Open),
        to: AlertState::Acknowledged,
        title: "web-01: acknowledged by ada".into(),
        actor: Some("ada".into()),
        message: Some("looking".into()),
        command_id: Some(Uuid::from_u128(13)),
        ..transition
    };
    check(
        &acknowledged,
        &expect_file!["../../examples/alert_transition.acknowledged.v1.json"],
    );
}

#[test]
fn commands() {
    let train = TrainCommand {
        command_id: Uuid::from_u128(12),
        tenant: "default".into(),
        actor: "on-call".into(),
        resources: Some(vec!["web-01".into()]),
        since_ms: None,
    };
    check(
        &Command::Train(train),
        &expect_file!["../../examples/train.v1.json"],
    );
    let acknowledge = AlertCommand {
        command_id: Uuid::from_u128(13),
        tenant: "default".into(),
        alert_id: Uuid::from_u128(11),
        actor: "ada".into(),
        message: Some("looking".into()),
    };
    check(
        &Command::Acknowledge(acknowledge.clone()),
        &expect_file!["../../examples/acknowledge.v1.json"],
    );
    let resolve = AlertCommand {
        message: None,
        ..acknowledge
    };
    check(
        &Command::Resolve(resolve),
        &expect_file!["../../examples/resolve.v1.json"],
    );
    let tick = Tick {
        log: LogId(Uuid::from_u128(7)),
        genesis: true,
    };
    check(
        &Command::Tick(tick),
        &expect_file!["../../examples/tick.v1.json"],
    );
}

#[test]
fn dead_letters() {
    let letter = DeadLetter {
        stage: "stream-processor".into(),
        topic: "system_metrics".into(),
        partition: 3,
        offset: 42,
        reason: DeadReason::Body,
        detail: "body of schema `samples`: EOF while parsing an object at line 1 column 1".into(),
        body: "{".into(),
    };
    check(&letter, &expect_file!["../../examples/dead_letter.v1.json"]);
}
