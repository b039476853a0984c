//! What whoever started the process is told of: a line for people, or a line of JSON for programs.

use forewarn_types::{AlertState, FailureKind, PredictionState, Severity};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cli::times::words;

/// Something that happened.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Happening {
    /// The services run.
    Started {
        version: String,
        dashboard: String,
        ingestion: String,
        demo: bool,
        data: String,
    },
    /// The past of the demonstration's fleet is in the store.
    History { points: u64, seconds: f64 },
    /// The fleet has models of its own, which judge.
    Models { trained: i64, seconds: f64 },
    /// Something began to go wrong in the simulator.
    Fault {
        resource: String,
        fault: String,
        subject: String,
        /// The first moment that it touches.
        at: String,
    },
    /// It has reached its limit.
    Breach {
        resource: String,
        fault: String,
        subject: String,
        /// When it had.
        at: String,
    },
    /// It is over.
    FaultEnded { resource: String, fault: String },
    /// A resource is unlike itself.
    Anomaly {
        resource: String,
        score: f32,
        parts: Vec<Share>,
    },
    /// Something will fail.
    Prediction {
        prediction_id: Uuid,
        resource: String,
        failure: FailureKind,
        subject: String,
        p10_seconds: Option<f64>,
        p50_seconds: Option<f64>,
        p90_seconds: Option<f64>,
        probability: f64,
        parts: Vec<Share>,
    },
    /// How a prediction came out.
    Graded {
        prediction_id: Uuid,
        resource: String,
        failure: FailureKind,
        subject: String,
        state: PredictionState,
        lead_seconds: Option<f64>,
        reason: Option<String>,
    },
    /// An alert began, changed or ended.
    Alert {
        alert_id: Uuid,
        resource: String,
        severity: Severity,
        state: AlertState,
        title: String,
    },
}

/// What a metric has to do with it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Share {
    /// A metric of the feature set.
    pub(crate) metric: String,
    /// Its part, 0 to 1 of the whole.
    pub(crate) share: f32,
    /// What was measured.
    pub(crate) value: f32,
    /// What was expected.
    pub(crate) expected: f32,
}

impl Happening {
    /// The word in front, and the sentence; `None` for what people are told otherwise.
    pub(crate) fn words(&self) -> Option<(&'static str, String)> {
        Some(match self {
            Self::Started { .. } => return None,
            Self::History { points, seconds } => (
                "history",
                format!("24 h of the fleet's past are there ({points} points, {seconds:.1} s)"),
            ),
            Self::Models { trained, seconds } => (
                "models",
                format!("{trained} resources have models of their own ({seconds:.1} s)"),
            ),
            Self::Fault {
                resource, fault, ..
            } => (
                "fault",
                format!("{resource}  {} begins, in the simulator", words_of(fault)),
            ),
            Self::Breach {
                resource,
                fault,
                subject,
                ..
            } => (
                "breach",
                format!(
                    "{resource}  {subject} has reached its limit ({})",
                    words_of(fault)
                ),
            ),
            Self::FaultEnded { resource, fault } => {
                ("over", format!("{resource}  {} is over", words_of(fault)))
            }
            Self::Anomaly {
                resource,
                score,
                parts,
            } => (
                "anomaly",
                format!("{resource}  score {score:.1}{}", because(parts)),
            ),
            Self::Prediction {
                resource,
                failure,
                subject,
                p10_seconds,
                p50_seconds,
                p90_seconds,
                probability,
                parts,
                ..
            } => {
                let between = match (p10_seconds, p90_seconds) {
                    (Some(soon), Some(late)) => format!(" ({} … {})", words(*soon), words(*late)),
                    (Some(soon), None) => format!(" ({} at the soonest)", words(*soon)),
                    _ => String::new(),
                };
                let when = p50_seconds.map_or_else(
                    || "at a time that is not known yet".to_owned(),
                    |seconds| format!("in {}", words(seconds)),
                );
                (
                    "PREDICT",
                    format!(
                        "{resource}  {}: {subject} {when}{between}, probability {probability:.2}{}",
                        failure.as_str().replace('_', " "),
                        because(parts)
                    ),
                )
            }
            Self::Graded {
                resource,
                subject,
                state,
                lead_seconds,
                reason,
                ..
            } => {
                let lead = lead_seconds
                    .map(|seconds| format!(", {} after it was said", words(seconds)))
                    .unwrap_or_default();
                let reason = reason
                    .as_ref()
                    .map(|reason| format!(" ({reason})"))
                    .unwrap_or_default();
                (
                    "graded",
                    format!(
                        "{resource}  {subject}: {}{lead}{reason}",
                        state.as_str().to_uppercase()
                    ),
                )
            }
            // The console's own notifier tells it.
            Self::Alert { .. } => return None,
        })
    }
}

/// `memory-leak` as two words.
fn words_of(fault: &str) -> String {
    fault.replace('-', " ")
}

/// The three metrics with most to do with it.
fn because(parts: &[Share]) -> String {
    if parts.is_empty() {
        return String::new();
    }
    let largest: Vec<String> = parts
        .iter()
        .take(3)
        .map(|part| format!("{} {:+.0} %", part.metric, part.share * 100.0))
        .collect();
    format!("\n                  why: {}", largest.join(", "))
}
