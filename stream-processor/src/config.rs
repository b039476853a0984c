//! The section `[stream_processor]`: how long a step waits, and how much is followed.

use std::time::Duration;

use forewarn_features::StepRules;
use serde::{Deserialize, Serialize};

/// When steps close, when a resource counts as silent, and how much is kept in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepConfig {
    /// How many steps a closed step's missing samples are waited for.
    pub allowed_delay_steps: u32,
    /// The least that samples from other machines (pushed, scraped) are waited for.
    #[serde(with = "forewarn_config::duration")]
    pub remote_delay: Duration,
    /// A resource is silent after this many of its source's intervals without samples …
    pub silent_after_steps: u32,
    /// … but not before this time.
    #[serde(with = "forewarn_config::duration")]
    pub silent_after: Duration,
    /// A resource whose clock jumped ahead and came back goes on where the jump began, once its samples have been late
    /// for this long.
    #[serde(with = "forewarn_config::duration")]
    pub reanchor_after: Duration,
    /// Series of one resource that are followed; beyond, the one that has been quiet for longest is forgotten.
    pub max_series: usize,
    /// Resources that one partition follows; beyond, the one that has been quiet for longest starts anew.
    pub max_resources: usize,
}

impl Default for StepConfig {
    fn default() -> Self {
        let rules = StepRules::default();
        Self {
            allowed_delay_steps: rules.delay_steps,
            remote_delay: rules.remote_delay,
            silent_after_steps: 3,
            silent_after: Duration::from_secs(30),
            reanchor_after: rules.reanchor_after,
            max_series: rules.series_max,
            max_resources: 5_000,
        }
    }
}

impl StepConfig {
    /// Every mistake, as the key within the section and what is wrong with its value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let mut refuse = |key, problem: &str| mistakes.push((key, problem.to_owned()));
        if !(1..=60).contains(&self.allowed_delay_steps) {
            refuse("allowed_delay_steps", "must be 1 to 60 steps");
        }
        if self.remote_delay > Duration::from_secs(600) {
            refuse(
                "remote_delay",
                "must be at most 10m: open steps are kept in memory",
            );
        }
        if !(1..=1_000).contains(&self.silent_after_steps) {
            refuse("silent_after_steps", "must be 1 to 1000 intervals");
        }
        // Ticks come each second; less would call a resource silent between two of them.
        if self.silent_after < Duration::from_secs(5) {
            refuse("silent_after", "must be at least 5s");
        }
        if self.reanchor_after < Duration::from_secs(60) {
            refuse(
                "reanchor_after",
                "must be at least 1m, or an ordinary gap would be taken for a jump",
            );
        }
        if !(1..=100_000).contains(&self.max_series) {
            refuse("max_series", "must be 1 to 100000");
        }
        if !(1..=1_000_000).contains(&self.max_resources) {
            refuse("max_resources", "must be 1 to 1000000");
        }
        mistakes
    }

    pub(crate) fn rules(&self) -> StepRules {
        StepRules {
            delay_steps: self.allowed_delay_steps,
            remote_delay: self.remote_delay,
            reanchor_after: self.reanchor_after,
            series_max: self.max_series,
        }
    }

    /// After how long without samples a resource of this interval is silent.
    pub(crate) fn silence(&self, interval: Duration) -> Duration {
        interval
            .saturating_mul(self.silent_after_steps)
            .max(self.silent_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound_and_mistakes_are_all_named() {
        assert_eq!(StepConfig::default().mistakes(), []);
        let wrong = StepConfig {
            allowed_delay_steps: 0,
            remote_delay: Duration::from_secs(3_600),
            silent_after_steps: 0,
            silent_after: Duration::ZERO,
            reanchor_after: Duration::ZERO,
            max_series: 0,
            max_resources: 0,
        };
        let keys: Vec<_> = wrong.mistakes().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "allowed_delay_steps",
                "remote_delay",
                "silent_after_steps",
                "silent_after",
                "reanchor_after",
                "max_series",
                "max_resources"
            ]
        );
    }

    #[test]
    fn silence_is_three_intervals_but_at_least_thirty_seconds() {
        let config = StepConfig::default();
        assert_eq!(
            config.silence(Duration::from_secs(1)),
            Duration::from_secs(30)
        );
        assert_eq!(
            config.silence(Duration::from_secs(60)),
            Duration::from_secs(180)
        );
    }
}
