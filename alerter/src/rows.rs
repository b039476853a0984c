//! Rows of `alerts`, `alert_history` and `alerter_decisions` as pure functions of transitions and decisions, so that
//! the service that writes them and the judge that checks them share one definition.

use std::collections::BTreeMap;

use forewarn_store::Timestamp;
use forewarn_types::AlertState;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{Answer, Decision, Deed, Outcome, Transition};

/// Row of `alerts`: the alert as of its last transition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the migration comments every column")]
pub struct AlertRow {
    pub alert_id: Uuid,
    pub tenant: String,
    pub rule: String,
    pub severity: String,
    pub state: String,
    pub resource: String,
    pub kind: String,
    pub subject: String,
    pub failure: Option<String>,
    pub prediction_id: Option<Uuid>,
    pub fingerprint: String,
    pub title: String,
    pub summary: String,
    pub reason: Option<String>,
    pub began_at: Timestamp,
    pub opened_at: Option<Timestamp>,
    pub changed_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    pub transitions: i64,
    pub reopened: i64,
    pub backfill: bool,
    pub src: String,
}

impl From<&Transition> for AlertRow {
    fn from(transition: &Transition) -> Self {
        let is_resolved = transition.to == AlertState::Resolved;
        Self {
            alert_id: transition.alert_id,
            tenant: text(&transition.resource.tenant),
            rule: text(&transition.rule),
            severity: transition.severity.as_str().to_owned(),
            state: transition.to.as_str().to_owned(),
            resource: text(&transition.resource.resource),
            kind: transition.kind.as_str().to_owned(),
            subject: text(&transition.subject),
            failure: transition
                .failure
                .map(|failure| failure.as_str().to_owned()),
            prediction_id: transition.prediction_id,
            fingerprint: text(&transition.fingerprint),
            title: text(&transition.problem),
            summary: text(&transition.title),
            reason: transition.reason.as_deref().map(text),
            began_at: transition.began.into(),
            opened_at: transition.opened_at.map(Timestamp::from),
            changed_at: transition.log_time.into(),
            resolved_at: is_resolved.then(|| transition.log_time.into()),
            transitions: transition.sequence,
            reopened: i64::from(transition.reopened),
            backfill: transition.backfill,
            src: transition.src.to_string(),
        }
    }
}

/// Row of `alert_history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the migration comments every column")]
pub struct HistoryRow {
    pub alert_id: Uuid,
    pub sequence: i64,
    pub ordinal: i64,
    pub from_state: Option<String>,
    pub to_state: String,
    pub severity: String,
    pub title: String,
    pub reason: Option<String>,
    pub details: Value,
    pub ts: Timestamp,
    pub logged_at: Timestamp,
    pub notify: bool,
    pub src: String,
    pub actor: Option<String>,
    pub message: Option<String>,
    pub command_id: Option<Uuid>,
}

impl From<&Transition> for HistoryRow {
    fn from(transition: &Transition) -> Self {
        Self {
            alert_id: transition.alert_id,
            sequence: transition.sequence,
            ordinal: i64::try_from(transition.ordinal).unwrap_or(i64::MAX),
            from_state: transition.from.map(|state| state.as_str().to_owned()),
            to_state: transition.to.as_str().to_owned(),
            severity: transition.severity.as_str().to_owned(),
            title: text(&transition.title),
            reason: transition.reason.as_deref().map(text),
            details: details(&transition.details),
            ts: transition.step_end.into(),
            logged_at: transition.log_time.into(),
            notify: transition.notify,
            src: transition.src.to_string(),
            actor: transition.by.as_ref().map(|by| text(&by.actor)),
            message: transition
                .by
                .as_ref()
                .and_then(|by| by.message.as_deref())
                .map(text),
            command_id: transition.by.as_ref().map(|by| by.command_id),
        }
    }
}

