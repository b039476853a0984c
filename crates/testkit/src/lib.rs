//! Seeded series, the reference pipeline, and the judge that compares the stores with it.

pub mod generate;
#[cfg(feature = "reference")]
pub mod judge;
pub mod ledger;
#[cfg(feature = "reference")]
pub mod reference;
pub mod servers;
