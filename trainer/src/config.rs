//! Section `[trainer]` of the settings: how often, on how much, and how the models are grown.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How models are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where `POST /train` and the health pages answer. Nothing asks for a password yet, so only this machine can reach
    /// it by default.
    pub listen: SocketAddr,
    /// How often the trainer looks for models to make.
    #[serde(with = "forewarn_config::duration")]
    pub every: Duration,
    /// How far back the history of a training reaches.
    #[serde(with = "forewarn_config::duration")]
    pub history: Duration,
    /// History is read in slices of this length, since a slice is held in memory.
    #[serde(with = "forewarn_config::duration")]
    pub slice: Duration,
    /// A model this old is made anew; one of a resource that lives differently than when it was made, at once.
    #[serde(with = "forewarn_config::duration")]
    pub retrain_after: Duration,
    /// Resources that one pass trains at most …
    pub resources_max: usize,
    /// … and how long it may take; what is left comes first in the next pass.
    #[serde(with = "forewarn_config::duration")]
    pub pass_max: Duration,
    /// Memory that the training of one resource may take; the history is shortened to it.
    #[serde(with = "forewarn_config::size")]
    pub memory_max: usize,
    /// Usable steps without which there is no training.
    pub least_steps: usize,
    /// The share of the history, the latest, that calibrates and proves a model instead of growing it.
    pub held_out: f64,
    /// A new model may be worse than the one that judges by this much (area under the ROC curve), and not more.
    pub tolerance: f64,
    /// Trees of a forest.
    pub trees: u32,
    /// Steps that each tree sees.
    pub sample: u32,
    /// Columns beyond the first that take part in a cut; 0 cuts along the axes.
    pub extension: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8005),
            every: Duration::from_secs(3_600),
            history: Duration::from_secs(86_400),
            slice: Duration::from_secs(3_600),
            retrain_after: Duration::from_secs(86_400),
            resources_max: 100,
            pass_max: Duration::from_secs(1_800),
            memory_max: 256 << 20,
            least_steps: 7_200,
            held_out: 0.3,
            tolerance: 0.02,
            trees: 100,
            sample: 256,
            extension: 0,
        }
    }
}

impl Config {
    /// Every mistake, as the key within the section and what is wrong with its value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let mut check = |key, fine: bool, problem: &str| {
            if !fine {
                mistakes.push((key, problem.to_owned()));
            }
        };
        let minute = Duration::from_secs(60);
        check(
            "every",
            self.every >= minute,
            "must be at least \"1m\"; for a single training there is POST /train",
        );
        check(
            "slice",
            self.slice >= minute && self.slice <= Duration::from_secs(86_400),
            "must be \"1m\" to \"1d\"",
        );
        check(
            "history",
            self.history >= self.slice && self.history <= Duration::from_secs(31 * 86_400),
            "must be at least as long as `slice` and at most \"31d\"",
        );
        check(
            "retrain_after",
            !self.retrain_after.is_zero(),
            "is zero; every pass would make every model anew",
        );
        check(
            "resources_max",
            self.resources_max > 0,
            "is 0; nothing would be trained",
        );
        check(
            "pass_max",
            !self.pass_max.is_zero(),
            "is zero; nothing would be trained",
        );
        check(
            "memory_max",
            self.memory_max >= 16 << 20,
            "must be at least \"16MiB\"",
        );
        check(
            "least_steps",
            self.least_steps >= 600,
            "must be at least 600: less teaches nothing",
        );
        check(
            "held_out",
            (0.1..=0.5).contains(&self.held_out),
            "must be 0.1 to 0.5",
        );
        check(
            "tolerance",
            (0.0..0.5).contains(&self.tolerance),
            "must be at least 0 and below 0.5",
        );
        check(
            "trees",
            (10..=1_000).contains(&self.trees),
            "must be 10 to 1000",
        );
        check(
            "sample",
            (16..=4_096).contains(&self.sample),
            "must be 16 to 4096",
        );
        check("extension", self.extension <= 16, "must be at most 16");
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_mistake_and_every_mistake_is_named() {
        assert_eq!(Config::default().mistakes(), []);
        let zero = Duration::ZERO;
        let wrong = Config {
            every: zero,
            history: zero,
            slice: zero,
            retrain_after: zero,
            resources_max: 0,
            pass_max: zero,
            memory_max: 0,
            least_steps: 0,
            held_out: f64::NAN,
            tolerance: -1.0,
            trees: 0,
            sample: 0,
            extension: 99,
            ..Config::default()
        };
        let keys: Vec<_> = wrong.mistakes().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), 12, "{keys:?}");
    }
}
