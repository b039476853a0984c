//! Models that are trained on history: made by the trainer, carried in bundles, asked by the predictor.
//!
//! Everything here is pure and deterministic: no clock, no I/O, randomness from stated seeds. The same rows, settings
//! and seed give the same model to the last bit, on one thread or many.

pub mod bundle;
pub mod forest;

pub use bundle::{Bundle, BundleError, Manifest, Packed, Purpose};
pub use forest::{FitError, Forest, Settings as ForestSettings};
