//! The service as its settings describe it.

use std::sync::Arc;

use forewarn_bus::LogAccess;
use forewarn_config::Settings;
use forewarn_features::FeatureSets;
use forewarn_service::Context;
use forewarn_store::metrics::MetricAccess;
use forewarn_store::postgres::{Config as PostgresConfig, Postgres};
use forewarn_store::shelf::{Config as ModelsConfig, Shelf};

use crate::{Config, Trainer, Workshop};

/// The sections that this service reads.
#[derive(Debug)]
pub struct Sections {
    postgres: PostgresConfig,
    models: ModelsConfig,
    predictor: forewarn_judge::Config,
    trainer: Config,
    sets: FeatureSets,
}

/// Reads them; what is wrong is remembered by `settings`.
pub fn configure(settings: &mut Settings) -> Sections {
    Sections {
        postgres: settings.checked("postgres", PostgresConfig::mistakes),
        models: settings.section("models"),
        // History runs through the detector as it judges live.
        predictor: settings.checked("predictor", forewarn_judge::Config::mistakes),
        trainer: settings.checked("trainer", Config::mistakes),
        sets: settings.made("feature_sets", FeatureSets::extended),
    }
}

/// Starts everything and returns; the parts end when the service is asked to stop.
///
/// # Errors
/// When a store cannot be used as it is configured, or the address cannot be had.
pub async fn start(
    cx: Context,
    sections: Sections,
    log: LogAccess,
    metrics: MetricAccess,
) -> anyhow::Result<()> {
    let shelf = Shelf::open(&sections.models)?;
    let postgres = Postgres::start(&sections.postgres, "forewarn-trainer").await?;
    let workshop = Workshop {
        config: sections.trainer.clone(),
        judge: sections.predictor,
        // What has to be made in the store is ingestion's business: a trainer only reads.
        metrics: metrics.open()?,
        postgres: postgres.clone(),
        shelf,
        log_retention: log.retention(),
    };
    let trainer = Trainer::new(workshop, Arc::new(sections.sets));
    crate::run(&cx, trainer, &sections.trainer, postgres, log).await
}
