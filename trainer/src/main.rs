//! `forewarn-trainer`: trains models on stored history, proves them and activates them.

use std::process::ExitCode;
use std::sync::Arc;

use forewarn_bus::Config as LogConfig;
use forewarn_config::Settings;
use forewarn_features::FeatureSets;
use forewarn_service::{Context, Service};
use forewarn_store::influxdb::{Config as InfluxConfig, InfluxDb};
use forewarn_store::postgres::{Config as PostgresConfig, Postgres};
use forewarn_store::shelf::{Config as ModelsConfig, Shelf};
use forewarn_trainer::{Config, Trainer, Workshop};

const ABOUT: &str = "Trains models on stored history, proves them and activates them.";

fn main() -> ExitCode {
    Service::with_own_pages("trainer", ABOUT).main(configure, run)
}

/// The sections that this service reads.
struct Sections {
    log: LogConfig,
    influxdb: InfluxConfig,
    postgres: PostgresConfig,
    models: ModelsConfig,
    predictor: forewarn_judge::Config,
    trainer: Config,
    sets: FeatureSets,
}

fn configure(settings: &mut Settings) -> Sections {
    Sections {
        log: settings.checked("log", LogConfig::mistakes),
        influxdb: settings.checked("influxdb", InfluxConfig::mistakes),
        postgres: settings.checked("postgres", PostgresConfig::mistakes),
        models: settings.section("models"),
        // History runs through the detector as it judges live.
        predictor: settings.checked("predictor", forewarn_judge::Config::mistakes),
        trainer: settings.checked("trainer", Config::mistakes),
        sets: settings.made("feature_sets", FeatureSets::extended),
    }
}

async fn run(cx: Context, sections: Sections) -> anyhow::Result<()> {
    let shelf = Shelf::open(&sections.models)?;
    let postgres = Postgres::start(&sections.postgres, "forewarn-trainer").await?;
    let workshop = Workshop {
        config: sections.trainer.clone(),
        judge: sections.predictor,
        // Buckets are ingestion's business: a trainer only reads.
        influxdb: InfluxDb::open(&sections.influxdb)?,
        postgres: postgres.clone(),
        shelf,
        log_retention: sections.log.retention,
    };
    let trainer = Trainer::new(workshop, Arc::new(sections.sets));
    forewarn_trainer::run(&cx, trainer, &sections.trainer, postgres, sections.log).await
}
