//! The stage that judges: `processed_metrics` in; verdicts, failure predictions and condition changes out.
//!
//! Pure: what it knows of a resource is a detector, the conditions of the rules and a watch per limited thing; which
//! trained model judges beside the detector is a function of log time ([`models`]). The predictor runs it, the trainer
//! prepares its models with the same settings, and the reference pipeline replays it.

mod config;
mod judge;
pub mod models;

pub use config::Config;
pub use judge::{Counters, Judge, metrics_of};
