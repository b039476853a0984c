//! Keeps a fault that comes back every second from filling the log: each subject is heard once in a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Subjects that are remembered at once; what comes beyond shares one slot.
const SUBJECTS_MAX: usize = 64;

/// Says who may be heard now.
#[derive(Debug)]
pub(crate) struct Seldom {
    pause: Duration,
    heard: HashMap<&'static str, (Instant, u64)>,
}

impl Seldom {
    /// Each subject is heard once per `pause`.
    pub(crate) fn every(pause: Duration) -> Self {
        Self {
            pause,
            heard: HashMap::new(),
        }
    }

    /// Whether `subject` may be heard now: then how often it was not since the last time.
    pub(crate) fn may(&mut self, subject: &'static str) -> Option<u64> {
        let subject = if self.heard.len() < SUBJECTS_MAX || self.heard.contains_key(subject) {
            subject
        } else {
            ""
        };
        let now = Instant::now();
        match self.heard.get_mut(subject) {
            Some((last, unsaid)) if now.duration_since(*last) < self.pause => {
                *unsaid += 1;
                None
            }
            Some(entry) => {
                let unsaid = entry.1;
                *entry = (now, 0);
                Some(unsaid)
            }
            None => {
                self.heard.insert(subject, (now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_heard_once_and_then_counted() {
        let mut seldom = Seldom::every(Duration::from_secs(3600));
        assert_eq!(seldom.may("disk"), Some(0));
        assert_eq!(seldom.may("disk"), None);
        assert_eq!(seldom.may("cpu"), Some(0));
        let mut eager = Seldom::every(Duration::ZERO);
        assert_eq!((eager.may("disk"), eager.may("disk")), (Some(0), Some(0)));
    }
}
