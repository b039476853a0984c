//! Seeded series, the doors to real servers, the reference pipeline, and the judge that compares the stores with it.

#[cfg(feature = "stores")]
pub mod database;
#[cfg(feature = "reference")]
pub mod judge;
pub mod ledger;
#[cfg(feature = "power")]
pub mod power;
#[cfg(feature = "reference")]
pub mod reference;
pub mod servers;

/// Seeded recordings. The generator is a crate of its own, since ingestion's simulator runs on it too.
pub use forewarn_simulate as generate;
