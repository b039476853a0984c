//! How fine points are kept, and for how long.

use std::time::Duration;

/// One level of aggregation: means, least and greatest values of windows. The mean of a longer window is the mean of the
/// means of its parts, equal weights.
#[derive(Debug, PartialEq, Eq)]
pub struct Level {
    /// Its window in words, which are Flux's too.
    pub name: &'static str,
    /// Its window in milliseconds; windows begin at multiples of it.
    pub window: i64,
}

/// From the finest to the coarsest; each is made of the one before.
pub const LEVELS: [Level; 4] = [
    Level {
        name: "10s",
        window: 10_000,
    },
    Level {
        name: "1m",
        window: 60_000,
    },
    Level {
        name: "10m",
        window: 600_000,
    },
    Level {
        name: "1h",
        window: 3_600_000,
    },
];

/// How long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Points as they came.
    pub raw: Duration,
    /// Each of [`LEVELS`]; none where nothing is aggregated.
    pub levels: Option<[Duration; LEVELS.len()]>,
}
