//! The watchdog: records wait and none is worked on. librdkafka has stalled silently before; a new process helps.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::{Log, Place, RunError};

/// How often the log is asked how far it is.
const LOOK: Duration = Duration::from_secs(5);

/// Compares how far readers are with how far the log is.
#[derive(Debug)]
pub(crate) struct Watchdog {
    limit: Duration,
    looked: Instant,
    /// Where records wait: the offset to read next, and since when it has been that.
    waiting: BTreeMap<Place, (u64, Instant)>,
}

impl Watchdog {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            looked: Instant::now(),
            waiting: BTreeMap::new(),
        }
    }

    /// Whether it is time for [`Watchdog::look`].
    pub(crate) fn is_due(&self) -> bool {
        self.looked.elapsed() >= LOOK.min(self.limit / 4)
    }

    /// Looks at what is being read (place and next offset) and reports each lag.
    ///
    /// A log that does not answer is not the reader's fault: the time starts anew when it is back.
    pub(crate) fn look(
        &mut self,
        log: &dyn Log,
        reading: &[(Place, u64)],
        mut report: impl FnMut(Place, u64),
    ) -> Result<(), RunError> {
        let mut still = BTreeMap::new();
        for &(place, next) in reading {
            let Ok(bounds) = log.bounds(place) else {
                still.clear();
                break;
            };
            let lag = bounds.end.saturating_sub(next);
            report(place, lag);
            if lag == 0 {
                continue;
            }
            let since = match self.waiting.get(&place) {
                Some((was, since)) if *was == next => *since,
                _ => Instant::now(),
            };
            if since.elapsed() > self.limit {
                return Err(RunError::Stalled {
                    place,
                    waited: since.elapsed(),
                    lag,
                });
            }
            still.insert(place, (next, since));
        }
        self.waiting = still;
        self.looked = Instant::now();
        Ok(())
    }
}
