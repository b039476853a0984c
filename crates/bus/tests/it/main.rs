//! The log's promises: what every log promises on real Kafka and on the embedded one, and what only one of them can break.
//! Kafka is left out where there is none (`FOREWARN_TEST_KAFKA`).

#![allow(
    clippy::unwrap_used,
    reason = "what a helper of a test expects, the test expects"
)]

#[path = "../../src/toy.rs"]
mod toy;

mod child;
mod embedded;
mod following;
mod identity;
mod members;
mod power;
mod records;
mod stages;
mod topics;
mod world;
