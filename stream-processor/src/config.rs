//! The section `[stream_processor]`: how long a step is waited for, and how much is kept.

use std::time::Duration;

use forewarn_features::StepRules;
use serde::{Deserialize, Serialize};

/// When steps close, when a resource counts as silent, and how many are followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many steps a closed step's missing samples are waited for.
    pub delay_steps: u32,
    /// The least that samples from other machines (pushed, scraped) are waited for.
    #[serde(with = "forewarn_config::duration")]
    pub remote_delay: Duration,
    /// A resource that sends nothing for this long, and for three of its steps, is silent.
    #[serde(with = "forewarn_config::duration")]
    pub silent_after: Duration,
    /// A resource whose clock jumped ahead and came back goes on from before the jump after this time.
    #[serde(with = "forewarn_config::duration")]
    pub reanchor_after: Duration,
    /// Series of one resource that are followed; beyond, the quietest is forgotten.
    pub max_series: usize,
    /// Resources of one partition that are followed; beyond, the quietest is forgotten.
    pub max_resources: usize,
}

impl Default for Config {
    fn default() -> Self {
        let rules = StepRules::default();
        Self {
            delay_steps: rules.delay_steps,
            remote_delay: rules.remote_delay,
            silent_after: Duration::from_secs(30),
            reanchor_after: rules.reanchor_after,
            max_series: rules.series_max,
            max_resources: 5_000,
        }
    }
}

impl Config {
    /// Every mistake, as the key within the section and what is wrong with its value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if self.delay_steps > 60 {
            mistakes.push((
                "delay_steps",
                "is above 60; so many open steps are not kept".to_owned(),
            ));
        }
        if self.silent_after < Duration::from_secs(5) {
            mistakes.push((
                "silent_after",
                "is below 5 s; a busy network would look like silence".to_owned(),
            ));
        }
        for (key, value) in [
            ("max_series", self.max_series),
            ("max_resources", self.max_resources),
        ] {
            if value == 0 {
                mistakes.push((key, "is 0; nothing could be followed".to_owned()));
            }
        }
        mistakes
    }

    pub(crate) const fn rules(&self) -> StepRules {
        StepRules {
            delay_steps: self.delay_steps,
            remote_delay: self.remote_delay,
            reanchor_after: self.reanchor_after,
            series_max: self.max_series,
        }
    }
}
