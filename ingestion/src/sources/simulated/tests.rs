//! The source without its loop: what it makes, what it writes down, and who hears of it.

use std::collections::BTreeSet;

use forewarn_features::FeatureSets;
use forewarn_messages::BatchSample;
use forewarn_simulate::FaultKind;

use super::*;

const START: EventTime = EventTime(1_700_000_000_000);

fn config(folder: &tempfile::TempDir) -> Config {
    Config {
        truth: folder.path().join("some/where/truth.jsonl"),
        ..Config::default()
    }
}

fn run(simulator: &Simulator, seconds: std::ops::Range<u64>) -> Vec<SampleBatch> {
    let moments = seconds.map(|second| START.plus(Duration::from_secs(second)));
    moments.flat_map(|at| simulator.measure(at)).collect()
}

#[test]
fn every_resource_is_measured_each_second_and_has_a_feature_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let simulator = Simulator::of(&config(&folder), START).expect("nothing is planned");
    let batches = run(&simulator, 0..3);
    let sets = FeatureSets::standard();
    let known: BTreeSet<_> = simulator
        .resources()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!((known.len(), batches.len()), (8, 24));
    for batch in &batches {
        assert!(known.contains(&batch.resource.resource));
        assert_eq!(
            (batch.source.as_str(), batch.backfill),
            ("simulator", false)
        );
        assert_eq!(batch.time.millis() % 1_000, 0);
        assert!(
            sets.for_kind(batch.kind).next().is_some(),
            "{:?} is not judged",
            batch.kind
        );
    }
    assert!(!folder.path().join("some").exists(), "nothing went wrong");
}

#[test]
fn every_series_that_a_set_is_made_of_is_reported() {
    let simulator = Simulator::of(&Config::default(), START).expect("nothing is planned");
    let sets = FeatureSets::standard();
    for batch in run(&simulator, 0..1) {
        let mut missing = Vec::new();
        for set in sets.for_kind(batch.kind) {
            let of_metrics = set
                .metrics
                .iter()
                .flat_map(|m| m.over.iter().chain([&m.operand]));
            for operand in of_metrics {
                let takes = |s: &BatchSample| operand.takes(&s.metric, &s.tags);
                if !batch.samples.iter().any(takes) {
                    missing.push(&operand.from);
                }
            }
        }
        let name = &batch.resource.resource;
        assert_eq!(missing, Vec::<&String>::new(), "{name}");
    }
}

#[test]
fn what_really_happened_is_written_down_and_told_to_those_who_listen() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(&folder);
    let simulator = Simulator::of(&config, START).expect("nothing is planned");
    let mut listener = simulator.listen();
    run(&simulator, 0..10);
    let order = Order {
        host: Some("web-02".into()),
        seconds: Some(60),
        ..Order::new(FaultKind::MemoryLeak)
    };
    let injected = simulator.inject(&order).expect("a server has memory");
    assert_eq!(injected.onset, START.plus(Duration::from_secs(10)));
    run(&simulator, 10..300);
    let text = std::fs::read_to_string(&config.truth).expect("it was written");
    let labels: Vec<Label> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a label"))
        .collect();
    let told: Vec<Label> = std::iter::from_fn(|| listener.try_recv().ok()).collect();
    assert_eq!(told, labels);
    let states: Vec<_> = labels
        .iter()
        .map(|label| {
            (
                label.onset == injected.onset,
                label.breach.is_some(),
                label.end.is_some(),
            )
        })
        .collect();
    assert_eq!(
        states,
        [
            (true, false, false),
            (true, true, false),
            (true, true, true)
        ]
    );
    assert!(labels[2].end < Some(injected.ends));
}

#[test]
fn a_truth_that_cannot_be_written_does_not_stop_the_fleet() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config {
        // A folder is no file.
        truth: folder.path().to_owned(),
        ..Config::default()
    };
    let simulator = Simulator::of(&config, START).expect("nothing is planned");
    simulator
        .inject(&Order::new(FaultKind::CpuRunaway))
        .expect("it suits somebody");
    assert_eq!(run(&simulator, 0..5).len(), 40);
}

#[test]
fn a_fleet_with_a_past_goes_on_from_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(&folder);
    let begin = START.minus(Duration::from_secs(600));
    let mut fleet = DemoFleet::new(config.seed).start(begin);
    assert_eq!(fleet.history(START).count(), 600);
    let simulator = Simulator::new(fleet, &config);
    let whole = Simulator::of(&config, begin).expect("nothing is planned");
    for second in 0..600 {
        let _ = whole.measure(begin.plus(Duration::from_secs(second)));
    }
    assert_eq!(run(&simulator, 0..5), run(&whole, 0..5));
}

#[test]
fn faults_that_are_planned_come_in_time_and_mistakes_in_plans_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = |text: &str| Config {
        faults: vec![toml_of(text)],
        ..config(&folder)
    };
    let config = plan(r#"{"fault": "cpu-spike", "host": "web-01", "after": "20s", "for": "30s"}"#);
    assert_eq!(config.mistakes(), []);
    let simulator = Simulator::of(&config, START).expect("it can be");
    let mut listener = simulator.listen();
    run(&simulator, 0..60);
    let label = listener.try_recv().expect("it has begun");
    assert_eq!(label.onset, START.plus(Duration::from_secs(20)));
    let ended = listener.try_recv().expect("it is over");
    assert!(ended.end.expect("over") < START.plus(Duration::from_secs(51)));

    let mut wrong = plan(r#"{"fault": "disk-fill", "host": "web-9", "after": "20s"}"#);
    wrong.truth = "".into();
    assert_eq!(
        wrong.mistakes(),
        [
            ("truth", "must be the path of a file".to_owned()),
            (
                "faults",
                "the one at 0: no simulated resource is named `web-9`".to_owned()
            ),
        ]
    );
}

/// A planned fault as the settings would read it.
fn toml_of(json: &str) -> Planned {
    serde_json::from_str(json).expect("a planned fault")
}
