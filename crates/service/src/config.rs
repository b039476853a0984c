//! The section `[service]`: what the shell itself can be told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use forewarn_config::Settings;
use serde::{Deserialize, Serialize};

use crate::telemetry;

/// How every service runs: logs, health pages, patience.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceConfig {
    /// What is logged: a level, and exceptions by module, such as `info,forewarn_bus=debug`.
    pub log_level: String,
    /// How it is logged: `auto` (lines for people on a terminal, else JSON), `human` or `json`.
    pub log_format: LogFormat,
    /// On which address the health pages answer. They need no password: keep them off public networks.
    pub address: IpAddr,
    /// On which port; unset: 8002 stream-processor, 8003 predictor, 8004 alerter. (The others have them on their own port:
    /// ingestion 8001, trainer 8005, api 3000.)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// This replica's name among its like, the same after a restart; unset: the host's name and `port`. Two replicas of
    /// ingestion on one host need one each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// How long a stopping service may finish what it has begun.
    #[serde(with = "forewarn_config::duration")]
    pub drain: Duration,
    /// After so long without a sign of life from a loop that has work, `/live` says so.
    #[serde(with = "forewarn_config::duration")]
    pub late_after: Duration,
    /// After so long the process ends, to be started again.
    #[serde(with = "forewarn_config::duration")]
    pub stalled_after: Duration,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            log_level: "info".to_owned(),
            log_format: LogFormat::Auto,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: None,
            instance: None,
            drain: Duration::from_secs(10),
            late_after: Duration::from_secs(10),
            stalled_after: Duration::from_secs(30),
        }
    }
}

impl ServiceConfig {
    /// Reads the section and checks what its types cannot.
    pub fn read(settings: &mut Settings) -> Self {
        let config: Self = settings.section("service");
        if let Err(problem) = telemetry::parse_filter(&config.log_level) {
            settings.refuse("service.log_level", problem);
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if config
            .instance
            .as_ref()
            .is_some_and(|name| name.is_empty() || name.len() > 100 || !name.chars().all(fits))
        {
            settings.refuse(
                "service.instance",
                "it is 1 to 100 letters, digits, `.`, `_` and `-`",
            );
        }
        if config.drain.is_zero() {
            settings.refuse(
                "service.drain",
                "at least a moment is needed to end in order, such as \"1s\"",
            );
        }
        if config.late_after.is_zero() {
            settings.refuse(
                "service.late_after",
                "it must be longer than nothing, such as \"10s\"",
            );
        }
        if config.stalled_after < config.late_after {
            let least = forewarn_config::duration::format(config.late_after);
            settings.refuse(
                "service.stalled_after",
                format!("it must be at least service.late_after ({least})"),
            );
        }
        config
    }

    /// Where the health pages answer.
    pub(crate) fn listen(&self, usual_port: u16) -> SocketAddr {
        SocketAddr::new(self.address, self.port.unwrap_or(usual_port))
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people on a terminal, else JSON.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}
