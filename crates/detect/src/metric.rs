//! What a detector has to know about a metric beforehand: little, and nothing that depends on the machine.

use serde::{Deserialize, Serialize};

/// Which deviations of a metric are worth attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Only more than expected.
    Up,
    /// Only less than expected.
    Down,
    /// Either.
    #[default]
    Both,
}

/// A judged metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name in the feature set: `cpu.utilization`.
    pub name: String,
    /// The smallest deviation that matters, in the metric's unit; the scale of its residuals never falls below it.
    /// Without one, a metric that has been constant would be anomalous at its first tremor.
    pub floor: f64,
    /// Which deviations count.
    pub direction: Direction,
    /// Values that the metric can have; one outside makes the step `out_of_range`, since its source is broken.
    pub range: Option<(f64, f64)>,
}

impl Metric {
    /// A metric both of whose directions matter, with no bounds.
    #[must_use]
    pub fn new(name: impl Into<String>, floor: f64) -> Self {
        Self {
            name: name.into(),
            floor,
            direction: Direction::Both,
            range: None,
        }
    }
}
