//! Silence is one change, by the log's time; so is the return.

use expect_test::expect;
use forewarn_messages::{ProcessedMetric, SampleBatch};
use forewarn_types::{EventTime, Kind, ResourceKey, Sample, StepLength, metric};

use crate::world::World;

fn batch(name: &str, second: i64, interval: u32) -> SampleBatch {
    let sample = Sample {
        metric: metric::MEMORY_UTILIZATION.into(),
        tags: Default::default(),
        metric_type: Default::default(),
        time: EventTime(second * 1_000),
        value: 0.5,
    };
    let interval = StepLength::from_millis(interval).expect("within range");
    SampleBatch::new(
        ResourceKey::new(name),
        Kind::Server,
        "host",
        interval,
        vec![sample],
    )
}

/// The changes among the records; vectors are counted only.
fn lines(world: &mut World, log_second: i64, send: Option<SampleBatch>) -> String {
    let out = match &send {
        Some(batch) => world.samples(log_second * 1_000, batch),
        None => world.tick(log_second * 1_000),
    };
    let mut text = match &send {
        Some(batch) => format!("{log_second}s {} ->", batch.resource.resource),
        None => format!("{log_second}s tick ->"),
    };
    let vectors = out
        .iter()
        .filter(|record| matches!(record, ProcessedMetric::Vector(_)))
        .count();
    for record in &out {
        if let ProcessedMetric::Resource(change) = record {
            text += &format!(
                " {} {} after {}",
                change.resource.resource, change.state, change.step_end
            );
        }
    }
    if vectors > 0 {
        text += &format!(" {vectors} vectors");
    }
    text + "\n"
}

#[test]
fn a_silent_resource_is_told_once_and_so_is_its_return() {
    let mut world = World::new();
    let mut text = String::new();
    for second in 0..4 {
        text += &lines(&mut world, second, Some(batch("web-01", second, 1_000)));
    }
    for second in [10, 32, 33, 34, 60] {
        text += &lines(&mut world, second, None);
    }
    for second in [70, 71, 72] {
        text += &lines(&mut world, second, Some(batch("web-01", second, 1_000)));
    }
    text += &lines(&mut world, 101, None);
    text += &lines(&mut world, 102, None);
    expect![[r#"
        0s web-01 ->
        1s web-01 ->
        2s web-01 -> 3 vectors
        3s web-01 -> 1 vectors
        10s tick ->
        32s tick ->
        33s tick -> web-01 silent after 4000
        34s tick ->
        60s tick ->
        70s web-01 -> web-01 learning after 4000
        71s web-01 -> 2 vectors
        72s web-01 -> 1 vectors
        101s tick ->
        102s tick -> web-01 silent after 73000
    "#]]
    .assert_eq(&text);
}

#[test]
fn a_slow_source_is_given_three_of_its_intervals() {
    let mut world = World::new();
    let mut text = String::new();
    text += &lines(&mut world, 0, Some(batch("b", 0, 60_000)));
    text += &lines(&mut world, 0, Some(batch("a", 0, 1_000)));
    text += &lines(&mut world, 0, Some(batch("c", 0, 1_000)));
    for second in [29, 30, 179, 180, 181] {
        text += &lines(&mut world, second, None);
    }
    expect![[r#"
        0s b ->
        0s a ->
        0s c ->
        29s tick ->
        30s tick -> a silent after 1000 c silent after 1000
        179s tick ->
        180s tick -> b silent after 60000
        181s tick ->
    "#]]
    .assert_eq(&text);
}

#[test]
fn a_resource_that_learned_enough_returns_healthy() {
    let mut world = World::new();
    for second in 0..1_000 {
        world.samples(second * 1_000, &batch("web-01", second, 1_000));
    }
    assert!(lines(&mut world, 1_040, None).contains("web-01 silent after 1000000"));
    let back = lines(&mut world, 1_050, Some(batch("web-01", 1_050, 1_000)));
    assert!(back.contains("web-01 healthy after 1000000"), "{back}");
}

#[test]
fn imported_history_is_no_sign_of_life() {
    let mut world = World::new();
    let mut text = String::new();
    for second in 0..3 {
        let history = SampleBatch {
            backfill: true,
            ..batch("old", second, 1_000)
        };
        text += &lines(&mut world, second, Some(history));
    }
    text += &lines(&mut world, 1_000, None);
    expect![[r#"
        0s old ->
        1s old ->
        2s old -> 3 vectors
        1000s tick ->
    "#]]
    .assert_eq(&text);
}
