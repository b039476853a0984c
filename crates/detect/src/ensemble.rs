//! The detector of a resource as it serves: the online residual detector, and a trained forest beside it if there is one.
//!
//! Two unlike detectors together see more than each alone. The residual detector says how rare a step's surprises are,
//! the forest how unusual the combination of levels, residuals and climbs is; both as rarities, `-ln p` under their own
//! incident-free tails. The higher of the two is a new raw value, and gets a tail of its own (DESIGN.md §3), so that a
//! score of 1 means the alarm budget's half for the resource level, with the forest or without. The higher rather than
//! the mean: what the one sees, a sudden change or an unusual state that came slowly, the other one mostly does not,
//! and a mean would halve it. What single metrics say on their own is the residual detector's word alone.
//!
//! A model brings the calibration that was fitted on its held-out history ([`Calibration`]). The forest's own tail stays
//! as it is until the next training; that of the two together follows what it sees, flagged spans excepted.

use std::sync::Arc;

use forewarn_models::Forest;
use serde::{Deserialize, Serialize};

use crate::columns::{self, Columns, PER_METRIC};
use crate::episodes::Train;
use crate::ewma::{EwmaResidual, Gated, Look, Settings, State, TOO_MUCH};
use crate::tail::{Prior, Tail};
use crate::{Detector, Metric, Part, Score, Step, Verdict, budget};
use forewarn_types::StepLength;

/// Changes with everything that changes how an ensemble judges.
pub(crate) const VERSION: &str = "ensemble-max/1";

/// A forest's scores are bounded, and crowd where it matters: between the most unusual of ordinary steps and the worst
/// outage lies a factor of 1.2. The raw value is `(score / score of an unknown row)` to this power times log2 e, less one:
/// ordinary steps then have a tail like the other detectors' (about 0 to 15), and outages lie far out (40 to 100).
const STRETCH: f64 = 6.25;

/// For a forest that nothing is known of; the trainer's held-out data replace it.
const FOREST_PRIOR: Prior = Prior {
    location: 4.0,
    scale: 4.0,
    blocks: 10.0,
    peaks: 5.0,
    shape_peaks: 300.0,
    width_peaks: 40.0,
};

/// Rarities are exponential; the higher of two is that, a little further out.
const LEVEL_PRIOR: Prior = Prior {
    location: 0.0,
    scale: 1.0,
    blocks: 100.0,
    peaks: 10.0,
    shape_peaks: 300.0,
    width_peaks: 40.0,
};

/// What turns a forest's raw values into scores: fitted by the trainer on held-out, incident-free steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Of the forest's raw values.
    forest: Tail,
    /// Of the higher of both detectors' rarities.
    level: Tail,
}

/// A trained model, ready to judge one resource.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its bundle's digest.
    pub digest: String,
    /// Length of the steps that it was trained on.
    pub step: StepLength,
    /// The forest, of [`columns_of`] the metrics.
    pub forest: Forest,
    /// What its raw values mean.
    pub calibration: Calibration,
}

/// How many columns a model of so many metrics has.
#[must_use]
pub const fn columns_of(metrics: usize) -> usize {
    metrics * PER_METRIC
}

/// A forest at work on one resource.
#[derive(Clone, Debug)]
struct Member {
    model: Arc<Model>,
    state: MemberState,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct MemberState {
    calibration: Calibration,
    gate: Gated,
    /// Share of the last day's steps that were flagged.
    flagged: f32,
}

/// The detector of one resource and feature set.
#[derive(Clone, Debug)]
pub struct Ensemble {
    residual: EwmaResidual,
    columns: Columns,
    member: Option<Member>,
    /// The state of a model that judged before a restart, until it is served again.
    asleep: Option<(String, MemberState)>,
    /// Scratch: the columns of the step in work.
    row: Vec<f32>,
}

/// Everything it knows but the models themselves; bounded, and enough to go on from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnsembleState {
    residual: State,
    columns: Columns,
    member: Option<(String, MemberState)>,
}

