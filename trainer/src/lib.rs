//! Stored history becomes models that judge beside the online detectors.
//!
//! The trainer reads what the metric store holds of a resource ([`training`]), leaves out what was flagged, grows and proves a
//! model ([`forewarn_detect::training`], which is pure), puts it away as a bundle, and writes an activation, from which
//! on predictors judge with it. It talks to stores alone: whoever kills it at any moment loses a training, nothing else.

mod candidates;
mod commands;
mod config;
mod desk;
mod pages;
mod pass;
mod run;
pub mod service;
mod training;

pub use candidates::{Candidate, candidates, flagged};
pub use config::Config;
pub use pass::{PassError, Summary, Trainer};
pub use run::run;
pub use training::{CODE_VERSION, Outcome, Workshop};
