//! The log: appending, reading in partitions, and stages that turn one topic into the next exactly once.
//!
//! Delivery, in one paragraph (DESIGN.md §2): a record is in the log when the log says so ([`Appender`]).
//! A stage ([`Stage`]) is a pure function of its input partition; its outputs carry where they come from (`src`).
//! Nothing is committed before its effect. After a crash a stage starts from its checkpoint and does again what it
//! had already done; the repetitions have the same bytes and the same `src`, and every reader drops what is not
//! beyond the last `src` it has done. At-least-once delivery and readers that count give each record one effect.
//!
//! Where to look: [`Log`] is what a log can do, [`KafkaLog`] the one that does it on a cluster, and `embedded` (a feature) the one that does it in this process; [`mint`] and [`Ticker`] give a log its
//! identity and its clock; [`run_stage`] runs a stage, [`follow`] a reader that is none (recorder, projector);
//! [`Partition`] is the pure core of a stage, shared with the reference pipeline.
//!
//! Own metrics: `forewarn_log_*` (appends, rebalances, commits, offsets out of range), `forewarn_stage_*` (records,
//! outputs, repetitions, dead letters, lag, checkpoints) and `forewarn_reader_*` (records, batches, setbacks, lag).
//!
//! This is the only crate that names rdkafka, and fjall.

// The toy stage of the tests is also compiled into `tests/it`, where this crate has its outside name.
#[cfg(test)]
extern crate self as forewarn_bus;

mod checkpoints;
#[cfg(feature = "embedded")]
pub mod embedded;
mod follow;
mod identity;
mod intake;
mod kafka;
mod log;
#[cfg(test)]
mod memory;
mod partition;
mod run;
mod runner;
mod stage;
#[cfg(test)]
mod toy;
mod watchdog;

pub use checkpoints::{CheckpointConfig, CheckpointError, Checkpoints, Owner};
pub use follow::{Batch, FollowOptions, Reading, Setback, Sink, Taken, follow};
pub use identity::{Ticker, log_id, mint, mint_on};
pub use intake::Unreadable;
pub use kafka::{Config, KafkaLog};
pub use log::{
    AppendError, Appender, BusError, Consumer, Event, Log, LogAccess, Place, Position, Receipt,
    Record, Start, Subscription,
};
pub use partition::{Applied, Derived, Halt, Partition};
pub use run::{Observe, RunError, StopFlag};
pub use runner::{StageOptions, run_stage};
pub use stage::{Cause, RestoreError, Stage, decode_state, encode_state};
