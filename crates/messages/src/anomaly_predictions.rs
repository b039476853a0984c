//! `anomaly_predictions`: what Forewarn thinks of every step, and what it expects to fail.

use forewarn_types::{
    EventTime, FailureKind, Kind, PredictionState, ResourceKey, StepLength, VerdictState, id,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::envelope::{from_json, to_json, unknown_schema};
use crate::processed_metrics::RESOURCE_CHANGE;
use crate::{ANOMALY_PREDICTIONS, Body, DecodeError, Headers, ResourceChange, Tick, Ticked, Topic};

/// The judgement of one step of one resource by one model set.
///
/// The order of a step's records is: condition changes, failure predictions, then its verdict,
/// so that whoever sees the verdict knows the step whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whose step was judged.
    #[serde(flatten)]
    pub resource: ResourceKey,
    /// What it is.
    pub kind: Kind,
    /// Name and version of the feature set.
    pub feature_set: String,
    /// Digest of everything that judged: detectors, their settings, rules.
    pub model_set: String,
    /// Length of the step.
    #[serde(rename = "step_ms")]
    pub step: StepLength,
    /// End of the step, exclusive.
    pub step_end: EventTime,
    /// What could be said. Only `scored` has a score.
    pub state: VerdictState,
    /// While learning: seconds of data still wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<f64>,
    /// `ln(p) / ln(p0)` of the resource as a whole: above 1 is an anomaly, 2 is the square as rare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Tail probability: how likely an incident-free five minutes hold a peak at least this high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// The tail probability that the alarm budget allows at this level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p0: Option<f64>,
    /// How much data stands behind the score, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// What the score consists of, largest first; given when it is above 1, and then the parts sum to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Metrics that are anomalous on their own: their own score is above 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<SeriesVerdict>,
    /// Generated or imported history: never notifies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
}

impl Verdict {
    /// Id of the judgement of the resource as a whole.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.level_id("resource")
    }

    /// Id of the judgement at one level: `resource`, or the name of a metric of the feature set.
    #[must_use]
    pub fn level_id(&self, level: &str) -> Uuid {
        let vector = id::vector(&self.resource, &self.feature_set, self.step, self.step_end);
        id::verdict(vector, level, &self.model_set)
    }

    /// Whether the resource as a whole is anomalous.
    #[must_use]
    pub fn is_anomaly(&self) -> bool {
        self.score.is_some_and(|score| score > 1.0)
    }

    /// The highest score at any level, and the metric with most to do with it: the resource's largest part, or the
    /// metric that is anomalous on its own. `None` when the step was not scored.
    ///
    /// The alarm budget is shared by the levels, so what is above 1 at one of them is an anomaly, whatever the other
    /// says.
    #[must_use]
    pub fn highest(&self) -> Option<(f32, Option<&str>)> {
        let score = self.score.filter(|_| self.state == VerdictState::Scored)?;
        let largest = self.parts.first().map(|part| part.metric.as_str());
        Some(
            self.series
                .iter()
                .fold((score, largest), |highest, series| {
                    if series.score > highest.0 {
                        (series.score, Some(series.metric.as_str()))
                    } else {
                        highest
                    }
                }),
        )
    }
}

/// The share of one metric in a resource's score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// A metric of the feature set: `cpu.utilization`.
    pub metric: String,
    /// Its part of the score; all parts sum to the score.
    pub part: f32,
    /// What was measured.
    pub value: f32,
    /// What was expected.
    pub expected: f32,
}

/// A metric that is anomalous on its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesVerdict {
    /// A metric of the feature set: `cpu.utilization`.
    pub metric: String,
    /// As in [`Verdict::score`], for this metric alone.
    pub score: f32,
    /// As in [`Verdict::p`].
    pub p: f64,
    /// As in [`Verdict::p0`].
    pub p0: f64,
    /// What was measured.
    pub value: f32,
    /// What was expected.
    pub expected: f32,
    /// Lower edge of what would not have been an anomaly; absent where less is never one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<f32>,
    /// Upper edge of what would not have been an anomaly; absent where more is never one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<f32>,
}

/// The subject of a [`ConditionChange`] by which a failure prediction rule tells that a limit is reached: one rule covers
/// several failures.
#[must_use]
pub fn breach_subject(failure: FailureKind, subject: &str) -> String {
    format!("{failure}:{subject}")
}

/// Reads [`breach_subject`] back.
#[must_use]
pub fn parse_breach_subject(text: &str) -> Option<(FailureKind, &str)> {
    let (failure, subject) = text.split_once(':')?;
    Some((failure.parse().ok()?, subject))
}

/// A condition of a rule began or ceased to hold for one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConditionChange {
    /// The rule's name.
    pub rule: String,
    /// Digest of the rules that were in force.
    pub rules: String,
    /// For whom.
    #[serde(flatten)]
    pub resource: ResourceKey,
    /// What it is.
    pub kind: Kind,
    /// What was compared: a metric of the feature set, a mount point, `resource`.
    pub subject: String,
    /// Whether it holds from this step on.
    pub holds: bool,
    /// What was measured, where the condition compares a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What it was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// End of the step at which it changed.
    pub step_end: EventTime,
    /// Generated or imported history: never notifies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
}

