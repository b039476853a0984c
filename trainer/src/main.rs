//! `forewarn-trainer`: trains models on stored history, proves them and activates them.

use std::process::ExitCode;

use forewarn_bus::{Config as LogConfig, KafkaLog};
use forewarn_service::Service;
use forewarn_trainer::service;

const ABOUT: &str = "Trains models on stored history, proves them and activates them.";

fn main() -> ExitCode {
    Service::with_own_pages("trainer", ABOUT).main(
        |settings| {
            let log = settings.checked("log", LogConfig::mistakes);
            (service::configure(settings), log)
        },
        async |cx, (sections, log)| service::start(cx, sections, KafkaLog::access(log)).await,
    )
}
