//! `forewarn-api`: shows what the ledger holds, as JSON and as a status page. It changes nothing.

use std::process::ExitCode;

use forewarn_api::service;
use forewarn_service::Service;
use forewarn_store::influxdb::Config as InfluxConfig;

const ABOUT: &str =
    "Shows what the ledger holds, as JSON with an OpenAPI document, and as a status page.";

fn main() -> ExitCode {
    Service::with_own_pages("api", ABOUT).main(
        |settings| {
            (
                service::configure(settings),
                InfluxConfig::configure(settings),
            )
        },
        async |cx, (sections, influxdb)| service::start(cx, sections, influxdb.access()).await,
    )
}
