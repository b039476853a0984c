//! `forewarn-api`: shows what the ledger holds, as JSON and as a status page. It changes nothing.

use std::process::ExitCode;

use forewarn_api::service;
use forewarn_service::Service;

const ABOUT: &str =
    "Shows what the ledger holds, as JSON with an OpenAPI document, and as a status page.";

fn main() -> ExitCode {
    Service::with_own_pages("api", ABOUT).main(service::configure, service::start)
}
