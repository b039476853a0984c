//! `ewma-residual`: every metric against its exponentially weighted past, combined per resource.
//!
//! Two levels, which see different things:
//!
//! - **The metrics.** Each has its own [`Tail`]; how rare its present surprise is in it makes metrics comparable, a
//!   bursty one and a constant one alike. The rarest of them is a new raw value with a tail of its own, which spends
//!   the metrics' common half of the budget. This is the minP correction for many tests (Westfall & Young, 1993),
//!   estimated instead of assumed: metrics that deviate together are not paid for twice, and an error in the
//!   metrics' own tails, far out where no data are, is corrected where data are.
//! - **The resource.** The sum of the surprises beyond the ordinary, over all metrics: many moderate deviations
//!   together are rare even if none is. Being a sum, it says by itself what it consists of.
//!
//! The gate of `consecutive` steps is part of both raw values (the least of the last k steps), so that calibration
//! sees what alarms see.

use std::sync::Arc;

use forewarn_types::{EventTime, StepLength};
use serde::{Deserialize, Serialize};

use crate::budget::{P_MIN, steps_per_block};
use crate::episodes::Train;
use crate::residual::{Deviation, Residual, deviation_of, surprise};
use crate::tail::{Prior, Tail};
use crate::{AlarmBudget, Detector, Direction, Metric, MetricScore, Part, Score, Step, Verdict};

/// Changes with everything that changes what the detector says; part of the model set's digest.
pub const VERSION: &str = "ewma-residual/1";

/// A metric's surprise counts in the resource's sum beyond this: what a deviation of one scale has.
const ORDINARY: f64 = 0.558;

/// Steps after which a metric's scale means something.
const SCALE_KNOWN: u32 = 60;

/// An episode with twice the rarity of the threshold, and at least so many nats more, is no false alarm beyond doubt:
/// it does not train.
const BEYOND_DOUBT: f64 = 4.0;

/// A gap of this many steps (or five minutes, if longer) makes the old levels meaningless.
const GAP_STEPS: i64 = 20;

/// Rare enough, in nats, to compare which level sees what.
const RARE: f64 = 4.0;

/// The comparison remembers about 500 rare steps.
const SHARED_WEIGHT: f32 = 0.002;

/// What is flagged for this share of a day is no anomaly: everything trains.
pub(crate) const TOO_MUCH: f32 = 0.1;

/// For a metric that has been constant: seven floors, for some steps, is where a week of data puts the alarm.
const METRIC_PRIOR: Prior = Prior {
    location: 1.6,
    scale: 0.7,
    blocks: 20.0,
    peaks: 5.0,
    shape_peaks: 300.0,
    width_peaks: 40.0,
};

/// For a resource whose metrics have been constant.
const RESOURCE_PRIOR: Prior = Prior {
    location: 3.0,
    scale: 2.0,
    blocks: 10.0,
    peaks: 5.0,
    shape_peaks: 300.0,
    width_peaks: 40.0,
};

/// What a right tail calls `rarity` is exponential; so is the rarest of m metrics, less ln m.
const LEVEL_PRIOR: Prior = Prior {
    location: 0.0,
    scale: 1.0,
    blocks: 100.0,
    peaks: 10.0,
    shape_peaks: 300.0,
    width_peaks: 40.0,
};

/// What can be set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// False anomaly episodes allowed per resource and week.
    pub budget: AlarmBudget,
    /// A deviation counts when it lasts for this many steps; 0 means 1.
    pub consecutive: u32,
    /// Steps to see before judging; a scale needs at least 300.
    pub learning_steps: u32,
}

/// The detector of one resource and feature set.
#[derive(Clone, Debug)]
pub struct EwmaResidual {
    settings: Settings,
    metrics: Arc<[Metric]>,
    step: StepLength,
    /// `-ln p0` of half the budget.
    half: f64,
    state: State,
}

