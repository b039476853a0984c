//! The words of Forewarn as types: time, identity, samples, states. No I/O, no async, no clock.
//!
//! Every other crate depends on this one, so it holds only what two of them need,
//! and nothing here may ever depend on another crate of the workspace.

pub mod id;
pub mod metric;
pub mod quantity;
mod resource;
mod sample;
mod severity;
mod src;
mod state;
mod time;

pub use resource::{DEFAULT_TENANT, Kind, ResourceKey};
pub use sample::{MetricType, Sample, SeriesKey, Tags};
pub use severity::Severity;
pub use src::{LogId, ParseSrcError, SUB_FANOUT, Src};
pub use state::{
    AlertState, FailureKind, ParseStateError, PredictionState, ResourceState, VerdictState,
};
pub use time::{EventTime, LogTime, StepLength};
