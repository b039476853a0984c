//! The recent past of one level at several resolutions, each a short ring of means.
//!
//! Resolution `k` holds the last [`POINTS`] means over `FACTOR^k` steps: at 1-s steps windows of 1 min, 6 min, 36 min,
//! 3.6 h, 22 h and 5.4 days. Gaps are simply points that are missing, since every point carries its time.

use std::collections::VecDeque;

use forewarn_types::{EventTime, StepLength};
use serde::{Deserialize, Serialize};

/// Points per resolution: enough for a trend and its noise, few enough for pairwise slopes.
pub const POINTS: usize = 60;

/// How much coarser each resolution is than the one before.
pub const FACTOR: i64 = 6;

/// How many resolutions there are.
pub const RESOLUTIONS: usize = 6;

/// A level at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Seconds since the history's origin.
    pub at: f64,
    /// The level, as a share of the capacity.
    pub level: f64,
}

/// The past of one level.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Event time of the first reading: points count from here, so that seconds keep their digits.
    origin: Option<EventTime>,
    rings: [Ring; RESOLUTIONS],
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Ring {
    points: VecDeque<Point>,
    /// The mean under way: the number of its block on the grid, count, sums of times and levels.
    block: i64,
    count: u32,
    at: f64,
    level: f64,
}

impl History {
    /// Takes in the level at the end of a step; returns the resolutions that gained a point.
    ///
    /// Times must not go back; a reading that is not later than the last is ignored.
    pub fn push(&mut self, step: StepLength, at: EventTime, level: f64) -> Gained {
        let origin = *self.origin.get_or_insert(at);
        let seconds = self.seconds(origin, at);
        let mut gained = Gained::default();
        let mut length = step.millis();
        for (number, ring) in self.rings.iter_mut().enumerate() {
            if ring.push(
                at.millis().div_euclid(length),
                Point { at: seconds, level },
                number == 0,
            ) {
                gained.0[number] = true;
            }
            length = length.saturating_mul(FACTOR);
        }
        gained
    }

    /// The points of a resolution, oldest first.
    #[must_use]
    pub fn points(&self, resolution: usize) -> Vec<Point> {
        self.rings
            .get(resolution)
            .map_or_else(Vec::new, |ring| ring.points.iter().copied().collect())
    }

    /// The moment of a point.
    #[must_use]
    pub fn moment(&self, at: f64) -> EventTime {
        let origin = self.origin.unwrap_or_default();
        EventTime(origin.millis().saturating_add((at * 1000.0) as i64))
    }

    /// Seconds from the origin to `at`.
    #[must_use]
    pub fn since_origin(&self, at: EventTime) -> f64 {
        self.seconds(self.origin.unwrap_or(at), at)
    }

    #[allow(clippy::unused_self, reason = "one place for the unit")]
    fn seconds(&self, origin: EventTime, at: EventTime) -> f64 {
        at.millis().saturating_sub(origin.millis()) as f64 / 1000.0
    }
}

/// Which resolutions gained a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gained([bool; RESOLUTIONS]);

impl Gained {
    /// Their numbers, finest first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..RESOLUTIONS).filter(move |number| self.0[*number])
    }
}

impl Ring {
    /// Adds to the block under way and completes it when the next one begins. The finest resolution has no blocks:
    /// its points are the readings, so that nothing waits for the next one.
    fn push(&mut self, block: i64, point: Point, finest: bool) -> bool {
        if finest {
            if self.points.back().is_some_and(|last| point.at <= last.at) {
                return false;
            }
            self.keep(point);
            return true;
        }
        let complete = self.count > 0 && block != self.block;
        if complete {
            let count = f64::from(self.count);
            let mean = Point {
                at: self.at / count,
                level: self.level / count,
            };
            self.keep(mean);
            (self.count, self.at, self.level) = (0, 0.0, 0.0);
        }
        self.block = block;
        self.count += 1;
        self.at += point.at;
        self.level += point.level;
        complete
    }

    fn keep(&mut self, point: Point) {
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarse_points_are_means_on_the_grid() {
        let mut history = History::default();
        for second in 0..13 {
            history.push(StepLength::SECOND, EventTime(second * 1000), second as f64);
        }
        let points = history.points(1);
        assert_eq!(
            points,
            [
                Point {
                    at: 2.5,
                    level: 2.5
                },
                Point {
                    at: 8.5,
                    level: 8.5
                }
            ]
        );
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut history = History::default();
        for second in 0..100_000 {
            history.push(StepLength::SECOND, EventTime(second * 1000), 0.5);
        }
        assert!((0..RESOLUTIONS).all(|k| history.points(k).len() <= POINTS));
        assert_eq!(history.points(0).len(), POINTS);
    }

    #[test]
    fn time_that_does_not_advance_adds_nothing() {
        let mut history = History::default();
        history.push(StepLength::SECOND, EventTime(5_000), 0.1);
        let gained = history.push(StepLength::SECOND, EventTime(5_000), 0.2);
        assert_eq!(gained.iter().count(), 0);
    }
}
