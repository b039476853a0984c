//! What is ordinary, or only looks like a fault: it leaves no truth, stays within its limits, and shows where it should.

use forewarn_messages::SampleBatch;
use forewarn_simulate::{Decoy, Fleet, Host, Profile};
use forewarn_types::{EventTime, StepLength, metric};

use crate::value;

/// One measurement per minute of a host that has this among its habits, beside the same host without.
fn with_and_without(steps: u64, with: Host) -> [Vec<SampleBatch>; 2] {
    let mut without = with.clone();
    without.decoys.clear();
    without.deploys.clear();
    without.profile.weekend = 0.0;
    [with, without].map(|host| {
        let fleet = Fleet {
            interval: StepLength::from_millis(60_000).expect("within range"),
            ..Fleet::new(5, steps, vec![host])
        };
        let recording = fleet.record();
        assert_eq!(recording.truth, []);
        recording.sent.into_iter().map(|sent| sent.batch).collect()
    })
}

/// How much more the one has than the other, step by step.
fn gain([with, without]: &[Vec<SampleBatch>; 2], metric: &str, tag: &str) -> Vec<f64> {
    let pairs = with.iter().zip(without);
    let both = pairs.filter_map(|(a, b)| Some((value(a, metric, tag)?, value(b, metric, tag)?)));
    both.map(|(a, b)| a - b).collect()
}

#[test]
fn a_warm_up_levels_off_well_below_the_limit() {
    let host = Host::new("cache").decoy(Decoy::WarmUp {
        onset_seconds: 600,
        seconds: 3_600,
        share: 0.35,
    });
    let both = with_and_without(240, host);
    let gain = gain(&both, metric::MEMORY_UTILIZATION, "");
    assert!(gain[..10].iter().all(|gain| *gain == 0.0));
    assert!(gain[40] > 0.5 * gain[239], "fast at first");
    let (late, last) = (gain[120], gain[239]);
    assert!(
        (late - last).abs() < 0.01 && (0.12..0.25).contains(&last),
        "{late} {last}"
    );
}

#[test]
fn a_campaign_comes_and_goes_slowly() {
    let host = Host::new("web").decoy(Decoy::TrafficCampaign {
        onset_seconds: 1_800,
        seconds: 3_600,
        factor: 1.5,
    });
    let both = with_and_without(120, host);
    let gain = gain(&both, metric::NETWORK_CONNECTIONS, "established");
    assert!(
        gain[..30]
            .iter()
            .chain(&gain[91..])
            .all(|gain| *gain == 0.0)
    );
    assert!(gain[60] > 20.0);
    assert!(gain.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 10.0));
}

#[test]
fn a_noisy_neighbour_is_stolen_time_and_nothing_of_the_hosts_own() {
    let host = Host::new("web").decoy(Decoy::NoisyNeighbour {
        onset_seconds: 1_800,
        seconds: 3_600,
        share: 0.1,
    });
    let both = with_and_without(120, host);
    let stolen = gain(&both, metric::CPU_UTILIZATION, "steal");
    assert!((0.05..0.15).contains(&stolen[60]), "{}", stolen[60]);
    for mode in ["user", "system"] {
        let own = gain(&both, metric::CPU_UTILIZATION, mode);
        assert!(own.iter().all(|gain| gain.abs() < 1e-3), "{mode}");
    }
}

#[test]
fn a_deploy_is_a_short_dip_and_a_level_within_limits() {
    let mut host = Host::new("web");
    host.deploys = (1..=20).map(|i| i * 3_600).collect();
    let both = with_and_without(21 * 60, host);
    let sent = gain(&both, metric::MEMORY_UTILIZATION, "");
    assert!(sent[..60].iter().all(|gain| *gain == 0.0));
    let levels: Vec<f64> = (1..=20).map(|i| sent[i * 60 + 55]).collect();
    assert!(levels.iter().all(|level| level.abs() < 0.031), "{levels:?}");
    let apart = levels
        .windows(2)
        .filter(|pair| (pair[0] - pair[1]).abs() > 0.002);
    assert!(apart.count() > 10, "{levels:?}");
    assert!(sent[60] < -0.05, "caches are cold: {}", sent[60]);
    // Served as before a few seconds later: counted at the deploy itself, and a minute after.
    let visitors = gain(&both, metric::NETWORK_CONNECTIONS, "established");
    assert!(visitors[60] < -20.0 && visitors[61] == 0.0);
}

#[test]
fn weekends_are_quieter_for_those_who_have_them() {
    let host = Host::new("web").profile(Profile {
        weekend: 0.4,
        ..Profile::default()
    });
    let both = with_and_without(7 * 24 * 60, host);
    let with: f64 = gain(&both, metric::NETWORK_CONNECTIONS, "established")
        .iter()
        .sum();
    assert!(with < 0.0);
    // 2023-11-18 12:00 UTC, a Saturday.
    let saturday = EventTime(1_700_308_800_000);
    let at = |batches: &[SampleBatch]| {
        let batch = batches.iter().find(|batch| batch.time >= saturday);
        value(
            batch.expect("within the week"),
            metric::NETWORK_CONNECTIONS,
            "established",
        )
    };
    let share = at(&both[0]).expect("reported") / at(&both[1]).expect("reported");
    assert!((0.55..0.65).contains(&share), "{share}");
}
