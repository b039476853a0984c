//! What users write under `[[rules]]`. The documentation of these fields is the user's documentation.
//!
//! Fields that every type has are repeated in each of them: serde cannot both flatten a common part and refuse
//! fields it does not know, and a misspelt field that is silently ignored is a rule that never fires.

use std::time::Duration;

use forewarn_types::{FailureKind, Kind, Severity};
use serde::{Deserialize, Serialize};

/// One entry of `[[rules]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RuleConfig {
    /// A metric, or its change per second, compared with a fixed value.
    Threshold(ThresholdRule),
    /// A resource that is unlike its own past.
    Anomaly(AnomalyRule),
    /// Something that will reach its limit, and later does.
    FailurePrediction(FailurePredictionRule),
    /// A resource that stopped sending.
    Silence(SilenceRule),
}

/// Compares a metric with a fixed value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdRule {
    /// Unique name; appears in every alert.
    pub name: String,
    /// How bad it is when the condition holds.
    #[serde(default = "medium")]
    pub severity: Severity,
    /// Which resources, by name: `*` stands for any text, `?` for one character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Which resources, by kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// One line for people. Knows `{resource}`, `{subject}`, `{metric}`, `{value}` and `{threshold}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// A metric of the feature set (`cpu.utilization`), or one of its features (`cpu.utilization.mean_10`).
    /// Metrics that say how full something is (`filesystem.utilization`, `memory.utilization`, …) are compared for
    /// each thing that can fill up, so that the alert names the mount point.
    pub metric: String,
    /// `>`, `>=`, `<`, `<=`, `==` or `!=`.
    pub operator: Operator,
    /// What it is compared with, in the metric's unit (ratios are 0 to 1).
    pub value: f64,
    /// Compare the change per second from one step to the next instead of the level.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rate: bool,
    /// How long the condition has to hold before the alert opens, in event time.
    #[serde(default, rename = "for", with = "forewarn_config::duration")]
    pub hold: Duration,
    /// How many steps in a row it has to hold.
    #[serde(default = "one")]
    pub consecutive: u32,
}

/// Finds a resource that is unlike its own past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnomalyRule {
    /// Unique name; appears in every alert.
    pub name: String,
    /// How bad it is: `medium` at most, since being unusual alone harms nobody.
    #[serde(default = "medium")]
    pub severity: Severity,
    /// Which resources, by name: `*` stands for any text, `?` for one character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Which resources, by kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// One line for people. Knows `{resource}`, `{metric}` (the largest part of the score), `{value}`, `{expected}`
    /// and `{score}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The score has to be above this; 1 is where the alarm budget ends, 2 is the square as rare.
    #[serde(default = "default_min_score")]
    pub min_score: f64,
    /// How many steps in a row.
    #[serde(default = "three")]
    pub consecutive: u32,
}

/// Warns of something that will reach its limit, and stays the same alert when it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailurePredictionRule {
    /// Unique name; appears in every alert.
    pub name: String,
    /// How bad it is once the limit is reached. Before, `time_left` decides.
    #[serde(default = "critical")]
    pub severity: Severity,
    /// Which resources, by name: `*` stands for any text, `?` for one character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Which resources, by kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// One line for people. Knows `{resource}`, `{subject}`, `{failure}` and `{time_left}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Which failures: `disk_full`, `memory_exhaustion`, `connection_exhaustion`, `file_descriptor_exhaustion`.
    /// All of them if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailureKind>,
    /// The used share of the capacity from which on it counts as failed, 0 to 1: the moment that is predicted.
    #[serde(default = "default_reached")]
    pub reached: f64,
    /// Warn when the limit is expected (P50) within this time.
    #[serde(default = "default_within", with = "forewarn_config::duration")]
    pub within: Duration,
    /// Warn when the prediction's probability is at least this.
    #[serde(default = "default_min_probability")]
    pub min_probability: f64,
    /// How bad a prediction is by the time that is left (P50), shortest first; `low` beyond the last entry.
    #[serde(default = "default_time_left")]
    pub time_left: Vec<TimeLeft>,
}

/// How bad a prediction is while less than this is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeLeft {
    /// Applies when at most this is left.
    #[serde(with = "forewarn_config::duration")]
    pub within: Duration,
    /// How bad that is.
    pub severity: Severity,
}

/// Finds a resource that stopped sending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceRule {
    /// Unique name; appears in every alert.
    pub name: String,
    /// How bad it is.
    #[serde(default = "high")]
    pub severity: Severity,
    /// Which resources, by name: `*` stands for any text, `?` for one character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Which resources, by kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// One line for people. Knows `{resource}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// How much longer it has to stay silent after it was noticed (three steps, at least 30 s), in log time.
    #[serde(default, rename = "for", with = "forewarn_config::duration")]
    pub hold: Duration,
}

