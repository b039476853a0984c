//! What becomes of predictions: alerts with a life. Pure; the same sequence gives the same transitions.
//!
//! The input is the merged sequence of all partitions ([`crate::merge`]). Durations and counts of rules use event
//! time, as the verdicts of a resource tell it (one per step); cooldown and silence use log time. Timers of log time
//! fire before the first message at or after their time, in a fixed order, so it does not matter where the sequence is
//! cut into intervals, nor when it is read.
//!
//! Semantics, by rule:
//! - *threshold*: pending when the condition begins to hold, open when it has held for `for` and `consecutive` steps,
//!   resolved when it ceases. Steps without values count for nothing. Pending is a state of this machine and of its
//!   metrics, not of the ledger: what ceases before its time never was an alert (`condition_changes` has it).
//! - *anomaly*: open when `consecutive` scored steps in a row are above the score, the resource as a whole or one of its
//!   metrics; resolved by the first scored step that comes `anomaly_quiet` after the last one above. One episode, one
//!   alert.
//! - *failure prediction*: predicted while a prediction within the rule's horizon stands, open when the limit is
//!   reached, resolved when the level falls back. Who can fail in the same way has one alert: the first rule that
//!   finds it keeps it, and threshold rules about the same thing stand back until it is over ([`failure`]).
//! - *silence*: open when a resource is silent, resolved when it sends again.
//!
//! People acknowledge and resolve alerts ([`people`]); nothing else does the first, and the second holds until the
//! condition has ceased.
//!
//! An alert that comes back within `cooldown` of its end is the same alert: it reopens without a word, unless it is
//! worse than what was told, and is told when it is still there at the end of the cooldown. Backfill never notifies.

mod alert;
mod anomaly;
mod failure;
mod people;
mod silence;
mod threshold;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use forewarn_bus::{RestoreError, decode_state, encode_state};
use forewarn_messages::Prediction;
use forewarn_rules::{Rule, RuleConfig, RuleSet};
use forewarn_types::{AlertState, EventTime, Kind, LogTime, ResourceKey, Src};
use serde::{Deserialize, Serialize};

use alert::{Alert, Say};
pub use alert::{Finding, Transition};
pub use people::{Answer, By, Deed, Outcome};
use people::{Decisions, People};

/// What the machine's own patience is; rules have theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineConfig {
    /// Log time after an alert's end within which its return is the same alert.
    pub cooldown: Duration,
    /// Event time without a step above the score after which an anomaly is over.
    pub anomaly_quiet: Duration,
    /// Event time after which a confirmed failure is over if nothing tells that its limit is reached.
    pub recover_after: Duration,
    /// Log time without a word from a resource after which its alerts are closed and its state is dropped.
    pub forget_after: Duration,
    /// Resources with something to remember at most; beyond, the alerts of the one that has been quiet for longest are
    /// closed.
    pub max_resources: usize,
}

impl Default for MachineConfig {
    fn default() -> Self {
        Self {
            cooldown: Duration::from_secs(5 * 60),
            anomaly_quiet: Duration::from_secs(5 * 60),
            recover_after: Duration::from_secs(5 * 60),
            forget_after: Duration::from_secs(7 * 24 * 3600),
            max_resources: 20_000,
        }
    }
}

/// Turns predictions into transitions of alerts.
#[derive(Debug)]
pub struct Machine {
    rules: Arc<RuleSet>,
    config: MachineConfig,
    state: State,
    people: People,
    /// Set after a start: alerts of rules that are gone have to be closed with the first message.
    is_fresh: bool,
}

/// Everything that matters for what comes next.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// The log's time, the maximum so far.
    now: LogTime,
    /// Transitions so far: numbers them all.
    ordinal: u64,
    /// Resources about which there is something to remember; the healthy ones cost nothing.
    resources: BTreeMap<ResourceKey, Resource>,
    timers: Timers,
}

type Timers = BTreeSet<(LogTime, ResourceKey, Timer)>;

/// What is due at a moment of log time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Timer {
    /// The cooldown of an alert ends.
    Cooldown(Finding),
    /// A silence has lasted as long as its rule wants.
    Silence(String),
    /// Nothing was heard of the resource for long, perhaps.
    Forget,
}

