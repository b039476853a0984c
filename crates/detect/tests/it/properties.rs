//! Whatever comes in: no panic, nothing but finite numbers out, parts that sum to the score, and a state that goes on
//! as if it had never been put down.

use std::sync::Arc;

use forewarn_detect::{
    AlarmBudget, Detector, Direction, EwmaResidual, Metric, Settings, State, Step, Verdict,
};
use forewarn_types::{EventTime, StepLength};
use proptest::prelude::*;

const METRICS: usize = 3;

fn detector(step: StepLength, consecutive: u32, budget: f64) -> EwmaResidual {
    let metrics: Arc<[Metric]> = [Direction::Both, Direction::Up, Direction::Down]
        .into_iter()
        .map(|direction| Metric {
            direction,
            ..Metric::new(format!("{direction:?}"), 1e-3)
        })
        .collect();
    // The shortest learning there is, so that most steps are judged.
    let settings = Settings {
        budget: AlarmBudget::new(budget).expect("in range"),
        consecutive,
        learning_steps: 300,
    };
    EwmaResidual::new(settings, metrics, step)
}

/// A value as a source may send it: usual, coarse, wild, or none.
fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        12 => (0.0..1.0_f64).prop_map(Some),
        4 => (0..3_i32).prop_map(|digit| Some(f64::from(digit))),
        1 => prop::num::f64::ANY.prop_map(Some),
        1 => Just(None),
    ]
}

/// Steps and how far they lie apart, in step lengths.
fn history() -> impl Strategy<Value = Vec<(i64, Vec<Option<f64>>)>> {
    let apart = prop_oneof![30 => Just(1_i64), 1 => 2..400_i64];
    prop::collection::vec((apart, prop::collection::vec(value(), METRICS)), 400..900)
}

fn feed<'a>(
    detector: &mut EwmaResidual,
    step: StepLength,
    history: impl IntoIterator<Item = &'a (i64, Vec<Option<f64>>)>,
    at: &mut i64,
) -> Vec<Verdict> {
    history
        .into_iter()
        .map(|(apart, values)| {
            *at += apart * step.millis();
            detector.observe(&Step {
                end: EventTime(*at),
                values,
            })
        })
        .collect()
}

fn check(verdict: &Verdict) -> Result<(), TestCaseError> {
    let Verdict::Scored(score) = verdict else {
        return Ok(());
    };
    prop_assert!(score.score.is_finite() && score.score >= 0.0);
    prop_assert!((0.0..=1.0).contains(&score.p) && (0.0..=1.0).contains(&score.p0));
    prop_assert!((0.0..=1.0).contains(&score.confidence));
    prop_assert!((score.p.ln() / score.p0.ln() - score.score).abs() < 1e-6 * (1.0 + score.score));
    if score.score > 1.0 {
        let sum: f64 = score.parts.iter().map(|part| part.part).sum();
        prop_assert!(
            (sum - score.score).abs() < 1e-9 * score.score,
            "parts {} score {}",
            sum,
            score.score
        );
        prop_assert!(score.parts.is_sorted_by(|a, b| a.part >= b.part));
    } else {
        prop_assert!(score.parts.is_empty());
    }
    for metric in &score.metrics {
        prop_assert!(metric.score > 1.0 && metric.score.is_finite());
        prop_assert!(
            [metric.value, metric.expected, metric.lower, metric.upper]
                .iter()
                .all(|x| x.is_finite())
        );
        prop_assert!(metric.lower <= metric.upper);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_comes_in_breaks_it(
        history in history(),
        millis in prop::sample::select(vec![1_000_u32, 60_000, 3_600_000]),
        consecutive in 0..5_u32,
        budget in prop::sample::select(vec![0.01, 1.0, 500.0]),
    ) {
        let step = StepLength::from_millis(millis).expect("in range");
        let mut detector = detector(step, consecutive, budget);
        for verdict in feed(&mut detector, step, &history, &mut 0) {
            check(&verdict)?;
        }
    }

    #[test]
    fn it_goes_on_from_a_snapshot_as_if_it_had_never_stopped(history in history(), cut in 0.0..1.0_f64) {
        let step = StepLength::from_millis(60_000).expect("in range");
        let mut straight = detector(step, 2, 20.0);
        let expected = feed(&mut straight, step, &history, &mut 0);

        let cut = (history.len() as f64 * cut) as usize;
        let (mut first, mut at) = (detector(step, 2, 20.0), 0);
        let mut found = feed(&mut first, step, &history[..cut], &mut at);
        let bytes = postcard::to_stdvec(first.state()).expect("plain data");
        let state: State = postcard::from_bytes(&bytes).expect("what was written");
        let mut second = detector(step, 2, 20.0).with_state(state).expect("as many metrics");
        found.extend(feed(&mut second, step, &history[cut..], &mut at));

        prop_assert_eq!(found, expected);
        prop_assert_eq!(second.state(), straight.state());
    }
}

#[test]
fn a_state_of_other_metrics_is_refused() {
    let state = detector(StepLength::SECOND, 2, 1.0).state().clone();
    let one: Arc<[Metric]> = [Metric::new("cpu.utilization", 0.01)].into();
    let settings = Settings {
        budget: AlarmBudget::DEFAULT,
        consecutive: 2,
        learning_steps: 900,
    };
    assert!(
        EwmaResidual::new(settings, one, StepLength::SECOND)
            .with_state(state)
            .is_none()
    );
}
