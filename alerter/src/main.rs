//! `forewarn-alerter`: turns predictions and conditions into alerts, and alerts into calm, useful messages.

use std::process::ExitCode;

use forewarn_alerter::service;
use forewarn_service::Service;

/// The port of the health pages.
const PORT: u16 = 8004;

const ABOUT: &str = "Turns predictions and conditions into alerts, and tells people about them.";

fn main() -> ExitCode {
    Service::new("alerter", PORT, ABOUT).main_on_kafka(service::configure, service::start)
}