/// Everything it knows; bounded, and enough to go on from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    metrics: Vec<MetricState>,
    resource: Gated,
    resource_tail: Tail,
    /// Calibrates what `resource_tail` says.
    resource_level: Tail,
    /// Calibrates what the metrics' tails say.
    metric_level: Tail,
    shared: Shared,
    /// Share of the last day's steps that were flagged.
    flagged: f32,
    /// The last step was flagged, and such steps are rare.
    is_flagged: bool,
    /// Steps learned from, saturating.
    steps: u32,
    last_end: Option<EventTime>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct MetricState {
    residual: Residual,
    gate: Gated,
    tail: Tail,
    /// The metric appeared when the resource was no longer learning, and has to learn on its own.
    latecomer: bool,
}

/// How often what is rare at one level is rare at both, in aged steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Shared {
    both: f32,
    either: f32,
}

impl Shared {
    fn observe(&mut self, resource: bool, metric: bool) {
        if resource || metric {
            self.either += 1.0 - SHARED_WEIGHT * self.either;
            self.both += f32::from(resource && metric) - SHARED_WEIGHT * self.both;
        }
    }

    fn share(self) -> f64 {
        // Five steps' worth of doubt, so that the first one does not decide.
        f64::from(self.both / (self.either + 5.0))
    }
}

/// Vectors hold `f32`: what is no finite one is no value.
fn is_usable(value: &f64) -> bool {
    value.abs() <= f64::from(f32::MAX)
}

/// The last raw values, of which the least counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gated {
    recent: Vec<f32>,
}

impl Gated {
    /// The least of the last `steps` values, this one included; zero until there are as many.
    pub(crate) fn push(&mut self, value: f64, steps: u32) -> f64 {
        let before = steps.saturating_sub(1) as usize;
        let least = self.recent.iter().copied().fold(value as f32, f32::min);
        let complete = self.recent.len() == before;
        if before > 0 {
            if complete {
                self.recent.remove(0);
            }
            self.recent.push(value as f32);
        }
        if complete { f64::from(least) } else { 0.0 }
    }
}

/// What one metric's step amounts to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) deviation: Deviation,
    pub(crate) value: f64,
    /// Its share of the resource's sum.
    pub(crate) share: f64,
    gated: f64,
    /// How rare it is for this metric; `None` while the metric itself is learning.
    rarity: Option<f64>,
}

/// A step as this detector has seen it, for those who judge together with it.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// By metric; `None` where the step has no value.
    pub(crate) seen: Vec<Option<Seen>>,
    /// How rare the resource's sum is in its own tail, in nats.
    pub(crate) rarity: f64,
    /// Whether the step may be taken for incident-free.
    pub(crate) train: Train,
}

