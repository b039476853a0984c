//! Runs the judge over `processed_metrics`, follows which models are in force, and fills PostgreSQL.
//!
//! The stage itself is pure and lives in `crates/judge`. Here is its edge: [`live`] reads activations and loads models
//! for it, and the [`projector`] is another reader in the same process.

pub mod live;
pub mod projector;
pub mod service;
