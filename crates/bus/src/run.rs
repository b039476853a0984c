//! What every loop over the log shares: how it is stopped, whom it tells that it is alive, and how it can end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::{AppendError, BusError, CheckpointError, Place};

/// Asks loops to end in an orderly way. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody who holds a clone to stop; they do within a second or so.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Whom a loop tells how it is doing; the service around it turns this into `/live` and `/ready`.
pub trait Observe: Sync {
    /// The loop turned over: called at least once a second, except while a sink is at work on a batch.
    fn beat(&self);

    /// Whether all is well: `None`, or why not (a partition is halted, a store is away). Called when it changes.
    fn trouble(&self, why: Option<&str>);
}

/// Nobody watches: for tests and tools.
impl Observe for () {
    fn beat(&self) {}

    fn trouble(&self, _why: Option<&str>) {}
}

/// Why a loop over the log ended on its own. The process ends too and is started again; nothing is lost by that.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log cannot go on.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A record was not taken by the log. What follows it must not be either, so the loop starts over.
    #[error("could not append to the log")]
    Append(#[source] AppendError),
    /// A checkpoint could not be written or the store of checkpoints not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Records are waiting and none is worked on: the client is stuck, and only a new process helps (exit code 70).
    #[error("no progress on {place} for {waited:?} while {lag} records wait")]
    Stalled {
        /// Where.
        place: Place,
        /// For how long.
        waited: Duration,
        /// How many.
        lag: u64,
    },
    /// One dead letter after the other: rather a wrong setting or a defect than bad records.
    #[error(
        "the last {count} records of {place} in a row went to dead_letters; looks like a wrong setting or a defect"
    )]
    TooManyDead {
        /// Where.
        place: Place,
        /// How many in a row.
        count: u32,
    },
    /// The sink gave up between batches.
    #[error("could not do what is due without records")]
    Idle(#[source] anyhow::Error),
    /// The sink gave up.
    #[error("could not take a batch of {place}")]
    Sink {
        /// Of which partition.
        place: Place,
        /// Why.
        #[source]
        error: anyhow::Error,
    },
}

impl RunError {
    /// Whether the watchdog ended the loop (exit code 70).
    #[must_use]
    pub const fn is_stall(&self) -> bool {
        matches!(self, Self::Stalled { .. })
    }
}
