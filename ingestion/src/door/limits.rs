//! The door's settings: what may come in, and what holds where a sender says nothing.

use std::time::Duration;

use forewarn_types::StepLength;
use serde::{Deserialize, Serialize};

/// What the door lets in: `[ingestion.limits]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How old a sample may be.
    #[serde(with = "forewarn_config::duration")]
    pub past: Duration,
    /// How far ahead of this machine's clock a sample may be.
    #[serde(with = "forewarn_config::duration")]
    pub future: Duration,
    /// Samples in one request.
    pub samples_max: usize,
    /// Series that may be active at once; further new ones are refused.
    pub series_max: usize,
    /// After this long without a sample a series no longer counts as active.
    #[serde(with = "forewarn_config::duration")]
    pub series_idle: Duration,
    /// Tags of one sample.
    pub tags_max: usize,
    /// Bytes in the name of a resource, a metric or a tag.
    pub name_bytes_max: usize,
    /// Bytes in the value of a tag.
    pub tag_value_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            past: Duration::from_secs(24 * 3_600),
            future: Duration::from_secs(600),
            samples_max: 100_000,
            series_max: 100_000,
            series_idle: Duration::from_secs(3_600),
            tags_max: 32,
            name_bytes_max: 255,
            tag_value_bytes_max: 1_024,
        }
    }
}

/// What holds for pushed samples that do not say otherwise: `[ingestion.push]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PushConfig {
    /// How often a resource is expected to push, where its batch does not say: the step on which it is judged.
    #[serde(with = "forewarn_config::duration")]
    pub interval: Duration,
}

impl Default for PushConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
        }
    }
}

/// A span as a step, where it can be one.
pub(crate) fn step_length(span: Duration) -> Option<StepLength> {
    StepLength::from_millis(u32::try_from(span.as_millis()).ok()?)
}