impl RuleConfig {
    /// The rule's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Threshold(rule) => &rule.name,
            Self::Anomaly(rule) => &rule.name,
            Self::FailurePrediction(rule) => &rule.name,
            Self::Silence(rule) => &rule.name,
        }
    }

    /// How bad it is when what the rule looks for is there.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Threshold(rule) => rule.severity,
            Self::Anomaly(rule) => rule.severity,
            Self::FailurePrediction(rule) => rule.severity,
            Self::Silence(rule) => rule.severity,
        }
    }

    /// Which resources, by name.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        match self {
            Self::Threshold(rule) => rule.resource.as_deref(),
            Self::Anomaly(rule) => rule.resource.as_deref(),
            Self::FailurePrediction(rule) => rule.resource.as_deref(),
            Self::Silence(rule) => rule.resource.as_deref(),
        }
    }

    /// Which resources, by kind.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Threshold(rule) => rule.kind,
            Self::Anomaly(rule) => rule.kind,
            Self::FailurePrediction(rule) => rule.kind,
            Self::Silence(rule) => rule.kind,
        }
    }

    /// The template of the line for people, if the rule has its own.
    #[must_use]
    pub fn summary(&self) -> Option<&str> {
        match self {
            Self::Threshold(rule) => rule.summary.as_deref(),
            Self::Anomaly(rule) => rule.summary.as_deref(),
            Self::FailurePrediction(rule) => rule.summary.as_deref(),
            Self::Silence(rule) => rule.summary.as_deref(),
        }
    }
}

impl FailurePredictionRule {
    /// Whether the rule is about this failure.
    #[must_use]
    pub fn covers(&self, failure: FailureKind) -> bool {
        self.failures.is_empty() || self.failures.contains(&failure)
    }

    /// How bad a prediction is with `seconds` left.
    #[must_use]
    pub fn severity_at(&self, seconds: f64) -> Severity {
        let entry = self
            .time_left
            .iter()
            .find(|entry| seconds <= entry.within.as_secs_f64());
        entry.map_or(Severity::Low, |entry| entry.severity)
    }
}

/// How a value is compared with the rule's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// `>`
    #[serde(rename = ">")]
    Above,
    /// `>=`
    #[serde(rename = ">=")]
    AtLeast,
    /// `<`
    #[serde(rename = "<")]
    Below,
    /// `<=`
    #[serde(rename = "<=")]
    AtMost,
    /// `==`
    #[serde(rename = "==")]
    Equal,
    /// `!=`
    #[serde(rename = "!=")]
    NotEqual,
}

impl Operator {
    /// Whether `value` stands in this relation to `threshold`.
    #[must_use]
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Above => value > threshold,
            Self::AtLeast => value >= threshold,
            Self::Below => value < threshold,
            Self::AtMost => value <= threshold,
            // Exact on purpose: it is meant for states and counts, and a tolerance would be a guess.
            #[allow(clippy::float_cmp, reason = "the user asked for equality")]
            Self::Equal => value == threshold,
            #[allow(clippy::float_cmp, reason = "the user asked for inequality")]
            Self::NotEqual => value != threshold,
        }
    }

    /// In words, between a value and a threshold.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Above => "above",
            Self::AtLeast => "at or above",
            Self::Below => "below",
            Self::AtMost => "at or below",
            Self::Equal => "equal to",
            Self::NotEqual => "other than",
        }
    }

    /// Whether more of the metric makes it more true: the direction in which limits are reached.
    #[must_use]
    pub const fn is_upward(self) -> bool {
        matches!(self, Self::Above | Self::AtLeast)
    }
}

const fn one() -> u32 {
    1
}

const fn three() -> u32 {
    3
}

const fn medium() -> Severity {
    Severity::Medium
}

const fn high() -> Severity {
    Severity::High
}

const fn critical() -> Severity {
    Severity::Critical
}

const fn default_min_score() -> f64 {
    1.0
}

const fn default_reached() -> f64 {
    0.95
}

const fn default_within() -> Duration {
    Duration::from_secs(4 * 3600)
}

const fn default_min_probability() -> f64 {
    0.5
}

fn default_time_left() -> Vec<TimeLeft> {
    vec![
        TimeLeft {
            within: Duration::from_secs(3600),
            severity: Severity::High,
        },
        TimeLeft {
            within: Duration::from_secs(24 * 3600),
            severity: Severity::Medium,
        },
    ]
}
