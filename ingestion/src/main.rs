//! `forewarn-ingestion`: measures this host, takes samples in over HTTP, and acknowledges them by the log.

use std::process::ExitCode;

use forewarn_bus::{Config as LogConfig, KafkaLog};
use forewarn_ingestion::service;
use forewarn_service::Service;

const ABOUT: &str =
    "Measures this host, takes samples in over HTTP, and acknowledges them by the log.";

fn main() -> ExitCode {
    Service::with_own_pages("ingestion", ABOUT).main(
        |settings| {
            let log = settings.checked("log", LogConfig::mistakes);
            (service::configure(settings), log)
        },
        async |cx, (sections, log)| service::start(cx, sections, KafkaLog::access(log)).await,
    )
}
