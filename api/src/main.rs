//! `forewarn-api`: shows what the ledger holds, as JSON and as a status page. It changes nothing.

use std::process::ExitCode;

use forewarn_api::{App, Config, Ledger};
use forewarn_config::Settings;
use forewarn_service::{Context, Service};
use forewarn_store::influxdb::{Config as InfluxConfig, InfluxDb};
use forewarn_store::postgres::Config as PostgresConfig;

const ABOUT: &str =
    "Shows what the ledger holds, as JSON with an OpenAPI document, and as a status page.";

fn main() -> ExitCode {
    Service::with_own_pages("api", ABOUT).main(configure, run)
}

/// The sections that this service reads.
struct Sections {
    api: Config,
    postgres: PostgresConfig,
    influxdb: InfluxConfig,
}

fn configure(settings: &mut Settings) -> Sections {
    Sections {
        api: settings.checked("api", Config::mistakes),
        postgres: settings.checked("postgres", PostgresConfig::mistakes),
        influxdb: settings.checked("influxdb", InfluxConfig::mistakes),
    }
}

async fn run(cx: Context, sections: Sections) -> anyhow::Result<()> {
    let ledger = Ledger::open(&sections.postgres, &sections.api)?;
    let influxdb = InfluxDb::open(&sections.influxdb)?;
    let app = App::new(sections.api, ledger, influxdb, &sections.influxdb);
    forewarn_api::run(&cx, app).await
}
