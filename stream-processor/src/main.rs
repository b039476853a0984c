//! `forewarn-stream-processor`: puts samples together to steps, and steps to feature vectors.

use std::process::ExitCode;

use forewarn_service::Service;
use forewarn_stream_processor::service;

/// The port of the health pages.
const PORT: u16 = 8002;

const ABOUT: &str = "Puts samples together to steps, and steps to feature vectors.";

fn main() -> ExitCode {
    Service::new("stream-processor", PORT, ABOUT).main_on_kafka(service::configure, service::start)
}
