//! Silence rules: a resource that stopped sending.
//!
//! Whether it is silent is decided by the stream-processor, in log time; a rule may want it to last longer.
//! The alert's opening step is the moment of log time at which the silence was noticed: no step closes in silence, so
//! the last step's end would not tell two silences apart.

use forewarn_messages::ResourceChange;
use forewarn_rules::{Rule, RuleConfig, SilenceRule};
use forewarn_types::{AlertState, EventTime, ResourceState};
use serde_json::json;

use super::alert::{Finding, Say};
use super::{Timer, Work, words};

/// What a silence alert is about: the resource as a whole.
const SUBJECT: &str = "resource";

impl Work<'_> {
    pub(super) fn resource_change(&mut self, change: &ResourceChange) {
        self.resource.step_end = self.resource.step_end.max(change.step_end);
        for rule in self.rules.rules() {
            let RuleConfig::Silence(config) = rule.config() else {
                continue;
            };
            let finding = finding(&config.name);
            if change.state == ResourceState::Silent {
                if rule.matches(self.key, change.kind) && !self.is_active(&finding) {
                    self.fall_silent(rule, config, change);
                }
            } else if self.is_active(&finding) {
                self.resolve(
                    &finding,
                    words::sends_again(),
                    "it sends again".into(),
                    serde_json::Value::Null,
                );
            }
        }
    }

    fn fall_silent(&mut self, rule: &Rule, config: &SilenceRule, change: &ResourceChange) {
        let to = if config.hold.is_zero() {
            AlertState::Open
        } else {
            AlertState::Pending
        };
        if to == AlertState::Pending {
            let until = self.now.plus(config.hold);
            self.timers
                .insert((until, self.key.clone(), Timer::Silence(config.name.clone())));
        }
        let at = EventTime(change.log_time.millis());
        self.tell_silence(rule, config, to, at);
    }

    /// The timer of a silence that had to last: it opens unless the resource came back, or came and went, meanwhile.
    pub(super) fn silence_lasts(&mut self, name: &str) {
        let rules = self.rules;
        let Some(rule) = rules.get(name) else { return };
        let RuleConfig::Silence(config) = rule.config() else {
            return;
        };
        let alert = self
            .resource
            .alerts
            .get(&finding(name))
            .filter(|alert| alert.state == AlertState::Pending);
        let due = alert.is_some_and(|alert| alert.changed_at.plus(config.hold) <= self.now);
        if due {
            let at = EventTime(self.now.millis());
            self.tell_silence(rule, config, AlertState::Open, at);
        }
    }

    fn tell_silence(&mut self, rule: &Rule, config: &SilenceRule, to: AlertState, at: EventTime) {
        let last = self.resource.step_end;
        let say = Say {
            rule: config.name.clone(),
            to,
            severity: config.severity,
            step_end: at,
            headline: words::silent(self.key, rule, last),
            reason: None,
            details: json!({ "last_step_ms": last }),
            prediction: None,
            backfill: self.resource.backfill,
        };
        self.say(&finding(&config.name), say);
    }
}

fn finding(rule: &str) -> Finding {
    Finding::Rule {
        rule: rule.to_owned(),
        subject: SUBJECT.to_owned(),
    }
}
