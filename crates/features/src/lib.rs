//! Samples of one resource become feature vectors, step by step; pure functions of what arrived.
//!
//! A [`FeatureSet`] says what to compute, in TOML. Nothing here knows a log, a database or a clock: event time comes
//! with the samples, log time with the records, and the same records always give the same vectors.

mod calendar;
mod definition;
mod engine;
mod history;
mod kernels;
mod minutes;
mod plan;
mod reading;
mod series;
mod sets;
mod steps;
mod table;
mod transform;

pub use calendar::CalendarConfig;
pub use definition::{
    Combine, Direction, FeatureDef, FeatureSet, FeatureSetConfig, FeatureSource, LimitConfig,
    LimitDef, MetricConfig, MetricDef, Operand, OperandConfig, Reading, TagFilter,
};
pub use engine::{Counts, Engine, StepRules};
pub use sets::{FeatureSets, SetError};
pub use steps::Steps;
pub use table::Transforms;
pub use transform::{Extent, Temporal, Transform, WINDOW_MINUTES_MAX, WINDOW_STEPS_MAX, Window};
