//! Judges every step and predicts failures: `processed_metrics` becomes `anomaly_predictions`; the projector fills
//! PostgreSQL.
//!
//! The stage ([`Judge`]) is pure; what it knows of a resource is a detector, the conditions of the rules and a watch
//! per limited thing. The projector is another reader in the same process.

mod config;
mod judge;
pub mod projector;

pub use config::Config;
pub use judge::{Counters, Judge};
