//! One metric against its own recent past: level, usual deviation, and how surprising the present deviation is.
//!
//! Level and scale are exponentially weighted means of *winsorised* residuals: what lies beyond a few scales counts
//! as that far and no further. So a fault is not learned while it is looked at, and yet a level that stays becomes
//! the new normal after some minutes of 1-s steps, since the scale may grow by a bounded ratio per step.

use serde::{Deserialize, Serialize};

use crate::{Direction, Metric};

/// Weight of a new value in the level: a memory of about 33 steps. Shorter forgets a ramp while it happens,
/// longer lags behind the day.
const LEVEL_WEIGHT: f64 = 0.03;

/// Weight of a new deviation in the scale: a memory of about 500 steps, so that the scale outlives a fault.
const SCALE_WEIGHT: f64 = 0.002;

/// Residuals count in the level up to this many scales …
const LEVEL_CLIP: f64 = 3.0;

/// … and in the scale up to this many: it then doubles in about 160 steps at most …
const SCALE_CLIP: f64 = 2.5;

/// … but in about 700 while the resource is flagged: a fault of some minutes that comes back must not find its own size
/// usual, and a noisier life is accepted within the hour.
const SCALE_CLIP_FLAGGED: f64 = 1.2;

/// Winsorising starts when the scale means something.
const CLIP_FROM: u32 = 30;

/// Mean absolute deviation to standard deviation, for a normal distribution.
const ABSOLUTE_TO_SIGMA: f64 = 1.2533;

/// Deviations beyond this many scales are all the same, and their squares stay finite.
const MOST: f64 = 1e9;

/// Values travel as `f32`: what is below their resolution is no deviation.
const RESOLUTION: f64 = 1e-6;

/// Degrees of freedom of the Student t distribution behind [`surprise`]: tails like those of real residuals.
const FREEDOM: f64 = 4.0;

/// Running level and scale of one metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Residual {
    level: f64,
    scale: f64,
    /// Values seen, saturating.
    seen: u32,
    /// Values seen since the level was last anchored, saturating.
    anchored: u32,
}

/// A deviation, before it has been learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deviation {
    /// What was expected.
    pub expected: f64,
    /// The usual deviation, at least the metric's floor.
    pub scale: f64,
    /// Deviation in scales; zero in a direction that does not count.
    pub z: f64,
}

impl Residual {
    /// Values seen so far.
    #[must_use]
    pub fn seen(&self) -> u32 {
        self.seen
    }

    /// Whether the level has been anchored for long enough to compare with.
    #[must_use]
    pub fn is_anchored(&self) -> bool {
        self.anchored >= 10
    }

    /// Forgets the level but not the scale: after a long gap the old level means nothing.
    pub fn lift_anchor(&mut self) {
        self.anchored = 0;
    }

    /// Compares `value` with what was expected, then learns it, more slowly while the resource is `flagged`.
    pub fn observe(&mut self, metric: &Metric, value: f64, flagged: bool) -> Deviation {
        if self.anchored == 0 {
            self.level = value;
        }
        let expected = self.level;
        let scale = self
            .scale
            .max(metric.floor)
            .max(RESOLUTION * expected.abs())
            .max(f64::MIN_POSITIVE.sqrt());
        let residual = value - expected;
        let z = match metric.direction {
            Direction::Up => residual.max(0.0) / scale,
            Direction::Down => residual.min(0.0) / scale,
            Direction::Both => residual / scale,
        }
        .clamp(-MOST, MOST);

        let clip = |limit: f64| {
            if self.seen < CLIP_FROM {
                residual
            } else {
                residual.clamp(-limit * scale, limit * scale)
            }
        };
        // Young estimates are plain means, so that the first values do not weigh for ever.
        let weight = LEVEL_WEIGHT.max(1.0 / f64::from(self.anchored.saturating_add(1)));
        let scale_clip = if flagged {
            SCALE_CLIP_FLAGGED
        } else {
            SCALE_CLIP
        };
        let (for_level, for_scale) = (clip(LEVEL_CLIP), clip(scale_clip));
        self.level += weight * for_level;
        if self.anchored > 0 {
            let weight = SCALE_WEIGHT.max(1.0 / f64::from(self.seen.max(1)));
            self.scale += weight * (ABSOLUTE_TO_SIGMA * for_scale.abs() - self.scale);
        }
        self.seen = self.seen.saturating_add(1);
        self.anchored = self.anchored.saturating_add(1);
        Deviation { expected, scale, z }
    }
}

/// How surprising a deviation of `z` scales is, in nats: the negative log-likelihood of Student's t, zero at zero.
///
/// It grows with the square of small deviations and with the logarithm of large ones. A tail that falls like a power
/// of the deviation, as those of bursty metrics do, so falls exponentially in the surprise, whatever the power;
/// this is what makes one shipped shape fit them all.
#[must_use]
pub fn surprise(z: f64) -> f64 {
    (FREEDOM + 1.0) / 2.0 * (z * z / FREEDOM).ln_1p()
}

/// The deviation, in scales, whose [`surprise`] is `nats`.
#[must_use]
pub fn deviation_of(nats: f64) -> f64 {
    (FREEDOM * (nats * 2.0 / (FREEDOM + 1.0)).exp_m1()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric() -> Metric {
        Metric::new("cpu.utilization", 0.01)
    }

    #[test]
    fn surprise_and_its_inverse_agree() {
        for z in [0.0, 0.3, 2.0, 8.0, 500.0] {
            assert!((deviation_of(surprise(z)) - z).abs() < 1e-9 * (1.0 + z));
        }
    }

    #[test]
    fn a_constant_series_deviates_in_units_of_its_floor() {
        let mut residual = Residual::default();
        for _ in 0..500 {
            assert_eq!(residual.observe(&metric(), 0.25, false).z, 0.0);
        }
        let deviation = residual.observe(&metric(), 0.30, false);
        assert!((deviation.z - 5.0).abs() < 1e-6, "{deviation:?}");
    }

    #[test]
    fn a_new_level_is_resisted_and_then_accepted() {
        let mut residual = Residual::default();
        for step in 0..2_000 {
            residual.observe(&metric(), 0.1 + 0.02 * f64::from(step % 3), false);
        }
        let z = |residual: &mut Residual| residual.observe(&metric(), 0.9, false).z;
        assert!(z(&mut residual) > 30.0);
        let after_a_minute = (0..60).map(|_| z(&mut residual)).last().expect("sixty");
        assert!(after_a_minute > 10.0, "{after_a_minute}");
        let after_an_hour = (0..3_540).map(|_| z(&mut residual)).last().expect("many");
        assert!(after_an_hour < 0.5, "{after_an_hour}");
    }

    #[test]
    fn a_direction_that_does_not_count_gives_zero() {
        let metric = Metric {
            direction: Direction::Up,
            ..metric()
        };
        let mut residual = Residual::default();
        for _ in 0..100 {
            residual.observe(&metric, 0.5, false);
        }
        assert_eq!(residual.observe(&metric, 0.1, false).z, 0.0);
        assert!(residual.observe(&metric, 0.9, false).z > 0.0);
    }
}
