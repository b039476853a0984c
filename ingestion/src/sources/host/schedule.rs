//! When to collect: at whole intervals of the wall clock, so that replicas stamp the same moments and ids agree.
//!
//! Pure: the caller says what time it is. A moment that has passed is skipped and counted, never made up for.

use std::time::Duration;

use forewarn_types::EventTime;

/// Whole multiples of an interval since the epoch.
#[derive(Debug)]
pub(crate) struct Schedule {
    interval: i64,
    /// The last moment that was due. The first call only sets it: nobody waits for moments before the start.
    last: Option<i64>,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask again after this long.
    Wait(Duration),
    /// Collect, and stamp it with this moment. So many moments before it were missed.
    Due { at: EventTime, missed: u64 },
}

impl Schedule {
    pub(crate) fn new(interval: Duration) -> Self {
        // Settings refuse what is shorter than a second, so this is never zero.
        let interval = i64::try_from(interval.as_millis())
            .unwrap_or(i64::MAX)
            .max(1);
        Self {
            interval,
            last: None,
        }
    }

    /// Tells what to do at `now`.
    pub(crate) fn next(&mut self, now: EventTime) -> Next {
        let moment = now.millis().div_euclid(self.interval) * self.interval;
        let last = *self.last.get_or_insert(moment);
        // A clock that was set back counts on from where it is: its repeated moments are late samples to the rest.
        let stepped_back = moment < last - self.interval;
        if moment > last || stepped_back {
            self.last = Some(moment);
            let missed = if stepped_back {
                0
            } else {
                (moment - last) / self.interval - 1
            };
            return Next::Due {
                at: EventTime(moment),
                missed: u64::try_from(missed).unwrap_or(0),
            };
        }
        let wait = (last + self.interval - now.millis()).clamp(1, self.interval);
        Next::Wait(Duration::from_millis(u64::try_from(wait).unwrap_or(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(at: i64, missed: u64) -> Next {
        Next::Due {
            at: EventTime(at),
            missed,
        }
    }

    fn wait(millis: u64) -> Next {
        Next::Wait(Duration::from_millis(millis))
    }

    #[test]
    fn moments_are_whole_seconds_and_never_drift() {
        let mut schedule = Schedule::new(Duration::from_secs(1));
        assert_eq!(schedule.next(EventTime(10_400)), wait(600));
        // Woken 3 ms late, then 250 ms late: the moments stay whole.
        assert_eq!(schedule.next(EventTime(11_003)), due(11_000, 0));
        assert_eq!(schedule.next(EventTime(11_010)), wait(990));
        assert_eq!(schedule.next(EventTime(12_250)), due(12_000, 0));
        assert_eq!(schedule.next(EventTime(12_999)), wait(1));
    }

    #[test]
    fn a_missed_second_is_skipped_and_counted_not_bunched() {
        let mut schedule = Schedule::new(Duration::from_secs(1));
        assert_eq!(schedule.next(EventTime(10_000)), wait(1_000));
        assert_eq!(schedule.next(EventTime(14_100)), due(14_000, 3));
        assert_eq!(schedule.next(EventTime(14_200)), wait(800));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_collection() {
        let mut schedule = Schedule::new(Duration::from_secs(1));
        schedule.next(EventTime(3_600_000));
        // A slight step back waits for the next new moment; a large one goes on from there.
        assert_eq!(schedule.next(EventTime(3_599_990)), wait(1_000));
        assert_eq!(schedule.next(EventTime(10_500)), due(10_000, 0));
        assert_eq!(schedule.next(EventTime(11_000)), due(11_000, 0));
    }
}
