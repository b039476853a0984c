//! Seeded series, the doors to real servers, the reference pipeline, and the judge that compares the stores with it.

#[cfg(feature = "stores")]
pub mod database;
pub mod generate;
#[cfg(feature = "reference")]
pub mod judge;
pub mod ledger;
#[cfg(feature = "reference")]
pub mod reference;
pub mod servers;
