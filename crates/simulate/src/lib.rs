//! Seeded series of hosts, with faults whose truth is known, decoys that only look like faults, and disorder on the way.
//!
//! A value is a function of (seed, series, step): the same [`Fleet`] always gives the same [`Recording`], and what a
//! sender sent can be made again to judge a store by it. No clock is read: the caller says when a recording begins, and
//! a [`RunningFleet`] is measured at the moments that it is told.
//!
//! What a seed has given once it gives for ever, since tests and measurements stand on it: new noise is drawn from a
//! stream with a name of its own, and shows only in profiles that ask for it.

mod cascade;
mod decoy;
pub mod demo;
mod deploy;
mod disorder;
mod fault;
mod host;
mod kind;
mod load;
mod noise;
mod running;
mod samples;
mod series;
mod truth;

use forewarn_messages::SampleBatch;
use forewarn_types::{EventTime, Kind, StepLength};

pub use decoy::Decoy;
pub use demo::DemoFleet;
pub use disorder::Disorder;
pub use fault::Fault;
pub use host::{Detail, Filesystem, Host, Profile, Service};
pub use kind::{FaultKind, UnknownFault};
pub use noise::{Ar1, Bursts, Draw};
pub use running::{InjectError, Injected, Order, RunningFleet};
pub use series::{HostSeries, SeriesName};
pub use truth::{Label, Truth};

/// Hosts that are watched together.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// From which everything random follows.
    pub seed: u64,
    /// Time of the first step; best a multiple of the interval.
    pub start: EventTime,
    /// How often each host is measured.
    pub interval: StepLength,
    /// How many steps.
    pub steps: u64,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// What happens on the way.
    pub disorder: Disorder,
}

/// A Tuesday morning: the default start, where a test does not care.
pub const START: EventTime = EventTime(1_700_000_000_000 - 1_700_000_000_000 % 3_600_000);

impl Fleet {
    /// `hosts`, measured every second for `steps` seconds, in perfect order.
    #[must_use]
    pub fn new(seed: u64, steps: u64, hosts: Vec<Host>) -> Self {
        Self {
            seed,
            start: START,
            interval: StepLength::SECOND,
            steps,
            hosts,
            disorder: Disorder::default(),
        }
    }

    /// `count` unlike hosts named `host-00` and so on, on which nothing goes wrong.
    #[must_use]
    pub fn drawn(seed: u64, steps: u64, count: usize) -> Self {
        let mut draw = Draw::new(seed, "fleet");
        let host = |i| Host::new(&format!("host-{i:02}")).profile(Profile::drawn(draw.seed()));
        Self::new(seed, steps, (0..count).map(host).collect())
    }

    /// Everything that is sent, in the order of sending, and what really happened.
    #[must_use]
    pub fn record(&self) -> Recording {
        let (mut sent, mut truth) = (Vec::new(), Vec::new());
        for host in cascade::spread(&self.hosts).iter() {
            let mut series = host.series(self.seed, self.start, self.interval);
            let steps = usize::try_from(self.steps).unwrap_or(usize::MAX);
            let reported = series
                .by_ref()
                .take(steps)
                .filter(|b| !b.samples.is_empty());
            sent.extend(self.disorder.apply(reported, self.seed));
            truth.extend(series.truth());
        }
        // Stable: of one host's batches at one moment, the first made goes first.
        sent.sort_by_key(|sent| sent.at);
        Recording { sent, truth }
    }
}

/// A batch and the moment at which it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// When it leaves the sender.
    pub at: EventTime,
    /// What leaves.
    pub batch: SampleBatch,
}

/// What was sent, in order, and what really happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Everything that was sent, in the order of sending.
    pub sent: Vec<Sent>,
    /// The faults, with their truth.
    pub truth: Vec<Truth>,
}

