//! The log's promises on real Kafka. Left out where there is none (`FOREWARN_TEST_KAFKA`).

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