impl Calibration {
    /// One that nothing has been learned for.
    #[must_use]
    pub fn new(step: StepLength) -> Self {
        let per_block = budget::steps_per_block(step);
        Self {
            forest: Tail::new(per_block, &FOREST_PRIOR),
            level: Tail::patient(per_block, &LEVEL_PRIOR),
        }
    }

    /// Learns a held-out, incident-free step: the forest's gated raw value.
    pub(crate) fn learn_forest(&mut self, raw: f64, train: Train) {
        self.forest
            .observe(raw, f64::INFINITY, 0.0, train, &FOREST_PRIOR);
    }

    /// Learns the joint rarity of a held-out, incident-free step.
    pub(crate) fn learn_level(&mut self, joint: f64, train: Train) {
        self.level
            .observe(joint, f64::INFINITY, 0.0, train, &LEVEL_PRIOR);
    }

    /// How rare the step is to the detector that finds it rarer.
    pub(crate) fn joint(&self, residual: f64, raw: f64) -> f64 {
        residual.max(self.forest.rarity(raw))
    }

    /// How rare a joint rarity is, in nats.
    pub(crate) fn rarity(&self, joint: f64) -> f64 {
        self.level.rarity(joint)
    }
}

impl Model {
    /// The raw value of a row of columns: how much more unusual it is than a row of which nothing is known.
    #[must_use]
    pub fn raw(&self, row: &[f32]) -> f64 {
        raw(&self.forest, self.forest.score(row))
    }
}

pub(crate) fn raw(forest: &Forest, score: f64) -> f64 {
    (STRETCH * (score / forest.base()).log2()).max(0.0).exp_m1()
}

impl Ensemble {
    /// A detector that knows nothing yet, without a model.
    #[must_use]
    pub fn new(settings: Settings, metrics: Arc<[Metric]>, step: StepLength) -> Self {
        let columns = Columns::new(metrics.len());
        Self {
            residual: EwmaResidual::new(settings, metrics, step),
            columns,
            member: None,
            asleep: None,
            row: Vec::new(),
        }
    }

    /// Goes on from a state, if it fits the metrics. A model that was judging has to be [served](Self::serve) again,
    /// and then goes on where it was.
    #[must_use]
    pub fn with_state(mut self, state: EnsembleState) -> Option<Self> {
        let metrics = self.residual.metrics().len();
        self.residual = self.residual.with_state(state.residual)?;
        if !state.columns.fits(metrics) {
            return None;
        }
        self.columns = state.columns;
        self.asleep = state.member;
        Some(self)
    }

    /// What it knows.
    #[must_use]
    pub fn state(&self) -> EnsembleState {
        let awake = self
            .member
            .as_ref()
            .map(|member| (member.model.digest.clone(), member.state.clone()));
        EnsembleState {
            residual: self.residual.state().clone(),
            columns: self.columns.clone(),
            member: awake.or_else(|| self.asleep.clone()),
        }
    }

    /// Digest of the model that judges beside the residual detector.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.member
            .as_ref()
            .map(|member| member.model.digest.as_str())
    }

    /// Judges with this model from the next step on, or with none. One that is judging already goes on as it is.
    ///
    /// Returns whether another one judges now. A model of other columns or another step is not taken: whoever loads
    /// models has refused it before.
    pub fn serve(&mut self, model: Option<Arc<Model>>) -> bool {
        let columns = columns_of(self.residual.metrics().len());
        let fits = |model: &Arc<Model>| {
            model.forest.columns() == columns && model.step == self.residual.step()
        };
        let model = model.filter(fits);
        let asleep = self.asleep.take();
        if self.model() == model.as_ref().map(|model| model.digest.as_str()) {
            return false;
        }
        self.member = model.map(|model| Member {
            state: match asleep {
                Some((digest, state)) if digest == model.digest => state,
                _ => MemberState {
                    calibration: model.calibration.clone(),
                    gate: Gated::default(),
                    flagged: 0.0,
                },
            },
            model,
        });
        true
    }

    /// Bytes of state, roughly as they lie in memory; models are shared and not counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let tails = self.member.as_ref().map_or(0, |member| {
            let Calibration { forest, level } = &member.state.calibration;
            forest.bytes() + level.bytes()
        });
        self.residual.bytes() + self.columns.bytes() + tails + self.row.capacity() * 4
    }
}

