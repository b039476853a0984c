//! `forewarn-api`: shows what the ledger holds, as JSON and as a status page, and takes commands about alerts.

use std::process::ExitCode;

use forewarn_api::service;
use forewarn_service::Service;
use forewarn_store::influxdb::Config as InfluxConfig;

const ABOUT: &str =
    "Shows what the ledger holds, as JSON with an OpenAPI document, and as a status page.";

fn main() -> ExitCode {
    Service::with_own_pages("api", ABOUT).main_on_kafka(
        |settings| {
            (
                service::configure(settings),
                InfluxConfig::configure(settings),
            )
        },
        async |cx, (sections, influxdb), log| {
            service::start(cx, sections, log, influxdb.access()).await
        },
    )
}
