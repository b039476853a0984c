//! `forewarn-stream-processor`: puts samples together to steps, and steps to feature vectors.

use std::process::ExitCode;

use forewarn_bus::{Config as LogConfig, KafkaLog};
use forewarn_service::Service;
use forewarn_stream_processor::service;

/// The port of the health pages.
const PORT: u16 = 8002;

const ABOUT: &str = "Puts samples together to steps, and steps to feature vectors.";

fn main() -> ExitCode {
    Service::new("stream-processor", PORT, ABOUT).main(
        |settings| {
            let log = settings.checked("log", LogConfig::mistakes);
            (service::configure(settings), log)
        },
        async |cx, (sections, log)| service::start(cx, sections, KafkaLog::access(log)).await,
    )
}
