//! Takes samples in, from this host and over HTTP, and acknowledges them by the log; the recorder fills InfluxDB.
//!
//! The promise: a 2xx means that every accepted sample is in the log; anything else means *send it again*, and doing so
//! is safe, since a sample's id comes from its series and time. What is refused is named with its reason and counted.
//!
//! This is the only service that reads the wall clock for meaning: it stamps what it measures, and refuses what cannot
//! be of now. From here on time comes with the samples and from the log.

mod acknowledge;
mod backlog;
mod collect;
mod config;
pub mod door;
mod heartbeat;
mod http;
pub mod recorder;
mod recording;
mod run;
mod seldom;
pub mod service;
pub mod sources;
mod status;
#[cfg(test)]
mod testing;

pub use backlog::Backlog;
pub use collect::{collect, simulate};
pub use config::Config;
pub use heartbeat::{Heartbeat, Listening};
pub use http::App;
pub use recording::Recording;
pub use run::run;
pub use status::Status;
