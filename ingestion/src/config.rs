//! Section `[ingestion]` of the settings.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::door::{Limits, PushConfig, step_length};
use crate::sources::host::HostConfig;

/// Where samples come from and what may come in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where samples are pushed to and the health pages answer. Nothing asks for a password yet, so only this machine
    /// can reach it by default: `0.0.0.0:8001` opens it to the network that the machine is in.
    pub listen: SocketAddr,
    /// How long a request waits for the log's acknowledgement. After that the answer is 503, and sending again is safe.
    #[serde(with = "forewarn_config::duration")]
    pub acknowledge_within: Duration,
    /// How long a sender may take to send a request's body.
    #[serde(with = "forewarn_config::duration")]
    pub receive_within: Duration,
    /// The largest body of a request, as it comes over the network.
    #[serde(with = "forewarn_config::size")]
    pub body_max: usize,
    /// The largest body of a request after decompression.
    #[serde(with = "forewarn_config::size")]
    pub decompressed_max: usize,
    /// What the bodies of all requests together may take in memory; beyond that the answer is 503.
    #[serde(with = "forewarn_config::size")]
    pub bodies_total_max: usize,
    /// Requests that are worked on at once; beyond that the answer is 503.
    pub requests_max: usize,
    /// How much of this host's own measurements is kept in memory while the log is away.
    #[serde(with = "forewarn_config::duration")]
    pub backlog: Duration,
    /// What this host itself measures.
    pub host: HostConfig,
    /// What holds for pushed samples.
    pub push: PushConfig,
    /// What may come in.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8001),
            acknowledge_within: Duration::from_secs(10),
            receive_within: Duration::from_secs(30),
            body_max: 8 << 20,
            decompressed_max: 32 << 20,
            bodies_total_max: 128 << 20,
            requests_max: 256,
            backlog: Duration::from_secs(600),
            host: HostConfig::default(),
            push: PushConfig::default(),
            limits: Limits::default(),
        }
    }
}

/// Bodies below a kilobyte could hold no batch worth sending.
const BODY_LEAST: usize = 1 << 10;

/// Longer names would not fit into the keys of records and the indexes of tables.
const NAME_BYTES_MOST: usize = 1_024;

impl Config {
    /// Every mistake, as the key within the section and what is wrong with its value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let mut check = |fine: bool, key: &'static str, problem: &str| {
            if !fine {
                mistakes.push((key, problem.to_owned()));
            }
        };
        let positive = "must be longer than nothing, such as \"10s\"";
        check(
            !self.acknowledge_within.is_zero(),
            "acknowledge_within",
            positive,
        );
        check(!self.receive_within.is_zero(), "receive_within", positive);
        check(
            self.body_max >= BODY_LEAST,
            "body_max",
            "must be at least \"1KiB\"",
        );
        check(
            self.decompressed_max >= self.body_max,
            "decompressed_max",
            "must not be below `body_max`",
        );
        check(
            self.bodies_total_max >= self.body_max.saturating_add(self.decompressed_max),
            "bodies_total_max",
            "must hold one request: at least `body_max` and `decompressed_max` together",
        );
        check(self.requests_max > 0, "requests_max", "must be at least 1");
        let step = "must be from \"1s\" to \"1h\"";
        check(
            step_length(self.host.interval).is_some(),
            "host.interval",
            step,
        );
        check(
            step_length(self.push.interval).is_some(),
            "push.interval",
            step,
        );
        let name = self.host.resource.as_str();
        check(
            name.trim() == name
                && !name.contains(char::is_control)
                && name.len() <= self.limits.name_bytes_max,
            "host.resource",
            "must have no control characters, no spaces at its ends, and be no longer than `limits.name_bytes_max`",
        );
        check(
            self.limits.samples_max > 0,
            "limits.samples_max",
            "must be at least 1",
        );
        check(
            self.limits.series_max > 0,
            "limits.series_max",
            "must be at least 1",
        );
        check(
            (1..=NAME_BYTES_MOST).contains(&self.limits.name_bytes_max),
            "limits.name_bytes_max",
            "must be from 1 to 1024",
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
        let mut config = Config {
            acknowledge_within: Duration::ZERO,
            receive_within: Duration::ZERO,
            body_max: 10,
            decompressed_max: 5,
            bodies_total_max: 1,
            requests_max: 0,
            ..Config::default()
        };
        config.host.interval = Duration::from_millis(10);
        config.host.resource = "a\nb".into();
        config.push.interval = Duration::from_secs(7_200);
        config.limits = Limits {
            samples_max: 0,
            series_max: 0,
            name_bytes_max: 0,
            ..Limits::default()
        };
        let keys: Vec<_> = config.mistakes().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "acknowledge_within",
                "receive_within",
                "body_max",
                "decompressed_max",
                "bodies_total_max",
                "requests_max",
                "host.interval",
                "push.interval",
                "host.resource",
                "limits.samples_max",
                "limits.series_max",
                "limits.name_bytes_max",
            ]
        );
    }
}