/// What is remembered of one resource.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Resource {
    kind: Kind,
    /// Log time of its last record.
    heard: LogTime,
    /// When the timer that looks whether to forget it is due.
    forget_at: Option<LogTime>,
    /// End of the last step seen.
    step_end: EventTime,
    /// Its last step was generated or imported history.
    backfill: bool,
    alerts: BTreeMap<Finding, Alert>,
    /// Threshold conditions that hold, by rule and subject.
    held: BTreeMap<(String, String), threshold::Held>,
    /// Anomaly episodes by rule.
    episodes: BTreeMap<String, anomaly::Episode>,
    /// Things that are about to fail, or have.
    failures: BTreeMap<failure::Thing, failure::Course>,
}

impl Resource {
    fn is_trivial(&self) -> bool {
        !self.backfill
            && self.alerts.is_empty()
            && self.held.is_empty()
            && self.episodes.is_empty()
            && self.failures.is_empty()
    }
}

/// Raised when an older snapshot cannot be read any more.
const FORMAT: u16 = 2;

/// As it was before people could decide anything; its number is the first byte of a snapshot.
const FORMAT_WITHOUT_PEOPLE: u16 = 1;

impl Machine {
    /// A machine that has seen nothing.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, config: MachineConfig) -> Self {
        Self {
            rules,
            config,
            state: State::default(),
            people: People::default(),
            is_fresh: false,
        }
    }

    /// Takes in the next message of the merged sequence.
    pub fn apply(
        &mut self,
        prediction: &Prediction,
        log_time: LogTime,
        src: Src,
    ) -> Vec<Transition> {
        let mut out = Vec::new();
        self.advance(log_time, src, &mut out);
        if std::mem::take(&mut self.is_fresh) {
            self.close_orphans(src, &mut out);
        }
        let (key, kind) = match prediction {
            Prediction::Verdict(verdict) => (&verdict.resource, verdict.kind),
            Prediction::Condition(change) => (&change.resource, change.kind),
            Prediction::Failure(failure) => (&failure.resource, failure.kind),
            Prediction::Resource(change) => (&change.resource, change.kind),
            Prediction::Tick(_) => return out,
        };
        // Most steps are of healthy resources, and leave no trace.
        if !self.state.resources.contains_key(key) && !self.is_of_interest(prediction) {
            return out;
        }
        self.with(key, src, &mut out, |work| {
            work.resource.kind = kind;
            work.resource.heard = work.now;
            match prediction {
                Prediction::Verdict(verdict) => work.verdict(verdict),
                Prediction::Condition(change) => work.condition(change),
                Prediction::Failure(failure) => work.failure(failure),
                Prediction::Resource(change) => work.resource_change(change),
                Prediction::Tick(_) => {}
            }
        });
        self.make_room(src, &mut out);
        out
    }

    /// Keeps within `max_resources`: closes what is open about the resource that has been quiet for longest.
    fn make_room(&mut self, src: Src, out: &mut Vec<Transition>) {
        if self.state.resources.len() <= self.config.max_resources {
            return;
        }
        let all = self.state.resources.iter();
        let quietest = all.min_by_key(|(_, resource)| resource.heard);
        if let Some(quietest) = quietest.map(|(key, _)| key.clone()) {
            self.with(&quietest, src, out, |work| {
                work.close_for_good(&words::made_room());
            });
        }
    }

    /// How many resources there is something to remember about.
    #[must_use]
    pub fn tracked(&self) -> usize {
        self.state.resources.len()
    }

    /// Alerts that are not over, by state and severity, for metrics.
    pub fn active(&self) -> impl Iterator<Item = (AlertState, forewarn_types::Severity)> + '_ {
        let alerts = self
            .state
            .resources
            .values()
            .flat_map(|resource| resource.alerts.values());
        alerts
            .filter(|alert| alert.is_active())
            .map(|alert| (alert.state, alert.severity))
    }

    /// Everything needed to go on from here.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        encode_state(&(FORMAT, &self.state, &self.people))
    }

    /// Goes on from a snapshot. Rules may have changed since: alerts of rules that are gone are closed.
    ///
    /// # Errors
    /// [`RestoreError`] when the bytes are no snapshot of this format.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let is_old = snapshot.first() == Some(&(FORMAT_WITHOUT_PEOPLE as u8));
        let (format, state, people): (u16, State, People) = if is_old {
            let (_, state) = decode_state::<(u16, State)>(snapshot)?;
            (FORMAT, state, People::default())
        } else {
            decode_state(snapshot)?
        };
        if format != FORMAT {
            return Err(RestoreError(format!(
                "format {format}, this program writes {FORMAT}"
            )));
        }
        self.state = state;
        self.people = people;
        self.is_fresh = true;
        Ok(())
    }

    /// Moves the log's time, and does on the way what is due.
    fn advance(&mut self, log_time: LogTime, src: Src, out: &mut Vec<Transition>) {
        while let Some((due, _, _)) = self.state.timers.first() {
            if *due > log_time {
                break;
            }
            let Some((due, key, timer)) = self.state.timers.pop_first() else {
                break;
            };
            self.state.now = self.state.now.max(due);
            if self.state.resources.contains_key(&key) {
                self.with(&key, src, out, |work| match timer {
                    Timer::Cooldown(finding) => work.cooldown_ends(finding, due),
                    Timer::Silence(rule) => work.silence_lasts(&rule),
                    Timer::Forget => work.forget(),
                });
            }
        }
        self.state.now = self.state.now.max(log_time);
    }

    /// Works on one resource, and forgets it when nothing is left to remember.
    fn with(
        &mut self,
        key: &ResourceKey,
        src: Src,
        out: &mut Vec<Transition>,
        work: impl FnOnce(&mut Work<'_>),
    ) {
        let mut resource = self.state.resources.remove(key).unwrap_or_default();
        let mut decided = self.people.decided.remove(key).unwrap_or_default();
        work(&mut Work {
            rules: &self.rules,
            config: &self.config,
            now: self.state.now,
            src,
            key,
            resource: &mut resource,
            timers: &mut self.state.timers,
            ordinal: &mut self.state.ordinal,
            decided: &mut decided,
            by: None,
            out,
        });
        if resource.is_trivial() {
            if let Some(at) = resource.forget_at {
                self.state.timers.remove(&(at, key.clone(), Timer::Forget));
            }
            return;
        }
        if resource.forget_at.is_none() {
            let at = self.state.now.plus(self.config.forget_after);
            resource.forget_at = Some(at);
            self.state.timers.insert((at, key.clone(), Timer::Forget));
        }
        self.state.resources.insert(key.clone(), resource);
        if !decided.is_empty() {
            self.people.decided.insert(key.clone(), decided);
        }
    }

    fn is_of_interest(&self, prediction: &Prediction) -> bool {
        match prediction {
            Prediction::Verdict(verdict) => {
                let score = verdict.highest().map(|(score, _)| f64::from(score));
                let above = |rule: &Rule| match rule.config() {
                    RuleConfig::Anomaly(anomaly) => {
                        score.is_some_and(|score| score > anomaly.min_score)
                    }
                    _ => false,
                };
                verdict.backfill || self.rules.rules().iter().any(above)
            }
            Prediction::Condition(_) | Prediction::Failure(_) | Prediction::Resource(_) => true,
            Prediction::Tick(_) => false,
        }
    }

    fn close_orphans(&mut self, src: Src, out: &mut Vec<Transition>) {
        let keys: Vec<ResourceKey> = self.state.resources.keys().cloned().collect();
        for key in keys {
            self.with(&key, src, out, |work| work.close_orphans());
        }
    }
}

