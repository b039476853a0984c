//! Takes samples in, from this host and over HTTP, and acknowledges them by the log; the recorder fills InfluxDB.
pub mod door;
mod seldom;
pub mod sources;
