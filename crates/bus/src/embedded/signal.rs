//! Wakes readers when there is something new.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Counts events; whoever has seen a count can wait for the next.
#[derive(Debug, Default)]
pub(super) struct Signal {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    pub(super) fn count(&self) -> u64 {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn raise(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        self.changed.notify_all();
    }

    /// Waits until the count is no longer `seen`, or the time is over.
    pub(super) fn wait(&self, seen: u64, limit: Duration) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        // Woken, out of time or by a panic elsewhere: the caller looks for itself.
        drop(
            self.changed
                .wait_timeout_while(count, limit, |count| *count == seen),
        );
    }
}
