//! Compares what the stores hold with what the reference says they must hold, and names the first differences.

mod alerts;
mod lines;
mod points;
mod report;
mod samples;
mod topics;

pub use alerts::{decisions, dump_alerts, expected_alerts};
pub use lines::lines;
pub use points::{Points, points};
pub use report::Report;
pub use samples::LoggedSamples;
pub use topics::partition as topic_partition;

use crate::reference::record_of;
