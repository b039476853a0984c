//! Test harness: messages about one resource, second by second, and the timeline of what follows.

use expect_test::Expect;
use forewarn_messages::{
    ConditionChange, FailurePrediction, Part, ResourceChange, SeriesVerdict, Tick, Verdict,
    breach_subject,
};
use forewarn_types::{
    FailureKind, LogId, PredictionState, ResourceState, StepLength, VerdictState,
};
use serde::Deserialize;
use uuid::Uuid;

use super::*;

pub(super) const RULES: &str = r#"
    [[rules]]
    type = "threshold"
    name = "hot"
    metric = "cpu.utilization"
    operator = ">"
    value = 0.9
    for = "10s"
    consecutive = 3

    [[rules]]
    type = "threshold"
    name = "busy"
    metric = "disk.busy"
    operator = ">"
    value = 0.8
    severity = "low"

    [[rules]]
    type = "threshold"
    name = "disk-high"
    metric = "filesystem.utilization"
    operator = ">"
    value = 0.8

    [[rules]]
    type = "anomaly"
    name = "unusual"
    consecutive = 3

    [[rules]]
    type = "failure_prediction"
    name = "full"
    within = "1h"
    time_left = [{ within = "5m", severity = "high" }, { within = "30m", severity = "medium" }]

    [[rules]]
    type = "silence"
    name = "gone"

    [[rules]]
    type = "silence"
    name = "long-gone"
    for = "60s"
    severity = "critical"
"#;

pub(super) fn rules(text: &str) -> Arc<RuleSet> {
    #[derive(Deserialize)]
    struct File {
        rules: Vec<RuleConfig>,
    }
    let file: File = toml::from_str(text).expect("the rules parse");
    Arc::new(RuleSet::new(file.rules).expect("the rules are sound"))
}

/// Messages about `web-01`, whose log time and event time agree unless a script says otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Script(pub(super) Vec<(i64, Prediction)>);

impl Script {
    pub(super) fn verdict(
        &mut self,
        at: i64,
        state: VerdictState,
        score: Option<f32>,
    ) -> &mut Self {
        self.push(
            at,
            Prediction::Verdict(Verdict {
                resource: ResourceKey::new("web-01"),
                kind: Kind::Server,
                feature_set: "host/1".into(),
                model_set: "m".into(),
                step: StepLength::SECOND,
                step_end: EventTime(at * 1000),
                state,
                eta_seconds: None,
                score,
                p: None,
                p0: None,
                confidence: None,
                parts: score
                    .filter(|score| *score > 1.0)
                    .map(|score| Part {
                        metric: "cpu.utilization".into(),
                        part: score,
                        value: 0.98,
                        expected: 0.31,
                    })
                    .into_iter()
                    .collect(),
                series: Vec::new(),
                backfill: false,
            }),
        )
    }

    /// Scored steps in which one metric is unusual and the resource as a whole is not.
    pub(super) fn alone(&mut self, range: std::ops::RangeInclusive<i64>, score: f32) -> &mut Self {
        for at in range {
            self.verdict(at, VerdictState::Scored, Some(0.6));
            if let Some((_, Prediction::Verdict(verdict))) = self.0.last_mut() {
                verdict.series.push(SeriesVerdict {
                    metric: "memory.utilization".into(),
                    score,
                    p: 1e-6,
                    p0: 1e-4,
                    value: 0.7,
                    expected: 0.4,
                    lower: None,
                    upper: Some(0.5),
                });
            }
        }
        self
    }

    pub(super) fn steps(&mut self, range: std::ops::RangeInclusive<i64>, score: f32) -> &mut Self {
        for at in range {
            self.verdict(at, VerdictState::Scored, Some(score));
        }
        self
    }

    pub(super) fn condition(
        &mut self,
        at: i64,
        rule: &str,
        subject: &str,
        holds: bool,
        value: f64,
    ) -> &mut Self {
        self.push(
            at,
            Prediction::Condition(ConditionChange {
                rule: rule.into(),
                rules: "r".into(),
                resource: ResourceKey::new("web-01"),
                kind: Kind::Server,
                subject: subject.into(),
                holds,
                value: Some(value),
                threshold: Some(0.9),
                step_end: EventTime(at * 1000),
                backfill: false,
            }),
        )
    }

