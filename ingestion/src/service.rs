//! The service as its settings describe it.

use std::sync::Arc;

use forewarn_bus::LogAccess;
use forewarn_config::Settings;
use forewarn_features::FeatureSets;
use forewarn_service::Context;
use forewarn_store::metrics::MetricAccess;

use crate::{Config, Recording};

/// The sections that this service reads.
#[derive(Debug)]
pub struct Sections {
    ingestion: Config,
    sets: FeatureSets,
}

/// Reads them; what is wrong is remembered by `settings`.
pub fn configure(settings: &mut Settings) -> Sections {
    Sections {
        ingestion: settings.checked("ingestion", Config::mistakes),
        sets: settings.made("feature_sets", FeatureSets::extended),
    }
}

/// Starts everything and returns; the parts end when the service is asked to stop.
///
/// # Errors
/// When the address cannot be had, or the log cannot be used as it is configured.
pub async fn start(
    cx: Context,
    sections: Sections,
    log: LogAccess,
    metrics: MetricAccess,
) -> anyhow::Result<()> {
    let recording = Recording {
        metrics,
        sets: Arc::new(sections.sets),
    };
    crate::run(&cx, sections.ingestion, log, recording).await
}
