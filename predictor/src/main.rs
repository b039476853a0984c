//! `forewarn-predictor`: judges every step, predicts failures, and writes both down in PostgreSQL.

use std::process::ExitCode;
use std::sync::Arc;

use forewarn_bus::{
    CheckpointConfig, Checkpoints, Config as LogConfig, KafkaLog, Log, StageOptions, run_stage,
};
use forewarn_config::Settings;
use forewarn_features::FeatureSets;
use forewarn_judge::models::Models;
use forewarn_judge::{Config, Judge};
use forewarn_predictor::live::{Follow, Live};
use forewarn_predictor::projector;
use forewarn_rules::RuleSet;
use forewarn_service::{Context, Service};
use forewarn_store::postgres::{Config as PostgresConfig, Postgres};
use forewarn_store::shelf::{Config as ModelsConfig, Shelf};

/// The port of the health pages.
const PORT: u16 = 8003;

const ABOUT: &str = "Judges every step, predicts failures, and writes both down in PostgreSQL.";

fn main() -> ExitCode {
    Service::new("predictor", PORT, ABOUT).main(configure, run)
}

/// The sections that this service reads.
struct Sections {
    log: LogConfig,
    checkpoints: CheckpointConfig,
    postgres: PostgresConfig,
    models: ModelsConfig,
    predictor: Config,
    sets: FeatureSets,
    rules: RuleSet,
}

fn configure(settings: &mut Settings) -> Sections {
    let sets = settings.made("feature_sets", FeatureSets::extended);
    let rules = settings.made("rules", |rules| RuleSet::for_sets(rules, &sets));
    Sections {
        log: settings.checked("log", LogConfig::mistakes),
        checkpoints: settings.checked("checkpoints", CheckpointConfig::mistakes),
        postgres: settings.checked("postgres", PostgresConfig::mistakes),
        models: settings.section("models"),
        predictor: settings.checked("predictor", Config::mistakes),
        sets,
        rules,
    }
}

async fn run(cx: Context, sections: Sections) -> anyhow::Result<()> {
    let (judging, projecting) = (cx.watch("predictor"), cx.watch("projector"));
    let following = cx.watch("models");
    let postgres = Postgres::start(&sections.postgres, "forewarn-predictor").await?;
    let log_config = sections.log;
    let log: Arc<dyn Log> = tokio::task::spawn_blocking(move || {
        let log = KafkaLog::connect(&log_config)?;
        log.ensure_topics(log_config.partitions)?;
        Ok::<_, forewarn_bus::BusError>(Arc::new(log))
    })
    .await??;
    let checkpoints = Checkpoints::open(&sections.checkpoints)?;
    let instance = cx.instance();

    let (sets, rules, config) = (
        Arc::new(sections.sets),
        Arc::new(sections.rules),
        sections.predictor,
    );
    let models = Live::default();
    let shelf = Shelf::open(&sections.models)?;
    let follow = Follow::new(models.clone(), postgres.clone(), shelf, Arc::clone(&sets));
    let stop = cx.stop().clone();
    cx.spawn("models", async move {
        follow.run(&stop, &following).await;
        Ok(())
    });
    let models: Arc<dyn Models> = Arc::new(models);
    let options = StageOptions {
        checkpoint_every: sections.checkpoints.every,
        ..StageOptions::new(instance.clone())
    };
    let (stage_log, stop) = (Arc::clone(&log), cx.stop().clone());
    cx.spawn_thread("predictor", move || {
        let make = |_| {
            Judge::new(
                Arc::clone(&sets),
                Arc::clone(&rules),
                config.clone(),
                Arc::clone(&models),
            )
        };
        Ok(run_stage(
            stage_log,
            &checkpoints,
            make,
            &options,
            &stop,
            &judging,
        )?)
    })?;

    let (runtime, stop) = (tokio::runtime::Handle::current(), cx.stop().clone());
    cx.spawn_thread("projector", move || {
        Ok(projector::project(
            &log,
            postgres,
            runtime,
            &instance,
            &stop,
            &projecting,
        )?)
    })
}
