//! Each fault does in the series what its truth says, and does it then.

use forewarn_messages::SampleBatch;
use forewarn_simulate::{Fault, FaultKind, Fleet, Host, Profile, Recording, Service};
use forewarn_types::{EventTime, metric};

use crate::value;

const ONSET: u64 = 120;
const LENGTH: u64 = 240;

/// Six minutes of an ordinary night, with one fault for four minutes from the second minute on.
fn recording(kind: FaultKind) -> Recording {
    let profile = Profile {
        service: Some(Service {
            response_seconds: 0.1,
            logins_per_minute: 200.0,
            orders_per_minute: 100.0,
            revenue_per_order: 20.0,
        }),
        ..Profile::default()
    };
    let host = Host::new("shop").profile(profile);
    let fault = Fault::new(kind, ONSET, LENGTH);
    Fleet::new(3, ONSET + LENGTH + 120, vec![host.fault(fault)]).record()
}

/// The only truth of it, and the batches before, during and after.
fn parts(recording: &Recording) -> (&forewarn_simulate::Truth, [Vec<&SampleBatch>; 3]) {
    let [truth] = recording.truth.as_slice() else {
        panic!("one fault: {:?}", recording.truth)
    };
    let batches = || recording.sent.iter().map(|sent| &sent.batch);
    let during = |at: EventTime| (truth.onset..=truth.end).contains(&at);
    let parts = [
        batches().filter(|b| b.time < truth.onset).collect(),
        batches().filter(|b| during(b.time)).collect(),
        batches().filter(|b| b.time > truth.end).collect(),
    ];
    (truth, parts)
}

