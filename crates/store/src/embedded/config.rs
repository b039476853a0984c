//! Section `[metric_store]` of the settings: the metric store inside the process.

use std::path::PathBuf;
use std::time::Duration;

use forewarn_config::Settings;
use serde::{Deserialize, Serialize};

use crate::metrics::Retention;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Where points lie, and how long they are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder. One process at a time.
    pub path: PathBuf,
    /// How long samples, features and scores are kept as they came.
    #[serde(with = "forewarn_config::duration")]
    pub retention_raw: Duration,
    /// How long aggregates of 10 s are kept.
    #[serde(with = "forewarn_config::duration")]
    pub retention_10s: Duration,
    /// How long aggregates of a minute are kept.
    #[serde(with = "forewarn_config::duration")]
    pub retention_1m: Duration,
    /// How long aggregates of 10 minutes are kept.
    #[serde(with = "forewarn_config::duration")]
    pub retention_10m: Duration,
    /// How long aggregates of an hour are kept.
    #[serde(with = "forewarn_config::duration")]
    pub retention_1h: Duration,
    /// Space that has to stay free on the disk; below it points wait in the log.
    #[serde(with = "forewarn_config::size")]
    pub free_bytes_min: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: PathBuf::from("forewarn-data/metrics"),
            retention_raw: 7 * DAY,
            retention_10s: 190 * DAY,
            retention_1m: 190 * DAY,
            retention_10m: 400 * DAY,
            retention_1h: 1_100 * DAY,
            free_bytes_min: 256 << 20,
        }
    }
}

impl Config {
    /// Reads section `[metric_store]`; what is wrong is remembered by `settings`.
    pub fn configure(settings: &mut Settings) -> Self {
        settings.checked("metric_store", Self::mistakes)
    }

    /// Every mistake, as the key within the section and what is wrong with its value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if self.path.as_os_str().is_empty() {
            mistakes.push(("path", "is empty; name a folder".to_owned()));
        }
        for (key, retention) in [
            ("retention_raw", self.retention_raw),
            ("retention_10s", self.retention_10s),
            ("retention_1m", self.retention_1m),
            ("retention_10m", self.retention_10m),
            ("retention_1h", self.retention_1h),
        ] {
            if retention < Duration::from_secs(2 * 3_600) {
                mistakes.push((
                    key,
                    "must be at least \"2h\": points lie in hours, and a little longer than that before they are aggregated"
                        .to_owned(),
                ));
            }
        }
        mistakes
    }

    pub(super) fn retention(&self) -> Retention {
        Retention {
            raw: self.retention_raw,
            levels: Some([
                self.retention_10s,
                self.retention_1m,
                self.retention_10m,
                self.retention_1h,
            ]),
        }
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
            retention_raw: Duration::from_secs(3_600),
            ..Config::default()
        };
        let keys: Vec<_> = wrong.mistakes().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["path", "retention_raw"]);
    }
}
