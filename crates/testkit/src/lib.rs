//! Seeded series, the reference pipeline, and the judge that compares the stores with it.

pub mod generate;
pub mod ledger;
pub mod servers;
