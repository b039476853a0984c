//! Failure predictions and the breaches that follow: one alert for both.
//!
//! What can fail is a *thing*: a failure kind and a subject of one resource. Its course has two sources, which come in
//! this order within a step: the condition "the limit is reached" of each failure prediction rule, and the prediction
//! itself. Whichever rule finds the thing first keeps the alert until it is over.
//!
//! ```text
//!            prediction within the rule's horizon            limit reached, or prediction confirmed
//!   (none) ───────────────────────────────────► predicted ─────────────────────────────────────────► open
//!      │                                            │ withdrawn, expired, averted                     │ level fell back
//!      │ limit reached                              ▼                                                 ▼
//!      └──────────────► open                     resolved                                          resolved
//! ```
//!
//! A prediction that no longer satisfies the rule but still stands changes nothing: it is over when the predictor says
//! so, or the alert would come and go with every wobble of the trend. Severity only rises, for the same reason, and so
//! that whoever was told of the alert is told of its end.
//! A confirmed failure whose limit nobody has seen reached is over after `recover_after`.
//!
//! Acknowledged, or resolved by a person, it has its course all the same: what moves an alert is what it is underneath
//! (`Work::standing`). So a prediction that was acknowledged and comes true opens the alert again, and is told.

use std::time::Duration;

use forewarn_messages::{ConditionChange, FailurePrediction, Verdict, parse_breach_subject};
use forewarn_rules::{FailurePredictionRule, Rule, RuleConfig};
use forewarn_types::{AlertState, EventTime, FailureKind, PredictionState, Severity};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::alert::{Finding, Say};
use super::{Resource, Work, words};

/// What can fail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Thing {
    pub(super) failure: FailureKind,
    pub(super) subject: String,
}

impl Thing {
    pub(super) fn finding(&self) -> Finding {
        Finding::Failure {
            failure: self.failure,
            subject: self.subject.clone(),
        }
    }
}

/// How a thing with an alert is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Course {
    /// The step at which it was said first.
    predicted_at: Option<EventTime>,
    /// The step at which it failed.
    failed_at: Option<EventTime>,
    /// The owner's condition holds: the limit is reached.
    is_reached: bool,
}

impl<'a> Work<'a> {
    pub(super) fn failure(&mut self, prediction: &FailurePrediction) {
        let thing = Thing {
            failure: prediction.failure,
            subject: prediction.subject.clone(),
        };
        self.resource.step_end = self.resource.step_end.max(prediction.step_end);
        self.resource.backfill = prediction.backfill;
        let state = self.standing(&thing.finding());
        match (prediction.state, state) {
            (PredictionState::Open, None) => self.predict(&thing, prediction),
            (PredictionState::Open, Some(AlertState::Predicted)) => self.worsen(&thing, prediction),
            (PredictionState::Confirmed, None | Some(AlertState::Predicted)) => {
                if let Some((rule, config)) = self.owner(&thing, prediction) {
                    self.fail(&thing, rule, config, &Breach::of(prediction));
                }
            }
            (
                PredictionState::Withdrawn | PredictionState::Expired | PredictionState::Averted,
                Some(AlertState::Predicted),
            ) => {
                let headline = words::not_failing(&thing, prediction);
                let reason = prediction
                    .reason
                    .clone()
                    .unwrap_or_else(|| prediction.state.to_string());
                self.end(&thing, headline, reason, details(prediction));
            }
            // It has failed already, or nobody was told of it: there is nothing to change.
            _ => {}
        }
    }

