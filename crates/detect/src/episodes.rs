//! Runs of high values as episodes: what follows within the window belongs to the same one.
//!
//! Counting steps above a level would count a serially correlated excursion many times. Counting *episodes* depends
//! on the level, since a long excursion above a low level may hold two short ones above a high level. Both are
//! settled by one observation: a step with value `x` whose preceding window held at most `m` begins an episode at
//! every level in `(m, x]`, and at no other. So the stream is reduced to intervals `(low, high]`, and the number of
//! episodes above *any* level is the number of intervals that contain it (runs declustering, Coles 2001 §5.3, done
//! for all levels at once). While an excursion climbs, its intervals join into one.

use serde::{Deserialize, Serialize};

/// Slots of the trailing maximum: the window's edge is blurred by a tenth at most.
const SLOTS: u32 = 10;

/// Finds the episodes in a stream of values, one per step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episodes {
    /// Steps per slot of `slots`.
    slot_steps: u32,
    /// Maxima of the slots before the one in work, oldest overwritten first.
    slots: Vec<f32>,
    next: u32,
    /// Steps in the slot in work, and their maximum.
    filled: u32,
    current: f32,
    /// The interval that may still grow.
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    low: f32,
    high: f32,
    /// Steps since `high` was reached.
    age: u32,
    train: Train,
}

/// Whether what is seen now may be taken for incident-free; an episode is what the worst of its steps is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Train {
    /// Nothing speaks against it.
    Yes,
    /// Somewhere the score is above 1: a false alarm or an incident.
    Flagged,
    /// Somewhere the score is beyond doubt.
    Incident,
}

/// A finished episode: it is one at every level in `(low, high]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Episode {
    /// What the window before it held.
    pub low: f32,
    /// Its peak.
    pub high: f32,
    /// The worst of its steps.
    pub train: Train,
}

impl Episodes {
    /// Steps merge when within `window` steps of one another.
    #[must_use]
    pub fn new(window: u32) -> Self {
        let slots = window.clamp(1, SLOTS);
        Self {
            slot_steps: window.max(1).div_ceil(slots),
            slots: vec![0.0; slots as usize],
            next: 0,
            filled: 0,
            current: 0.0,
            open: None,
        }
    }

    /// Takes in the next step's value (at least 0); gives the episode that has ended, if one has.
    pub fn push(&mut self, value: f32, train: Train) -> Option<Episode> {
        let before = self.slots.iter().copied().fold(self.current, f32::max);
        let window = self.slot_steps * self.slots.len() as u32;
        let mut ended = None;
        if let Some(open) = &mut self.open {
            open.age += 1;
            if open.age > window {
                ended = self.open.take().map(Open::close);
            }
        }
        if value > before {
            match &mut self.open {
                // The peak so far is the window's maximum, so this step only climbs on.
                Some(open) => {
                    open.high = value;
                    open.age = 0;
                }
                None => {
                    self.open = Some(Open {
                        low: before,
                        high: value,
                        age: 0,
                        train,
                    })
                }
            }
        }
        if let Some(open) = &mut self.open {
            open.train = open.train.max(train);
        }
        self.current = self.current.max(value);
        self.filled += 1;
        if self.filled == self.slot_steps {
            self.slots[self.next as usize] = self.current;
            self.next = (self.next + 1) % self.slots.len() as u32;
            self.filled = 0;
            self.current = 0.0;
        }
        ended
    }

    /// Bytes of state.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.slots.len() * size_of::<f32>()
    }
}

impl Open {
    fn close(self) -> Episode {
        Episode {
            low: self.low,
            high: self.high,
            train: self.train,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episodes(window: u32, values: &[f32]) -> Vec<(f32, f32)> {
        let mut found = Episodes::new(window);
        let quiet = std::iter::repeat_n(&0.0, window as usize * 2 + 2);
        values
            .iter()
            .chain(quiet)
            .filter_map(|&v| found.push(v, Train::Yes))
            .map(|e| (e.low, e.high))
            .collect()
    }

    #[test]
    fn a_run_is_one_episode_with_its_highest_peak() {
        assert_eq!(episodes(3, &[0.0, 1.0, 4.0, 2.0, 3.0, 0.0]), [(0.0, 4.0)]);
    }

    #[test]
    fn peaks_further_apart_than_the_window_are_two() {
        assert_eq!(
            episodes(3, &[5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 6.0]),
            [(0.0, 5.0), (0.0, 6.0)]
        );
    }

    #[test]
    fn a_second_peak_on_a_high_plateau_counts_only_above_the_plateau() {
        // Above level 3 these are two episodes, above level 1 it is one.
        let values = [5.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 6.0];
        assert_eq!(episodes(3, &values), [(0.0, 5.0), (2.0, 6.0)]);
    }

    #[test]
    fn counts_at_every_level_equal_those_of_plain_declustering() {
        // A fixed wild sequence; with a window below ten slots the trailing maximum is exact.
        let mut seed = 7_u32;
        let values: Vec<f32> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as f32
        })
        .take(2_000)
        .collect();
        let found = episodes(5, &values);
        for level in [100.5, 200.5, 240.5, 250.5] {
            let (mut plain, mut last) = (0, None::<usize>);
            for (i, _) in values.iter().enumerate().filter(|(_, v)| **v > level) {
                plain += usize::from(last.is_none_or(|l| i - l > 5));
                last = Some(i);
            }
            let counted = found
                .iter()
                .filter(|(low, high)| *low < level && level < *high)
                .count();
            assert_eq!(counted, plain, "at level {level}");
        }
    }
}
