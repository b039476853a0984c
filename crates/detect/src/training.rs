//! From a resource's history to a [`Model`]: pure, seeded, and blind to what was an incident.
//!
//! The history runs through the very detector that judges live, step by step. What it finds unusual, what was flagged
//! when it happened, and the minutes around either are *quarantined*: a model that has seen an outage takes the next one
//! for ordinary. Of the rest, the earlier part grows the forest and the later part, which the forest has not seen,
//! calibrates it. At last the model is put on [`Trial`]: ordinary held-out steps against the same steps with faults in
//! them, which is also how it is compared with the model that it would replace.

use std::sync::Arc;

use forewarn_models::{FitError, Forest, ForestSettings};
use forewarn_types::{EventTime, StepLength};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::columns::{Columns, PER_METRIC};
use crate::ensemble::raw;
use crate::episodes::Train;
use crate::ewma::{EwmaResidual, Gated, Settings as DetectorSettings};
use crate::{Calibration, Direction, Metric, Model, Step, columns_of};

/// What is quarantined around a flagged step, on either side, in milliseconds: an outage begins before it is seen and
/// echoes in lags and windows after it.
const AROUND_MILLIS: i64 = 300_000;

/// Two flagged spans no further apart than this are one: the online detector gets used to an outage, and flags its
/// beginning and its end.
const BRIDGE_MILLIS: i64 = 3_600_000;

/// Injected faults of a trial.
const INJECTED: usize = 400;

/// Their size, in usual deviations.
const SIGMAS: f64 = 8.0;

/// Metrics that an injected fault touches at most.
const TOUCHED: usize = 3;

/// A trial compares with so many ordinary steps at most.
const ORDINARY: usize = 4_000;

/// Fewer steps than this calibrate nothing.
const LEAST_HELD_OUT: usize = 300;

/// Past steps of one resource under one feature set, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    metrics: usize,
    ends: Vec<EventTime>,
    /// Row by row; `NaN` where a step has no value.
    values: Vec<f32>,
}

impl History {
    /// An empty history of steps with so many metrics.
    #[must_use]
    pub fn new(metrics: usize) -> Self {
        Self {
            metrics,
            ..Self::default()
        }
    }

    /// Appends a step; one that does not come after the last is left out, and `false` returned.
    ///
    /// # Panics
    /// If the step has another number of values.
    pub fn push(&mut self, end: EventTime, values: &[f32]) -> bool {
        assert_eq!(values.len(), self.metrics, "values of the step");
        if self.ends.last().is_some_and(|last| *last >= end) {
            return false;
        }
        self.ends.push(end);
        self.values.extend_from_slice(values);
        true
    }

    /// Steps in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// End of its first and of its last step.
    #[must_use]
    pub fn span(&self) -> Option<(EventTime, EventTime)> {
        Some((*self.ends.first()?, *self.ends.last()?))
    }

    /// Bytes that a training on it takes at its peak, roughly: the history itself, and the columns made of it.
    #[must_use]
    pub fn training_bytes(&self) -> usize {
        self.len() * training_bytes_per_step(self.metrics)
    }
}

/// Bytes that a training takes per step of history.
#[must_use]
pub const fn training_bytes_per_step(metrics: usize) -> usize {
    // Values and usual deviations, columns twice (all steps, and those that the forest is grown on), what is known.
    2 * metrics * 4 + 2 * columns_of(metrics) * 4 + 32
}

/// How a model is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The forest; its seed makes everything random repeatable.
    pub forest: ForestSettings,
    /// The detector that runs through the history, as it judges live.
    pub detector: DetectorSettings,
    /// The share of the usable steps, the latest ones, that calibrate instead of growing the forest.
    pub held_out: f64,
    /// Whether flagged spans are left out. Only to be switched off to see what happens.
    pub quarantine: bool,
    /// Fewer usable steps than this make no model.
    pub least_steps: usize,
}

/// Why there is no model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TrainError {
    /// Not enough history, or too much of it flagged.
    #[error(
        "{usable} usable steps of {steps} ({quarantined} quarantined): at least {least} are wanted; wait for more history, \
         or lower trainer.least_steps"
    )]
    TooFew {
        /// Steps of history.
        steps: usize,
        /// Of these, neither quarantined nor needed for learning.
        usable: usize,
        /// Of these, quarantined.
        quarantined: usize,
        /// How many are wanted.
        least: usize,
    },
    /// No forest can be grown.
    #[error(transparent)]
    Fit(#[from] FitError),
}

