//! Section `[forewarn]` of the settings: what the services in one process stand on.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the services in one process stand on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// `embedded`: the log is in this process, as `[embedded]` says. `kafka`: it is where `[log]` says, and other processes
    /// may share the work.
    pub(crate) log: Log,
    /// `embedded`: points are in this process, as `[metric_store]` says. `influxdb`: they are where `[influxdb]` says.
    pub(crate) metrics: Metrics,
    /// `embedded`: a PostgreSQL of its own, a child of this process. `server`: the one that `[postgres]` leads to.
    pub(crate) postgres: Ledger,
    /// The folder of its own PostgreSQL.
    pub(crate) postgres_path: PathBuf,
    /// The folder of PostgreSQL's programs; unset, the newest in the usual places.
    pub(crate) postgres_programs: Option<PathBuf>,
    /// Whether to fetch them, once, where there are none.
    pub(crate) postgres_fetch: bool,
    /// From which Maven repository.
    pub(crate) postgres_repository: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log: Log::default(),
            metrics: Metrics::default(),
            postgres: Ledger::default(),
            postgres_path: PathBuf::from("forewarn-data/postgres"),
            postgres_programs: None,
            postgres_fetch: true,
            postgres_repository: "https://repo1.maven.org/maven2".to_owned(),
        }
    }
}

/// Which log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Log {
    /// In this process.
    #[default]
    Embedded,
    /// On a cluster.
    Kafka,
}

/// Which metric store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metrics {
    /// In this process.
    #[default]
    Embedded,
    /// A server.
    Influxdb,
}

/// Which PostgreSQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ledger {
    /// A child of this process.
    #[default]
    Embedded,
    /// A server.
    Server,
}
