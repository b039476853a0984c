//! Section `[demo]` of the settings: a fleet to see Forewarn at work on.

use std::time::Duration;

use forewarn_simulate::FaultKind;
use serde::{Deserialize, Serialize};

/// A fleet that does not exist, beside this host, and what goes wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// `auto`: where `forewarn` is started without a command on a folder that does not exist yet, and again in that folder.
    /// `on` or `off`: always, or never.
    pub(crate) enabled: Enabled,
    /// From which everything random follows.
    pub(crate) seed: u64,
    /// What goes wrong first.
    pub(crate) fault: FaultKind,
    /// How long after the models have begun to judge.
    #[serde(with = "forewarn_config::duration")]
    pub(crate) after: Duration,
    /// How long after one fault has ended the next begins, of another kind.
    #[serde(with = "forewarn_config::duration")]
    pub(crate) every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: Enabled::Auto,
            seed: 1,
            fault: FaultKind::MemoryLeak,
            after: Duration::from_secs(5),
            every: Duration::from_secs(600),
        }
    }
}

/// Whether there is a demonstration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Enabled {
    /// Where somebody tries Forewarn for the first time.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}