    /// The condition of a failure prediction rule: a limit is reached, or the level fell back.
    pub(super) fn breach(
        &mut self,
        rule: &'a Rule,
        config: &'a FailurePredictionRule,
        change: &ConditionChange,
    ) {
        let Some((failure, subject)) = parse_breach_subject(&change.subject) else {
            return;
        };
        let thing = Thing {
            failure,
            subject: subject.to_owned(),
        };
        self.resource.step_end = self.resource.step_end.max(change.step_end);
        self.resource.backfill = change.backfill;
        let finding = thing.finding();
        let alert = self
            .resource
            .alerts
            .get(&finding)
            .filter(|alert| alert.is_active());
        let owner = alert.map(|alert| alert.rule.as_str());
        if owner
            .or(self.closed_of(&finding))
            .is_some_and(|owner| owner != change.rule)
        {
            // Another rule has the alert and gets a condition of its own.
            return;
        }
        let state = self.standing(&finding);
        if !change.holds {
            if state == Some(AlertState::Open) {
                let details = json!({ "used_share": change.value });
                self.end(
                    &thing,
                    words::recovered(&thing, change.value),
                    "the level fell back".into(),
                    details,
                );
            }
            return;
        }
        if matches!(state, None | Some(AlertState::Predicted)) {
            self.fail(
                &thing,
                rule,
                config,
                &Breach::seen(self.resource, &thing, change),
            );
        }
        self.resource.failures.entry(thing).or_default().is_reached = true;
    }

    /// A confirmed failure whose limit nobody saw reached (other settings, another feature set) is over after a while.
    pub(super) fn recover_failures(&mut self, verdict: &Verdict) {
        let patience = self.config.recover_after;
        let is_over = |course: &Course| {
            !course.is_reached
                && course
                    .failed_at
                    .is_some_and(|failed| verdict.step_end.since(failed) >= patience)
        };
        let over = self
            .resource
            .failures
            .iter()
            .filter(|(_, course)| is_over(course));
        let over: Vec<Thing> = over.map(|(thing, _)| thing.clone()).collect();
        for thing in over {
            self.end(
                &thing,
                words::recovered(&thing, None),
                "its limit is not reached".into(),
                Value::Null,
            );
        }
    }

    fn predict(&mut self, thing: &Thing, prediction: &FailurePrediction) {
        let Some(seconds) = prediction.p50_seconds else {
            return;
        };
        let found = self
            .rules
            .rules()
            .iter()
            .find_map(|rule| match rule.config() {
                RuleConfig::FailurePrediction(config)
                    if config.covers(prediction.failure)
                        && rule.matches(self.key, prediction.kind)
                        && seconds <= config.within.as_secs_f64()
                        && prediction.probability >= config.min_probability =>
                {
                    Some((rule, config))
                }
                _ => None,
            });
        let Some((rule, config)) = found else { return };
        self.silence_thresholds(thing, &config.name);
        self.resource
            .failures
            .entry(thing.clone())
            .or_default()
            .predicted_at = Some(prediction.step_end);
        self.tell_prediction(thing, rule, config, prediction, config.severity_at(seconds));
    }

    fn worsen(&mut self, thing: &Thing, prediction: &FailurePrediction) {
        let finding = thing.finding();
        let active = self.resource.alerts.get(&finding);
        let Some(alert) = active.filter(|alert| alert.is_active()) else {
            return;
        };
        let Some(rule) = self.rules.get(&alert.rule) else {
            return;
        };
        let RuleConfig::FailurePrediction(config) = rule.config() else {
            return;
        };
        let Some(severity) = prediction
            .p50_seconds
            .map(|seconds| config.severity_at(seconds))
        else {
            return;
        };
        if severity > alert.severity {
            self.tell_prediction(thing, rule, config, prediction, severity);
        }
    }

    fn tell_prediction(
        &mut self,
        thing: &Thing,
        rule: &Rule,
        config: &FailurePredictionRule,
        prediction: &FailurePrediction,
        severity: Severity,
    ) {
        let say = Say {
            rule: config.name.clone(),
            to: AlertState::Predicted,
            severity,
            step_end: prediction.step_end,
            headline: words::will_fail(self.key, rule, thing, prediction),
            reason: None,
            details: details(prediction),
            prediction: Some(prediction.prediction_id()),
            backfill: prediction.backfill,
        };
        self.say(&thing.finding(), say);
    }

