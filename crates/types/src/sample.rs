//! Samples and the series they belong to.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{EventTime, ResourceKey};

/// The key-value pairs that tell the series of one metric apart, in the order of their keys.
pub type Tags = BTreeMap<String, String>;

/// Names one series: a metric of a resource with one set of tags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesKey {
    /// Whose series it is.
    pub resource: ResourceKey,
    /// The metric's OpenTelemetry name: `system.cpu.utilization`.
    pub metric: String,
    /// What tells it apart from the metric's other series.
    pub tags: Tags,
}

impl fmt::Display for SeriesKey {
    /// `web-01 system.cpu.utilization{cpu.mode="user"}`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource.resource, self.metric)?;
        if self.tags.is_empty() {
            return Ok(());
        }
        f.write_str("{")?;
        for (i, (key, value)) in self.tags.iter().enumerate() {
            write!(f, "{}{key}={value:?}", if i == 0 { "" } else { "," })?;
        }
        f.write_str("}")
    }
}

/// Whether a metric is read as it stands, or by how much it grew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricType {
    /// A value that goes up and down.
    #[default]
    Gauge,
    /// A total that only grows, and starts again at zero when its process does.
    Counter,
}

impl MetricType {
    /// Gauges are the default and stay out of messages.
    #[must_use]
    pub const fn is_gauge(&self) -> bool {
        matches!(self, Self::Gauge)
    }
}

/// One timestamped value of one series.
///
/// Which resource it belongs to is said once, by the batch that carries it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The metric's OpenTelemetry name, in base units (seconds, bytes, ratios of 0 to 1).
    pub metric: String,
    /// What tells this series apart from the metric's other series.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// Gauge or counter.
    #[serde(default, rename = "type", skip_serializing_if = "MetricType::is_gauge")]
    pub metric_type: MetricType,
    /// When it was measured.
    pub time: EventTime,
    /// The finite value.
    pub value: f64,
}
