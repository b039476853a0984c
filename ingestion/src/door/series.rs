//! How many series are active, so that a sender that makes new ones without end cannot use up all memory behind.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use uuid::Uuid;

/// A full register looks for idle series at most this often, in seconds: each look goes through all of them.
const SWEEP_SECONDS: u64 = 10;

/// The series that were seen lately. Bounded: when it is full, idle series make room, and without any nothing new is taken.
#[derive(Debug)]
pub struct ActiveSeries {
    seen: HashMap<Uuid, u64>,
    max: usize,
    idle_seconds: u64,
    swept: Option<u64>,
    forgotten: u64,
}

impl ActiveSeries {
    /// At most `max` series; one that was not seen for `idle_seconds` may make room for another.
    #[must_use]
    pub fn new(max: usize, idle_seconds: u64) -> Self {
        Self {
            seen: HashMap::new(),
            max,
            idle_seconds,
            swept: None,
            forgotten: 0,
        }
    }

    /// Whether a sample of this series may come in at `now`, in seconds of any clock that only goes forward.
    pub fn admit(&mut self, series: Uuid, now: u64) -> bool {
        if self.seen.len() >= self.max && !self.seen.contains_key(&series) {
            self.sweep(now);
        }
        let room = self.seen.len() < self.max;
        match self.seen.entry(series) {
            Entry::Occupied(mut entry) => {
                entry.insert(now);
                true
            }
            Entry::Vacant(entry) if room => {
                entry.insert(now);
                true
            }
            Entry::Vacant(_) => false,
        }
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// How many made room since the start.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn sweep(&mut self, now: u64) {
        if self.swept.is_some_and(|swept| now < swept + SWEEP_SECONDS) {
            return;
        }
        self.swept = Some(now);
        let before = self.seen.len();
        self.seen
            .retain(|_, seen| now.saturating_sub(*seen) < self.idle_seconds);
        self.forgotten += (before - self.seen.len()) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_register_takes_what_it_knows_and_nothing_new_until_some_are_idle() {
        let mut series = ActiveSeries::new(2, 60);
        let id = Uuid::from_u128;
        assert!(series.admit(id(1), 0) && series.admit(id(2), 0));
        assert!(!series.admit(id(3), 1), "full");
        assert!(series.admit(id(1), 50), "known");
        assert!(series.admit(id(3), 60), "2 was idle for a minute");
        assert!(!series.admit(id(2), 61));
        assert_eq!((series.len(), series.forgotten()), (2, 1));
    }
}
