//! What a trained model sees of a step: per metric its level, its residual, and how far it has come in half a minute.
//!
//! A forest on raw levels ranks below a z-score on real data (TSB-AD, NeurIPS 2024, and our own measurements), since
//! what matters is mostly how a value differs from what was to be expected. So each metric gives three columns:
//!
//! 1. the level itself, as measured;
//! 2. the one-step residual of the online detector, in its own usual deviations, folded by `asinh` so that one wild
//!    value does not take all the cuts of a tree to itself;
//! 3. the difference to the value [`LAG`] steps before, in the same deviations, folded likewise: a climb too slow for
//!    the residual shows here.
//!
//! The same code makes the columns for training and for judging; a value that is missing is `NaN`.

use serde::{Deserialize, Serialize};

use crate::ewma::Look;
use crate::{Direction, Metric};

/// How many steps back the difference looks.
pub(crate) const LAG: usize = 30;

/// Columns per metric.
pub(crate) const PER_METRIC: usize = 3;

/// Changes with everything that changes a column's meaning; a model made for others is refused.
pub(crate) const VERSION: &str = "level+residual+lag30/1";

/// The last values of every metric; bounded, part of the state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Columns {
    /// By metric, `LAG` values each, oldest overwritten first; `NaN` where there was none.
    past: Vec<f32>,
    /// Place of the oldest.
    oldest: u32,
}

impl Columns {
    pub(crate) fn new(metrics: usize) -> Self {
        Self {
            past: vec![f32::NAN; metrics * LAG],
            oldest: 0,
        }
    }

    pub(crate) fn fits(&self, metrics: usize) -> bool {
        self.past.len() == metrics * LAG && (self.oldest as usize) < LAG
    }

    pub(crate) fn bytes(&self) -> usize {
        self.past.len() * size_of::<f32>()
    }

    /// Appends the columns of a step to `row`, then remembers its values.
    pub(crate) fn push(&mut self, metrics: &[Metric], look: &Look, row: &mut Vec<f32>) {
        let slot = self.oldest as usize;
        for (number, (metric, seen)) in metrics.iter().zip(&look.seen).enumerate() {
            let past = &mut self.past[number * LAG + slot];
            let Some(seen) = seen else {
                row.extend([f32::NAN; PER_METRIC]);
                *past = f32::NAN;
                continue;
            };
            let value = seen.value as f32;
            let climb = (seen.value - f64::from(*past)) / seen.deviation.scale;
            let climb = match metric.direction {
                Direction::Up => climb.max(0.0),
                Direction::Down => climb.min(0.0),
                Direction::Both => climb,
            };
            // `max` would turn an unknown climb into none.
            let climb = if past.is_nan() {
                f32::NAN
            } else {
                climb.asinh() as f32
            };
            row.extend([value, seen.deviation.z.asinh() as f32, climb]);
            *past = value;
        }
        self.oldest = (self.oldest + 1) % LAG as u32;
    }

    /// After a long gap, what was before it says nothing.
    pub(crate) fn forget(&mut self) {
        self.past.fill(f32::NAN);
    }
}
