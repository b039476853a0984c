//! Closes steps and computes features: `system_metrics` becomes `processed_metrics`.
//!
//! The stage ([`Processor`]) is pure; what a step is and what is computed from it lives in `forewarn-features`.

mod config;
mod processor;
pub mod service;

pub use config::StepConfig;
pub use processor::Processor;
