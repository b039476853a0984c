//! What a resource goes through: learning, judging, gaps, broken sources, metrics that come and go.

use std::sync::Arc;
use std::time::Duration;

use forewarn_detect::{
    AlarmBudget, Detector, Direction, EwmaResidual, Metric, Score, Settings, Step, Verdict,
};
use forewarn_types::{EventTime, StepLength};

use crate::noise::{Kind, Series};

const SETTINGS: Settings = Settings {
    budget: AlarmBudget::DEFAULT,
    consecutive: 2,
    learning_steps: 900,
};

/// A resource of three metrics with normal noise, one second a step.
struct Host {
    detector: EwmaResidual,
    series: Vec<Series>,
    now: i64,
}

impl Host {
    fn new() -> Self {
        let metrics: Arc<[Metric]> = [
            Metric::new("cpu.utilization", 0.5),
            Metric {
                direction: Direction::Up,
                ..Metric::new("network.errors", 0.5)
            },
            Metric {
                range: Some((-100.0, 100.0)),
                ..Metric::new("memory.utilization", 0.5)
            },
        ]
        .into();
        let series = (0..3)
            .map(|stream| Series::new(Kind::Normal, 8, stream, 1_000))
            .collect();
        Self {
            detector: EwmaResidual::new(SETTINGS, metrics, StepLength::SECOND),
            series,
            now: 0,
        }
    }

    fn step(&mut self, change: impl FnOnce(&mut [Option<f64>])) -> Verdict {
        self.now += 1_000;
        let mut values: Vec<Option<f64>> = self
            .series
            .iter_mut()
            .map(|series| Some(series.next()))
            .collect();
        change(&mut values);
        self.detector.observe(&Step {
            end: EventTime(self.now),
            values: &values,
        })
    }

    fn quiet(&mut self, steps: usize) -> Vec<Verdict> {
        (0..steps).map(|_| self.step(|_| ())).collect()
    }
}

fn scored(verdict: Verdict) -> Score {
    match verdict {
        Verdict::Scored(score) => score,
        other => panic!("expected a score, not {other:?}"),
    }
}

#[test]
fn a_new_resource_learns_for_fifteen_minutes_and_says_how_long_it_still_takes() {
    let mut host = Host::new();
    let learning = host.quiet(900);
    assert_eq!(
        learning[0],
        Verdict::Learning {
            eta: Duration::from_secs(900)
        }
    );
    assert_eq!(
        learning[899],
        Verdict::Learning {
            eta: Duration::from_secs(1)
        }
    );
    scored(host.step(|_| ()));
}

#[test]
fn a_large_step_is_an_anomaly_after_the_gate_and_names_its_metric_with_what_was_expected() {
    let mut host = Host::new();
    host.quiet(2_000);
    let raise = |host: &mut Host| scored(host.step(|values| values[0] = Some(60.0)));
    let first = raise(&mut host);
    assert!(
        first.score <= 1.0 && first.metrics.is_empty(),
        "one step is not enough: {first:?}"
    );
    let second = raise(&mut host);
    assert!(second.score > 1.0, "{second:?}");
    assert_eq!(second.parts[0].metric, 0);
    let metric = second.metrics[0];
    assert_eq!(metric.metric, 0);
    assert!(
        metric.expected.abs() < 6.0
            && metric.lower < metric.expected
            && metric.expected < metric.upper
    );
    assert!(
        metric.upper < 60.0,
        "what is beyond the edge is an anomaly: {metric:?}"
    );
}

#[test]
fn a_single_wild_step_passes_the_gate_unseen() {
    let mut host = Host::new();
    host.quiet(2_000);
    let wild = scored(host.step(|values| values[0] = Some(1e6)));
    assert!(wild.score <= 1.0 && wild.metrics.is_empty());
}

