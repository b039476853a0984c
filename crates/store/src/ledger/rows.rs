//! The rows as the tables hold them: field for column, in the tables' order and words.
//!
//! They travel to and from PostgreSQL as JSON records, so a column has one definition here and one in the migration;
//! a test saves and loads every table and finds them equal.

use std::collections::{BTreeMap, BTreeSet};

use forewarn_messages::Part;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// A step that was judged anomalous, as a whole or in one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the comments on the table's columns describe them"
)]
pub struct AnomalyRow {
    pub anomaly_id: Uuid,
    pub tenant: String,
    pub resource: String,
    pub kind: String,
    pub level: String,
    pub metric: Option<String>,
    pub severity: String,
    pub ts: Timestamp,
    pub score: f32,
    pub p: Option<f64>,
    pub p0: Option<f64>,
    pub confidence: Option<f32>,
    pub value: Option<f32>,
    pub expected: Option<f32>,
    pub lower: Option<f32>,
    pub upper: Option<f32>,
    pub summary: String,
    pub parts: Vec<Part>,
    pub feature_set: String,
    pub model_set: String,
    pub step_ms: i64,
    pub backfill: bool,
    pub logged_at: Timestamp,
    pub src: String,
}

/// A failure that is, or was, expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the comments on the table's columns describe them"
)]
pub struct PredictionRow {
    pub prediction_id: Uuid,
    pub tenant: String,
    pub resource: String,
    pub kind: String,
    pub failure: String,
    pub subject: String,
    pub state: String,
    pub title: String,
    pub why: String,
    pub first_action: String,
    pub opened_at: Timestamp,
    pub ts: Timestamp,
    pub p10_at: Option<Timestamp>,
    pub p50_at: Option<Timestamp>,
    pub p90_at: Option<Timestamp>,
    pub baseline_at: Option<Timestamp>,
    pub probability: f64,
    pub horizon_seconds: f64,
    pub used: f64,
    pub limit_value: f64,
    pub slope_per_second: f64,
    pub ended_at: Option<Timestamp>,
    pub reason: Option<String>,
    pub lead_seconds: Option<f64>,
    pub updates: i64,
    pub backfill: bool,
    pub logged_at: Timestamp,
    pub src: String,
}

/// A rule's condition began or ceased to hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the comments on the table's columns describe them"
)]
pub struct ConditionRow {
    pub change_id: Uuid,
    pub tenant: String,
    pub resource: String,
    pub kind: String,
    pub rule: String,
    pub rules_digest: String,
    pub subject: String,
    pub holds: bool,
    pub value: Option<f64>,
    pub threshold: Option<f64>,
    pub ts: Timestamp,
    pub backfill: bool,
    pub logged_at: Timestamp,
    pub src: String,
}

/// A resource went from one state to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the comments on the table's columns describe them"
)]
pub struct ResourceChangeRow {
    pub change_id: Uuid,
    pub tenant: String,
    pub resource: String,
    pub from_state: Option<String>,
    pub to_state: String,
    pub ts: Timestamp,
    pub logged_at: Timestamp,
    pub src: String,
}

/// How a resource is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the comments on the table's columns describe them"
)]
pub struct ResourceRow {
    pub tenant: String,
    pub resource: String,
    pub kind: String,
    pub state: String,
    pub state_since_at: Timestamp,
    pub first_step_at: Timestamp,
    pub last_step_at: Timestamp,
    pub verdict: Option<String>,
    pub score: Option<f32>,
    pub confidence: Option<f32>,
    pub eta_seconds: Option<f64>,
    pub open_predictions: i64,
    pub breached_at: Option<Timestamp>,
    pub reached: BTreeSet<String>,
    pub silent_since_at: Option<Timestamp>,
    pub feature_sets: BTreeMap<String, SetRow>,
    pub logged_at: Timestamp,
    pub src: String,
}

/// What one feature set last said about a resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetRow {
    /// End of the last step it judged.
    pub ts: Timestamp,
    /// `learning`, `healthy` or `degraded`.
    pub state: String,
}

/// One minute of a resource: its worst score and how many steps were judged how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the comments on the table's columns describe them"
)]
pub struct ResourceMinuteRow {
    pub tenant: String,
    pub resource: String,
    pub minute_at: Timestamp,
    pub max_score: Option<f32>,
    pub max_score_at: Option<Timestamp>,
    pub max_metric: Option<String>,
    pub scored_steps: i64,
    pub anomalous_steps: i64,
    pub learning_steps: i64,
    pub other_steps: i64,
}
