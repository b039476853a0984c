//! Closes steps and computes features: `system_metrics` becomes `processed_metrics`.
//!
//! The rules of step closing and the features themselves are the crate `forewarn-features`; this is the stage around
//! them, with what only the log knows: silence.

mod config;
mod processor;

pub use config::Config;
pub use processor::Processor;
