//! The service as its settings describe it: the stage, its models, and the projector.

use std::sync::Arc;

use forewarn_bus::{CheckpointConfig, Checkpoints, LogAccess, StageOptions, run_stage};
use forewarn_config::Settings;
use forewarn_features::FeatureSets;
use forewarn_judge::models::Models;
use forewarn_judge::{Config, Judge};
use forewarn_rules::RuleSet;
use forewarn_service::Context;
use forewarn_store::postgres::{Config as PostgresConfig, Postgres};
use forewarn_store::shelf::{Config as ModelsConfig, Shelf};

use crate::live::{Follow, Live};
use crate::projector;

/// The sections that this service reads.
#[derive(Debug)]
pub struct Sections {
    checkpoints: CheckpointConfig,
    postgres: PostgresConfig,
    models: ModelsConfig,
    predictor: Config,
    sets: FeatureSets,
    rules: RuleSet,
}

/// Reads them; what is wrong is remembered by `settings`.
pub fn configure(settings: &mut Settings) -> Sections {
    let sets = settings.made("feature_sets", FeatureSets::extended);
    let rules = settings.made("rules", |rules| RuleSet::for_sets(rules, &sets));
    Sections {
        checkpoints: settings.checked("checkpoints", CheckpointConfig::mistakes),
        postgres: settings.checked("postgres", PostgresConfig::mistakes),
        models: settings.section("models"),
        predictor: settings.checked("predictor", Config::mistakes),
        sets,
        rules,
    }
}

/// Starts everything and returns; the parts end when the service is asked to stop.
///
/// # Errors
/// When a store or the log cannot be used as it is configured.
pub async fn start(cx: Context, sections: Sections, log: LogAccess) -> anyhow::Result<()> {
    let (judging, projecting) = (cx.watch("predictor"), cx.watch("projector"));
    let following = cx.watch("models");
    let postgres = Postgres::start(&sections.postgres, "forewarn-predictor").await?;
    let log = log.connect().await?;
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
