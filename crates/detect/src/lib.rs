//! Detectors, and the calibration that gives every score one meaning.
//!
//! From a step of a resource to a verdict, in four stages, each in its own file:
//!
//! 1. [`residual`]: each metric against what was expected of it just before, in units of its own usual deviation.
//! 2. [`episodes`]: a run of unusual steps is one episode with one peak, however long it lasts.
//! 3. [`tail`]: how often incident-free time holds such a peak (extreme value theory, a shipped prior while data are
//!    few).
//! 4. [`budget`]: how often a false alarm may come, and so where on that tail a score is 1.
//!
//! [`EwmaResidual`] puts them together; [`Ensemble`] adds a trained model ([`training`]) to it. Everything is pure and deterministic: no clock (time arrives with the step),
//! no I/O, no randomness. State is bounded, serialisable, and can be continued at any step.

pub mod budget;
mod columns;
mod ensemble;
pub mod episodes;
mod ewma;
mod metric;
pub mod residual;
pub mod tail;
pub mod training;
mod verdict;

pub use budget::AlarmBudget;
pub use ensemble::{Calibration, Ensemble, EnsembleState, Model, columns_of, versions};
pub use ewma::{EwmaResidual, Settings, State, VERSION};
pub use metric::{Direction, Metric};
pub use verdict::{MetricScore, Part, Score, Step, Verdict};

/// Judges the steps of one resource as they close.
///
/// A detector reads no clock, does no I/O and draws no unseeded randomness.
pub trait Detector: Send {
    /// Judges `step` against what was known *before* it, then learns from it.
    fn observe(&mut self, step: &Step<'_>) -> Verdict;
}