/// A trained model with what is known about it.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model; its digest is empty until it is bundled.
    pub model: Model,
    /// What it was made of, and how good it is.
    pub report: Report,
    /// What it was tried on, to compare another model on the same.
    pub trial: Trial,
}

/// What a model was made of, and how good it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Steps of history.
    pub steps: usize,
    /// Steps left out because something was wrong then, or soon before or after.
    pub quarantined: usize,
    /// Steps that the forest was grown on.
    pub grown_on: usize,
    /// Steps that calibrated it.
    pub held_out: usize,
    /// How well it tells injected faults from ordinary steps it has not seen.
    pub scores: Scores,
    /// By metric: the usual level, and how far half of the steps lie from it. For telling drift.
    pub levels: Vec<(f32, f32)>,
}

/// How well a model tells injected faults from ordinary steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Probability that a faulty step is more unusual than an ordinary one (area under the ROC curve).
    pub auroc: f64,
    /// Share of the faulty steps that are rarer than all but one in a hundred of the ordinary ones.
    pub found_at_1_percent: f64,
}

/// Ordinary held-out rows, and the same kind of rows with faults injected.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    columns: usize,
    ordinary: Vec<f32>,
    faulty: Vec<f32>,
}

impl Trial {
    /// How well `model` does; `None` if it has other columns.
    #[must_use]
    pub fn of(&self, model: &Model) -> Option<Scores> {
        if model.forest.columns() != self.columns {
            return None;
        }
        let mut ordinary = model.forest.scores(&self.ordinary);
        let faulty = model.forest.scores(&self.faulty);
        if ordinary.is_empty() || faulty.is_empty() {
            return None;
        }
        ordinary.sort_by(f64::total_cmp);
        let rank = |score: &f64| {
            let below = ordinary.partition_point(|other| other < score);
            let equal = ordinary.partition_point(|other| other <= score) - below;
            (below as f64 + 0.5 * equal as f64) / ordinary.len() as f64
        };
        let edge = ordinary[(ordinary.len() * 99 / 100).min(ordinary.len() - 1)];
        let found = faulty.iter().filter(|score| **score > edge).count();
        Some(Scores {
            auroc: faulty.iter().map(rank).sum::<f64>() / faulty.len() as f64,
            found_at_1_percent: found as f64 / faulty.len() as f64,
        })
    }

    /// A faulty row, for a golden vector.
    #[must_use]
    pub fn example(&self) -> Option<&[f32]> {
        self.faulty
            .get(..self.columns)
            .or(self.ordinary.get(..self.columns))
    }
}

/// A half-open span of event time.
pub type Span = (EventTime, EventTime);

/// What is known of a step after the detector has seen it.
#[derive(Clone, Copy)]
struct Known {
    /// How rare the residual detector finds it.
    rarity: f64,
    use_: Use,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Too early to be judged, or without values.
    No,
    /// Something was wrong.
    Flagged,
    Yes,
}

