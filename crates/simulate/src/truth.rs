//! What really happened: ground truth, that evaluation reads and nothing else does.

use forewarn_types::{EventTime, ResourceKey};
use serde::{Deserialize, Serialize};

use super::kind::FaultKind;

/// What really happened in one fault, with its whole path.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// To whom.
    pub resource: ResourceKey,
    /// What.
    pub kind: FaultKind,
    /// What filled up: a mount point, `memory`, `system`, `connections`; what else was touched: `cpu`, `response`,
    /// `network`, `traffic`, `application`, `host`, `collector`.
    pub subject: String,
    /// The first step that it touches.
    pub onset: EventTime,
    /// The last step that it touches.
    pub end: EventTime,
    /// How much there is of what fills up, in the unit of its metric; 1 where nothing does.
    pub capacity: f64,
    /// The resource whose fault brought this one about, if one did.
    pub cause: Option<String>,
    /// The share in use of what fills up, step by step.
    pub(super) path: Vec<(EventTime, f64)>,
}

impl Truth {
    /// When the share in use first reached `share` (1 is full), if it did.
    #[must_use]
    pub fn breach(&self, share: f64) -> Option<EventTime> {
        self.path
            .iter()
            .find(|(_, used)| *used >= share)
            .map(|(at, _)| *at)
    }

    /// When it reached its limit, if it has one and did.
    #[must_use]
    pub fn limit_reached(&self) -> Option<EventTime> {
        self.breach(self.kind.breaks_at()?)
    }
}

/// What is known of one fault of a running fleet so far. Of several labels of one fault (same resource, fault and
/// onset) the last one holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// To whom.
    pub resource: String,
    /// What.
    pub fault: FaultKind,
    /// As in [`Truth::subject`].
    pub subject: String,
    /// The first moment that it touches.
    pub onset: EventTime,
    /// When it reached its limit; `None` before that, and for what has none.
    pub breach: Option<EventTime>,
    /// The last moment that it touched; `None` while it goes on.
    pub end: Option<EventTime>,
    /// As in [`Truth::capacity`].
    pub capacity: f64,
    /// As in [`Truth::cause`].
    pub cause: Option<String>,
}
