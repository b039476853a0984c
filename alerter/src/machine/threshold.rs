//! Threshold rules: a condition that holds becomes an alert when it has held for long enough.

use forewarn_messages::{ConditionChange, Verdict};
use forewarn_rules::{Rule, RuleConfig, ThresholdRule, failure_of};
use forewarn_types::{AlertState, EventTime, VerdictState};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::alert::{Finding, Say};
use super::failure::Thing;
use super::{Work, words};

/// A condition that holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Held {
    /// The step since which it holds.
    since: EventTime,
    /// Steps with values since then, and the last of them.
    steps: u32,
    counted: Option<EventTime>,
    value: Option<f64>,
    threshold: Option<f64>,
    /// It has held for long enough.
    is_due: bool,
    backfill: bool,
}

impl Work<'_> {
    pub(super) fn threshold(
        &mut self,
        rule: &Rule,
        config: &ThresholdRule,
        change: &ConditionChange,
    ) {
        let place = (change.rule.clone(), change.subject.clone());
        let finding = Finding::Rule {
            rule: change.rule.clone(),
            subject: change.subject.clone(),
        };
        self.resource.step_end = self.resource.step_end.max(change.step_end);
        self.resource.backfill = change.backfill;
        if !change.holds {
            self.resource.held.remove(&place);
            self.ceased(&finding);
            let headline = words::ceased(config, &change.subject, change.value);
            self.resolve(
                &finding,
                headline,
                "the condition no longer holds".into(),
                json!({ "value": change.value }),
            );
            return;
        }
        if let Some(held) = self.resource.held.get_mut(&place) {
            // It holds already (other rules may have been in force in between): that is no news, and no new beginning.
            held.value = change.value;
            held.threshold = change.threshold;
            return;
        }
        let held = Held {
            since: change.step_end,
            steps: 0,
            counted: None,
            value: change.value,
            threshold: change.threshold,
            is_due: config.hold.is_zero() && config.consecutive <= 1,
            backfill: change.backfill,
        };
        let is_due = held.is_due;
        self.resource.held.insert(place, held.clone());
        if self.stands_back(config, &change.subject) {
            return;
        }
        let to = if is_due {
            AlertState::Open
        } else {
            AlertState::Pending
        };
        self.tell_held(rule, config, &finding, &held, to, change.step_end);
    }

    /// Counts a step for every condition that holds, and opens what is due.
    pub(super) fn count_held(&mut self, verdict: &Verdict) {
        if verdict.state == VerdictState::Gap {
            return;
        }
        let rules = self.rules;
        let mut due = Vec::new();
        for ((name, subject), held) in &mut self.resource.held {
            let Some(RuleConfig::Threshold(config)) = rules.get(name).map(Rule::config) else {
                continue;
            };
            // Several feature sets of one resource give several verdicts for one moment.
            if held.is_due
                || held
                    .counted
                    .is_some_and(|counted| verdict.step_end <= counted)
            {
                continue;
            }
            held.counted = Some(verdict.step_end);
            held.steps = held.steps.saturating_add(1);
            held.backfill = verdict.backfill;
            held.is_due = held.steps >= config.consecutive
                && verdict.step_end.since(held.since) >= config.hold;
            if held.is_due {
                due.push((name.clone(), subject.clone()));
            }
        }
        for (name, subject) in due {
            self.open_held(&name, &subject, verdict.step_end);
        }
    }

    /// Opens the alert of a condition that has held for long enough, unless somebody else speaks for it.
    fn open_held(&mut self, name: &str, subject: &str, step_end: EventTime) {
        let Some(rule) = self.rules.get(name) else {
            return;
        };
        let RuleConfig::Threshold(config) = rule.config() else {
            return;
        };
        let Some(held) = self
            .resource
            .held
            .get(&(name.to_owned(), subject.to_owned()))
            .cloned()
        else {
            return;
        };
        let finding = Finding::Rule {
            rule: name.to_owned(),
            subject: subject.to_owned(),
        };
        if held.is_due && !self.stands_back(config, subject) && self.closed_of(&finding).is_none() {
            self.tell_held(rule, config, &finding, &held, AlertState::Open, step_end);
        }
    }

    fn tell_held(
        &mut self,
        rule: &Rule,
        config: &ThresholdRule,
        finding: &Finding,
        held: &Held,
        to: AlertState,
        step_end: EventTime,
    ) {
        let headline = words::holds(self.key, rule, config, finding.subject(), held.value);
        let details = json!({
            "metric": config.metric,
            "operator": config.operator,
            "value": held.value,
            "threshold": held.threshold,
            "rate": config.rate,
            "since_ms": held.since,
        });
        let say = Say {
            rule: config.name.clone(),
            to,
            severity: config.severity,
            step_end,
            headline,
            reason: None,
            details,
            prediction: None,
            backfill: held.backfill,
        };
        self.say(finding, say);
    }

    /// Whether a failure alert already speaks for what this rule compares.
    fn stands_back(&self, config: &ThresholdRule, subject: &str) -> bool {
        thing_of(config, subject).is_some_and(|thing| self.is_active(&thing.finding()))
    }

    /// A failure alert begins: threshold alerts about the same thing end in its favour.
    pub(super) fn silence_thresholds(&mut self, thing: &Thing, owner: &str) {
        for (name, subject) in self.held_about(thing) {
            let finding = Finding::Rule {
                rule: name,
                subject,
            };
            let reason = format!("it goes on as `{owner}`");
            self.resolve(&finding, reason.clone(), reason, serde_json::Value::Null);
        }
    }

    /// A failure alert is over: threshold rules about the same thing speak for themselves again.
    pub(super) fn wake_thresholds(&mut self, thing: &Thing) {
        let step_end = self.resource.step_end;
        for (name, subject) in self.held_about(thing) {
            self.open_held(&name, &subject, step_end);
        }
    }

    pub(super) fn held_about(&self, thing: &Thing) -> Vec<(String, String)> {
        let about = |name: &str, subject: &str| match self.rules.get(name).map(Rule::config) {
            Some(RuleConfig::Threshold(config)) => {
                thing_of(config, subject).as_ref() == Some(thing)
            }
            _ => false,
        };
        self.resource
            .held
            .keys()
            .filter(|(name, subject)| about(name, subject))
            .cloned()
            .collect()
    }
}

/// The thing whose level a rule compares, if it is one that can fail by being used up.
fn thing_of(config: &ThresholdRule, subject: &str) -> Option<Thing> {
    let failure =
        failure_of(&config.metric).filter(|_| config.operator.is_upward() && !config.rate)?;
    Some(Thing {
        failure,
        subject: subject.to_owned(),
    })
}
