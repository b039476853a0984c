//! Rows in the tables are the rows of the pure ledger, wherever batches end, and the documented queries work.

use std::process::Command;

use forewarn_messages::{
    ConditionChange, FailurePrediction, Part, Prediction, ResourceChange, SeriesVerdict, Verdict,
};
use forewarn_store::ledger::{Ledger, Touched, sql};
use forewarn_store::postgres::{Postgres, guarded_commit};
use forewarn_types::{
    EventTime, FailureKind, Kind, LogId, LogTime, PredictionState, ResourceKey, ResourceState, Src,
    StepLength, VerdictState,
};

use forewarn_testkit::database::Database;

const START: i64 = 1_795_226_664_000;

/// A log in which everything happens: learning, anomalies with odd numbers, predictions to their ends, silence.
fn log() -> Vec<(Src, LogTime, Prediction)> {
    let mut records = Vec::new();
    let mut push = |at: i64, record: Prediction| {
        let offset = records.len() as u64;
        let src = Src::root(LogId(uuid::Uuid::from_u128(7)), 0, offset)
            .derive(1)
            .derive(2);
        records.push((src, LogTime(START + at * 1_000 + 17), record));
    };
    for step in 0..200 {
        for name in ["web-01", "db\0 \"x\" ü"] {
            let state = if step < 5 {
                VerdictState::Learning
            } else {
                VerdictState::Scored
            };
            push(step, Prediction::Verdict(verdict(name, step, state)));
        }
        if step % 10 == 0 && step >= 50 {
            push(step, Prediction::Failure(failure(step)));
        }
        if step % 70 == 0 {
            push(step, Prediction::Condition(condition(step)));
        }
    }
    push(240, Prediction::Resource(change(ResourceState::Silent)));
    push(250, Prediction::Resource(change(ResourceState::Healthy)));
    push(
        251,
        Prediction::Verdict(verdict("web-01", 251, VerdictState::Gap)),
    );
    records
}

fn verdict(name: &str, step: i64, state: VerdictState) -> Verdict {
    let score = (state == VerdictState::Scored).then(|| {
        if step % 13 == 0 {
            1.7 + step as f32 / 3.0
        } else {
            0.3
        }
    });
    let anomaly = score.is_some_and(|score| score > 1.0);
    let odd = [
        0.1_f32,
        -0.0,
        1e-38,
        3.4e38,
        f32::MIN_POSITIVE / 8.0,
        12_345_679.0,
    ];
    let value = odd[step as usize % odd.len()];
    Verdict {
        resource: ResourceKey::new(name),
        kind: Kind::Server,
        feature_set: "host/1".into(),
        model_set: "abc".into(),
        step: StepLength::SECOND,
        step_end: EventTime(START + step * 1_000),
        state,
        eta_seconds: (state == VerdictState::Learning).then_some(900.0 - step as f64),
        score,
        p: score.map(|score| (-20.0 * f64::from(score)).exp()),
        p0: score.map(|_| 1.234_567_890_123_456_7e-9),
        confidence: Some(0.1),
        parts: if anomaly {
            vec![Part {
                metric: "cpu.utilization".into(),
                part: 0.7,
                value,
                expected: 0.3,
            }]
        } else {
            Vec::new()
        },
        series: if step % 26 == 0 && anomaly {
            vec![SeriesVerdict {
                metric: "load.1m\0".into(),
                score: 2.5,
                p: 5e-324,
                p0: 1e-300,
                value,
                expected: value,
                lower: Some(-0.0),
                upper: Some(1e9),
            }]
        } else {
            Vec::new()
        },
        backfill: false,
    }
}

fn failure(step: i64) -> FailurePrediction {
    let state = match step {
        190 => PredictionState::Confirmed,
        100 => PredictionState::Withdrawn,
        _ => PredictionState::Open,
    };
    let open = state == PredictionState::Open;
    FailurePrediction {
        resource: ResourceKey::new("web-01"),
        kind: Kind::Server,
        failure: FailureKind::DiskFull,
        subject: "/data".into(),
        first_step: EventTime(START + if step <= 100 { 50_000 } else { 110_000 }),
        step_end: EventTime(START + step * 1_000),
        state,
        used: 8.7e9,
        limit: 1.07e10,
        slope: 1.2e6,
        p10_seconds: open.then_some(1_234.567_89),
        p50_seconds: open.then_some(2_000.0),
        p90_seconds: open.then_some(1e300),
        probability: 0.93,
        horizon_seconds: 86_400.0,
        baseline_seconds: open.then_some(1_800.0),
        reason: (!open).then(|| "the limit was reached".into()),
        lead_seconds: (!open).then_some(80.0),
        backfill: false,
    }
}

