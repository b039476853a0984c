//! The states of DESIGN.md §4: the same words in code, SQL, API, command line and pages.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A word that names no state of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} `{found}`, expected one of {expected}")]
pub struct ParseStateError {
    kind: &'static str,
    found: String,
    expected: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $kind:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All of them, in the order in which a thing usually passes through them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word used everywhere.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ParseStateError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    other => Err(ParseStateError {
                        kind: $kind,
                        found: other.chars().take(80).collect(),
                        expected: [$($word,)+].join(", "),
                    }),
                }
            }
        }
    };
}

words! {
    /// What a detector can say about a step. Unknown is never normal.
    VerdictState, "verdict state" {
        /// Judged: the score means something.
        Scored = "scored",
        /// Too little has been seen to judge.
        Learning = "learning",
        /// The step has no values to judge.
        Gap = "gap",
        /// The values lie outside what a model was made for.
        OutOfRange = "out_of_range",
    }
}

words! {
    /// Life of a failure prediction.
    PredictionState, "prediction state" {
        /// Said, and still expected.
        Open = "open",
        /// The breach came.
        Confirmed = "confirmed",
        /// An action or a change ran, and the breach did not come.
        Averted = "averted",
        /// No breach by P90 plus grace.
        Expired = "expired",
        /// The evidence went away before.
        Withdrawn = "withdrawn",
    }
}

words! {
    /// Life of an alert.
    AlertState, "alert state" {
        /// A failure is expected; nothing is broken yet.
        Predicted = "predicted",
        /// The condition holds, but not for long enough yet.
        Pending = "pending",
        /// Needs attention.
        Open = "open",
        /// Somebody has it.
        Acknowledged = "acknowledged",
        /// Over.
        Resolved = "resolved",
        /// Muted by a silence.
        Silenced = "silenced",
        /// Judged not worth attention by a person.
        Dismissed = "dismissed",
    }
}

words! {
    /// How a resource is doing.
    ResourceState, "resource state" {
        /// Too little has been seen to judge.
        Learning = "learning",
        /// Nothing unusual.
        Healthy = "healthy",
        /// Unusual, or a limit is breached without great impact.
        Degraded = "degraded",
        /// A failure is predicted.
        AtRisk = "at_risk",
        /// A limit is breached with impact.
        Critical = "critical",
        /// It stopped sending.
        Silent = "silent",
    }
}

words! {
    /// What will fail. One kind has one subject: the mount point, the host, the pool.
    FailureKind, "failure kind" {
        /// A filesystem fills up.
        DiskFull = "disk_full",
        /// Memory runs out.
        MemoryExhaustion = "memory_exhaustion",
        /// A connection pool or limit is used up.
        ConnectionExhaustion = "connection_exhaustion",
        /// The file descriptors run out.
        FileDescriptorExhaustion = "file_descriptor_exhaustion",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip_through_text_and_json() {
        for state in AlertState::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
            assert_eq!(serde_json::to_value(state).expect("a word"), state.as_str());
        }
    }

    #[test]
    fn a_wrong_word_is_answered_with_the_right_ones() {
        let error = "opened"
            .parse::<PredictionState>()
            .expect_err("not a state")
            .to_string();
        assert_eq!(
            error,
            "unknown prediction state `opened`, expected one of open, confirmed, averted, expired, withdrawn"
        );
    }
}
