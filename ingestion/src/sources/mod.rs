//! Where samples come from without being sent: one folder or file per source.

pub mod host;
pub mod simulated;
