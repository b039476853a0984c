//! The fleet of the demonstration, its past and its life.

use std::time::Duration;

use forewarn_simulate::{DemoFleet, FaultKind, InjectError, Label, Order, RunningFleet, START};
use forewarn_types::{EventTime, Kind, MetricType};

const SECOND: Duration = Duration::from_secs(1);

fn live(fleet: &mut RunningFleet, seconds: u64) -> Vec<Label> {
    let mut news = Vec::new();
    for _ in 0..seconds {
        fleet.measure(fleet.next_moment());
        news.extend(fleet.take_news());
    }
    news
}

#[test]
fn the_same_seed_is_the_same_fleet() {
    let batches = |seed| {
        let mut running = DemoFleet::new(seed).start(START);
        (0..60)
            .flat_map(|_| running.measure(running.next_moment()))
            .collect::<Vec<_>>()
    };
    assert_eq!(batches(1), batches(1));
    assert_ne!(batches(1), batches(2));
    assert_eq!(batches(1).len(), 8 * 60);
}

#[test]
fn what_comes_live_continues_the_past() {
    let fleet = DemoFleet::new(4);
    let (mut whole, mut parted) = (fleet.start(START), fleet.start(START));
    let now = START.plus(300 * SECOND);
    let past: Vec<_> = parted.history(now).flatten().collect();
    assert!(past.iter().all(|batch| batch.backfill && batch.time < now));
    assert_eq!(past.len(), 8 * 300);
    for _ in 0..300 {
        whole.measure(whole.next_moment());
    }
    for i in 0..60 {
        let at = now.plus(i * SECOND);
        let batches = parted.measure(at);
        assert_eq!(batches, whole.measure(at));
        assert!(
            batches
                .iter()
                .all(|batch| !batch.backfill && batch.time == at)
        );
    }
}

#[test]
fn the_past_as_bare_values_leads_to_the_same_life() {
    let fleet = DemoFleet::new(4);
    let (mut batches, mut bare) = (fleet.start(START), fleet.start(START));
    let now = START.plus(120 * SECOND);
    let past: Vec<_> = batches.history(now).flatten().collect();
    let mut values = Vec::new();
    for series in bare.series_mut() {
        let names = series.names();
        while series.next_moment() < now {
            let at = series.next_moment();
            series.measure_values(at, &mut values);
            assert_eq!(values.len(), names.len());
            let key = &series.host().resource;
            let same = past
                .iter()
                .find(|b| b.time == at && b.resource == *key)
                .expect("it");
            let said = names
                .iter()
                .zip(&values)
                .filter(|(_, value)| value.is_finite());
            let said: Vec<_> = said.map(|(n, v)| (&n.metric, &n.tags, *v)).collect();
            let expected: Vec<_> = same
                .samples
                .iter()
                .map(|s| (&s.metric, &s.tags, s.value))
                .collect();
            assert_eq!(said, expected);
        }
    }
    assert_eq!(bare.next_moment(), now);
    assert_eq!(bare.measure(now), batches.measure(now));
}

#[test]
fn a_pause_and_a_clock_that_is_set_do_not_break_a_life() {
    let mut running = DemoFleet::new(2).start(START);
    live(&mut running, 10);
    let moments = [20, 21, 3_600, 3_601, 100, 101, 102].map(|s| START.plus(s * SECOND));
    let mut last = Vec::new();
    for at in moments {
        let batches = running.measure(at);
        assert_eq!(batches.len(), 8);
        for batch in &batches {
            assert_eq!(batch.time, at);
            let counters = batch
                .samples
                .iter()
                .filter(|s| s.metric_type == MetricType::Counter);
            assert!(batch.samples.iter().all(|sample| sample.value.is_finite()));
            let totals: Vec<f64> = counters.map(|sample| sample.value).collect();
            last.push((batch.resource.resource.clone(), totals));
        }
        assert_eq!(running.next_moment(), at.plus(SECOND));
    }
    for pair in last.chunks(8).collect::<Vec<_>>().windows(2) {
        for (before, after) in pair[0].iter().zip(pair[1]) {
            assert!(
                before.1.iter().zip(&after.1).all(|(a, b)| a <= b),
                "counters only grow"
            );
        }
    }
}

