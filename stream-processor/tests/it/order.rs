//! What a partition makes depends on each resource's own records, and a snapshot changes nothing.

use std::collections::BTreeMap;

use forewarn_bus::Stage as _;
use forewarn_messages::{Body as _, ProcessedMetric, SampleBatch};
use forewarn_stream_processor::StepConfig;
use forewarn_testkit::generate::{Disorder, Fleet, Sent};
use forewarn_types::{EventTime, Kind, ResourceKey, Sample, StepLength, metric};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::world::World;

fn rough(seed: u64, steps: u64, hosts: usize) -> Vec<Sent> {
    let mut fleet = Fleet::drawn(seed, steps, hosts);
    fleet.disorder = Disorder::rough();
    fleet.record().sent
}

/// The records of each resource, in their order, as the log would carry them.
fn by_resource(records: &[ProcessedMetric]) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut sorted: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for record in records {
        sorted
            .entry(record.key())
            .or_default()
            .push(record.to_json());
    }
    sorted
}

#[test]
fn how_resources_are_interleaved_does_not_matter() {
    let sent = rough(7, 120, 4);
    let mut as_sent = World::new();
    let expected: Vec<_> = sent
        .iter()
        .flat_map(|sent| as_sent.samples(0, &sent.batch))
        .collect();
    for seed in 0..8 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut queues: BTreeMap<&ResourceKey, std::collections::VecDeque<&SampleBatch>> =
            BTreeMap::new();
        for sent in &sent {
            queues
                .entry(&sent.batch.resource)
                .or_default()
                .push_back(&sent.batch);
        }
        let mut world = World::new();
        let mut found = Vec::new();
        while !queues.is_empty() {
            let nth = rng.random_range(0..queues.len());
            let (resource, queue) = queues.iter_mut().nth(nth).expect("there are that many");
            let resource = *resource;
            match queue.pop_front() {
                Some(batch) => found.extend(world.samples(0, batch)),
                None => drop(queues.remove(resource)),
            }
        }
        assert_eq!(by_resource(&found), by_resource(&expected), "seed {seed}");
        assert_eq!(
            world.processor.counts(),
            as_sent.processor.counts(),
            "seed {seed}"
        );
    }
}

#[test]
fn going_on_from_a_snapshot_at_any_record_gives_the_same_records() {
    let sent = rough(11, 100, 2);
    let run = |world: &mut World, range: std::ops::Range<usize>| -> Vec<ProcessedMetric> {
        let mut records = Vec::new();
        for (index, sent) in sent.iter().enumerate().take(range.end).skip(range.start) {
            let log_time = sent.at.millis() + 5;
            records.extend(world.samples(log_time, &sent.batch));
            if index % 5 == 0 {
                records.extend(world.tick(log_time));
            }
        }
        records
    };
    let mut straight = World::new();
    let expected = run(&mut straight, 0..sent.len());
    assert!(expected.len() > 150, "{}", expected.len());
    let counts = straight.processor.counts();
    assert!(
        counts.late > 0 && counts.duplicates > 0 && counts.incomplete > 0,
        "{counts:?}"
    );
    for at in (0..sent.len()).step_by(9) {
        let mut first = World::new();
        let mut found = run(&mut first, 0..at);
        let mut second = World::new();
        second
            .processor
            .restore(&first.processor.snapshot())
            .expect("of the same settings");
        found.extend(run(&mut second, at..sent.len()));
        assert_eq!(found, expected, "snapshot at {at}");
        assert_eq!(
            second.processor.snapshot(),
            straight.processor.snapshot(),
            "snapshot at {at}"
        );
    }
}

#[test]
fn a_snapshot_of_other_settings_or_of_nonsense_is_refused() {
    let mut world = World::new();
    for sent in rough(3, 10, 1) {
        world.samples(0, &sent.batch);
    }
    let snapshot = world.processor.snapshot();
    let mut other = World::with(StepConfig {
        allowed_delay_steps: 2,
        ..StepConfig::default()
    });
    let error = other
        .processor
        .restore(&snapshot)
        .expect_err("other settings");
    assert!(
        error.to_string().contains("other feature sets or settings"),
        "{error}"
    );
    for cut in [0, 1, 7, snapshot.len() / 2, snapshot.len() - 1] {
        assert!(
            World::new().processor.restore(&snapshot[..cut]).is_err(),
            "{cut}"
        );
    }
}

#[test]
fn beyond_the_cap_the_quietest_resource_starts_anew() {
    let mut world = World::with(StepConfig {
        max_resources: 3,
        ..StepConfig::default()
    });
    let batch = |name: &str, second: i64| {
        let sample = Sample {
            metric: metric::MEMORY_UTILIZATION.into(),
            tags: Default::default(),
            metric_type: Default::default(),
            time: EventTime(second * 1_000),
            value: 0.5,
        };
        SampleBatch::new(
            ResourceKey::new(name),
            Kind::Server,
            "host",
            StepLength::SECOND,
            vec![sample],
        )
    };
    for second in 0..3 {
        for name in ["a", "b", "c"] {
            world.samples(0, &batch(name, second));
        }
    }
    // `a` was heard of first, so it makes room for `d`; `b` goes on as before.
    world.samples(0, &batch("d", 3));
    assert_eq!(
        (world.processor.evicted(), world.processor.size().0),
        (1, 3)
    );
    assert_eq!(world.samples(0, &batch("b", 3)).len(), 1);
    assert_eq!(world.samples(0, &batch("a", 3)).len(), 0);
    assert_eq!(world.processor.evicted(), 2);
}
