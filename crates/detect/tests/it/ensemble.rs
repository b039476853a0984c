//! A trained forest beside the residual detector: it changes what is seen, not what a score means.

use std::sync::Arc;

use forewarn_detect::training::{self, History, Trained, train};
use forewarn_detect::{
    AlarmBudget, Detector, Ensemble, Metric, Model, Score, Settings, Step, Verdict,
};
use forewarn_models::ForestSettings;
use forewarn_types::{EventTime, StepLength};

use crate::noise::{Kind, Series};

/// Half of them move together with a common load, as the metrics of a host do.
const KINDS: [Kind; 8] = [
    Kind::Normal,
    Kind::Normal,
    Kind::Correlated(0.5),
    Kind::Correlated(0.9),
    Kind::HeavyTailed,
    Kind::Daily(3.0),
    Kind::Bursts,
    Kind::Quantised,
];
const COUPLED: usize = 4;
const STEP_MILLIS: u32 = 10_000;
const DAY: usize = 8_640;

fn step() -> StepLength {
    StepLength::from_millis(STEP_MILLIS).expect("in range")
}

fn metrics() -> Arc<[Metric]> {
    KINDS
        .iter()
        .enumerate()
        .map(|(number, _)| Metric::new(format!("metric.{number}"), 0.2))
        .collect()
}

fn detector_settings(budget: f64) -> Settings {
    Settings {
        budget: AlarmBudget::new(budget).expect("in range"),
        consecutive: 2,
        learning_steps: 900,
    }
}

fn settings(quarantine: bool, seed: u64) -> training::Settings {
    training::Settings {
        forest: ForestSettings {
            seed,
            ..ForestSettings::default()
        },
        detector: detector_settings(1.0),
        held_out: 0.3,
        quarantine,
        least_steps: 1_000,
    }
}

/// A resource half of whose metrics follow a common load. An incident lifts six of the eight metrics slowly, so that the
/// residual detector hardly sees it, and holds them there.
struct Life {
    series: Vec<Series>,
    load: Series,
    at: usize,
    /// Steps of incidents, as begin and end.
    incidents: Vec<(usize, usize)>,
}

impl Life {
    fn new(seed: u64, incidents: Vec<(usize, usize)>) -> Self {
        let series = KINDS
            .iter()
            .enumerate()
            .map(|(number, kind)| Series::new(*kind, seed, number as u64, STEP_MILLIS))
            .collect();
        Self {
            series,
            load: Series::new(Kind::Correlated(0.995), seed, 99, STEP_MILLIS),
            at: 0,
            incidents,
        }
    }

    /// By how much an incident lifts its metrics now: some come in two minutes, some in ten, and they differ in size.
    fn incident(&self) -> f64 {
        let lift = |(number, (from, to)): (usize, &(usize, usize))| {
            let (size, ramp) = [(5.0, 12.0), (8.0, 60.0), (12.0, 60.0)][number % 3];
            (self.at >= *from && self.at < *to)
                .then(|| size * ((self.at - from) as f64 / ramp).min(1.0))
        };
        self.incidents
            .iter()
            .enumerate()
            .find_map(lift)
            .unwrap_or(0.0)
    }

    fn next(&mut self) -> (EventTime, Vec<f32>) {
        let load = 4.0 * self.load.next();
        let lift = self.incident();
        let values = self
            .series
            .iter_mut()
            .enumerate()
            .map(|(number, series)| {
                let own = series.next();
                let coupled = if number < COUPLED { load } else { 0.0 };
                let broken = if number < 2 { 0.0 } else { lift };
                (own + coupled + broken) as f32
            })
            .collect();
        self.at += 1;
        (EventTime(self.at as i64 * i64::from(STEP_MILLIS)), values)
    }

    fn history(&mut self, steps: usize) -> History {
        let mut history = History::new(KINDS.len());
        for _ in 0..steps {
            let (end, values) = self.next();
            assert!(history.push(end, &values));
        }
        history
    }
}

/// Every seven hours, twenty minutes long.
fn incidents(from: usize, to: usize) -> Vec<(usize, usize)> {
    (from..to)
        .step_by(2_520)
        .skip(1)
        .map(|begin| (begin, begin + 120))
        .collect()
}

fn trained(history: &History, quarantine: bool, seed: u64) -> Trained {
    trained_knowing(history, &[], quarantine, seed)
}

fn trained_knowing(
    history: &History,
    flagged: &[training::Span],
    quarantine: bool,
    seed: u64,
) -> Trained {
    let settings = settings(quarantine, seed);
    train(history, &metrics(), step(), flagged, &settings).expect("history enough")
}

fn served(model: &Model, digest: &str) -> Arc<Model> {
    Arc::new(Model {
        digest: digest.to_owned(),
        ..model.clone()
    })
}