fn mean(batches: &[&SampleBatch], metric: &str, tag: &str) -> f64 {
    let values: Vec<f64> = batches
        .iter()
        .filter_map(|b| value(b, metric, tag))
        .collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean rate of a counter.
fn rate(batches: &[&SampleBatch], metric: &str, tag: &str) -> f64 {
    let ends = [batches.first(), batches.last()].map(|b| value(b.expect("some"), metric, tag));
    (ends[1].expect("reported") - ends[0].expect("reported")) / batches.len() as f64
}

#[test]
fn answers_take_longer_and_longer_until_the_limit() {
    let recording = recording(FaultKind::LatencyCreep);
    let (truth, [before, during, after]) = parts(&recording);
    let response = "http.server.request.duration";
    assert!(mean(&before, response, "") < 0.3);
    let reached = truth.limit_reached().expect("it lasts until then");
    assert_eq!(reached.since(truth.onset).as_secs().abs_diff(LENGTH) / 2, 0);
    for batch in &during {
        let is_over = value(batch, response, "").expect("reported") >= truth.capacity;
        assert_eq!(is_over, batch.time >= reached, "at {}", batch.time);
    }
    let half = mean(&during[100..140], response, "");
    assert!((0.2..1.0).contains(&half), "half way it is {half}");
    assert!(mean(&after, response, "") < 0.3);
}

#[test]
fn a_saturated_network_carries_all_it_can_and_drops_the_rest() {
    let recording = recording(FaultKind::NetworkSaturation);
    let (truth, [before, during, after]) = parts(&recording);
    assert!(rate(&before, metric::NETWORK_IO, "transmit") < 0.1 * truth.capacity);
    let full = rate(&during[20..], metric::NETWORK_IO, "transmit");
    assert!((0.9..=1.0).contains(&(full / truth.capacity)), "{full}");
    assert!(rate(&during, metric::NETWORK_DROPPED, "transmit") > 1_000.0);
    assert!(truth.limit_reached().is_some());
    assert!(rate(&after, metric::NETWORK_IO, "transmit") < 0.1 * truth.capacity);
}

#[test]
fn a_surge_of_visitors_shows_in_everything_they_touch() {
    let recording = recording(FaultKind::TrafficSurge);
    let (_, [before, during, after]) = parts(&recording);
    for (metric, tag, least) in [
        (metric::NETWORK_CONNECTIONS, "established", 3.0),
        ("orders.per_minute", "", 3.0),
        ("http.server.request.duration", "", 1.5),
        (metric::CPU_UTILIZATION, "user", 2.0),
    ] {
        let usual = mean(&before, metric, tag);
        let factor = mean(&during[120..], metric, tag) / usual;
        assert!(factor > least, "{metric}: {factor}");
        let left = mean(&after[60..], metric, tag) / usual;
        assert!((0.5..1.8).contains(&left), "{metric} afterwards: {left}");
    }
}

#[test]
fn a_frozen_application_is_steadily_busy_and_answers_nobody() {
    let recording = recording(FaultKind::FrozenApp);
    let (_, [before, during, _]) = parts(&recording);
    let busy = |batch: &&SampleBatch| {
        let share = |mode| value(batch, metric::CPU_UTILIZATION, mode).expect("reported");
        1.0 - share("idle") - share("iowait")
    };
    for batch in &during {
        assert!((0.28..0.32).contains(&busy(batch)), "{}", busy(batch));
        assert_eq!(value(batch, "http.server.request.duration", ""), None);
    }
    let sent = |batches| rate(batches, metric::NETWORK_IO, "transmit");
    assert!(sent(&during) < 0.05 * sent(&before));
    let orders = value(during[during.len() - 1], "orders.per_minute", "");
    assert!(orders.expect("reported") < 10.0);
}

#[test]
fn a_dropout_is_a_hole_in_the_series_and_the_counters_go_on() {
    let recording = recording(FaultKind::SensorDropout);
    let (truth, [before, during, after]) = parts(&recording);
    assert_eq!(during.len(), 0, "nothing is sent");
    let hole = after[0].time.since(before[before.len() - 1].time);
    assert_eq!(hole.as_secs_f64().round() as u64, LENGTH + 1);
    assert!(truth.end.since(truth.onset).as_secs() >= LENGTH - 2);
    let counted = |batch: &SampleBatch| value(batch, metric::NETWORK_IO, "receive").expect("it");
    let missed = counted(after[0]) - counted(before[before.len() - 1]);
    assert!(missed > 50.0 * rate(&before, metric::NETWORK_IO, "receive"));
}

#[test]
fn a_counter_reset_happens_once_and_the_host_goes_on() {
    let recording = recording(FaultKind::CounterReset);
    let (truth, [before, during, after]) = parts(&recording);
    assert_eq!((during.len(), truth.onset), (1, truth.end));
    assert!(truth.kind.is_harmless() && truth.limit_reached().is_none());
    let counted = |batch: &SampleBatch| value(batch, metric::NETWORK_IO, "receive").expect("it");
    assert!(counted(during[0]) < 0.2 * counted(before[before.len() - 1]));
    assert!(counted(after[0]) > counted(during[0]), "and only once");
    let uptime = |batch: &SampleBatch| value(batch, metric::UPTIME, "").expect("reported");
    assert!(uptime(after[0]) > uptime(before[0]));
}

#[test]
fn the_work_of_a_host_that_goes_down_comes_over_its_neighbours() {
    let mut first = Host::new("a").fault(Fault::new(FaultKind::CascadingFailure, ONSET, LENGTH));
    first.neighbours = vec!["b".into(), "c".into(), "nobody".into()];
    let hosts = vec![first, Host::new("b"), Host::new("c"), Host::new("d")];
    let steps = ONSET + LENGTH + 60;
    let recording = Fleet::new(3, steps, hosts).record();
    let told: Vec<_> = recording
        .truth
        .iter()
        .map(|truth| {
            let resource = truth.resource.resource.as_str();
            let after = truth.onset.since(recording.truth[0].onset).as_secs_f64();
            (
                resource,
                truth.kind.name(),
                truth.cause.as_deref(),
                after.round() as u64,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("a", "cascading-failure", None, 0),
            ("b", "traffic-surge", Some("a"), 15),
            ("c", "traffic-surge", Some("a"), 45),
        ]
    );
    let sent = |name: &str, from: u64, to: u64| {
        let batches: Vec<_> = recording
            .sent
            .iter()
            .map(|sent| &sent.batch)
            .filter(|batch| batch.resource.resource == name)
            .collect();
        rate(
            &batches[from as usize..to as usize],
            metric::NETWORK_IO,
            "transmit",
        )
    };
    let factor = |name| sent(name, ONSET + 80, ONSET + LENGTH - 2) / sent(name, 0, ONSET - 1);
    assert!(factor("a") < 0.1, "{}", factor("a"));
    assert!(factor("b") > 1.5 && factor("c") > 1.5);
    assert!((0.6..1.5).contains(&factor("d")), "{}", factor("d"));
}

#[test]
fn a_fault_has_ended_when_its_bound_says() {
    for kind in FaultKind::ALL {
        let mut host = Host::new("one").fault(Fault::new(*kind, 30, 60).bounded());
        host.profile.pool_limit = Some(100.0);
        let recording = Fleet::new(8, 300, vec![host]).record();
        let truth = &recording.truth[0];
        let bound = host_bound(*kind);
        let lasted = truth.end.since(truth.onset).as_secs_f64().round() as u64;
        assert!(lasted < bound, "{kind}: {lasted} s of {bound} s");
    }
}

fn host_bound(kind: FaultKind) -> u64 {
    Fault::new(kind, 30, 60)
        .bounded()
        .at_most
        .expect("it has just been set")
}
