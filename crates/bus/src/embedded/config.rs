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