/// What will fail and when, or how such a prediction ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailurePrediction {
    /// Who will fail.
    #[serde(flatten)]
    pub resource: ResourceKey,
    /// What it is.
    pub kind: Kind,
    /// How it will fail.
    pub failure: FailureKind,
    /// What will reach its limit: a mount point, `memory`, a pool.
    pub subject: String,
    /// The step at which it was first said; with the fields above it makes the id.
    pub first_step: EventTime,
    /// The step as of which this is said.
    pub step_end: EventTime,
    /// Open, or how it ended.
    pub state: PredictionState,
    /// What is used now, in the unit of `limit`.
    pub used: f64,
    /// The level at which it counts as failed (the share of the capacity that is configured).
    pub limit: f64,
    /// Recent growth, units per second.
    pub slope: f64,
    /// Seconds from `step_end` until the limit is reached: one in ten is sooner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p10_seconds: Option<f64>,
    /// As likely before as after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_seconds: Option<f64>,
    /// One in ten is later; absent when that is beyond what the trend supports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90_seconds: Option<f64>,
    /// Probability that the limit is reached within `horizon_seconds`.
    pub probability: f64,
    /// How far ahead that probability looks.
    pub horizon_seconds: f64,
    /// What a least-squares line over the same history says (Prometheus' `predict_linear`): seconds, or never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_seconds: Option<f64>,
    /// For an ended prediction: why, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For a confirmed one: seconds between saying it first and the breach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_seconds: Option<f64>,
    /// Generated or imported history: never notifies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
}

impl FailurePrediction {
    /// Id of the prediction; its updates and its end share it.
    #[must_use]
    pub fn prediction_id(&self) -> Uuid {
        id::prediction(
            &self.resource,
            self.failure.as_str(),
            &self.subject,
            self.first_step,
        )
    }
}

/// What `anomaly_predictions` holds.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "the large variant is the common one"
)]
pub enum Prediction {
    /// One judged step.
    Verdict(Verdict),
    /// A rule's condition began or ceased to hold.
    Condition(ConditionChange),
    /// A failure prediction, an update of one, or its end.
    Failure(FailurePrediction),
    /// Silence and return.
    Resource(ResourceChange),
    /// The log's clock.
    Tick(Tick),
}

const VERDICT: (&str, u16) = ("verdict", 1);
const CONDITION_CHANGE: (&str, u16) = ("condition_change", 1);
const FAILURE_PREDICTION: (&str, u16) = ("failure_prediction", 1);

impl Body for Prediction {
    const TOPIC: &'static Topic = &ANOMALY_PREDICTIONS;

    fn schema(&self) -> (&'static str, u16) {
        match self {
            Self::Verdict(_) => VERDICT,
            Self::Condition(_) => CONDITION_CHANGE,
            Self::Failure(_) => FAILURE_PREDICTION,
            Self::Resource(_) => RESOURCE_CHANGE,
            Self::Tick(_) => Tick::SCHEMA,
        }
    }

    fn key(&self) -> String {
        match self {
            Self::Verdict(verdict) => verdict.resource.log_key(),
            Self::Condition(change) => change.resource.log_key(),
            Self::Failure(prediction) => prediction.resource.log_key(),
            Self::Resource(change) => change.resource.log_key(),
            Self::Tick(_) => Tick::KEY.to_owned(),
        }
    }

    fn id(&self, body: &[u8]) -> Uuid {
        match self {
            Self::Verdict(verdict) => verdict.id(),
            Self::Condition(change) => {
                let what = if change.holds { "holds" } else { "ceased" };
                let subject = format!("{}\u{1f}{}", change.rule, change.subject);
                id::change(&change.resource, what, &subject, change.step_end.millis())
            }
            // An update has the prediction's id inside; the message's own id tells the updates apart.
            Self::Failure(_) | Self::Tick(_) => id::message(body),
            Self::Resource(change) => change.id(),
        }
    }

    fn to_json(&self) -> Vec<u8> {
        match self {
            Self::Verdict(verdict) => to_json(verdict),
            Self::Condition(change) => to_json(change),
            Self::Failure(prediction) => to_json(prediction),
            Self::Resource(change) => to_json(change),
            Self::Tick(tick) => to_json(tick),
        }
    }

    fn decode(headers: &Headers, body: &[u8]) -> Result<Self, DecodeError> {
        match headers.schema.as_str() {
            "verdict" => from_json(headers, VERDICT.1, body).map(Self::Verdict),
            "condition_change" => from_json(headers, CONDITION_CHANGE.1, body).map(Self::Condition),
            "failure_prediction" => {
                from_json(headers, FAILURE_PREDICTION.1, body).map(Self::Failure)
            }
            "resource_change" => from_json(headers, RESOURCE_CHANGE.1, body).map(Self::Resource),
            "tick" => from_json(headers, Tick::SCHEMA.1, body).map(Self::Tick),
            _ => unknown_schema(headers, Self::TOPIC),
        }
    }
}

impl Ticked for Prediction {
    fn tick(&self) -> Option<Tick> {
        if let Self::Tick(tick) = self {
            Some(*tick)
        } else {
            None
        }
    }

    fn from_tick(tick: Tick) -> Self {
        Self::Tick(tick)
    }
}