impl EwmaResidual {
    /// A detector that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings, metrics: Arc<[Metric]>, step: StepLength) -> Self {
        let per_block = steps_per_block(step);
        let fresh = MetricState {
            residual: Residual::default(),
            gate: Gated::default(),
            tail: Tail::new(per_block, &METRIC_PRIOR),
            latecomer: false,
        };
        let state = State {
            metrics: vec![fresh; metrics.len()],
            resource: Gated::default(),
            resource_tail: Tail::new(per_block, &RESOURCE_PRIOR),
            resource_level: Tail::patient(per_block, &LEVEL_PRIOR),
            metric_level: Tail::patient(per_block, &LEVEL_PRIOR),
            shared: Shared::default(),
            flagged: 0.0,
            is_flagged: false,
            steps: 0,
            last_end: None,
        };
        let half = -settings.budget.p0(step).ln();
        Self {
            settings,
            metrics,
            step,
            half,
            state,
        }
    }

    /// Goes on from a state, if it is one of a detector with as many metrics.
    #[must_use]
    pub fn with_state(mut self, state: State) -> Option<Self> {
        (state.metrics.len() == self.metrics.len()).then(|| {
            self.state = state;
            self
        })
    }

    /// What it knows.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The metrics it judges.
    #[must_use]
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// Bytes of state, roughly as they lie in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let gate = |gate: &Gated| gate.recent.capacity() * size_of::<f32>();
        let metric = |m: &MetricState| {
            size_of::<MetricState>() - size_of::<Tail>() + m.tail.bytes() + gate(&m.gate)
        };
        let state = &self.state;
        size_of::<Self>()
            + state.metrics.iter().map(metric).sum::<usize>()
            + gate(&state.resource)
            + state.resource_tail.bytes()
            + state.resource_level.bytes()
            + state.metric_level.bytes()
    }

    /// `-ln p0`: the rarity at which a score is 1.
    ///
    /// Half the budget for each level spends it whole if the levels never see the same episode. Where they see the
    /// same, as with a single metric, people would get half of what they asked for. So each level's share grows with
    /// the overlap: hardly while that is small, and at most by six tenths of what would make good for it, so that
    /// each level's half, their sum and what people see all stay near what was asked for.
    pub(crate) fn rarity_at_one(&self) -> f64 {
        self.half - 0.6 * self.state.shared.share().powi(2).ln_1p()
    }

    /// Steps that a deviation has to last.
    pub(crate) fn consecutive(&self) -> u32 {
        self.settings.consecutive
    }

    /// Length of the steps that it judges.
    pub(crate) fn step(&self) -> StepLength {
        self.step
    }

    pub(crate) fn is_learning(&self) -> bool {
        self.state.steps < self.settings.learning_steps
    }

    /// Whether a step that ends then comes after a gap too long to compare across.
    pub(crate) fn is_after_gap(&self, end: EventTime) -> bool {
        let limit = (GAP_STEPS * self.step.millis()).max(crate::budget::BLOCK_MILLIS);
        self.state
            .last_end
            .is_some_and(|last| end.millis().saturating_sub(last.millis()) > limit)
    }

    /// After a long gap the levels start anew; what is usual stays known.
    fn notice_gap(&mut self, end: EventTime) {
        if self.is_after_gap(end) {
            for metric in &mut self.state.metrics {
                metric.residual.lift_anchor();
                metric.gate = Gated::default();
            }
            self.state.resource = Gated::default();
        }
        self.state.last_end = Some(end);
    }

    fn look(&mut self, values: &[Option<f64>]) -> Vec<Option<Seen>> {
        let learning = self.is_learning();
        let consecutive = self.settings.consecutive;
        let wanted = self.settings.learning_steps;
        let late = self.state.steps > wanted / 2;
        let flagged = self.state.is_flagged;
        let metrics = self.metrics.iter().zip(&mut self.state.metrics).zip(values);
        metrics
            .map(|((metric, state), value)| {
                let Some(value) = value.filter(is_usable) else {
                    state.gate = Gated::default();
                    return None;
                };
                if state.residual.seen() == 0 {
                    state.latecomer = late;
                }
                let seen = state.residual.seen();
                let anchored = state.residual.is_anchored();
                let deviation = state.residual.observe(metric, value, flagged);
                let nats = if anchored { surprise(deviation.z) } else { 0.0 };
                let gated = state.gate.push(nats, consecutive);
                let joined = if state.latecomer {
                    seen >= wanted
                } else {
                    seen >= SCALE_KNOWN
                };
                // A metric that habitually bursts would drown the others in the sum.
                let habit = (state.tail.scale() / METRIC_PRIOR.scale).max(1.0);
                let share = if joined {
                    (nats - ORDINARY).max(0.0) / habit
                } else {
                    0.0
                };
                // While the resource learns, its rarest metric has to be learned too.
                let calibrated = joined && seen >= if learning { wanted / 3 } else { wanted / 2 };
                let rarity = calibrated.then(|| state.tail.rarity(gated));
                Some(Seen {
                    deviation,
                    value,
                    share,
                    gated,
                    rarity,
                })
            })
            .collect()
    }

    fn metric_scores(&self, seen: &[Option<Seen>], correction: f64) -> Vec<MetricScore> {
        let p0 = (-self.rarity_at_one()).exp();
        let edge = self.state.metric_level.value_at(self.rarity_at_one()) + correction;
        let mut scores = Vec::new();
        for (metric, seen) in seen.iter().enumerate() {
            let Some(Seen {
                deviation,
                value,
                rarity: Some(rarity),
                ..
            }) = *seen
            else {
                continue;
            };
            let (score, p) = self.score(self.state.metric_level.rarity(rarity - correction));
            if score <= 1.0 {
                continue;
            }
            let width =
                deviation_of(self.state.metrics[metric].tail.value_at(edge)) * deviation.scale;
            let Deviation { expected, .. } = deviation;
            let spec = &self.metrics[metric];
            let (low, high) = spec.range.unwrap_or((f64::MIN, f64::MAX));
            let lower = if spec.direction == Direction::Up {
                low
            } else {
                expected - width
            };
            let upper = if spec.direction == Direction::Down {
                high
            } else {
                expected + width
            };
            scores.push(MetricScore {
                metric,
                score,
                p,
                p0,
                value,
                expected,
                lower,
                upper,
            });
        }
        scores.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.metric.cmp(&b.metric)));
        scores
    }

    /// Score and `p` of a rarity.
    pub(crate) fn score(&self, rarity: f64) -> (f64, f64) {
        let rarity = rarity.min(-P_MIN.ln());
        (rarity / self.rarity_at_one(), (-rarity).exp())
    }

    fn parts(seen: &[Option<Seen>], score: f64) -> Vec<Part> {
        let total: f64 = seen.iter().flatten().map(|seen| seen.share).sum();
        let mut parts: Vec<Part> = seen
            .iter()
            .enumerate()
            .filter_map(|(metric, seen)| {
                let Seen {
                    deviation,
                    value,
                    share,
                    ..
                } = (*seen)?;
                let part = score * share / total;
                (part > 0.0).then_some(Part {
                    metric,
                    part,
                    value,
                    expected: deviation.expected,
                })
            })
            .collect();
        parts.sort_by(|a, b| b.part.total_cmp(&a.part).then(a.metric.cmp(&b.metric)));
        parts
    }
}