#[test]
fn its_kinds_are_those_that_a_feature_set_describes() {
    let fleet = DemoFleet::new(1);
    assert_eq!(fleet.hosts().len(), 8);
    for host in fleet.hosts() {
        assert!(matches!(
            host.kind,
            Kind::Server | Kind::Service | Kind::Database
        ));
    }
    for kind in FaultKind::ALL {
        let name = fleet.host_for(*kind).expect("every fault suits somebody");
        let host = fleet
            .hosts()
            .iter()
            .find(|host| host.resource.resource == name);
        assert!(
            kind.fits(host.expect("it is one of them")),
            "{kind} on {name}"
        );
    }
}

#[test]
fn what_is_injected_begins_now_reaches_its_limit_in_time_and_ends_as_told() {
    for seed in 0..3 {
        let fleet = DemoFleet::new(seed);
        for kind in FaultKind::ALL {
            let mut running = fleet.start(START);
            live(&mut running, 60);
            let now = running.next_moment();
            let injected = running.inject(&fleet.order(*kind)).expect("it suits");
            assert_eq!(
                (injected.onset, Some(injected.host.as_str())),
                (now, fleet.host_for(*kind))
            );
            let news = live(&mut running, 600);
            let own: Vec<&Label> = news
                .iter()
                .filter(|label| label.resource == injected.host)
                .collect();
            assert_eq!((own[0].fault, own[0].onset), (*kind, now));
            let last = own[own.len() - 1];
            let end = last.end.expect("it is over");
            assert!(
                end < injected.ends || kind.is_harmless(),
                "{kind}: {end}, {}",
                injected.ends
            );
            assert_eq!(
                last.breach.is_some(),
                injected.limit_reached_about.is_some(),
                "{kind}"
            );
            if let Some(breach) = last.breach.filter(|_| kind.failure().is_some()) {
                let after = breach.since(now).as_secs();
                // Rates are noisy: in one of many runs twice as high, or half, for all of the time.
                let usual = kind.usual_seconds();
                assert!(
                    (usual / 2..usual * 2).contains(&after),
                    "seed {seed}, {kind}: full after {after} s"
                );
            }
            for name in &injected.spreads_to {
                let label = news
                    .iter()
                    .find(|label| label.resource == *name)
                    .expect("it spreads");
                assert_eq!(label.cause.as_deref(), Some(injected.host.as_str()));
            }
            assert_eq!(live(&mut running, 60), [], "and nothing is left of it");
        }
    }
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let fleet = DemoFleet::new(1);
    let (mut running, mut untouched) = (fleet.start(START), fleet.start(START));
    let order = |fault, host: &str, seconds| Order {
        host: Some(host.to_owned()),
        seconds,
        ..Order::new(fault)
    };
    let unknown = running.inject(&order(FaultKind::DiskFill, "web-07", None));
    assert_eq!(unknown, Err(InjectError::UnknownHost("web-07".into())));
    let misfit = running.inject(&order(FaultKind::DiskFill, "db-01", None));
    assert_eq!(
        misfit.expect_err("a database shows no disks").to_string(),
        "`db-01` reports nothing by which a disk-fill could be seen"
    );
    for seconds in [0, 9, 86_401, u64::MAX] {
        let refused = running.inject(&order(FaultKind::DiskFill, "web-01", Some(seconds)));
        assert!(
            matches!(refused, Err(InjectError::Seconds { .. })),
            "{seconds}"
        );
    }
    assert_eq!(running.measure(START), untouched.measure(START));
    let mut taken = 0;
    while running
        .inject(&order(FaultKind::CpuRunaway, "web-01", None))
        .is_ok()
    {
        taken += 1;
        assert!(taken < 100, "faults are bounded");
    }
    assert_eq!(taken, 8);
}

#[test]
fn a_fault_of_one_host_changes_no_other() {
    let fleet = DemoFleet::new(6);
    let (mut faulty, mut quiet) = (fleet.start(START), fleet.start(START));
    faulty
        .inject(&fleet.order(FaultKind::MemoryLeak))
        .expect("it suits");
    for i in 0..120 {
        let at = EventTime(START.millis() + i * 1_000);
        for (one, other) in faulty.measure(at).into_iter().zip(quiet.measure(at)) {
            assert_eq!(one == other, one.resource.resource != "web-02", "at {at}");
        }
    }
}
