//! Recordings that tests and measurements were made with stay what they were: whatever the generator learns, a seed
//! that was used once gives the same values for ever.

use std::fmt::Write as _;

use forewarn_simulate::{Decoy, Disorder, Fault, FaultKind, Fleet, Host, Recording};

/// FNV-1a: all that is asked of it is that a change shows.
struct Digest(u64);

impl std::fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

/// Nine digits of each value: logarithms and sines of two systems may differ in the last bit, and nothing else may.
fn digest(recording: &Recording) -> String {
    let mut digest = Digest(0xcbf2_9ce4_8422_2325);
    for sent in &recording.sent {
        let batch = &sent.batch;
        write!(
            digest,
            "{}|{:?}|{:?}|{}|{:?}|{}|{}",
            sent.at,
            batch.resource,
            batch.kind,
            batch.source,
            batch.interval,
            batch.backfill,
            batch.time
        )
        .expect("a digest takes every text");
        for sample in &batch.samples {
            write!(
                digest,
                "|{}{:?}{:?}{:?}{:.9e}",
                sample.metric, sample.tags, sample.metric_type, sample.time, sample.value
            )
            .expect("a digest takes every text");
        }
    }
    for truth in &recording.truth {
        let breaches = [0.5, 0.9, 0.95, 1.0].map(|share| truth.breach(share));
        write!(
            digest,
            "|{:?}{}{}{}{}{:.9e}{breaches:?}",
            truth.resource,
            truth.kind.as_str(),
            truth.subject,
            truth.onset,
            truth.end,
            truth.capacity
        )
        .expect("a digest takes every text");
    }
    format!("{:016x}", digest.0)
}

#[test]
fn recordings_of_one_fault_are_what_they_were() {
    let kinds = [
        (FaultKind::CpuRunaway, "a1152a60cb8aeaf5"),
        (FaultKind::MemoryHog, "355d7db8f86ee9c3"),
        (FaultKind::MemoryLeak, "a30036dfebcd6465"),
        (FaultKind::DiskFill, "56a4f2fc057f791d"),
        (FaultKind::FileDescriptorLeak, "597ac6ec4fc00ed9"),
        (FaultKind::ConnectionExhaustion, "68f587d8fcf4e8d9"),
    ];
    let found = kinds.map(|(kind, _)| (kind, digest(&Recording::of_fault(kind, 4, 60))));
    let expected = kinds.map(|(kind, digest)| (kind, digest.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn a_fleet_with_disorder_decoys_and_a_restart_is_what_it_was() {
    let mut fleet = Fleet {
        disorder: Disorder::rough(),
        ..Fleet::drawn(11, 400, 3)
    };
    let decoys = [
        Decoy::Plateau {
            onset_seconds: 30,
            seconds: 200,
        },
        Decoy::NightlyBatch {
            second_of_day: 80_000,
            seconds: 100,
        },
        Decoy::Jump {
            onset_seconds: 50,
            share: 0.1,
        },
        Decoy::CleanUp {
            onset_seconds: 60,
            seconds: 90,
            at_share: 0.8,
        },
    ];
    for (i, decoy) in decoys.into_iter().enumerate() {
        fleet
            .hosts
            .push(Host::new(&format!("decoy-{i}")).decoy(decoy));
    }
    fleet
        .hosts
        .push(
            Host::new("restarted")
                .reboot(60)
                .fault(Fault::new(FaultKind::DiskFill, 100, 120)),
        );
    assert_eq!(digest(&fleet.record()), "9bd2d62a289b9eb1");
}
