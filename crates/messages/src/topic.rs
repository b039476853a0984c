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
    /// Whether partition `p` is written only from partition `p` of the input, so that their counts must be equal.
    pub partitioned_as_input: bool,
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Samples of one resource; ticks. Written by ingestion.
pub const SYSTEM_METRICS: Topic = Topic {
    name: "system_metrics",
    about: "samples of one resource; ticks",
    key: "resource",
    stamped_by_log: true,
    retention: WEEK,
    partitioned_as_input: true,
};

/// One feature vector per resource, feature set and step; changes of resources; ticks. Written by stream-processor.
pub const PROCESSED_METRICS: Topic = Topic {
    name: "processed_metrics",
    about: "one feature vector per resource, feature set and step; resource changes; ticks",
    key: "resource",
    stamped_by_log: false,
    retention: WEEK,
    partitioned_as_input: true,
};

/// Verdicts, condition changes, failure predictions and their ends; ticks. Written by predictor.
pub const ANOMALY_PREDICTIONS: Topic = Topic {
    name: "anomaly_predictions",
    about: "verdicts, condition changes, failure predictions and their ends; ticks",
    key: "resource",
    stamped_by_log: false,
    retention: WEEK,
    partitioned_as_input: true,
};

/// Every transition of every alert. Written by the relay of the alerter's transitions.
pub const ALERT_EVENTS: Topic = Topic {
    name: "alert_events",
    about: "every transition of every alert",
    key: "alert id",
    stamped_by_log: false,
    retention: WEEK,
    partitioned_as_input: false,
};

/// What could not be read, with the reason. Written by all.
pub const DEAD_LETTERS: Topic = Topic {
    name: "dead_letters",
    about: "what could not be read, with the reason",
    key: "origin",
    stamped_by_log: true,
    retention: WEEK,
    partitioned_as_input: false,
};

/// All topics.
pub const TOPICS: &[&Topic] = &[
    &SYSTEM_METRICS,
    &PROCESSED_METRICS,
    &ANOMALY_PREDICTIONS,
    &ALERT_EVENTS,
    &DEAD_LETTERS,
];