impl Detector for EwmaResidual {
    fn observe(&mut self, step: &Step<'_>) -> Verdict {
        self.look_at(step).0
    }
}

impl EwmaResidual {
    /// Judges and learns; the look is given for steps that have values.
    pub(crate) fn look_at(&mut self, step: &Step<'_>) -> (Verdict, Option<Look>) {
        let outside = |(metric, value): (&Metric, &Option<f64>)| match (metric.range, value) {
            (Some((low, high)), Some(value)) => *value < low || *value > high,
            _ => false,
        };
        if let Some(metric) = self.metrics.iter().zip(step.values).position(outside) {
            return (Verdict::OutOfRange { metric }, None);
        }
        if !step.values.iter().flatten().any(is_usable) {
            return (Verdict::Gap, None);
        }
        self.notice_gap(step.end);
        let learning = self.is_learning();
        let seen = self.look(step.values);
        let present = seen.iter().flatten().count();
        let correction = (present as f64).ln();
        let raw = seen.iter().flatten().map(|seen| seen.share).sum::<f64>();
        let raw = self.state.resource.push(raw, self.settings.consecutive);
        let rarest = seen
            .iter()
            .flatten()
            .filter_map(|seen| seen.rarity)
            .fold(None, |most: Option<f64>, rarity| {
                Some(most.map_or(rarity, |most| most.max(rarity)))
            });

        let rarity = self.state.resource_tail.rarity(raw);
        let (score, p) = self.score(self.state.resource_level.rarity(rarity));
        let metrics = if learning {
            Vec::new()
        } else {
            self.metric_scores(&seen, correction)
        };
        let verdict = if learning {
            let left = self.settings.learning_steps - self.state.steps;
            Verdict::Learning {
                eta: self.step.duration().saturating_mul(left),
            }
        } else {
            let peaks = self.state.resource_level.peaks();
            let confidence = peaks / (peaks + 30.0) * present as f64 / self.metrics.len() as f64;
            let parts = if score > 1.0 {
                Self::parts(&seen, score)
            } else {
                Vec::new()
            };
            Verdict::Scored(Score {
                score,
                p,
                p0: (-self.rarity_at_one()).exp(),
                confidence,
                parts,
                metrics: metrics.clone(),
            })
        };

        let worst = metrics
            .first()
            .map_or(score, |metric| metric.score.max(score));
        let train = match worst {
            _ if learning || self.state.flagged > TOO_MUCH => Train::Yes,
            worst if worst >= 2.0_f64.max(1.0 + BEYOND_DOUBT / self.rarity_at_one()) => {
                Train::Incident
            }
            worst if worst > 1.0 => Train::Flagged,
            _ => Train::Yes,
        };
        self.state.is_flagged = worst > 1.0 && !matches!(train, Train::Yes);
        if !learning {
            let weight = 1.0 / (288.0 * steps_per_block(self.step) as f32);
            self.state.flagged += weight * (f32::from(worst > 1.0) - self.state.flagged);
            let metric = rarest
                .is_some_and(|rarest| self.state.metric_level.rarity(rarest - correction) > RARE);
            self.state
                .shared
                .observe(self.state.resource_level.rarity(rarity) > RARE, metric);
        }
        self.learn(
            &seen,
            raw,
            rarity,
            rarest.map(|rarity| rarity - correction),
            correction,
            train,
        );
        let look = Look {
            seen,
            rarity,
            train,
        };
        (verdict, Some(look))
    }

