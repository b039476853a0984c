//! The one knob: how many false anomaly episodes a resource may have per week (DESIGN.md §3).

use forewarn_types::StepLength;

/// The unit of calibration: an episode is what happens within five minutes, in milliseconds.
pub const BLOCK_MILLIS: i64 = 300_000;

/// Extrapolation ends here. Weeks of data cannot tell apart what is rarer; it says "as rare as can be said".
pub const P_MIN: f64 = 1e-12;

const WEEK_MILLIS: i64 = 7 * 24 * 3_600_000;

/// The largest budget that still leaves most time unflagged, episodes per week.
pub const MAX_PER_WEEK: f64 = 500.0;

/// However large the budget, with steps of an hour there are few blocks, and most of them must stay unflagged.
const MOST_PER_BLOCK: f64 = 0.2;

/// The smallest budget whose `p0` stays clear of [`P_MIN`], episodes per week (one in twenty years).
pub const MIN_PER_WEEK: f64 = 0.001;

/// False anomaly episodes per resource and week.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlarmBudget {
    per_week: f64,
}

impl AlarmBudget {
    /// One false episode per resource and week.
    pub const DEFAULT: Self = Self { per_week: 1.0 };

    /// A budget, if it lies between [`MIN_PER_WEEK`] and [`MAX_PER_WEEK`].
    #[must_use]
    pub fn new(per_week: f64) -> Option<Self> {
        (MIN_PER_WEEK..=MAX_PER_WEEK)
            .contains(&per_week)
            .then_some(Self { per_week })
    }

    /// Tail probability per block that half the budget allows: one half is the resource level's, the other the
    /// metrics'.
    #[must_use]
    pub fn p0(self, step: StepLength) -> f64 {
        let blocks = WEEK_MILLIS as f64 / block(step) as f64;
        let rate = (self.per_week / 2.0 / blocks).min(MOST_PER_BLOCK);
        // A rate of λ episodes per block means that a block holds one with probability 1 - exp(-λ).
        -(-rate).exp_m1()
    }
}

/// Length of a calibration block for steps of this length, in milliseconds: five minutes, or the step if longer.
#[must_use]
pub fn block(step: StepLength) -> i64 {
    BLOCK_MILLIS.max(step.millis())
}

/// Steps per calibration block.
#[must_use]
pub fn steps_per_block(step: StepLength) -> u32 {
    u32::try_from(block(step) / step.millis())
        .unwrap_or(1)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_episode_a_week_is_one_in_4032_blocks() {
        let p0 = AlarmBudget::new(1.0)
            .expect("in range")
            .p0(StepLength::SECOND);
        assert!((p0 - 1.0 / 4032.0).abs() < 1e-6, "{p0}");
    }

    #[test]
    fn every_allowed_budget_stays_clear_of_the_end_of_extrapolation() {
        for millis in [1_000, 60_000, 3_600_000] {
            let step = StepLength::from_millis(millis).expect("in range");
            for per_week in [MIN_PER_WEEK, MAX_PER_WEEK] {
                let p0 = AlarmBudget::new(per_week).expect("in range").p0(step);
                assert!(p0 > P_MIN && p0 < 0.2, "{p0}");
            }
        }
        assert!(AlarmBudget::new(0.0).is_none() && AlarmBudget::new(f64::NAN).is_none());
    }
}