impl Recording {
    /// How many samples were sent, repetitions included.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.sent.iter().map(|sent| sent.batch.samples.len()).sum()
    }

    /// One host with one fault after a quiet time, drawn from `seed`: the unit of the quality tests.
    ///
    /// The fault begins between `quiet_seconds` and two minutes later; a runaway or a hog lasts five minutes, and what fills up
    /// does so in 10 to 25 minutes at its mean rate. The recording ends two minutes after the fault has.
    #[must_use]
    pub fn of_fault(kind: FaultKind, seed: u64, quiet_seconds: u64) -> Self {
        let mut draw = Draw::new(seed, kind.as_str());
        let onset = quiet_seconds + draw.index(0, 120);
        let seconds = if kind.failure().is_none() {
            300
        } else {
            draw.index(600, 1_500)
        };
        let mut host = Host::new(&format!("{}-{seed:02}", kind.as_str().replace('_', "-")));
        host.profile = Profile::drawn(draw.seed());
        if kind == FaultKind::ConnectionExhaustion {
            host.kind = Kind::Database;
            host.profile.pool_limit = Some(200.0);
        }
        // A noisy rate may take half as long again.
        let steps = onset
            + if kind.failure().is_none() {
                seconds
            } else {
                seconds * 3 / 2
            }
            + 120;
        Fleet::new(
            draw.seed(),
            steps,
            vec![host.fault(Fault::new(kind, onset, seconds))],
        )
        .record()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap, HashSet};

    use forewarn_types::{MetricType, SeriesKey, metric};

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_recording_and_another_seed_another() {
        let record = |seed| {
            Fleet {
                disorder: Disorder::rough(),
                ..Fleet::drawn(seed, 60, 3)
            }
            .record()
        };
        assert_eq!(record(1), record(1));
        assert_ne!(record(1).sent, record(2).sent);
    }

    #[test]
    fn every_metric_is_a_known_one_and_every_value_finite() {
        let recording = Fleet::drawn(3, 30, 2).record();
        for sent in &recording.sent {
            for sample in &sent.batch.samples {
                assert!(
                    metric::unit(&sample.metric).is_some(),
                    "{} is not a known metric",
                    sample.metric
                );
                assert!(
                    sample.value.is_finite(),
                    "{} is {}",
                    sample.metric,
                    sample.value
                );
            }
            let ids: HashSet<_> = sent.batch.sample_ids().collect();
            assert_eq!(
                ids.len(),
                sent.batch.samples.len(),
                "two samples of one batch have the same id"
            );
        }
    }

    #[test]
    fn counters_never_fall_except_at_a_restart() {
        let falls = |host: Host| {
            let mut last: BTreeMap<SeriesKey, f64> = BTreeMap::new();
            let mut falls = 0;
            for sent in Fleet::new(5, 120, vec![host]).record().sent {
                for sample in sent
                    .batch
                    .samples
                    .iter()
                    .filter(|s| s.metric_type == MetricType::Counter)
                {
                    let before = last.insert(sent.batch.series_of(sample), sample.value);
                    falls += usize::from(before.is_some_and(|before| sample.value < before));
                }
            }
            falls
        };
        assert_eq!(falls(Host::new("steady")), 0);
        assert!(falls(Host::new("restarted").reboot(60)) > 10);
    }

    #[test]
    fn what_fills_up_is_full_when_the_truth_says_so_and_not_before() {
        for kind in FaultKind::ALL
            .iter()
            .filter(|kind| kind.failure().is_some())
        {
            let recording = Recording::of_fault(*kind, 4, 60);
            let [truth] = recording.truth.as_slice() else {
                panic!("one fault")
            };
            let full = truth
                .breach(1.0)
                .expect("the recording lasts until it is full");
            let nearly = truth
                .breach(0.95)
                .expect("it was nearly full before it was full");
            assert!(
                truth.onset < nearly && nearly < full && full < truth.end,
                "{kind:?}: {truth:?}"
            );
        }
        let recording = Recording::of_fault(FaultKind::MemoryLeak, 4, 60);
        let full = recording.truth[0].breach(1.0).expect("full");
        for sent in &recording.sent {
            let share = sent
                .batch
                .samples
                .iter()
                .find(|s| s.metric == metric::MEMORY_UTILIZATION)
                .expect("reported")
                .value;
            assert!(sent.batch.time >= full || share < 1.0);
        }
    }

    #[test]
    fn a_runaway_takes_the_cpu_at_its_onset() {
        let recording = Recording::of_fault(FaultKind::CpuRunaway, 1, 60);
        let onset = recording.truth[0].onset;
        let busy = |from: i64, to: i64| {
            let idle = recording
                .sent
                .iter()
                .filter(|s| (from..to).contains(&s.batch.time.millis()))
                .map(|sent| {
                    let of_mode = |s: &&forewarn_messages::BatchSample| {
                        s.metric == metric::CPU_UTILIZATION
                            && s.tags.get("cpu.mode").is_some_and(|mode| mode == "idle")
                    };
                    sent.batch
                        .samples
                        .iter()
                        .find(of_mode)
                        .expect("reported")
                        .value
                });
            let idle: Vec<f64> = idle.collect();
            1.0 - idle.iter().sum::<f64>() / idle.len() as f64
        };
        assert!(busy(START.millis(), onset.millis()) < 0.5);
        assert!(busy(onset.millis() + 10_000, onset.millis() + 60_000) > 0.8);
    }

    #[test]
    fn disorder_does_all_that_it_says() {
        let fleet = Fleet {
            disorder: Disorder::rough(),
            ..Fleet::drawn(9, 600, 2)
        };
        let orderly = Fleet {
            disorder: Disorder::default(),
            ..fleet.clone()
        }
        .record();
        let rough = fleet.record();
        let mut seen: HashMap<uuid::Uuid, f64> = HashMap::new();
        let (mut same, mut other, mut overtaken) = (0, 0, 0);
        let mut newest: BTreeMap<String, EventTime> = BTreeMap::new();
        for sent in &rough.sent {
            let newest = newest.entry(sent.batch.resource.log_key()).or_default();
            overtaken += usize::from(sent.batch.time < *newest);
            *newest = (*newest).max(sent.batch.time);
            for (id, sample) in sent.batch.sample_ids().zip(&sent.batch.samples) {
                match seen.insert(id, sample.value) {
                    Some(value) if value == sample.value => same += 1,
                    Some(_) => other += 1,
                    None => {}
                }
            }
        }
        assert!(
            same > 100 && other > 5 && overtaken > 10,
            "same {same}, other {other}, overtaken {overtaken}"
        );
        assert!(seen.len() < orderly.samples(), "nothing is missing");
        assert!(rough.sent.is_sorted_by_key(|sent| sent.at));
    }

    #[test]
    fn a_clean_up_comes_before_the_end_and_a_plateau_stays_below_it() {
        for decoy in [
            Decoy::CleanUp {
                onset_seconds: 30,
                seconds: 120,
                at_share: 0.8,
            },
            Decoy::Plateau {
                onset_seconds: 30,
                seconds: 300,
            },
        ] {
            let recording = Fleet::new(2, 600, vec![Host::new("decoy").decoy(decoy)]).record();
            assert!(recording.truth.is_empty());
            let used = recording.sent.iter().filter_map(|sent| {
                let root = |s: &&forewarn_messages::BatchSample| {
                    s.metric == metric::FILESYSTEM_UTILIZATION
                        && s.tags
                            .get("system.filesystem.mountpoint")
                            .is_some_and(|mount| mount == "/")
                };
                sent.batch.samples.iter().find(root).map(|s| s.value)
            });
            let highest = used.fold(0.0, f64::max);
            assert!(
                (0.65..0.9).contains(&highest),
                "{decoy:?} reaches {highest}"
            );
        }
    }
}