#[test]
fn what_goes_the_harmless_way_is_no_anomaly() {
    let mut host = Host::new();
    host.quiet(2_000);
    for _ in 0..5 {
        let score = scored(host.step(|values| values[1] = Some(-60.0)));
        assert!(score.score <= 1.0 && score.metrics.is_empty(), "{score:?}");
    }
    let score = (0..3)
        .map(|_| scored(host.step(|values| values[1] = Some(60.0))))
        .last()
        .expect("three");
    assert_eq!(score.metrics[0].metric, 1);
    assert_eq!(
        score.metrics[0].lower,
        f64::MIN,
        "downwards there is no edge"
    );
}

#[test]
fn steps_without_values_are_gaps_and_impossible_values_are_out_of_range() {
    let mut host = Host::new();
    host.quiet(1_000);
    assert_eq!(host.step(|values| values.fill(None)), Verdict::Gap);
    assert_eq!(
        host.step(|values| values.fill(Some(f64::NAN))),
        Verdict::Gap
    );
    assert_eq!(
        host.step(|values| values[2] = Some(101.0)),
        Verdict::OutOfRange { metric: 2 }
    );
    scored(host.step(|values| values[0] = None));
}

#[test]
fn a_level_that_changed_while_nobody_looked_is_no_anomaly() {
    let mut host = Host::new();
    host.quiet(2_000);
    host.now += 3_600_000;
    for _ in 0..300 {
        let score = scored(host.step(|values| values[0] = values[0].map(|value| value + 30.0)));
        assert!(score.score <= 1.0 && score.metrics.is_empty(), "{score:?}");
    }
}

#[test]
fn a_metric_that_appears_late_learns_before_it_counts() {
    let mut host = Host::new();
    for _ in 0..2_000 {
        host.step(|values| values[1] = None);
    }
    // It begins with a wild youth, which says nothing since nothing is known of it.
    for i in 0..600 {
        let score = scored(host.step(|values| values[1] = Some(f64::from(i % 7) * 50.0)));
        assert!(
            score.metrics.iter().all(|metric| metric.metric != 1),
            "{score:?}"
        );
        assert!(score.parts.iter().all(|part| part.metric != 1), "{score:?}");
    }
}

#[test]
fn a_fault_that_lasts_is_not_learned_while_people_look_at_it() {
    let mut host = Host::new();
    host.quiet(5_000);
    let scores: Vec<f64> = (0..60)
        .map(|_| scored(host.step(|values| values[0] = values[0].map(|value| value + 100.0))).score)
        .collect();
    assert!(scores[2..].iter().all(|score| *score > 1.0), "{scores:?}");
    // An hour later it is awake again, though it is still young.
    host.quiet(3_600);
    let again = (0..3)
        .map(|_| scored(host.step(|values| values[0] = values[0].map(|value| value + 15.0))))
        .last()
        .expect("three");
    assert!(!again.metrics.is_empty(), "{again:?}");
}

#[test]
fn state_stays_within_its_budget_per_metric() {
    let metrics: Arc<[Metric]> = (0..50).map(|i| Metric::new(format!("m{i}"), 0.5)).collect();
    let mut detector = EwmaResidual::new(SETTINGS, metrics, StepLength::SECOND);
    let mut series: Vec<Series> = (0..50)
        .map(|i| {
            Series::new(
                [Kind::Normal, Kind::Bursts, Kind::HeavyTailed][i as usize % 3],
                3,
                i,
                1_000,
            )
        })
        .collect();
    let mut most = 0;
    for i in 0..20_000 {
        // Some wild values too: they reach the furthest bins.
        let wild = if i % 997 < 3 { 1e9 } else { 0.0 };
        let values: Vec<Option<f64>> = series
            .iter_mut()
            .map(|series| Some(series.next() + wild))
            .collect();
        detector.observe(&Step {
            end: EventTime(i * 1_000),
            values: &values,
        });
        most = most.max(detector.bytes());
    }
    let per_metric = most / 50;
    assert!(per_metric < 2_600, "{per_metric} bytes per metric");
}
