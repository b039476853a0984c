//! The metric store, PostgreSQL and the shelf of models; the only crate that names the databases' clients.
//!
//! Both are projections of the log and filled by its consumers alone (DESIGN.md §2.1). What they hold for a given log
//! is computed by pure functions here ([`ledger`], [`metrics::points`]), so that the services that write them and
//! the judge that checks them share one definition, and writing twice is writing once:
//!
//! * PostgreSQL: rows and the offset up to which they are done move in one transaction, by compare-and-set
//!   ([`postgres::offsets`]), committed by [`postgres::guarded_commit`] only.
//! * The metric store, which is InfluxDB or a folder of this process: the same sample is the same point, so a batch may be written as often as it takes.

pub mod activations;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod http;
pub mod influxdb;
pub mod ledger;
pub mod metrics;
pub mod orders;
pub mod postgres;
mod retry;
pub mod runs;
pub mod shelf;
mod timestamp;

pub use retry::Retry;
pub use timestamp::Timestamp;
