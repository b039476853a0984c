//! `processed_metrics`: what a step of a resource looked like, in the numbers that models read.

use forewarn_types::{
    EventTime, FailureKind, Kind, LogTime, ResourceKey, ResourceState, StepLength, id,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::envelope::{from_json, to_json, unknown_schema};
use crate::{Body, DecodeError, Headers, PROCESSED_METRICS, Tick, Ticked, Topic};

/// The features of one resource over one step. One per resource, feature set and step, never revised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureVector {
    /// Whose step it is.
    #[serde(flatten)]
    pub resource: ResourceKey,
    /// What it is.
    pub kind: Kind,
    /// Name and version of the feature set, which gives the values their meaning: `host/1`.
    pub feature_set: String,
    /// Length of the step.
    #[serde(rename = "step_ms")]
    pub step: StepLength,
    /// End of the step, exclusive.
    pub step_end: EventTime,
    /// Whether the step was closed by its deadline, with known series still missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// The features in the order of the feature set; undefined is `null`.
    pub values: Vec<Option<f32>>,
    /// How full the things are that can fill up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitReading>,
    /// Samples of this resource that came after their step had closed, since the previous vector.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub late: u32,
    /// Generated or imported history: never notifies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl FeatureVector {
    /// See [`id::vector`].
    #[must_use]
    pub fn id(&self) -> Uuid {
        id::vector(&self.resource, &self.feature_set, self.step, self.step_end)
    }
}

/// The level of something that has a limit, at the end of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitReading {
    /// What happens at the limit.
    pub kind: FailureKind,
    /// What has the limit: a mount point, `memory`, a pool.
    pub subject: String,
    /// How much is used, in the unit of `limit`.
    pub used: f64,
    /// How much there is; positive.
    pub limit: f64,
}

/// A resource stopped sending, or came back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceChange {
    /// Which one.
    #[serde(flatten)]
    pub resource: ResourceKey,
    /// What it is.
    pub kind: Kind,
    /// `silent`, or the state it returns to (`learning`, `healthy`).
    pub state: ResourceState,
    /// The log's time at which it was noticed.
    pub log_time: LogTime,
    /// End of the last step that closed before.
    pub step_end: EventTime,
}

/// What `processed_metrics` holds.
#[derive(Clone, Debug, PartialEq)]
pub enum ProcessedMetric {
    /// One closed step.
    Vector(FeatureVector),
    /// Silence and return.
    Resource(ResourceChange),
    /// The log's clock.
    Tick(Tick),
}

const VECTOR: (&str, u16) = ("feature_vector", 1);
pub(crate) const RESOURCE_CHANGE: (&str, u16) = ("resource_change", 1);

impl Body for ProcessedMetric {
    const TOPIC: &'static Topic = &PROCESSED_METRICS;

    fn schema(&self) -> (&'static str, u16) {
        match self {
            Self::Vector(_) => VECTOR,
            Self::Resource(_) => RESOURCE_CHANGE,
            Self::Tick(_) => Tick::SCHEMA,
        }
    }

    fn key(&self) -> String {
        match self {
            Self::Vector(vector) => vector.resource.log_key(),
            Self::Resource(change) => change.resource.log_key(),
            Self::Tick(_) => Tick::KEY.to_owned(),
        }
    }

    fn id(&self, body: &[u8]) -> Uuid {
        match self {
            Self::Vector(vector) => vector.id(),
            Self::Resource(change) => change.id(),
            Self::Tick(_) => id::message(body),
        }
    }

    fn to_json(&self) -> Vec<u8> {
        match self {
            Self::Vector(vector) => to_json(vector),
            Self::Resource(change) => to_json(change),
            Self::Tick(tick) => to_json(tick),
        }
    }

    fn decode(headers: &Headers, body: &[u8]) -> Result<Self, DecodeError> {
        match headers.schema.as_str() {
            "feature_vector" => from_json(headers, VECTOR.1, body).map(Self::Vector),
            "resource_change" => from_json(headers, RESOURCE_CHANGE.1, body).map(Self::Resource),
            "tick" => from_json(headers, Tick::SCHEMA.1, body).map(Self::Tick),
            _ => unknown_schema(headers, Self::TOPIC),
        }
    }
}

impl ResourceChange {
    /// Id of this change.
    #[must_use]
    pub fn id(&self) -> Uuid {
        id::change(
            &self.resource,
            "resource",
            self.state.as_str(),
            self.log_time.millis(),
        )
    }
}

impl Ticked for ProcessedMetric {
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