/// Trains a model. `flagged` are spans in which something was wrong when it happened, in any order.
///
/// # Errors
/// [`TrainError`] when there is too little to learn from.
pub fn train(
    history: &History,
    metrics: &Arc<[Metric]>,
    step: StepLength,
    flagged: &[Span],
    settings: &Settings,
) -> Result<Trained, TrainError> {
    let columns = columns_of(metrics.len());
    let (rows, scales, mut known) = run_through(history, metrics, step, settings.detector);
    quarantine(history, &mut known, flagged);
    let quarantined = known.iter().filter(|k| k.use_ == Use::Flagged).count();
    let usable: Vec<usize> = (0..history.len())
        .filter(|at| match known[*at].use_ {
            Use::Yes => true,
            Use::Flagged => !settings.quarantine,
            Use::No => false,
        })
        .collect();
    let held_out = (usable.len() as f64 * settings.held_out.clamp(0.05, 0.9)) as usize;
    if usable.len() < settings.least_steps || held_out < LEAST_HELD_OUT {
        return Err(TrainError::TooFew {
            steps: history.len(),
            usable: usable.len(),
            quarantined,
            least: settings
                .least_steps
                .max((LEAST_HELD_OUT as f64 / settings.held_out) as usize),
        });
    }
    let (grow, hold) = usable.split_at(usable.len() - held_out);
    let row = |at: usize| &rows[at * columns..][..columns];
    let gather =
        |places: &[usize]| -> Vec<f32> { places.iter().flat_map(|at| row(*at)).copied().collect() };
    let forest = Forest::fit(&gather(grow), columns, settings.forest)?;
    let calibration = calibrate(
        &forest,
        history,
        &gather(hold),
        hold,
        &known,
        step,
        settings,
    );
    let model = Model {
        digest: String::new(),
        step,
        forest,
        calibration,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(settings.forest.seed);
    rng.set_stream(u64::MAX);
    let trial = trial(metrics, &rows, &scales, hold, &mut rng);
    let scores = trial.of(&model).unwrap_or(Scores {
        auroc: 0.5,
        found_at_1_percent: 0.0,
    });
    let report = Report {
        steps: history.len(),
        quarantined,
        grown_on: grow.len(),
        held_out: hold.len(),
        scores,
        levels: levels(history, &usable),
    };
    Ok(Trained {
        model,
        report,
        trial,
    })
}

/// Columns, usual deviations and judgement of every step.
fn run_through(
    history: &History,
    metrics: &Arc<[Metric]>,
    step: StepLength,
    settings: DetectorSettings,
) -> (Vec<f32>, Vec<f32>, Vec<Known>) {
    let mut detector = EwmaResidual::new(settings, Arc::clone(metrics), step);
    let mut columns = Columns::new(metrics.len());
    let width = columns_of(metrics.len());
    let mut rows = Vec::with_capacity(history.len() * width);
    let mut scales = Vec::with_capacity(history.len() * metrics.len());
    let mut known = Vec::with_capacity(history.len());
    let mut values = Vec::with_capacity(metrics.len());
    for (end, stored) in history
        .ends
        .iter()
        .zip(history.values.chunks_exact(metrics.len().max(1)))
    {
        values.clear();
        values.extend(
            stored
                .iter()
                .map(|value| (!value.is_nan()).then_some(f64::from(*value))),
        );
        let after_gap = detector.is_after_gap(*end);
        let learning = detector.is_learning();
        let (_, look) = detector.look_at(&Step {
            end: *end,
            values: &values,
        });
        let Some(look) = look else {
            rows.resize(rows.len() + width, f32::NAN);
            scales.resize(scales.len() + metrics.len(), f32::NAN);
            known.push(Known {
                rarity: 0.0,
                use_: Use::No,
            });
            continue;
        };
        if after_gap {
            columns.forget();
        }
        columns.push(metrics, &look, &mut rows);
        scales.extend(look.seen.iter().map(|seen| {
            seen.as_ref()
                .map_or(f32::NAN, |seen| seen.deviation.scale as f32)
        }));
        known.push(Known {
            rarity: look.rarity,
            use_: match look.train {
                _ if learning => Use::No,
                Train::Yes => Use::Yes,
                Train::Flagged | Train::Incident => Use::Flagged,
            },
        });
    }
    (rows, scales, known)
}

/// Marks what was flagged, then and now, with the minutes around it.
fn quarantine(history: &History, known: &mut [Known], flagged: &[Span]) {
    let around = |from: EventTime, to: EventTime| {
        (from.millis() - AROUND_MILLIS, to.millis() + AROUND_MILLIS)
    };
    let mut spans: Vec<(i64, i64)> = flagged
        .iter()
        .map(|(from, to)| around(*from, *to))
        .collect();
    let seen = history.ends.iter().zip(known.iter());
    spans.extend(
        seen.filter(|(_, known)| known.use_ == Use::Flagged)
            .map(|(end, _)| around(*end, *end)),
    );
    spans.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::with_capacity(spans.len());
    for (from, to) in spans {
        match merged.last_mut() {
            Some(last) if from <= last.1 + BRIDGE_MILLIS => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    let mut spans = merged.into_iter().peekable();
    for (end, known) in history.ends.iter().zip(known) {
        while spans.next_if(|span| span.1 < end.millis()).is_some() {}
        let inside = spans.peek().is_some_and(|span| span.0 <= end.millis());
        if inside && known.use_ == Use::Yes {
            known.use_ = Use::Flagged;
        }
    }
}

/// Fits the tails on held-out steps, in their order.
fn calibrate(
    forest: &Forest,
    history: &History,
    rows: &[f32],
    places: &[usize],
    known: &[Known],
    step: StepLength,
    settings: &Settings,
) -> Calibration {
    let mut calibration = Calibration::new(step);
    let mut gate = Gated::default();
    let mut last: Option<EventTime> = None;
    let raws: Vec<f64> = forest
        .scores(rows)
        .into_iter()
        .zip(places)
        .map(|(score, at)| {
            let end = history.ends[*at];
            // A gate does not look across what was left out.
            if last.is_some_and(|last| end.millis() - last.millis() > step.millis()) {
                gate = Gated::default();
            }
            last = Some(end);
            gate.push(raw(forest, score), settings.detector.consecutive)
        })
        .collect();
    for raw in &raws {
        calibration.learn_forest(*raw, Train::Yes);
    }
    for (raw, at) in raws.iter().zip(places) {
        let joint = calibration.joint(known[*at].rarity, *raw);
        calibration.learn_level(joint, Train::Yes);
    }
    calibration
}

/// Held-out rows as they are, and with metrics pushed away from what was expected of them.
fn trial(
    metrics: &[Metric],
    rows: &[f32],
    scales: &[f32],
    places: &[usize],
    rng: &mut ChaCha8Rng,
) -> Trial {
    let columns = columns_of(metrics.len());
    let row = |at: usize| &rows[at * columns..][..columns];
    let stride = places.len().div_ceil(ORDINARY).max(1);
    let ordinary = places
        .iter()
        .step_by(stride)
        .flat_map(|at| row(*at))
        .copied()
        .collect();
    let mut faulty = Vec::with_capacity(INJECTED * columns);
    for _ in 0..INJECTED {
        let at = places[rng.random_range(0..places.len())];
        let mut injected = row(at).to_vec();
        for _ in 0..rng.random_range(1..=TOUCHED) {
            let number = rng.random_range(0..metrics.len());
            let down = match metrics[number].direction {
                Direction::Up => false,
                Direction::Down => true,
                Direction::Both => rng.random_bool(0.5),
            };
            let push = if down { -SIGMAS } else { SIGMAS };
            let scale = f64::from(scales[at * metrics.len() + number]);
            let [level, residual, climb] = &mut injected[number * PER_METRIC..][..PER_METRIC]
            else {
                continue;
            };
            *level = (f64::from(*level) + push * scale) as f32;
            for folded in [residual, climb] {
                *folded = (f64::from(*folded).sinh() + push).asinh() as f32;
            }
        }
        faulty.extend(injected);
    }
    Trial {
        columns,
        ordinary,
        faulty,
    }
}

/// Median and median deviation of every metric.
fn levels(history: &History, places: &[usize]) -> Vec<(f32, f32)> {
    (0..history.metrics)
        .map(|metric| {
            let mut values: Vec<f32> = places
                .iter()
                .map(|at| history.values[at * history.metrics + metric])
                .filter(|value| !value.is_nan())
                .collect();
            let Some(middle) = median(&mut values) else {
                return (0.0, 0.0);
            };
            values.iter_mut().for_each(|v| *v = (*v - middle).abs());
            (middle, median(&mut values).unwrap_or(0.0))
        })
        .collect()
}

fn median(values: &mut [f32]) -> Option<f32> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f32::total_cmp).1)
}

/// How far recent levels lie from those that a model was trained on: the largest distance of any metric's recent median,
/// in the larger of two floors and three usual deviations. Above 1 the model has seen another life.
///
/// `recent` is history of the same metrics as `levels`.
#[must_use]
pub fn drift(recent: &History, levels: &[(f32, f32)], metrics: &[Metric]) -> f64 {
    let places: Vec<usize> = (0..recent.len()).collect();
    let now = self::levels(recent, &places);
    now.iter()
        .zip(levels)
        .zip(metrics)
        .map(|(((now, _), (then, spread)), metric)| {
            // For a normal distribution 1.4826 median deviations are a standard deviation.
            let usual = (2.0 * metric.floor).max(3.0 * 1.4826 * f64::from(*spread));
            f64::from((now - then).abs()) / usual.max(f64::MIN_POSITIVE)
        })
        .fold(0.0, f64::max)
}
