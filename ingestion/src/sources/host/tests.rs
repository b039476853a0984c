//! The collector against this machine, and what all readers owe.

use std::collections::BTreeSet;

use forewarn_types::metric;

use super::*;

fn collector(reader: Box<dyn Read>) -> HostCollector {
    HostCollector::with_reader(reader, ResourceKey::new("here"), StepLength::SECOND)
}

/// Lets the kernel's clock of 100 ticks a second move, so that shares of CPU time exist.
fn pass_time() {
    let started = std::time::Instant::now();
    let mut spent = 0u64;
    while started.elapsed() < Duration::from_millis(50) {
        spent = std::hint::black_box(spent + 1);
    }
}

fn check_sound(batch: &SampleBatch) {
    let mut ids = BTreeSet::new();
    for (sample, id) in batch.samples.iter().zip(batch.sample_ids()) {
        assert!(ids.insert(id), "twice: {sample:?}");
        assert!(
            sample.value.is_finite() && sample.value >= 0.0,
            "{sample:?}"
        );
        assert!(
            metric::unit(&sample.metric).is_some(),
            "not a known metric: {sample:?}"
        );
        if sample.metric.ends_with(".utilization") {
            assert!(sample.value <= 1.0, "{sample:?}");
        }
        assert_eq!(batch.time_of(sample), EventTime(7_000));
    }
}

fn names(batch: &SampleBatch) -> BTreeSet<&str> {
    batch
        .samples
        .iter()
        .map(|sample| sample.metric.as_str())
        .collect()
}

#[cfg(target_os = "linux")]
#[test]
fn this_host_says_how_it_is() {
    let mut collector = collector(Box::new(linux::Linux::new(&HostConfig::default())));
    pass_time();
    let batch = collector.collect(EventTime(7_000));
    check_sound(&batch);
    let names = names(&batch);
    for name in [
        metric::CPU_UTILIZATION,
        metric::CPU_LOGICAL_COUNT,
        metric::LOAD_1M,
        metric::CONTEXT_SWITCHES,
        metric::MEMORY_UTILIZATION,
        metric::PAGING_FAULTS,
        metric::FILESYSTEM_UTILIZATION,
        metric::NETWORK_CONNECTIONS,
        metric::PROCESS_COUNT,
        metric::PROCESS_CREATED,
        metric::FILE_DESCRIPTOR_COUNT,
        metric::UPTIME,
    ] {
        assert!(names.contains(name), "{name} is missing from {names:?}");
    }
    let cpu: f64 = batch
        .samples
        .iter()
        .filter(|s| s.metric == metric::CPU_UTILIZATION)
        .map(|sample| sample.value)
        .sum();
    assert!((cpu - 1.0).abs() < 1e-9, "the modes sum to {cpu}");
}

#[test]
fn the_portable_reader_says_the_same_in_fewer_words() {
    let mut collector = collector(Box::new(portable::Portable::new(&HostConfig::default())));
    pass_time();
    let batch = collector.collect(EventTime(7_000));
    check_sound(&batch);
    let names = names(&batch);
    for name in [
        metric::MEMORY_UTILIZATION,
        metric::CPU_LOGICAL_COUNT,
        metric::FILESYSTEM_LIMIT,
        metric::UPTIME,
    ] {
        assert!(names.contains(name), "{name} is missing from {names:?}");
    }
}

#[test]
fn a_look_in_between_leaves_the_regular_collection_as_it_was() {
    /// Each reading has 10 more ticks of work and 10 more of idling.
    struct Counting(f64);
    impl Read for Counting {
        fn read(&mut self) -> Reading {
            self.0 += 10.0;
            let cpu = snapshot::CpuTimes {
                user: self.0 * self.0,
                idle: self.0,
                ..Default::default()
            };
            Reading {
                snapshot: Snapshot {
                    cpu: Some(cpu),
                    ..Snapshot::default()
                },
                failures: Vec::new(),
            }
        }
    }
    let user = |batch: &SampleBatch| batch.samples[0].value;
    let mut collector = collector(Box::new(Counting(0.0)));
    // Readings: 10, 20 (look), 30 (regular).
    assert_eq!(user(&collector.look(EventTime(500))), 300.0 / 310.0);
    assert_eq!(user(&collector.collect(EventTime(1_000))), 800.0 / 820.0);
}

#[test]
fn a_part_that_fails_does_not_take_the_others_along() {
    struct Half;
    impl Read for Half {
        fn read(&mut self) -> Reading {
            let failures = vec![Failure {
                part: "disk",
                problem: "diskstats: gone".into(),
            }];
            Reading {
                snapshot: Snapshot {
                    uptime: Some(5.0),
                    ..Snapshot::default()
                },
                failures,
            }
        }
    }
    let batch = collector(Box::new(Half)).collect(EventTime(7_000));
    assert_eq!(names(&batch), BTreeSet::from([metric::UPTIME]));
}