    pub(super) fn hot(&mut self, at: i64, holds: bool) -> &mut Self {
        self.condition(
            at,
            "hot",
            "cpu.utilization",
            holds,
            if holds { 0.97 } else { 0.5 },
        )
    }

    pub(super) fn busy(&mut self, at: i64, holds: bool) -> &mut Self {
        self.condition(
            at,
            "busy",
            "disk.busy",
            holds,
            if holds { 0.93 } else { 0.2 },
        )
    }

    pub(super) fn breach(&mut self, at: i64, holds: bool) -> &mut Self {
        let subject = breach_subject(FailureKind::DiskFull, "/");
        self.condition(at, "full", &subject, holds, if holds { 0.95 } else { 0.9 })
    }

    pub(super) fn failure(&mut self, at: i64, state: PredictionState, p50: f64) -> &mut Self {
        let reason = (state == PredictionState::Withdrawn).then(|| "it stopped growing".to_owned());
        self.push(
            at,
            Prediction::Failure(FailurePrediction {
                resource: ResourceKey::new("web-01"),
                kind: Kind::Server,
                failure: FailureKind::DiskFull,
                subject: "/".into(),
                first_step: EventTime(1000),
                step_end: EventTime(at * 1000),
                state,
                used: 80.0,
                limit: 95.0,
                slope: 0.1,
                p10_seconds: Some(p50 / 1.5),
                p50_seconds: Some(p50),
                p90_seconds: Some(p50 * 1.6),
                probability: 0.9,
                horizon_seconds: 3600.0,
                baseline_seconds: None,
                reason,
                lead_seconds: (state == PredictionState::Confirmed).then_some(100.0),
                backfill: false,
            }),
        )
    }

    pub(super) fn resource(&mut self, at: i64, state: ResourceState, last_step: i64) -> &mut Self {
        self.push(
            at,
            Prediction::Resource(ResourceChange {
                resource: ResourceKey::new("web-01"),
                kind: Kind::Server,
                state,
                log_time: LogTime(at * 1000),
                step_end: EventTime(last_step * 1000),
            }),
        )
    }

    pub(super) fn tick(&mut self, at: i64) -> &mut Self {
        self.push(
            at,
            Prediction::Tick(Tick {
                log: LogId(Uuid::nil()),
                genesis: false,
            }),
        )
    }

    pub(super) fn backfilled(&mut self) -> &mut Self {
        for (_, message) in &mut self.0 {
            match message {
                Prediction::Verdict(verdict) => verdict.backfill = true,
                Prediction::Condition(change) => change.backfill = true,
                Prediction::Failure(failure) => failure.backfill = true,
                Prediction::Resource(_) | Prediction::Tick(_) => {}
            }
        }
        self
    }

    pub(super) fn push(&mut self, at: i64, message: Prediction) -> &mut Self {
        self.0.push((at, message));
        self
    }

    pub(super) fn run(&self) -> Vec<Transition> {
        let mut machine = Machine::new(rules(RULES), MachineConfig::default());
        self.0
            .iter()
            .flat_map(|(at, message)| machine.apply(message, LogTime(at * 1000), src(*at)))
            .collect()
    }

    pub(super) fn check(&self, expected: Expect) {
        let lines: String = self.run().iter().map(line).collect();
        expected.assert_eq(&lines);
    }
}

pub(super) fn src(at: i64) -> Src {
    Src::root(LogId(Uuid::nil()), 0, at.unsigned_abs())
}

pub(super) fn line(t: &Transition) -> String {
    let from = t.from.map_or("-", |state| state.as_str());
    let reason = t
        .reason
        .as_ref()
        .map(|reason| format!(" [{reason}]"))
        .unwrap_or_default();
    format!(
        "{:04} {} {}#{} {from} → {} {} | {}{reason}\n",
        t.log_time.millis() / 1000,
        if t.notify { "tell" } else { "    " },
        t.rule,
        t.sequence,
        t.to,
        t.severity.as_str(),
        t.title,
    )
}