impl Detector for Ensemble {
    fn observe(&mut self, step: &Step<'_>) -> Verdict {
        let anchored = self.residual.is_after_gap(step.end);
        let (verdict, look) = self.residual.look_at(step);
        let Some(look) = look else { return verdict };
        if anchored {
            self.columns.forget();
        }
        self.row.clear();
        self.columns
            .push(self.residual.metrics(), &look, &mut self.row);
        match (&mut self.member, verdict) {
            (Some(member), Verdict::Scored(score)) => {
                Verdict::Scored(member.judge(&self.residual, &look, &self.row, score))
            }
            (_, verdict) => verdict,
        }
    }
}

impl Member {
    fn judge(&mut self, residual: &EwmaResidual, look: &Look, row: &[f32], alone: Score) -> Score {
        let calibration = &mut self.state.calibration;
        let raw = self
            .state
            .gate
            .push(self.model.raw(row), residual.consecutive());
        let joint = calibration.joint(look.rarity, raw);
        let (score, p) = residual.score(calibration.rarity(joint));
        let parts = if score > 1.0 {
            let forest = calibration.forest.rarity(raw);
            self.model.parts(look, row, forest, score)
        } else {
            Vec::new()
        };
        // The forest's own tail stays as it was fitted; the joint one follows what changes slowly. Of flagged peaks it
        // takes in no more than the budget expects to be false, unless so much is flagged that it is no anomaly.
        let weight = 1.0 / (288.0 * budget::steps_per_block(residual.step()) as f32);
        self.state.flagged += weight * (f32::from(score > 1.0) - self.state.flagged);
        let train = match score {
            _ if self.state.flagged > TOO_MUCH => Train::Yes,
            score if score > 1.0 => look.train.max(Train::Flagged),
            _ => look.train,
        };
        let at_one = residual.rarity_at_one();
        let ceiling = calibration.level.ceiling(at_one);
        let flagged = (-at_one).exp();
        calibration
            .level
            .observe_strictly(joint, ceiling, flagged, train, &LEVEL_PRIOR);
        Score {
            score,
            p,
            parts,
            ..alone
        }
    }
}

impl Model {
    /// What a score consists of: each detector's half in proportion to its rarity; within the residual detector's by
    /// its shares, within the forest's by the cuts that led away from the ordinary.
    fn parts(&self, look: &Look, row: &[f32], forest: f64, score: f64) -> Vec<Part> {
        let shares: f64 = look.seen.iter().flatten().map(|seen| seen.share).sum();
        let cuts: Vec<f64> = self
            .forest
            .explain(row)
            .chunks_exact(PER_METRIC)
            .map(|columns| columns.iter().sum::<f64>().max(0.0))
            .collect();
        let all_cuts: f64 = cuts.iter().sum();
        let half = |of: f64, all: f64, rarity: f64| {
            if all > 0.0 { of / all * rarity } else { 0.0 }
        };
        let weights: Vec<f64> = look
            .seen
            .iter()
            .zip(&cuts)
            .map(|(seen, cut)| {
                seen.map_or(0.0, |seen| {
                    half(seen.share, shares, look.rarity) + half(*cut, all_cuts, forest)
                })
            })
            .collect();
        let total: f64 = weights.iter().sum();
        let mut parts: Vec<Part> = look
            .seen
            .iter()
            .zip(&weights)
            .enumerate()
            .filter(|(_, (_, weight))| **weight > 0.0)
            .filter_map(|(metric, (seen, weight))| {
                let seen = (*seen)?;
                Some(Part {
                    metric,
                    part: score * weight / total,
                    value: seen.value,
                    expected: seen.deviation.expected,
                })
            })
            .collect();
        parts.sort_by(|a, b| b.part.total_cmp(&a.part).then(a.metric.cmp(&b.metric)));
        parts
    }
}

/// Everything that a state and a model depend on, as one text.
#[must_use]
pub fn versions() -> String {
    format!("{} {} {VERSION}", crate::VERSION, columns::VERSION)
}
