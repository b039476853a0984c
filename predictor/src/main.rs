//! `forewarn-predictor`: judges every step, predicts failures, and writes both down in PostgreSQL.

use std::process::ExitCode;

use forewarn_predictor::service;
use forewarn_service::Service;

/// The port of the health pages.
const PORT: u16 = 8003;

const ABOUT: &str = "Judges every step, predicts failures, and writes both down in PostgreSQL.";

fn main() -> ExitCode {
    Service::new("predictor", PORT, ABOUT).main_on_kafka(service::configure, service::start)
}
