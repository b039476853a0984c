//! Section `[log]` of the settings.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where the log is and how its topics are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Kafka's bootstrap servers, separated by commas. Kafka 3.6 or newer.
    pub servers: String,
    /// Partitions of every topic: the most replicas that can share the work of a stage. It cannot be changed once
    /// the topics exist, since a resource's history would be torn apart.
    pub partitions: u32,
    /// Put before the names of topics and groups, so that several installations can share a cluster.
    pub topic_prefix: String,
    /// On how many brokers each record is kept. 3 in production: then 2 of them acknowledge and one may fail.
    pub replication_factor: u16,
    /// How long records are kept. An exact replay reaches back as far; shorter than the longest outage means loss.
    #[serde(with = "forewarn_config::duration")]
    pub retention: Duration,
    /// How long a record may wait for company on its way out: more gives better compression, less gives lower delay.
    #[serde(with = "forewarn_config::duration")]
    pub linger: Duration,
    /// How long to wait for the servers at start-up before giving up.
    #[serde(with = "forewarn_config::duration")]
    pub startup_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: "127.0.0.1:9092".to_owned(),
            partitions: 6,
            topic_prefix: String::new(),
            replication_factor: 1,
            retention: Duration::from_secs(7 * 24 * 3600),
            linger: Duration::from_millis(20),
            startup_wait: Duration::from_secs(120),
        }
    }
}

/// Partitions beyond this are a slip of the finger: each costs files and memory on every broker.
const PARTITIONS_MAX: u32 = 1_024;

/// Kafka's limit is 249 for the whole name.
const PREFIX_MAX: usize = 100;

impl Config {
    /// Every mistake, as the key within the section and what is wrong with its value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if self.servers.trim().is_empty() {
            mistakes.push((
                "servers",
                "is empty; name at least one server as host:port".to_owned(),
            ));
        }
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            mistakes.push((
                "partitions",
                format!("is {}; it has to be 1 to {PARTITIONS_MAX}", self.partitions),
            ));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if self.topic_prefix.len() > PREFIX_MAX || !self.topic_prefix.chars().all(fits) {
            let problem = format!(
                "is `{}`; use up to {PREFIX_MAX} letters, digits, _ and -",
                self.topic_prefix
            );
            mistakes.push(("topic_prefix", problem));
        }
        if self.replication_factor == 0 {
            mistakes.push((
                "replication_factor",
                "is 0; it has to be at least 1, 3 in production".to_owned(),
            ));
        }
        if self.retention < Duration::from_secs(3600) {
            mistakes.push((
                "retention",
                "is below an hour; stages could not catch up after an outage".to_owned(),
            ));
        }
        if self.linger > Duration::from_secs(1) {
            mistakes.push((
                "linger",
                "is above a second; warnings would come late".to_owned(),
            ));
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_mistake_and_every_mistake_is_named() {
        assert_eq!(Config::default().mistakes(), []);
        let config = Config {
            servers: " ".into(),
            partitions: 0,
            topic_prefix: "a.b".into(),
            replication_factor: 0,
            retention: Duration::from_secs(1),
            linger: Duration::from_secs(2),
            ..Config::default()
        };
        let keys: Vec<_> = config.mistakes().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "servers",
                "partitions",
                "topic_prefix",
                "replication_factor",
                "retention",
                "linger"
            ]
        );
    }
}