    fn learn(
        &mut self,
        seen: &[Option<Seen>],
        raw: f64,
        rarity: f64,
        rarest: Option<f64>,
        correction: f64,
        train: Train,
    ) {
        let learning = self.is_learning();
        let at_one = self.rarity_at_one();
        let ceiling = |tail: &Tail| {
            if learning {
                f64::INFINITY
            } else {
                tail.ceiling(at_one)
            }
        };
        let flagged = (-at_one).exp();
        let state = &mut self.state;
        // A metric's peaks teach up to where the rarest metric's may.
        let highest = ceiling(&state.metric_level) + correction;
        for (state, seen) in state.metrics.iter_mut().zip(seen) {
            let Some(seen) = seen else { continue };
            if state.residual.seen() <= SCALE_KNOWN {
                continue;
            }
            let ceiling = match seen.rarity {
                Some(rarity) if !learning && rarity > highest => state.tail.value_at(highest),
                _ => f64::INFINITY,
            };
            state
                .tail
                .observe(seen.gated, ceiling, flagged, train, &METRIC_PRIOR);
        }
        if state.steps > SCALE_KNOWN {
            // As for the metrics: what the level may learn bounds what its tail may.
            let highest = ceiling(&state.resource_level);
            let bound = if highest.is_finite() {
                state.resource_tail.value_at(highest)
            } else {
                highest
            };
            state
                .resource_tail
                .observe(raw, bound, flagged, train, &RESOURCE_PRIOR);
            if state.resource_tail.is_mature() {
                state
                    .resource_level
                    .observe(rarity, highest, flagged, train, &LEVEL_PRIOR);
            }
        }
        // Young tails err on the quiet side: a level that has learned from them would flood when they grow up.
        let mut judged = state
            .metrics
            .iter()
            .zip(seen)
            .filter(|(_, seen)| seen.is_some_and(|seen| seen.rarity.is_some()));
        if let Some(rarest) = rarest
            && judged.all(|(metric, _)| metric.tail.is_mature())
        {
            let ceiling = ceiling(&state.metric_level);
            state
                .metric_level
                .observe(rarest, ceiling, flagged, train, &LEVEL_PRIOR);
        }
        state.steps = state.steps.saturating_add(1);
    }
}
