//! The log's promises on real Kafka. Left out where there is none (`FOREWARN_TEST_KAFKA`).

#![allow(
    clippy::unwrap_used,
    reason = "what a helper of a test expects, the test expects"
)]

#[path = "../../src/toy.rs"]
mod toy;

mod child;
mod following;
mod identity;
mod members;
mod records;
mod stages;
mod topics;
mod world;