/// Row of `alert_commands`: what a command came to. Whoever sent it waits for this row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the migration comments every column")]
pub struct CommandRow {
    pub command_id: Uuid,
    pub tenant: String,
    pub alert_id: Uuid,
    pub deed: String,
    pub actor: String,
    pub message: Option<String>,
    pub outcome: String,
    pub sequence: Option<i64>,
    pub detail: Option<String>,
    pub logged_at: Timestamp,
    pub src: String,
}

impl CommandRow {
    /// `is_known`: whether the alert had begun when the command's turn came, active or not ([`is_known`]).
    #[must_use]
    pub fn new(answer: &Answer, is_known: bool) -> Self {
        let verb = match answer.deed {
            Deed::Acknowledge => "acknowledged",
            Deed::Resolve => "resolved",
        };
        let (outcome, sequence, detail) = match (&answer.outcome, answer.deed) {
            (Outcome::Done { sequence }, _) => ("done", Some(*sequence), None),
            (Outcome::Already { actor, at }, _) => (
                "already",
                None,
                Some(format!(
                    "already {verb} by {actor} at {}",
                    Timestamp::from(*at)
                )),
            ),
            (Outcome::NotActive, _) if !is_known => {
                ("unknown", None, Some("there is no such alert".to_owned()))
            }
            (Outcome::NotActive, Deed::Acknowledge) => (
                "over",
                None,
                Some("it is resolved, and an acknowledgement does not bring it back".to_owned()),
            ),
            (Outcome::NotActive, Deed::Resolve) => {
                ("already", None, Some("it is resolved already".to_owned()))
            }
        };
        Self {
            command_id: answer.by.command_id,
            tenant: text(&answer.tenant),
            alert_id: answer.alert_id,
            deed: answer.deed.as_str().to_owned(),
            actor: text(&answer.by.actor),
            message: answer.by.message.as_deref().map(text),
            outcome: outcome.to_owned(),
            sequence,
            detail: detail.as_deref().map(text),
            logged_at: answer.log_time.into(),
            src: answer.src.to_string(),
        }
    }
}

/// Whether a command's alert had begun when the command's turn came. The ledger asks its own table the same.
#[must_use]
pub fn is_known(answer: &Answer, transitions: &[Transition]) -> bool {
    transitions.iter().any(|transition| {
        transition.alert_id == answer.alert_id
            && transition.resource.tenant == answer.tenant
            && transition.ordinal <= answer.ordinal
    })
}

/// What commands came to, by id: the first answer counts.
#[must_use]
pub fn commands(answers: &[Answer], transitions: &[Transition]) -> BTreeMap<Uuid, CommandRow> {
    let mut rows = BTreeMap::new();
    for answer in answers {
        rows.entry(answer.by.command_id)
            .or_insert_with(|| CommandRow::new(answer, is_known(answer, transitions)));
    }
    rows
}

/// Row of `alerter_decisions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the migration comments every column")]
pub struct DecisionRow {
    pub number: i64,
    pub passed: i64,
    pub partition: i64,
    pub left_out: bool,
    pub newest_at: Timestamp,
}

impl From<&Decision> for DecisionRow {
    fn from(decision: &Decision) -> Self {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            number: signed(decision.number),
            passed: signed(decision.passed),
            partition: i64::from(decision.partition),
            left_out: decision.left_out,
            newest_at: decision.newest.into(),
        }
    }
}

/// The alerts as of the last of these transitions, by id.
#[must_use]
pub fn alerts(transitions: &[Transition]) -> BTreeMap<Uuid, AlertRow> {
    transitions
        .iter()
        .map(|transition| (transition.alert_id, AlertRow::from(transition)))
        .collect()
}

/// PostgreSQL's text cannot hold NUL; names may.
fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Details are an object, if only an empty one.
fn details(value: &Value) -> Value {
    if value.is_null() {
        Value::Object(serde_json::Map::new())
    } else {
        printable(value)
    }
}

fn printable(value: &Value) -> Value {
    match value {
        Value::String(string) => Value::String(text(string)),
        Value::Array(items) => Value::Array(items.iter().map(printable).collect()),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (text(key), printable(value)))
            .collect(),
        other => other.clone(),
    }
}
