//! What this service has done so far, for its health page and its counters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{counter, gauge};

/// Counts of samples, and when this host was last measured.
#[derive(Debug, Default)]
pub struct Status {
    accepted: AtomicU64,
    refused: AtomicU64,
    collected: Mutex<Option<Instant>>,
    recorder: Mutex<Option<String>>,
}

impl Status {
    /// So many samples of a source are in the log.
    pub fn accepted(&self, source: &'static str, samples: u64) {
        counter!("forewarn_ingestion_samples_accepted_total", "source" => source)
            .increment(samples);
        self.accepted.fetch_add(samples, Ordering::Relaxed);
    }

    /// So many samples were refused at the door; the counters by reason are the door's.
    pub fn refused(&self, samples: u64) {
        self.refused.fetch_add(samples, Ordering::Relaxed);
    }

    /// Accepted and refused since the start.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (
            self.accepted.load(Ordering::Relaxed),
            self.refused.load(Ordering::Relaxed),
        )
    }

    /// The recorder writes, or why it does not.
    pub fn recorder(&self, problem: Option<&str>) {
        gauge!("forewarn_ingestion_recorder_in_trouble").set(if problem.is_some() {
            1.0
        } else {
            0.0
        });
        *self.recorder.lock().unwrap_or_else(PoisonError::into_inner) = problem.map(str::to_owned);
    }

    /// Why the recorder does not write, or `None`.
    #[must_use]
    pub fn recorder_problem(&self) -> Option<String> {
        self.recorder
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// This host was measured.
    pub fn collected(&self) {
        *self
            .collected
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// How long ago that was.
    #[must_use]
    pub fn collection_age(&self) -> Option<Duration> {
        self.collected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .map(|at| at.elapsed())
    }
}
