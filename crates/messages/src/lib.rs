//! Every topic: who writes and who reads it, its key, its bodies, and the examples that keep decoding.
//!
//! Bodies are JSON, so that any Kafka tool can read them; what a machine needs first stands in the headers
//! ([`Headers`]). One file per topic. The examples of every released version in `examples/` keep decoding:
//! that test is the promise to everyone who reads these topics.

mod alert_events;
mod anomaly_predictions;
mod commands;
mod dead_letters;
mod envelope;
mod processed_metrics;
mod system_metrics;
mod topic;

pub use alert_events::AlertTransition;
pub use anomaly_predictions::{
    ConditionChange, FailurePrediction, Part, Prediction, SeriesVerdict, Verdict, breach_subject,
    parse_breach_subject,
};
pub use commands::{AlertCommand, Audience, Command, TrainCommand};
pub use dead_letters::{DeadLetter, DeadReason};
pub use envelope::{Body, DecodeError, Envelope, Headers, Ticked};
pub use processed_metrics::{FeatureVector, LimitReading, ProcessedMetric, ResourceChange};
pub use system_metrics::{BatchSample, SampleBatch, SystemMetric, Tick};
pub use topic::{
    ALERT_EVENTS, ANOMALY_PREDICTIONS, COMMANDS, DEAD_LETTERS, PROCESSED_METRICS, Partitions,
    SYSTEM_METRICS, TOPICS, Topic,
};
