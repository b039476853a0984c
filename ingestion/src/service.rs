//! The service as its settings describe it.

use std::sync::Arc;

use forewarn_bus::LogAccess;
use forewarn_config::Settings;
use forewarn_features::FeatureSets;
use forewarn_service::Context;
use forewarn_store::influxdb::Config as InfluxConfig;

use crate::{Config, Recording};

/// The sections that this service reads.
#[derive(Debug)]
pub struct Sections {
    ingestion: Config,
    recording: Recording,
}

/// Reads them; what is wrong is remembered by `settings`.
pub fn configure(settings: &mut Settings) -> Sections {
    let sets = settings.made("feature_sets", FeatureSets::extended);
    let influxdb = settings.checked("influxdb", InfluxConfig::mistakes);
    Sections {
        ingestion: settings.checked("ingestion", Config::mistakes),
        recording: Recording {
            influxdb,
            sets: Arc::new(sets),
        },
    }
}

/// Starts everything and returns; the parts end when the service is asked to stop.
///
/// # Errors
/// When the address cannot be had, or the log cannot be used as it is configured.
pub async fn start(cx: Context, sections: Sections, log: LogAccess) -> anyhow::Result<()> {
    crate::run(&cx, sections.ingestion, log, sections.recording).await
}
