//! Turns predictions and conditions into alerts with a life, and tells people about them.
//!
//! Pure parts first: [`Merge`] puts all partitions of `anomaly_predictions` into one order, [`Machine`] turns that
//! sequence into transitions, [`Pipeline`] is both with one checkpoint; the reference pipeline uses them too. Around
//! them: [`ledger`] makes an interval durable in one PostgreSQL transaction (compare-and-set on lease epoch and
//! offsets, transitions, outbox, checkpoint), [`Lead`] is the active alerter, [`outbox`] delivers, [`relay`] publishes
//! `alert_events`. A crash anywhere repeats what was not committed, and the repetition has the same ids.

mod config;
mod lead;
pub mod ledger;
pub mod machine;
pub mod merge;
mod metered;
pub mod notifiers;
pub mod outbox;
mod pipeline;
pub mod relay;
pub mod rows;
mod run;
pub mod service;

pub use config::Config;
pub use lead::{Lead, decode};
pub use machine::{Finding, Machine, MachineConfig, Transition};
pub use merge::{Decision, Merge, MergeError, Message};
pub use notifiers::{Receiver, ReceiverConfig};
pub use pipeline::{Interval, Pipeline};
pub use run::run;
