//! What a feature set is, as people write it (TOML) and as the code trusts it.
//!
//! A set says, for some kinds of resource, which metrics there are, how each is read from series, and which features
//! are made of it. Every metric and every feature is defined in exactly one place: one entry of one set.

use std::collections::BTreeMap;

use forewarn_types::{FailureKind, Kind, StepLength, Tags};
use serde::{Deserialize, Serialize};

use crate::calendar::{Calendar, CalendarConfig};
use crate::transform::{Temporal, Transform};

/// A feature set as people write it: `[[feature_sets]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSetConfig {
    /// Its name; with the version it is the id that vectors carry: `host/1`.
    pub name: String,
    /// Raised whenever the meaning or the order of the features changes.
    pub version: u32,
    /// Kinds of resource that it describes.
    pub kinds: Vec<Kind>,
    /// A fixed step, `1s` to `1h`. Without it the step is the interval of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Time zone, business hours and holidays of the temporal features.
    #[serde(default)]
    pub calendar: CalendarConfig,
    /// Temporal features: `hour_sin`, `hour_cos`, `weekday_sin`, `weekday_cos`, `weekend`, `business_hours`, `holiday`.
    #[serde(default)]
    pub temporal: Vec<String>,
    /// The metrics.
    pub metrics: Vec<MetricConfig>,
    /// What can fill up.
    #[serde(default)]
    pub limits: Vec<LimitConfig>,
}

/// One metric of a set as people write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricConfig {
    /// Its name in the set: `cpu.utilization`.
    pub name: String,
    /// The series it is read from: an OpenTelemetry name.
    pub from: String,
    /// Which of them: tag and value, or a list of values; `!value` excludes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, TagFilter>,
    /// How several series become one value.
    #[serde(default)]
    pub combine: Combine,
    /// How a series is read.
    #[serde(default, rename = "as")]
    pub reading: Reading,
    /// Divides by this, for ratios.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<OperandConfig>,
    /// Unit of the result in the notation of UCUM.
    pub unit: String,
    /// The smallest deviation that matters, in the metric's unit; positive.
    pub floor: f64,
    /// Which deviations are bad.
    #[serde(default)]
    pub direction: Direction,
    /// Features beside `value`, which every metric has.
    #[serde(default)]
    pub features: Vec<String>,
}

/// The series behind a number, how each is read and how they become one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperandConfig {
    /// As in [`MetricConfig::from`].
    pub from: String,
    /// As in [`MetricConfig::tags`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, TagFilter>,
    /// As in [`MetricConfig::combine`].
    #[serde(default)]
    pub combine: Combine,
    /// As in [`MetricConfig::reading`].
    #[serde(default, rename = "as")]
    pub reading: Reading,
}

/// One thing that can fill up, as people write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitConfig {
    /// What happens at the limit.
    pub kind: FailureKind,
    /// The subject's name; with `per` the name used where that tag is absent.
    pub subject: String,
    /// One subject per value of this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// How much is used.
    pub used: OperandConfig,
    /// How much there is.
    pub limit: OperandConfig,
}

/// Accepted values of a tag: one, or several of which one must match; `!value` excludes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TagFilter {
    /// One value.
    One(String),
    /// Several values.
    Any(Vec<String>),
}

/// How the values of several series become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Their sum.
    #[default]
    Sum,
    /// The greatest.
    Max,
    /// Their mean.
    Mean,
}

/// How a series is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// The value itself.
    #[default]
    Gauge,
    /// A counter's increase per second; a value below the previous one counts from zero, since its process restarted.
    Rate,
    /// Change per second of a value that may fall.
    Growth,
}

/// Which deviations of a metric are bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Above what was expected.
    Up,
    /// Below what was expected.
    Down,
    /// Either.
    #[default]
    Both,
}

/// A validated feature set.
#[derive(Clone, Debug)]
pub struct FeatureSet {
    /// Its name: `host`.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Kinds of resource that it describes.
    pub kinds: Vec<Kind>,
    /// The fixed step, if it has one.
    pub step: Option<StepLength>,
    /// The metrics; the detectors judge their `value` features.
    pub metrics: Vec<MetricDef>,
    /// The features in the order of a vector's values.
    pub features: Vec<FeatureDef>,
    /// What can fill up.
    pub limits: Vec<LimitDef>,
    pub(crate) calendar: Calendar,
    pub(crate) id: String,
}

impl FeatureSet {
    /// Name and version as vectors carry them: `host/1`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it describes this kind of resource.
    #[must_use]
    pub fn describes(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Place of a feature (`cpu.utilization.value`) in a vector's values.
    #[must_use]
    pub fn index_of(&self, feature: &str) -> Option<usize> {
        self.features.iter().position(|known| known.name == feature)
    }

    /// The metric of this name.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<&MetricDef> {
        self.metrics.iter().find(|metric| metric.name == name)
    }
}

/// A validated metric of a set.
#[derive(Clone, Debug)]
pub struct MetricDef {
    /// Its name in the set: `cpu.utilization`.
    pub name: String,
    /// Unit in the notation of UCUM.
    pub unit: String,
    /// The smallest deviation that matters, in the metric's unit; positive.
    pub floor: f64,
    /// Which deviations are bad.
    pub direction: Direction,
    /// Place of its `value` feature in a vector's values.
    pub value_index: usize,
    /// What it is read from.
    pub operand: Operand,
    /// What it is divided by, for ratios.
    pub over: Option<Operand>,
}

/// A validated feature.
#[derive(Clone, Debug)]
pub struct FeatureDef {
    /// `{metric}.{transform}`, or `time.{temporal}`.
    pub name: String,
    /// How it is computed.
    pub source: FeatureSource,
}

/// How a feature is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureSource {
    /// From a metric's past.
    Metric {
        /// Place of the metric in [`FeatureSet::metrics`].
        metric: usize,
        /// What is made of it.
        transform: Transform,
    },
    /// From the calendar.
    Time(Temporal),
}

/// A validated limit.
#[derive(Clone, Debug)]
pub struct LimitDef {
    /// What happens at the limit.
    pub kind: FailureKind,
    /// Name of the subject, or of the one without the tag in `per`.
    pub subject: String,
    /// The tag that tells the subjects apart.
    pub per: Option<String>,
    /// How much is used.
    pub used: Operand,
    /// How much there is.
    pub limit: Operand,
}

/// A validated operand: the series behind a number.
#[derive(Clone, Debug)]
pub struct Operand {
    /// The canonical name of the metric.
    pub from: String,
    /// How several series become one value.
    pub combine: Combine,
    /// How a series is read.
    pub reading: Reading,
    pub(crate) tags: Vec<(String, TagRule)>,
}

/// What a tag's value has to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct TagRule {
    pub(crate) any_of: Vec<String>,
    pub(crate) none_of: Vec<String>,
}

impl Operand {
    /// Whether it is read from this series. A series without a tag is among those that the tag excludes nothing of.
    #[must_use]
    pub fn takes(&self, metric: &str, tags: &Tags) -> bool {
        self.from == metric
            && self.tags.iter().all(|(key, rule)| match tags.get(key) {
                Some(value) => {
                    (rule.any_of.is_empty() || rule.any_of.contains(value))
                        && !rule.none_of.contains(value)
                }
                None => rule.any_of.is_empty(),
            })
    }
}