fn observe(ensemble: &mut Ensemble, (end, values): (EventTime, Vec<f32>)) -> Option<Score> {
    let values: Vec<Option<f64>> = values.iter().map(|v| Some(f64::from(*v))).collect();
    match ensemble.observe(&Step {
        end,
        values: &values,
    }) {
        Verdict::Scored(score) => Some(score),
        _ => None,
    }
}

/// Episodes at the resource level in quiet time, and incidents found, of `days` after a history.
#[derive(Debug, Default)]
struct Found {
    episodes: u32,
    quiet_steps: usize,
    incidents: u32,
    found: u32,
}

/// Judges `steps` of a life after `before` steps of it, from which on the model judges too.
fn live(life: &mut Life, before: usize, model: Option<&Model>, budget: f64, steps: usize) -> Found {
    let mut ensemble = Ensemble::new(detector_settings(budget), metrics(), step());
    for _ in 0..before {
        observe(&mut ensemble, life.next());
    }
    ensemble.serve(model.map(|model| served(model, "a")));
    let mut result = Found::default();
    let (mut last_alarm, mut seen) = (None, std::collections::BTreeSet::new());
    let first = life.at;
    for _ in 0..steps {
        let at = life.at;
        let score = observe(&mut ensemble, life.next());
        let Some(score) = score else { continue };
        // What echoes for an hour after an incident is neither.
        let within = life
            .incidents
            .iter()
            .position(|(from, to)| at >= *from && at < to + 360);
        let alarm = score.score > 1.0;
        match within {
            Some(number) if alarm && at < life.incidents[number].1 => {
                seen.insert(number);
            }
            Some(_) => {}
            None => {
                result.quiet_steps += 1;
                if alarm {
                    let fresh = last_alarm.is_none_or(|last| at - last > 30);
                    result.episodes += u32::from(fresh);
                    last_alarm = Some(at);
                }
            }
        }
    }
    let judged = |(from, _): &&(usize, usize)| *from >= first && *from < first + steps;
    result.incidents = life.incidents.iter().filter(judged).count() as u32;
    result.found = seen.len() as u32;
    result
}

/// At a budget a hundred times the default, so that there are episodes enough to count.
#[test]
fn with_a_model_the_resource_level_still_spends_half_the_budget() {
    const BUDGET: f64 = 70.0;
    const DAYS: usize = 4;
    let (mut episodes, mut weeks) = (0, 0.0);
    for seed in 0..6 {
        let mut life = Life::new(seed, Vec::new());
        let model = trained(&life.history(2 * DAY), true, seed).model;
        let found = live(&mut life, 900, Some(&model), BUDGET, DAYS * DAY);
        episodes += found.episodes;
        weeks += found.quiet_steps as f64 / (7 * DAY) as f64;
    }
    let expected = BUDGET / 2.0 * weeks;
    let ratio = f64::from(episodes) / expected;
    println_figures(&format!(
        "ensemble at {BUDGET}/week: {episodes} episodes, {expected:.0} expected, ratio {ratio:.2}"
    ));
    assert!(expected > 100.0);
    assert!((1.0 / 1.5..=1.5).contains(&ratio), "{ratio:.2}");
}

#[test]
fn training_with_quarantine_finds_more_of_the_following_incidents_than_training_without() {
    const DAYS: usize = 4;
    let (mut with, mut without, mut none, mut all) = (0, 0, 0, 0);
    let (mut false_with, mut false_without, mut false_none) = (0, 0, 0);
    // The way in which the two are joined was chosen on seeds 100 to 105.
    for seed in 0..8 {
        let life = || Life::new(seed, incidents(0, 2 * DAYS * DAY));
        let history = life().history(DAYS * DAY);
        let end = |at: usize| EventTime(at as i64 * i64::from(STEP_MILLIS));
        let known: Vec<_> = life()
            .incidents
            .iter()
            .map(|(from, to)| (end(*from), end(*to)))
            .collect();
        let models =
            [true, false].map(|quarantine| trained_knowing(&history, &known, quarantine, seed));
        let following = |model| live(&mut life(), DAYS * DAY, model, 7.0, DAYS * DAY);
        let quarantined = following(Some(&models[0].model));
        let polluted = following(Some(&models[1].model));
        let alone = following(None);
        with += quarantined.found;
        without += polluted.found;
        none += alone.found;
        all += quarantined.incidents;
        false_with += quarantined.episodes;
        false_without += polluted.episodes;
        false_none += alone.episodes;
    }
    println_figures(&format!(
        "incidents of {all} on the following days: {with} with quarantine ({false_with} false episodes), {without} \
         without ({false_without}), {none} without a model ({false_none})"
    ));
    assert!(with > without, "{with} with, {without} without");
    assert!(with > none, "{with} with a model, {none} with none");
}

