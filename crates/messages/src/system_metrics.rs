//! `system_metrics`: what was measured, as it was acknowledged. The root of everything else.

use forewarn_types::{
    EventTime, Kind, LogId, MetricType, ResourceKey, Sample, SeriesKey, StepLength, Tags, id,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::envelope::{from_json, to_json, unknown_schema};
use crate::{Body, DecodeError, Headers, SYSTEM_METRICS, Ticked, Topic};

/// Samples of one resource that arrived together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleBatch {
    /// Whose samples they are.
    #[serde(flatten)]
    pub resource: ResourceKey,
    /// What it is; chooses the feature set.
    pub kind: Kind,
    /// Where they come from: `host`, `push`, `prometheus` …
    pub source: String,
    /// How often this source measures: the step on which it is judged.
    #[serde(rename = "interval_ms")]
    pub interval: StepLength,
    /// Generated or imported history: trains and warms state but never notifies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
    /// When they were measured, unless a sample says otherwise.
    pub time: EventTime,
    /// The samples, at least one.
    pub samples: Vec<BatchSample>,
}

/// One sample of a batch. Its time is the batch's unless it has its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchSample {
    /// See [`Sample::metric`].
    pub metric: String,
    /// See [`Sample::tags`].
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// See [`Sample::metric_type`].
    #[serde(default, rename = "type", skip_serializing_if = "MetricType::is_gauge")]
    pub metric_type: MetricType,
    /// Only where it differs from the batch's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<EventTime>,
    /// The finite value.
    pub value: f64,
}

impl SampleBatch {
    /// Builds a batch whose common time is that of the first sample.
    #[must_use]
    pub fn new(
        resource: ResourceKey,
        kind: Kind,
        source: &str,
        interval: StepLength,
        samples: Vec<Sample>,
    ) -> Self {
        let time = samples.first().map_or(EventTime(0), |sample| sample.time);
        let samples = samples
            .into_iter()
            .map(|s| BatchSample {
                time: (s.time != time).then_some(s.time),
                metric: s.metric,
                tags: s.tags,
                metric_type: s.metric_type,
                value: s.value,
            })
            .collect();
        Self {
            resource,
            kind,
            source: source.to_owned(),
            interval,
            backfill: false,
            time,
            samples,
        }
    }

    /// When the sample was measured.
    #[must_use]
    pub fn time_of(&self, sample: &BatchSample) -> EventTime {
        sample.time.unwrap_or(self.time)
    }

    /// The series that the sample belongs to.
    #[must_use]
    pub fn series_of(&self, sample: &BatchSample) -> SeriesKey {
        SeriesKey {
            resource: self.resource.clone(),
            metric: sample.metric.clone(),
            tags: sample.tags.clone(),
        }
    }

    /// Ids of the samples, in their order.
    pub fn sample_ids(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.samples
            .iter()
            .map(|sample| id::sample(&self.series_of(sample), self.time_of(sample)))
    }
}

/// The log's own clock: appended to every partition each second, forwarded by every stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Identity of this partition's history.
    #[serde(rename = "log_id")]
    pub log: LogId,
    /// Set on the first record of an empty partition, which mints the log id. Of several, the first counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub genesis: bool,
}

impl Tick {
    pub(crate) const SCHEMA: (&'static str, u16) = ("tick", 1);
    /// Ticks have no resource; the empty key never meets a resource's.
    pub(crate) const KEY: &'static str = "";
}

/// What `system_metrics` holds.
#[derive(Clone, Debug, PartialEq)]
pub enum SystemMetric {
    /// Samples of one resource.
    Samples(SampleBatch),
    /// The log's clock.
    Tick(Tick),
}

const SAMPLES: (&str, u16) = ("samples", 1);

impl Body for SystemMetric {
    const TOPIC: &'static Topic = &SYSTEM_METRICS;

    fn schema(&self) -> (&'static str, u16) {
        match self {
            Self::Samples(_) => SAMPLES,
            Self::Tick(_) => Tick::SCHEMA,
        }
    }

    fn key(&self) -> String {
        match self {
            Self::Samples(batch) => batch.resource.log_key(),
            Self::Tick(_) => Tick::KEY.to_owned(),
        }
    }

    fn id(&self, body: &[u8]) -> Uuid {
        id::message(body)
    }

    fn to_json(&self) -> Vec<u8> {
        match self {
            Self::Samples(batch) => to_json(batch),
            Self::Tick(tick) => to_json(tick),
        }
    }

    fn decode(headers: &Headers, body: &[u8]) -> Result<Self, DecodeError> {
        match headers.schema.as_str() {
            "samples" => from_json(headers, SAMPLES.1, body).map(Self::Samples),
            "tick" => from_json(headers, Tick::SCHEMA.1, body).map(Self::Tick),
            _ => unknown_schema(headers, Self::TOPIC),
        }
    }
}

impl Ticked for SystemMetric {
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
