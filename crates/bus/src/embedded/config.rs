//! Section `[embedded]` of the settings: the log and the stores inside the process.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where the log lies, and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder. One process at a time.
    pub path: PathBuf,
    /// Partitions of every topic that is spread. In one process they only share a stage's work among threads; the number
    /// cannot be changed once the folder exists.
    pub partitions: u32,
    /// How long records are kept, roughly.
    #[serde(with = "forewarn_config::duration")]
    pub retention: Duration,
    /// Bytes that a partition takes at most, roughly: beyond, the oldest records go before their time.
    #[serde(with = "forewarn_config::size")]
    pub partition_bytes_max: usize,
    /// Space that has to stay free on the disk. Below it nothing is taken any more, and senders are told to come back:
    /// a store that runs out of space in the middle of a write has to be repaired by a restart.
    #[serde(with = "forewarn_config::size")]
    pub free_bytes_min: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: PathBuf::from("forewarn-data/log"),
            partitions: 1,
            retention: Duration::from_secs(7 * 24 * 3600),
            partition_bytes_max: 4 << 30,
            free_bytes_min: 256 << 20,
        }
    }
}

/// Partitions beyond this are a slip of the finger: each costs memory, and one process has only so many threads.
const PARTITIONS_MAX: u32 = 64;

impl Config {
    /// Every mistake, as the key within the section and what is wrong with its value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let mut check = |key, is_fine: bool, problem: String| {
            if !is_fine {
                mistakes.push((key, problem));
            }
        };
        check(
            "path",
            !self.path.as_os_str().is_empty(),
            "is empty; name a folder".to_owned(),
        );
        check(
            "partitions",
            (1..=PARTITIONS_MAX).contains(&self.partitions),
            format!("is {}; it has to be 1 to {PARTITIONS_MAX}", self.partitions),
        );
        check(
            "retention",
            self.retention >= Duration::from_secs(3600),
            "is below an hour; stages could not catch up after an outage".to_owned(),
        );
        check(
            "partition_bytes_max",
            self.partition_bytes_max >= 64 << 20,
            "must be at least \"64MiB\": less is gone before it is read".to_owned(),
        );
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_mistake_and_every_mistake_is_named() {
        assert_eq!(Config::default().mistakes(), []);
        let wrong = Config {
            path: PathBuf::new(),
            partitions: 0,
            retention: Duration::ZERO,
            partition_bytes_max: 1,
            free_bytes_min: 0,
        };
        let keys: Vec<_> = wrong.mistakes().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            ["path", "partitions", "retention", "partition_bytes_max"]
        );
    }
}