#[test]
fn parts_sum_to_the_score_and_name_what_broke() {
    let mut life = Life::new(7, incidents(2 * DAY, 3 * DAY));
    let model = trained(&life.history(2 * DAY), true, 7).model;
    let mut ensemble = Ensemble::new(detector_settings(50.0), metrics(), step());
    assert!(ensemble.serve(Some(served(&model, "a"))));
    let mut anomalies = 0;
    for _ in 0..DAY {
        let Some(score) = observe(&mut ensemble, life.next()) else {
            continue;
        };
        if score.score > 1.0 {
            anomalies += 1;
            let sum: f64 = score.parts.iter().map(|part| part.part).sum();
            assert!((sum - score.score).abs() < 1e-9 * score.score, "{score:?}");
        }
    }
    assert!(anomalies > 0);
}

#[test]
fn a_restart_or_a_model_that_comes_and_goes_leaves_no_trace_of_itself() {
    let mut life = Life::new(8, incidents(2 * DAY, 3 * DAY));
    let model = trained(&life.history(2 * DAY), true, 8).model;
    let (a, b) = (served(&model, "a"), served(&model, "b"));
    let steps: Vec<_> = (0..3_000).map(|_| life.next()).collect();
    let fresh = || Ensemble::new(detector_settings(1.0), metrics(), step());
    let mut straight = fresh();
    let mut restarted = fresh();
    for (number, observed) in steps.into_iter().enumerate() {
        match number {
            1_200 | 2_600 => {
                assert!(straight.serve(Some(Arc::clone(&a))));
                assert!(restarted.serve(Some(Arc::clone(&a))));
            }
            2_000 => {
                assert!(straight.serve(Some(Arc::clone(&b))));
                assert!(restarted.serve(Some(Arc::clone(&b))));
            }
            2_500 => {
                assert!(straight.serve(None));
                assert!(restarted.serve(None));
            }
            _ => assert!(!straight.serve(straight_model(&straight, &a, &b))),
        }
        if number % 700 == 650 {
            let bytes = postcard::to_stdvec(&restarted.state()).expect("plain data");
            let state = postcard::from_bytes(&bytes).expect("what was written");
            restarted = fresh().with_state(state).expect("the same metrics");
            restarted.serve(straight_model(&straight, &a, &b));
        }
        assert_eq!(
            observe(&mut straight, observed.clone()),
            observe(&mut restarted, observed),
            "step {number}"
        );
    }
}

fn straight_model(ensemble: &Ensemble, a: &Arc<Model>, b: &Arc<Model>) -> Option<Arc<Model>> {
    match ensemble.model() {
        Some("a") => Some(Arc::clone(a)),
        Some(_) => Some(Arc::clone(b)),
        None => None,
    }
}

#[test]
fn a_model_for_other_steps_or_columns_is_not_taken() {
    let mut life = Life::new(9, Vec::new());
    let model = trained(&life.history(DAY), true, 9).model;
    let mut slower = Ensemble::new(detector_settings(1.0), metrics(), StepLength::SECOND);
    assert!(!slower.serve(Some(served(&model, "a"))));
    let fewer: Arc<[Metric]> = metrics().iter().skip(1).cloned().collect();
    let mut fewer = Ensemble::new(detector_settings(1.0), fewer, step());
    assert!(!fewer.serve(Some(served(&model, "a"))));
}

#[test]
fn too_little_history_makes_no_model_and_says_what_is_wanted() {
    let mut life = Life::new(10, Vec::new());
    let error = train(
        &life.history(1_200),
        &metrics(),
        step(),
        &[],
        &settings(true, 0),
    )
    .expect_err("900 of these are needed to learn");
    assert!(error.to_string().contains("at least 1000"), "{error}");
    // All of it flagged: nothing to learn from, however long it is.
    let history = life.history(DAY);
    let (from, to) = history.span().expect("steps");
    let error = train(
        &history,
        &metrics(),
        step(),
        &[(from, to)],
        &settings(true, 0),
    )
    .expect_err("everything is quarantined");
    assert!(error.to_string().contains("quarantined"), "{error}");
}

#[test]
fn drift_is_told_from_ordinary_life() {
    let mut life = Life::new(11, Vec::new());
    let history = life.history(DAY);
    let levels = trained(&history, true, 11).report.levels;
    let ordinary = training::drift(&life.history(600), &levels, &metrics());
    assert!(ordinary <= 1.0, "{ordinary}");
    let mut moved = History::new(KINDS.len());
    for _ in 0..600 {
        let (end, mut values) = life.next();
        values[4] += 30.0;
        moved.push(end, &values);
    }
    let moved = training::drift(&moved, &levels, &metrics());
    assert!(moved > 1.0, "{moved}");
}

#[allow(clippy::print_stdout, reason = "the figures are the point")]
fn println_figures(words: &str) {
    println!("{words}");
}
