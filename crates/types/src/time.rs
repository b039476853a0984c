//! The two times of DESIGN.md §2.2, as types of their own so that they are never mixed up.
//!
//! Nothing here reads a clock: event time arrives with a sample, log time with a record.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When a sample was measured: milliseconds since the Unix epoch, UTC.
///
/// Features, steps, "for 5 minutes", forecasts and time to failure use it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EventTime(pub i64);

/// When the log itself took a record in: milliseconds since the Unix epoch, the maximum so far in its partition.
///
/// Silence, cooldown, repeat, escalation and expiry use it. A derived record carries the log time of its cause.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LogTime(pub i64);

macro_rules! instant {
    ($name:ident) => {
        impl $name {
            /// Milliseconds since the Unix epoch.
            #[must_use]
            pub const fn millis(self) -> i64 {
                self.0
            }

            /// This moment plus `span`, saturating.
            #[must_use]
            pub fn plus(self, span: Duration) -> Self {
                Self(
                    self.0
                        .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
                )
            }

            /// This moment minus `span`, saturating.
            #[must_use]
            pub fn minus(self, span: Duration) -> Self {
                Self(
                    self.0
                        .saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
                )
            }

            /// Time passed since `earlier`; zero when `earlier` lies in the future.
            #[must_use]
            pub fn since(self, earlier: Self) -> Duration {
                Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
instant!(EventTime);
instant!(LogTime);

/// Spacing of the grid on which a feature set judges a resource, in milliseconds (1 s to 1 h).
///
/// A step is the half-open span `[end - length, end)`; ends are multiples of the length since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepLength(u32);

impl StepLength {
    /// One second: the host collector's step.
    pub const SECOND: Self = Self(1_000);

    /// A step of `millis`, or `None` outside 1 s to 1 h.
    #[must_use]
    pub const fn from_millis(millis: u32) -> Option<Self> {
        if millis >= 1_000 && millis <= 3_600_000 {
            Some(Self(millis))
        } else {
            None
        }
    }

    /// The length in milliseconds.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0 as i64
    }

    /// The length as a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0 as u64)
    }

    /// End of the step that holds `at`: a sample at the very end belongs to the next step.
    #[must_use]
    pub const fn end_of(self, at: EventTime) -> EventTime {
        let length = self.0 as i64;
        EventTime(
            at.0.div_euclid(length)
                .saturating_add(1)
                .saturating_mul(length),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_half_open() {
        let step = StepLength::from_millis(10_000).expect("within range");
        assert_eq!(step.end_of(EventTime(0)), EventTime(10_000));
        assert_eq!(step.end_of(EventTime(9_999)), EventTime(10_000));
        assert_eq!(step.end_of(EventTime(10_000)), EventTime(20_000));
        assert_eq!(step.end_of(EventTime(-1)), EventTime(0));
    }

    #[test]
    fn a_step_shorter_than_a_second_or_longer_than_an_hour_is_refused() {
        assert!(StepLength::from_millis(999).is_none());
        assert!(StepLength::from_millis(3_600_001).is_none());
    }

    #[test]
    fn time_arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(
            EventTime(i64::MAX).plus(Duration::from_secs(1)),
            EventTime(i64::MAX)
        );
        assert_eq!(LogTime(0).since(LogTime(5)), Duration::ZERO);
    }
}
