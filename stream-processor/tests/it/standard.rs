//! The standard host vector of a generated host: every metric is there, and means what its name says.

use forewarn_messages::{FeatureVector, ProcessedMetric};
use forewarn_testkit::generate::Fleet;
use forewarn_types::{FailureKind, StepLength};

use crate::world::World;

fn vectors(steps: u64) -> (World, Vec<FeatureVector>) {
    let mut world = World::new();
    let mut vectors = Vec::new();
    for sent in Fleet::drawn(5, steps, 1).record().sent {
        for record in world.samples(sent.at.millis(), &sent.batch) {
            if let ProcessedMetric::Vector(vector) = record {
                vectors.push(vector);
            }
        }
    }
    (world, vectors)
}

#[test]
fn after_an_hour_every_feature_of_a_host_is_defined() {
    let (_, vectors) = vectors(3_700);
    assert_eq!(vectors.len(), 3_700);
    let sets = forewarn_features::FeatureSets::standard();
    let host = sets.by_id("host/1").expect("compiled in");
    let last = vectors.last().expect("there are some");
    assert_eq!(
        (last.feature_set.as_str(), last.step, last.incomplete),
        ("host/1", StepLength::SECOND, false)
    );
    let undefined: Vec<&str> = host
        .features
        .iter()
        .zip(&last.values)
        .filter(|(feature, value)| value.is_none() && !feature.name.ends_with("rate_of_change"))
        .map(|(feature, _)| feature.name.as_str())
        .collect();
    assert_eq!(undefined, [""; 0]);
    let value = |name: &str| last.values[host.index_of(name).expect(name)].expect(name);
    let parts = value("cpu.user.value") + value("cpu.system.value");
    let busy = value("cpu.utilization.value");
    assert!(busy >= parts && busy < parts + 0.05, "{busy} of {parts}");
    for name in [
        "memory.utilization",
        "filesystem.utilization",
        "disk.busy",
        "file_descriptors.utilization",
    ] {
        assert!(
            (0.0..=1.0).contains(&value(&format!("{name}.value"))),
            "{name}"
        );
    }
    assert!(value("network.receive.value") > 0.0);
    let kinds: Vec<FailureKind> = last.limits.iter().map(|limit| limit.kind).collect();
    for kind in [
        FailureKind::DiskFull,
        FailureKind::MemoryExhaustion,
        FailureKind::FileDescriptorExhaustion,
    ] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert!(
        last.limits
            .iter()
            .all(|limit| limit.used > 0.0 && limit.used <= limit.limit),
        "{:?}",
        last.limits
    );
}

#[test]
fn steps_follow_each_other_without_a_hole() {
    let (world, vectors) = vectors(120);
    assert!(
        vectors
            .windows(2)
            .all(|pair| pair[1].step_end.millis() - pair[0].step_end.millis() == 1_000)
    );
    assert_eq!(world.processor.counts().late, 0);
    assert!(
        vectors
            .iter()
            .all(|vector| vector.late == 0 && !vector.incomplete)
    );
}
