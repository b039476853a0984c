//! `[alerter]`: what users may set.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::MachineConfig;
use crate::outbox::Patience;

/// `[alerter]`: how predictions become alerts, and alerts become messages.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// An alert that comes back within this time of its end is the same alert, and quiet unless it is worse.
    #[serde(with = "forewarn_config::duration")]
    pub cooldown: Duration,
    /// An anomaly is over when no step has been above the score for this long.
    #[serde(with = "forewarn_config::duration")]
    pub anomaly_quiet: Duration,
    /// A failure that was confirmed although its limit was not seen reached is over after this time.
    #[serde(with = "forewarn_config::duration")]
    pub recover_after: Duration,
    /// The alerts of a resource that nothing was heard of for this long are closed.
    #[serde(with = "forewarn_config::duration")]
    pub forget_after: Duration,
    /// Resources with something to remember at most; beyond, the alerts of the one that has been quiet for longest are
    /// closed.
    pub max_resources: usize,
    /// How long transitions are collected before they are written together.
    #[serde(with = "forewarn_config::duration")]
    pub interval: Duration,
    /// How long a standby waits for the active alerter to renew its lease before it takes over.
    #[serde(with = "forewarn_config::duration")]
    pub lease: Duration,
    /// When it is further behind the newest record than this, nothing is delivered until it has caught up; then only
    /// the last state of each alert is.
    #[serde(with = "forewarn_config::duration")]
    pub behind_after: Duration,
    /// A notification that a receiver does not accept for this long is given up.
    #[serde(with = "forewarn_config::duration")]
    pub give_up_after: Duration,
    /// Records of one partition that wait in memory for the others at most.
    pub waiting_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        let machine = MachineConfig::default();
        Self {
            cooldown: machine.cooldown,
            anomaly_quiet: machine.anomaly_quiet,
            recover_after: machine.recover_after,
            forget_after: machine.forget_after,
            max_resources: machine.max_resources,
            interval: Duration::from_millis(200),
            lease: Duration::from_secs(10),
            behind_after: Duration::from_secs(5 * 60),
            give_up_after: Patience::default().give_up,
            waiting_max: 20_000,
        }
    }
}

impl Config {
    /// Every mistake, as the key within the section and what is wrong with its value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if self.interval > Duration::from_secs(5) {
            mistakes.push((
                "interval",
                "is at most 5s: nobody is told in the meantime".to_owned(),
            ));
        }
        if self.lease < Duration::from_secs(3) {
            mistakes.push((
                "lease",
                "is at least 3s: a pause of the database must not change the active alerter"
                    .to_owned(),
            ));
        }
        if self.forget_after < Duration::from_secs(3600) {
            mistakes.push((
                "forget_after",
                "is at least 1h: a resource that is away for a while is not gone".to_owned(),
            ));
        }
        if self.max_resources == 0 {
            mistakes.push((
                "max_resources",
                "is 0; nothing could have an alert".to_owned(),
            ));
        }
        if !(100..=1_000_000).contains(&self.waiting_max) {
            mistakes.push(("waiting_max", "is 100 to 1000000 records".to_owned()));
        }
        mistakes
    }

    /// The machine's part of the settings.
    #[must_use]
    pub fn machine(&self) -> MachineConfig {
        MachineConfig {
            cooldown: self.cooldown,
            anomaly_quiet: self.anomaly_quiet,
            recover_after: self.recover_after,
            forget_after: self.forget_after,
            max_resources: self.max_resources,
        }
    }

    /// The outbox's part of the settings.
    #[must_use]
    pub fn patience(&self) -> Patience {
        Patience {
            give_up: self.give_up_after,
            ..Patience::default()
        }
    }
}