/// One resource in work, with everything around it.
struct Work<'a> {
    rules: &'a RuleSet,
    config: &'a MachineConfig,
    now: LogTime,
    src: Src,
    key: &'a ResourceKey,
    resource: &'a mut Resource,
    timers: &'a mut Timers,
    ordinal: &'a mut u64,
    /// What people have decided about this resource.
    decided: &'a mut Decisions,
    /// The person who acts, where it is not the log.
    by: Option<By>,
    out: &'a mut Vec<Transition>,
}

impl<'a> Work<'a> {
    fn verdict(&mut self, verdict: &forewarn_messages::Verdict) {
        self.resource.step_end = self.resource.step_end.max(verdict.step_end);
        self.resource.backfill = verdict.backfill;
        self.count_held(verdict);
        self.judge_anomaly(verdict);
        self.recover_failures(verdict);
    }

    fn condition(&mut self, change: &forewarn_messages::ConditionChange) {
        let rules = self.rules;
        let Some(rule) = rules.get(&change.rule) else {
            // The predictor runs with rules that this alerter does not have (yet, or any more).
            return;
        };
        match rule.config() {
            RuleConfig::Threshold(config) => self.threshold(rule, config, change),
            RuleConfig::FailurePrediction(config) => self.breach(rule, config, change),
            RuleConfig::Anomaly(_) | RuleConfig::Silence(_) => {}
        }
    }

