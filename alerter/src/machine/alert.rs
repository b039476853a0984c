//! One alert and its transitions: identity, what receivers were told, and the cooldown after its end.

use forewarn_messages::AlertTransition;
use forewarn_types::{
    AlertState, EventTime, FailureKind, Kind, LogTime, ResourceKey, Severity, Src, id,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::people::By;
use super::{Timer, Work, words};

/// What an alert is about, apart from the resource: there is one active alert per finding and resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Finding {
    /// What one rule found about one subject.
    Rule {
        /// The rule.
        rule: String,
        /// A metric, a mount point, `resource`.
        subject: String,
    },
    /// A failure, predicted or come, whichever rule found it.
    Failure {
        /// How it fails.
        failure: FailureKind,
        /// What fails.
        subject: String,
    },
}

impl Finding {
    /// What it is about: a metric, a mount point, `resource`.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Self::Rule { subject, .. } | Self::Failure { subject, .. } => subject,
        }
    }

    /// The failure, where it is about one.
    #[must_use]
    pub fn failure(&self) -> Option<FailureKind> {
        match self {
            Self::Rule { .. } => None,
            Self::Failure { failure, .. } => Some(*failure),
        }
    }

    /// Text that two findings share only if they are the same: `rule:web-01:/` with `:` and `%` escaped in the parts.
    #[must_use]
    pub fn fingerprint(&self, resource: &ResourceKey) -> String {
        let what = match self {
            Self::Rule { rule, .. } => rule.as_str(),
            Self::Failure { failure, .. } => failure.as_str(),
        };
        // A rule may be named like a failure; the first part tells them apart.
        let class = if self.failure().is_some() {
            "failure"
        } else {
            "rule"
        };
        let escape = |text: &str| text.replace('%', "%25").replace(':', "%3A");
        format!(
            "{class}:{}:{}:{}",
            escape(what),
            escape(&resource.resource),
            escape(self.subject())
        )
    }
}

/// One step in the life of an alert, with everything that is stored and told about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Numbers the transitions of all alerts.
    pub ordinal: u64,
    /// Which alert.
    pub alert_id: Uuid,
    /// Counts the alert's transitions from 1.
    pub sequence: i64,
    /// The rule that raised it.
    pub rule: String,
    /// Whom it is about.
    pub resource: ResourceKey,
    /// What that is.
    pub kind: Kind,
    /// What about it.
    pub subject: String,
    /// How it fails, where it is about a failure.
    pub failure: Option<FailureKind>,
    /// The failure prediction that began it or that came true.
    pub prediction_id: Option<Uuid>,
    /// See [`Finding::fingerprint`].
    pub fingerprint: String,
    /// Absent for the first transition.
    pub from: Option<AlertState>,
    /// The state from now on.
    pub to: AlertState,
    /// How bad it is.
    pub severity: Severity,
    /// One line for people, beginning with the resource.
    pub title: String,
    /// What is or was wrong, in one line: the title of the alert's last transition that was no end.
    pub problem: String,
    /// Why it ended, or came back.
    pub reason: Option<String>,
    /// Numbers behind the title: expected and actual, parts of the score, times.
    pub details: Value,
    /// The log's time of the transition.
    pub log_time: LogTime,
    /// The step that brought it about.
    pub step_end: EventTime,
    /// The step with which the alert began.
    pub began: EventTime,
    /// The log's time at which it became predicted or open first.
    pub opened_at: Option<LogTime>,
    /// How often it came back within its cooldown.
    pub reopened: u32,
    /// Caused by generated or imported history.
    pub backfill: bool,
    /// Whether people are told.
    pub notify: bool,
    /// The person who brought it about, where it was one.
    pub by: Option<By>,
    /// The record that caused it.
    pub src: Src,
}

impl Transition {
    /// As it is published on `alert_events`.
    #[must_use]
    pub fn message(&self) -> AlertTransition {
        let by = self.by.clone();
        AlertTransition {
            alert_id: self.alert_id,
            sequence: self.sequence,
            rule: self.rule.clone(),
            resource: self.resource.clone(),
            subject: self.subject.clone(),
            from: self.from,
            to: self.to,
            severity: self.severity,
            title: self.title.clone(),
            log_time: self.log_time,
            step_end: self.step_end,
            command_id: by.as_ref().map(|by| by.command_id),
            actor: by.as_ref().map(|by| by.actor.clone()),
            message: by.and_then(|by| by.message),
        }
    }
}

/// What is remembered of an alert until its cooldown is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Alert {
    pub(super) id: Uuid,
    pub(super) rule: String,
    pub(super) state: AlertState,
    pub(super) severity: Severity,
    sequence: i64,
    began: EventTime,
    opened_at: Option<LogTime>,
    prediction: Option<Uuid>,
    reopened: u32,
    pub(super) backfill: bool,
    /// Log time of its last transition.
    pub(super) changed_at: LogTime,
    /// What receivers think it is.
    believed: Option<AlertState>,
    /// The worst they were told.
    told: Option<(AlertState, Severity)>,
    /// End of the cooldown that began when it was resolved.
    pub(super) cooling: Option<LogTime>,
    /// The line of its last transition that was no end.
    headline: String,
}

impl Alert {
    /// It is not over, or may be about to begin.
    pub(super) fn is_active(&self) -> bool {
        self.state != AlertState::Resolved
    }

    /// Whether this is worse than all that was told: a breach is worse than its prediction, then severity counts.
    fn is_worse(&self, to: AlertState, severity: Severity) -> bool {
        let rank = |state, severity| (state != AlertState::Predicted, severity);
        self.told
            .is_none_or(|(told, before)| rank(to, severity) > rank(told, before))
    }
}

