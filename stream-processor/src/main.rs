//! `forewarn-stream-processor`: closes steps and computes features.

use std::process::ExitCode;
use std::sync::Arc;

use forewarn_bus::{
    CheckpointConfig, Checkpoints, Config as LogConfig, KafkaLog, Log, StageOptions, run_stage,
};
use forewarn_config::Settings;
use forewarn_features::{FeatureSetConfig, FeatureSets};
use forewarn_service::{Context, Service};
use forewarn_stream_processor::{Config, Processor};

/// The port of the health pages.
const PORT: u16 = 8002;

const ABOUT: &str = "Closes steps and computes features: samples become feature vectors.";

fn main() -> ExitCode {
    Service::new("stream-processor", PORT, ABOUT).main(configure, run)
}

/// The sections that this service reads.
struct Sections {
    log: LogConfig,
    checkpoints: CheckpointConfig,
    processor: Config,
    sets: FeatureSets,
}

fn configure(settings: &mut Settings) -> Sections {
    let log: LogConfig = settings.section("log");
    for (key, problem) in log.mistakes() {
        settings.refuse(&format!("log.{key}"), problem);
    }
    let checkpoints: CheckpointConfig = settings.section("checkpoints");
    for (key, problem) in checkpoints.mistakes() {
        settings.refuse(&format!("checkpoints.{key}"), problem);
    }
    let processor: Config = settings.section("stream_processor");
    for (key, problem) in processor.mistakes() {
        settings.refuse(&format!("stream_processor.{key}"), problem);
    }
    let extra: Vec<FeatureSetConfig> = settings.section("feature_sets");
    let sets = FeatureSets::standard()
        .with(&extra)
        .unwrap_or_else(|mistakes| {
            for mistake in mistakes {
                settings.refuse(&mistake.path, mistake.problem);
            }
            FeatureSets::standard()
        });
    Sections {
        log,
        checkpoints,
        processor,
        sets,
    }
}

async fn run(cx: Context, sections: Sections) -> anyhow::Result<()> {
    let watch = cx.watch("stream-processor");
    let log_config = sections.log;
    let log: Arc<dyn Log> = tokio::task::spawn_blocking(move || {
        let log = KafkaLog::connect(&log_config)?;
        log.ensure_topics(log_config.partitions)?;
        Ok::<_, forewarn_bus::BusError>(Arc::new(log))
    })
    .await??;
    let checkpoints = Checkpoints::open(&sections.checkpoints)?;
    let (sets, config) = (Arc::new(sections.sets), sections.processor);
    let options = StageOptions {
        checkpoint_every: sections.checkpoints.every,
        ..StageOptions::new(cx.instance())
    };
    let stop = cx.stop().clone();
    cx.spawn_thread("stream-processor", move || {
        let make = |_| Processor::new(Arc::clone(&sets), config.clone());
        Ok(run_stage(
            log,
            &checkpoints,
            make,
            &options,
            &stop,
            &watch,
        )?)
    })
}
