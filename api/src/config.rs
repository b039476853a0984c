//! Section `[api]` of the settings.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Who may look, and how much one look may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the pages answer. Nothing asks for a password yet, so only this machine can reach them by default:
    /// `0.0.0.0:3000` shows everything that is known to the whole network.
    pub listen: SocketAddr,
    /// Names under which browsers may ask, besides this machine's own (`localhost` and addresses), such as that of a
    /// reverse proxy: `["forewarn.example.org"]`. Other names are refused while only this machine can reach the pages or
    /// any name is given, so that a foreign web site cannot read them through a visitor's browser.
    pub hosts: Vec<String>,
    /// Connections to PostgreSQL at most: people who look must not take them from the services that write.
    pub pool_size: usize,
    /// PostgreSQL gives up on a query after this time, and InfluxDB on reading a chart; the answer is 503.
    #[serde(with = "forewarn_config::duration")]
    pub query_timeout: Duration,
    /// Requests that are worked on at once; beyond that the answer is 503.
    pub requests_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000),
            hosts: Vec::new(),
            pool_size: 4,
            query_timeout: Duration::from_secs(5),
            requests_max: 64,
        }
    }
}

/// Longer queries would outlive the patience of whoever asked.
const QUERY_TIMEOUT_MOST: Duration = Duration::from_secs(60);

impl Config {
    /// Every mistake, as the key within the section and what is wrong with its value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let name = |host: &String| {
            !host.is_empty()
                && host
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
        };
        if let Some(wrong) = self.hosts.iter().find(|host| !name(host)) {
            mistakes.push((
                "hosts",
                format!("`{wrong}` is no host's name; write it without scheme and port, such as \"forewarn.example.org\""),
            ));
        }
        if !(1..=64).contains(&self.pool_size) {
            mistakes.push(("pool_size", "must be from 1 to 64".to_owned()));
        }
        if self.query_timeout.is_zero() || self.query_timeout > QUERY_TIMEOUT_MOST {
            mistakes.push((
                "query_timeout",
                "must be longer than nothing and at most \"1m\"".to_owned(),
            ));
        }
        if self.requests_max == 0 {
            mistakes.push(("requests_max", "must be at least 1".to_owned()));
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
        let wrong = Config {
            hosts: vec!["http://x".into()],
            pool_size: 0,
            query_timeout: Duration::ZERO,
            requests_max: 0,
            ..Config::default()
        };
        let keys: Vec<_> = wrong.mistakes().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            ["hosts", "pool_size", "query_timeout", "requests_max"]
        );
    }
}