    /// Nothing was heard for as long as the settings allow: whatever was open is closed.
    fn forget(&mut self) {
        let at = self.resource.heard.plus(self.config.forget_after);
        if at > self.now {
            self.resource.forget_at = Some(at);
            self.timers.insert((at, self.key.clone(), Timer::Forget));
            return;
        }
        self.resource.forget_at = None;
        self.close_for_good(&words::forgotten(self.config.forget_after));
    }

    /// Closes whatever is open, and remembers nothing.
    fn close_for_good(&mut self, reason: &str) {
        self.close_all(|_| true, reason);
        for (finding, alert) in std::mem::take(&mut self.resource.alerts) {
            if let Some(until) = alert.cooling {
                self.timers
                    .remove(&(until, self.key.clone(), Timer::Cooldown(finding)));
            }
        }
        *self.resource = Resource {
            kind: self.resource.kind,
            forget_at: self.resource.forget_at,
            ..Resource::default()
        };
        self.decided.clear();
    }

    fn close_orphans(&mut self) {
        let rules = self.rules;
        self.close_all(|rule| rules.get(rule).is_none(), "its rule was removed");
        self.resource
            .held
            .retain(|(rule, _), _| rules.get(rule).is_some());
        self.resource
            .episodes
            .retain(|rule, _| rules.get(rule).is_some());
        self.forget_closed_orphans();
        let (alerts, decided) = (&self.resource.alerts, &self.decided);
        self.resource.failures.retain(|thing, _| {
            let finding = thing.finding();
            // Whatever was decided about a thing without an alert is that it be closed.
            alerts.get(&finding).is_some_and(Alert::is_active) || decided.contains_key(&finding)
        });
    }

    fn close_all(&mut self, concerned: impl Fn(&str) -> bool, reason: &str) {
        let active = self
            .resource
            .alerts
            .iter()
            .filter(|(_, alert)| alert.is_active() && concerned(&alert.rule));
        let findings: Vec<Finding> = active.map(|(finding, _)| finding.clone()).collect();
        for finding in findings {
            self.resolve(
                &finding,
                reason.to_owned(),
                reason.to_owned(),
                serde_json::Value::Null,
            );
        }
    }

    /// Ends an alert, if there is one, at the resource's current step.
    fn resolve(
        &mut self,
        finding: &Finding,
        headline: String,
        reason: String,
        details: serde_json::Value,
    ) {
        let Some(alert) = self
            .resource
            .alerts
            .get(finding)
            .filter(|alert| alert.is_active())
        else {
            return;
        };
        if alert.state == AlertState::Pending {
            self.drop_pending(finding);
            return;
        }
        let say = Say {
            rule: alert.rule.clone(),
            to: AlertState::Resolved,
            severity: alert.severity,
            step_end: self.resource.step_end,
            headline,
            reason: Some(reason),
            details,
            prediction: None,
            backfill: self.resource.backfill,
        };
        self.say(finding, say);
    }

    fn is_active(&self, finding: &Finding) -> bool {
        self.resource
            .alerts
            .get(finding)
            .is_some_and(Alert::is_active)
    }
}

#[cfg(test)]
mod people_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod script;
#[cfg(test)]
mod tests;
