//! `forewarn-ingestion`: measures this host, takes samples in over HTTP, and acknowledges them by the log.

use std::process::ExitCode;

use forewarn_ingestion::service;
use forewarn_service::Service;
use forewarn_store::influxdb::Config as InfluxConfig;

const ABOUT: &str =
    "Measures this host, takes samples in over HTTP, and acknowledges them by the log.";

fn main() -> ExitCode {
    Service::with_own_pages("ingestion", ABOUT).main_on_kafka(
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
