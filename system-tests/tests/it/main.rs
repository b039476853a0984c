//! The whole system: real binaries on real servers, and recordings through the reference pipeline.

mod bad_input;
mod demonstration;
mod exactness;
mod full;
mod models;
mod recordings;
mod replicas;
mod whole;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Worlds share two cores and the servers, which one of them restarts: they come one after the other.
fn one_world_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a test has to say beyond passed or failed: figures that belong into a report.
#[allow(
    clippy::print_stderr,
    reason = "test output is where figures of a run are looked for"
)]
fn say(words: &str) {
    eprintln!("{words}");
}
