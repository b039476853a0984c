//! Section `[forewarn]` of the settings: what the services in one process stand on.

use serde::{Deserialize, Serialize};

/// What the services in one process stand on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// `embedded`: the log is in this process, as `[embedded]` says. `kafka`: it is where `[log]` says, and other processes
    /// may share the work.
    pub(crate) log: Kind,
}

/// Which log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// In this process.
    #[default]
    Embedded,
    /// On a cluster.
    Kafka,
}
