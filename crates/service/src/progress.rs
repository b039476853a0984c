//! Signs of life: a loop says that it turns over, and is noticed when it does not.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Stored instead of a moment by a loop that has nothing to do.
const RESTING: u64 = u64::MAX;

/// A loop's sign of life. Clones stand for the same loop; with the last one gone the loop is no longer watched.
///
/// Beat at every turn of the loop, also when there was nothing to do. Before a wait that may rightly be long, rest.
#[derive(Clone)]
pub struct Progress(Arc<Watched>);

impl Progress {
    /// The loop turned over.
    pub fn beat(&self) {
        self.0.last.store(self.0.now(), Ordering::Relaxed);
    }

    /// The loop has nothing to do, or waits for something that is known to be away; it is not watched until it beats.
    pub fn rest(&self) {
        self.0.last.store(RESTING, Ordering::Relaxed);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.0.name).finish()
    }
}

struct Watched {
    name: String,
    /// Shared by all loops, so that a moment fits into an atomic.
    epoch: Instant,
    /// Milliseconds from the epoch to the last beat.
    last: AtomicU64,
}

impl Watched {
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(RESTING - 1)
    }

    fn silence(&self) -> Option<Duration> {
        match self.last.load(Ordering::Relaxed) {
            RESTING => None,
            last => Some(Duration::from_millis(self.now().saturating_sub(last))),
        }
    }
}

/// All loops of the process.
#[derive(Debug)]
pub(crate) struct Loops {
    epoch: Instant,
    watched: Mutex<Vec<Weak<Watched>>>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Loops {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            watched: Mutex::default(),
        }
    }

    /// Watches a loop from now on.
    pub(crate) fn watch(&self, name: impl Into<String>) -> Progress {
        let progress = Progress(Arc::new(Watched {
            name: name.into(),
            epoch: self.epoch,
            last: AtomicU64::new(0),
        }));
        progress.beat();
        self.with(|watched| watched.push(Arc::downgrade(&progress.0)));
        progress
    }

    /// The loops that have been silent for longer than `limit`, and for how long.
    pub(crate) fn silent(&self, limit: Duration) -> Vec<(String, Duration)> {
        self.with(|watched| {
            watched.retain(|one| one.strong_count() > 0);
            let silent = |one: &Weak<Watched>| {
                let one = one.upgrade()?;
                Some((
                    one.name.clone(),
                    one.silence().filter(|silence| *silence > limit)?,
                ))
            };
            watched.iter().filter_map(silent).collect()
        })
    }

    /// Lets everyone begin anew: the whole process stood still, and nobody could beat.
    pub(crate) fn forgive(&self) {
        self.with(|watched| {
            for one in watched.iter().filter_map(Weak::upgrade) {
                let now = one.now();
                // A loop that rests goes on resting.
                let _ = one
                    .last
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                        (last != RESTING).then_some(now)
                    });
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Weak<Watched>>) -> T) -> T {
        act(&mut self.watched.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Limits in these tests are nothing, or more than a test can last.
    const EVER: Duration = Duration::from_secs(3600);

    fn until_silent(loops: &Loops) -> Vec<(String, Duration)> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let silent = loops.silent(Duration::ZERO);
            if !silent.is_empty() || Instant::now() > deadline {
                return silent;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_loop_that_does_not_beat_is_named() {
        let loops = Loops::new();
        let progress = loops.watch("reader");
        assert_eq!(
            until_silent(&loops).first().map(|(name, _)| name.as_str()),
            Some("reader")
        );
        assert!(loops.silent(EVER).is_empty());
        drop(progress);
        assert!(
            loops.silent(Duration::ZERO).is_empty(),
            "a loop that has ended is not watched"
        );
    }

    #[test]
    fn a_loop_that_rests_is_not_watched_until_it_beats() {
        let loops = Loops::new();
        let progress = loops.watch("reader");
        until_silent(&loops);
        progress.rest();
        loops.forgive();
        assert!(loops.silent(Duration::ZERO).is_empty());
        progress.beat();
        assert_eq!(until_silent(&loops).len(), 1);
    }
}
