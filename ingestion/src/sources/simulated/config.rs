//! Section `[simulator]` of the settings.

use std::path::PathBuf;
use std::time::Duration;

use forewarn_simulate::{FaultKind, Order};
use forewarn_types::EventTime;
use serde::{Deserialize, Serialize};

use super::Simulator;

/// A fleet to try Forewarn on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether to simulate at all. Never where real resources are watched that have the same names, and in one replica of
    /// ingestion only.
    pub enabled: bool,
    /// From which everything random follows.
    pub seed: u64,
    /// Where what really went wrong is written down, a line of JSON at a time, for evaluation alone.
    pub truth: PathBuf,
    /// Faults that come by themselves after the start.
    pub faults: Vec<Planned>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: false,
            seed: 1,
            truth: PathBuf::from("forewarn-data/simulator/truth.jsonl"),
            faults: Vec::new(),
        }
    }
}

/// A fault that comes by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// Which: `memory-leak`.
    pub fault: FaultKind,
    /// To whom; left out: to the one whom it suits best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How long after the start it begins.
    #[serde(with = "forewarn_config::duration")]
    pub after: Duration,
    /// How long it takes; left out: as long as its kind usually does.
    #[serde(
        rename = "for",
        default,
        with = "forewarn_config::duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub lasts: Option<Duration>,
}

impl Planned {
    pub(super) fn order(&self) -> Order {
        Order {
            fault: self.fault,
            host: self.host.clone(),
            seconds: self.lasts.map(|lasts| lasts.as_secs()),
            after_seconds: self.after.as_secs(),
        }
    }
}

impl Config {
    /// Every mistake, as the key within the section and what is wrong with its value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if self.truth.file_name().is_none() {
            mistakes.push(("truth", "must be the path of a file".to_owned()));
        }
        // Whether faults can be is known by trying; any moment will do.
        if let Err((i, error)) = Simulator::of(self, EventTime(0)) {
            mistakes.push(("faults", format!("the one at {i}: {error}")));
        }
        mistakes
    }
}
