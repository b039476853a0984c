//! `forewarn-trainer`: trains models on stored history, proves them and activates them.

use std::process::ExitCode;

use forewarn_service::Service;
use forewarn_store::influxdb::Config as InfluxConfig;
use forewarn_trainer::service;

const ABOUT: &str = "Trains models on stored history, proves them and activates them.";

fn main() -> ExitCode {
    Service::with_own_pages("trainer", ABOUT).main_on_kafka(
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
