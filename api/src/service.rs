//! The service as its settings describe it.

use forewarn_bus::LogAccess;
use forewarn_config::Settings;
use forewarn_service::Context;
use forewarn_store::metrics::MetricAccess;
use forewarn_store::postgres::Config as PostgresConfig;

use crate::{App, Config, Ledger};

/// The sections that this service reads.
#[derive(Debug)]
pub struct Sections {
    api: Config,
    postgres: PostgresConfig,
}

/// Reads them; what is wrong is remembered by `settings`.
pub fn configure(settings: &mut Settings) -> Sections {
    Sections {
        api: settings.checked("api", Config::mistakes),
        postgres: settings.checked("postgres", PostgresConfig::mistakes),
    }
}

/// Starts everything and returns; the parts end when the service is asked to stop.
///
/// # Errors
/// When a store cannot be used as it is configured, or the address cannot be had. The log may be away.
pub async fn start(
    cx: Context,
    sections: Sections,
    log: LogAccess,
    metrics: MetricAccess,
) -> anyhow::Result<()> {
    let ledger = Ledger::open(&sections.postgres, &sections.api)?;
    let retention = metrics.retention();
    let app = App::new(sections.api, ledger, metrics.open()?, retention, log);
    crate::run(&cx, app).await
}