/// The next transition of an alert, as a rule wants it.
pub(super) struct Say {
    pub(super) rule: String,
    pub(super) to: AlertState,
    pub(super) severity: Severity,
    pub(super) step_end: EventTime,
    /// The line without the resource.
    pub(super) headline: String,
    pub(super) reason: Option<String>,
    pub(super) details: Value,
    pub(super) prediction: Option<Uuid>,
    pub(super) backfill: bool,
}

impl Work<'_> {
    /// Moves the alert of a finding, and begins one where there is none.
    pub(super) fn say(&mut self, finding: &Finding, say: Say) {
        let fingerprint = finding.fingerprint(self.key);
        let mut alert = self
            .resource
            .alerts
            .remove(finding)
            .unwrap_or_else(|| Alert {
                id: id::alert(&self.key.tenant, &say.rule, &fingerprint, say.step_end),
                rule: say.rule.clone(),
                state: say.to,
                severity: say.severity,
                sequence: 0,
                began: say.step_end,
                opened_at: None,
                prediction: None,
                reopened: 0,
                backfill: say.backfill,
                changed_at: self.now,
                believed: None,
                told: None,
                cooling: None,
                headline: String::new(),
            });
        if say.to == AlertState::Pending {
            // Remembered, but no transition: most of what begins to hold ceases again, and no ledger should count it.
            alert.state = say.to;
            alert.changed_at = self.now;
            self.resource.alerts.insert(finding.clone(), alert);
            return;
        }
        let from = (alert.sequence > 0).then_some(match alert.state {
            AlertState::Pending => AlertState::Resolved,
            told => told,
        });
        if from == Some(AlertState::Resolved) {
            alert.reopened += 1;
        }
        alert.sequence += 1;
        alert.changed_at = self.now;
        alert.state = say.to;
        alert.severity = say.severity;
        alert.backfill = say.backfill;
        alert.prediction = say.prediction.or(alert.prediction);
        let stands = matches!(say.to, AlertState::Predicted | AlertState::Open);
        if stands {
            alert.opened_at = alert.opened_at.or(Some(self.now));
        }
        if stands {
            alert.headline.clone_from(&say.headline);
        }
        let notify = !say.backfill && self.has_to_be_told(&alert, say.to, say.severity);
        if notify {
            alert.believed = Some(say.to);
            if stands && alert.is_worse(say.to, say.severity) {
                alert.told = Some((say.to, say.severity));
            }
        }
        *self.ordinal += 1;
        self.out.push(Transition {
            ordinal: *self.ordinal,
            alert_id: alert.id,
            sequence: alert.sequence,
            rule: alert.rule.clone(),
            resource: self.key.clone(),
            kind: self.resource.kind,
            subject: finding.subject().to_owned(),
            failure: finding.failure(),
            prediction_id: alert.prediction,
            fingerprint,
            from,
            to: say.to,
            severity: say.severity,
            title: words::title(self.key, &say.headline),
            problem: words::title(self.key, &alert.headline),
            reason: say.reason,
            details: say.details,
            log_time: self.now,
            step_end: say.step_end,
            began: alert.began,
            opened_at: alert.opened_at,
            reopened: alert.reopened,
            backfill: say.backfill,
            notify,
            by: self.by.clone(),
            src: self.src,
        });
        self.overtake(finding, say.to);
        if say.to == AlertState::Resolved && alert.cooling.is_none() {
            if self.config.cooldown.is_zero() {
                return;
            }
            let until = self.now.plus(self.config.cooldown);
            alert.cooling = Some(until);
            self.timers
                .insert((until, self.key.clone(), Timer::Cooldown(finding.clone())));
        }
        self.resource.alerts.insert(finding.clone(), alert);
    }

    /// A pending alert comes to nothing. One that was open before is over again, as it was.
    pub(super) fn drop_pending(&mut self, finding: &Finding) {
        match self.resource.alerts.get_mut(finding) {
            Some(alert) if alert.cooling.is_some() => alert.state = AlertState::Resolved,
            _ => drop(self.resource.alerts.remove(finding)),
        }
    }

    fn has_to_be_told(&self, alert: &Alert, to: AlertState, severity: Severity) -> bool {
        match to {
            // Whoever looks after it is not to be told so, and it is no news to the others that it is there.
            AlertState::Acknowledged => false,
            AlertState::Resolved => alert
                .believed
                .is_some_and(|state| state != AlertState::Resolved),
            _ if alert.cooling.is_some() => alert.is_worse(to, severity),
            _ => alert.believed != Some(to) || alert.is_worse(to, severity),
        }
    }

    /// An alert that is over is forgotten; one that came back and stayed is told.
    pub(super) fn cooldown_ends(&mut self, finding: Finding, due: LogTime) {
        let Some(alert) = self
            .resource
            .alerts
            .get_mut(&finding)
            .filter(|alert| alert.cooling == Some(due))
        else {
            return;
        };
        alert.cooling = None;
        if !alert.is_active() {
            self.resource.alerts.remove(&finding);
            return;
        }
        let is_untold = alert.believed == Some(AlertState::Resolved);
        if is_untold && matches!(alert.state, AlertState::Predicted | AlertState::Open) {
            let say = Say {
                rule: alert.rule.clone(),
                to: alert.state,
                severity: alert.severity,
                step_end: self.resource.step_end,
                headline: alert.headline.clone(),
                reason: Some(words::came_back(alert.reopened)),
                details: Value::Null,
                prediction: None,
                backfill: alert.backfill,
            };
            self.say(&finding, say);
        }
    }
}
