//! Turns predictions and conditions into alerts with a life, and tells people about them.
//!
//! Pure parts first: [`Merge`] puts all partitions of `anomaly_predictions`, and `commands`, into one order, [`Machine`] turns that
//! sequence into transitions, [`Pipeline`] is both with one checkpoint; the reference pipeline uses them too. Around
//! them: [`ledger`] makes an interval durable in one PostgreSQL transaction (compare-and-set on lease epoch and
//! offsets, transitions, answers to commands, outbox, checkpoint), [`Lead`] is the active alerter, [`outbox`] delivers, [`relay`] publishes
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
pub use lead::{Lead, decode, decode_command};
pub use machine::{Answer, By, Deed, Finding, Machine, MachineConfig, Outcome, Transition};
pub use merge::{Decision, Merge, MergeError, Message, Said};
pub use notifiers::{Receiver, ReceiverConfig};
pub use pipeline::{Interval, Pipeline};
pub use run::run;
