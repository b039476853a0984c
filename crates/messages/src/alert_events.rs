//! `alert_events`: every transition of every alert, published from the alerter's own ledger.

use forewarn_types::{AlertState, EventTime, LogTime, ResourceKey, Severity};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::envelope::{from_json, to_json, unknown_schema};
use crate::{ALERT_EVENTS, Body, DecodeError, Headers, Topic};

/// One step in the life of an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertTransition {
    /// Which alert.
    pub alert_id: Uuid,
    /// Counts the alert's transitions from 1.
    pub sequence: i64,
    /// The rule that raised it.
    pub rule: String,
    /// Whom it is about.
    #[serde(flatten)]
    pub resource: ResourceKey,
    /// What about it: a metric, a mount point, `resource`.
    pub subject: String,
    /// Absent for the first transition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<AlertState>,
    /// The state from now on.
    pub to: AlertState,
    /// How bad it is.
    pub severity: Severity,
    /// One line for people.
    pub title: String,
    /// The log's time of the transition.
    pub log_time: LogTime,
    /// The step that brought it about; of what a person decided, the last step of the resource.
    pub step_end: EventTime,
    /// Who decided it, where a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// What they said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The command by which they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_id: Option<Uuid>,
}

const ALERT_TRANSITION: (&str, u16) = ("alert_transition", 1);

impl Body for AlertTransition {
    const TOPIC: &'static Topic = &ALERT_EVENTS;

    fn schema(&self) -> (&'static str, u16) {
        ALERT_TRANSITION
    }

    fn key(&self) -> String {
        self.alert_id.to_string()
    }

    fn id(&self, body: &[u8]) -> Uuid {
        forewarn_types::id::message(body)
    }

    fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    fn decode(headers: &Headers, body: &[u8]) -> Result<Self, DecodeError> {
        match headers.schema.as_str() {
            "alert_transition" => from_json(headers, ALERT_TRANSITION.1, body),
            _ => unknown_schema(headers, Self::TOPIC),
        }
    }
}
