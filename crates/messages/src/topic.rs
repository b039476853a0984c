//! The topics themselves: facts that people, tools and the set-up of the log share.

use std::time::Duration;

/// One topic of the log.
#[derive(Debug, PartialEq, Eq)]
pub struct Topic {
    /// Underscores, never dots: Kafka's own metrics fold one into the other.
    pub name: &'static str,
    /// What it holds, in a few words.
    pub about: &'static str,
    /// What the key is; records with equal keys stay in order.
    pub key: &'static str,
    /// Whether the log stamps its own append time, or keeps the log time that the writer carries over.
    pub stamped_by_log: bool,
    /// How long records are kept at least.
    pub retention: Duration,
    /// Into how many parts it is cut.
    pub partitions: Partitions,
}

/// Into how many parts a topic is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitions {
    /// As configured; partition `p` is written only from partition `p` of the input, so that their counts must be equal.
    AsInput,
    /// As configured; a record's place follows from its key.
    ByKey,
    /// Everything stands in one order.
    One,
}

impl Partitions {
    /// How many there are, where `configured` is the number for topics that are spread.
    #[must_use]
    pub const fn count(self, configured: u32) -> u32 {
        match self {
            Self::AsInput | Self::ByKey => configured,
            Self::One => 1,
        }
    }
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Samples of one resource; ticks. Written by ingestion.
pub const SYSTEM_METRICS: Topic = Topic {
    name: "system_metrics",
    about: "samples of one resource; ticks",
    key: "resource",
    stamped_by_log: true,
    retention: WEEK,
    partitions: Partitions::AsInput,
};

/// One feature vector per resource, feature set and step; changes of resources; ticks. Written by stream-processor.
pub const PROCESSED_METRICS: Topic = Topic {
    name: "processed_metrics",
    about: "one feature vector per resource, feature set and step; resource changes; ticks",
    key: "resource",
    stamped_by_log: false,
    retention: WEEK,
    partitions: Partitions::AsInput,
};

/// Verdicts, condition changes, failure predictions and their ends; ticks. Written by predictor.
pub const ANOMALY_PREDICTIONS: Topic = Topic {
    name: "anomaly_predictions",
    about: "verdicts, condition changes, failure predictions and their ends; ticks",
    key: "resource",
    stamped_by_log: false,
    retention: WEEK,
    partitions: Partitions::AsInput,
};

/// What people decide; ticks. Written by whoever asks on their behalf (api, scripts); the ticks by the active alerter.
pub const COMMANDS: Topic = Topic {
    name: "commands",
    about: "what people decide: acknowledge or resolve an alert, train somebody at once; ticks",
    key: "what it is about",
    stamped_by_log: true,
    retention: WEEK,
    partitions: Partitions::One,
};

/// Every transition of every alert. Written by the relay of the alerter's transitions.
pub const ALERT_EVENTS: Topic = Topic {
    name: "alert_events",
    about: "every transition of every alert",
    key: "alert id",
    stamped_by_log: false,
    retention: WEEK,
    partitions: Partitions::ByKey,
};

/// What could not be read, with the reason. Written by all.
pub const DEAD_LETTERS: Topic = Topic {
    name: "dead_letters",
    about: "what could not be read, with the reason",
    key: "origin",
    stamped_by_log: true,
    retention: WEEK,
    partitions: Partitions::ByKey,
};

/// All topics.
pub const TOPICS: &[&Topic] = &[
    &SYSTEM_METRICS,
    &PROCESSED_METRICS,
    &ANOMALY_PREDICTIONS,
    &COMMANDS,
    &ALERT_EVENTS,
    &DEAD_LETTERS,
];