fn condition(step: i64) -> ConditionChange {
    ConditionChange {
        rule: "cpu is busy".into(),
        rules: "abc".into(),
        resource: ResourceKey::new("web-01"),
        kind: Kind::Server,
        subject: "cpu.utilization".into(),
        holds: step % 140 == 0,
        value: Some(0.97),
        threshold: Some(0.9),
        step_end: EventTime(START + step * 1_000),
        backfill: false,
    }
}

fn change(state: ResourceState) -> ResourceChange {
    ResourceChange {
        resource: ResourceKey::new("web-01"),
        kind: Kind::Server,
        state,
        log_time: LogTime(START + 240_000),
        step_end: EventTime(START + 199_000),
    }
}

/// Folds the log in batches of `size`, each in a transaction of its own, as the projector does.
async fn project(postgres: &Postgres, size: usize) {
    for batch in log().chunks(size) {
        let mut session = postgres.session().await.expect("a connection");
        let transaction = session.begin().await.expect("a transaction");
        let mut touched = Touched::default();
        for (_, _, record) in batch {
            Ledger::touched(record, &mut touched);
        }
        let mut ledger = sql::load(&transaction, &touched).await.expect("rows");
        for (src, log_time, record) in batch {
            ledger.apply(*src, *log_time, record);
        }
        sql::save(&transaction, &ledger)
            .await
            .expect("every value can be stored");
        guarded_commit(transaction).await.expect("nothing is wrong");
        session.give_back();
    }
}

#[tokio::test]
async fn the_tables_hold_what_the_pure_ledger_says_wherever_batches_end() {
    let mut expected = Ledger::default();
    for (src, log_time, record) in log() {
        expected.apply(src, log_time, &record);
    }
    assert!(
        expected.anomalies.len() > 20
            && expected.predictions.len() == 2
            && expected.resource_minutes.len() >= 8
    );
    for size in [1_000, 7, 1] {
        let Some(database) = Database::create("ledger in PostgreSQL").await else {
            return;
        };
        let postgres = database.start().await;
        project(&postgres, size).await;
        let session = postgres.session().await.expect("a connection");
        let found = sql::dump(&*session).await.expect("readable rows");
        assert_eq!(
            found.canonical(),
            expected.canonical(),
            "in batches of {size}"
        );
        session.give_back();
        database.drop().await;
    }
}

#[tokio::test]
async fn the_documented_queries_work_as_they_are_written() {
    let Some(database) = Database::create("documented queries").await else {
        return;
    };
    let postgres = database.start().await;
    project(&postgres, 100).await;
    for (query, expected) in [
        (
            "SELECT * FROM recent_anomalies LIMIT 10;",
            "cpu.utilization",
        ),
        ("SELECT * FROM system_health_summary;", "web-01"),
        (
            "SELECT severity, COUNT(*) FROM alerts GROUP BY severity;",
            "severity",
        ),
        ("SELECT * FROM open_predictions;", "time_to_failure"),
    ] {
        let output = Command::new("psql")
            .args([
                &database.url,
                "--no-psqlrc",
                "-P",
                "pager=off",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                query,
            ])
            .output()
            .expect("psql is installed beside the server");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{query}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(text.contains(expected), "{query}: {text}");
    }
    database.drop().await;
}

#[test]
fn an_anomaly_alone_is_never_of_high_severity() {
    let mut ledger = Ledger::default();
    for (src, log_time, record) in log() {
        ledger.apply(src, log_time, &record);
    }
    assert!(
        ledger
            .anomalies
            .values()
            .all(|row| matches!(row.severity.as_str(), "low" | "medium"))
    );
    assert!(
        ledger
            .anomalies
            .values()
            .any(|row| row.severity == "medium")
    );
}

#[test]
fn a_resource_passes_through_the_states_that_its_records_imply() {
    let mut ledger = Ledger::default();
    let mut states = Vec::new();
    for (src, log_time, record) in log() {
        ledger.apply(src, log_time, &record);
        if let Some(row) = ledger
            .resources
            .get(&("default".to_owned(), "web-01".to_owned()))
            && states.last() != Some(&row.state)
        {
            states.push(row.state.clone());
        }
    }
    for pair in [
        ["learning", "healthy"],
        ["at_risk", "critical"],
        ["critical", "silent"],
        ["silent", "critical"],
    ] {
        assert!(
            states.windows(2).any(|window| window == pair),
            "{pair:?} in {states:?}"
        );
    }
    let ended = ledger
        .predictions
        .values()
        .find(|row| row.state == "confirmed")
        .expect("one was confirmed");
    assert!(
        ended.p10_at.is_some() && ended.ended_at.is_some(),
        "an end keeps the last estimates"
    );
}