    /// The rule that has the alert, or else the first that is about this failure.
    fn owner(
        &self,
        thing: &Thing,
        prediction: &FailurePrediction,
    ) -> Option<(&'a Rule, &'a FailurePredictionRule)> {
        let alert = self
            .resource
            .alerts
            .get(&thing.finding())
            .filter(|alert| alert.is_active());
        self.rules
            .rules()
            .iter()
            .find_map(|rule| match rule.config() {
                RuleConfig::FailurePrediction(config) => {
                    let has_it = alert.map(|alert| alert.rule == config.name);
                    let is_about =
                        || config.covers(thing.failure) && rule.matches(self.key, prediction.kind);
                    has_it.unwrap_or_else(is_about).then_some((rule, config))
                }
                _ => None,
            })
    }

    /// It has failed: the alert opens, whether it was predicted or not.
    fn fail(
        &mut self,
        thing: &Thing,
        rule: &Rule,
        config: &FailurePredictionRule,
        breach: &Breach,
    ) {
        self.silence_thresholds(thing, &config.name);
        let alert = self
            .resource
            .alerts
            .get(&thing.finding())
            .filter(|alert| alert.is_active());
        let severity = alert.map_or(config.severity, |alert| alert.severity.max(config.severity));
        let course = self.resource.failures.entry(thing.clone()).or_default();
        course.failed_at = Some(breach.step_end);
        let say = Say {
            rule: config.name.clone(),
            to: AlertState::Open,
            severity,
            step_end: breach.step_end,
            headline: words::has_failed(self.key, rule, thing, breach.used_share, breach.lead),
            reason: None,
            details: breach.details.clone(),
            prediction: breach.prediction,
            backfill: breach.backfill,
        };
        self.say(&thing.finding(), say);
    }

    fn end(&mut self, thing: &Thing, headline: String, reason: String, details: Value) {
        self.resolve(&thing.finding(), headline, reason, details);
        self.resource.failures.remove(thing);
        self.ceased(&thing.finding());
        self.wake_thresholds(thing);
    }
}

/// How it became known that something has failed.
struct Breach {
    step_end: EventTime,
    used_share: Option<f64>,
    /// How long before it was predicted.
    lead: Option<Duration>,
    prediction: Option<Uuid>,
    details: Value,
    backfill: bool,
}

impl Breach {
    fn of(prediction: &FailurePrediction) -> Self {
        let lead = prediction
            .lead_seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self {
            step_end: prediction.step_end,
            // The prediction's limit is the level at which it counts as failed, not the capacity.
            used_share: None,
            lead,
            prediction: Some(prediction.prediction_id()),
            details: details(prediction),
            backfill: prediction.backfill,
        }
    }

    fn seen(resource: &Resource, thing: &Thing, change: &ConditionChange) -> Self {
        let predicted_at = resource
            .failures
            .get(thing)
            .and_then(|course| course.predicted_at);
        let lead = predicted_at.map(|at| change.step_end.since(at));
        let details = json!({
            "used_share": change.value,
            "limit_share": change.threshold,
            "lead_seconds": lead.map(|lead| lead.as_secs()),
        });
        Self {
            step_end: change.step_end,
            used_share: change.value,
            lead,
            prediction: None,
            details,
            backfill: change.backfill,
        }
    }
}

fn details(prediction: &FailurePrediction) -> Value {
    json!({
        "prediction_id": prediction.prediction_id(),
        "prediction_state": prediction.state,
        "used": prediction.used,
        "limit": prediction.limit,
        "slope_per_second": prediction.slope,
        "p10_seconds": prediction.p10_seconds,
        "p50_seconds": prediction.p50_seconds,
        "p90_seconds": prediction.p90_seconds,
        "probability": prediction.probability,
        "horizon_seconds": prediction.horizon_seconds,
        "baseline_seconds": prediction.baseline_seconds,
        "lead_seconds": prediction.lead_seconds,
    })
}
