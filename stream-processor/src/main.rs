//! `forewarn-stream-processor`: puts samples together to steps, and steps to feature vectors.

use std::process::ExitCode;
use std::sync::Arc;

use forewarn_bus::{
    BusError, CheckpointConfig, Checkpoints, Config as LogConfig, KafkaLog, Log, StageOptions,
    run_stage,
};
use forewarn_config::Settings;
use forewarn_features::FeatureSets;
use forewarn_service::{Context, Service};
use forewarn_stream_processor::{Processor, StepConfig};

/// The port of the health pages.
const PORT: u16 = 8002;

const ABOUT: &str = "Puts samples together to steps, and steps to feature vectors.";

fn main() -> ExitCode {
    Service::new("stream-processor", PORT, ABOUT).main(configure, run)
}

/// The sections that this service reads.
struct Sections {
    log: LogConfig,
    checkpoints: CheckpointConfig,
    steps: StepConfig,
    sets: FeatureSets,
}

fn configure(settings: &mut Settings) -> Sections {
    let sets = settings.made("feature_sets", FeatureSets::extended);
    Sections {
        log: settings.checked("log", LogConfig::mistakes),
        checkpoints: settings.checked("checkpoints", CheckpointConfig::mistakes),
        steps: settings.checked("stream_processor", StepConfig::mistakes),
        sets,
    }
}

async fn run(cx: Context, sections: Sections) -> anyhow::Result<()> {
    let watch = cx.watch("stream-processor");
    let log_config = sections.log;
    let log = tokio::task::spawn_blocking(move || {
        let log = KafkaLog::connect(&log_config)?;
        log.ensure_topics(log_config.partitions)?;
        Ok::<_, BusError>(log)
    })
    .await??;
    let checkpoints = Checkpoints::open(&sections.checkpoints)?;
    let options = StageOptions {
        checkpoint_every: sections.checkpoints.every,
        ..StageOptions::new(cx.instance())
    };
    let (sets, steps, stop) = (Arc::new(sections.sets), sections.steps, cx.stop().clone());
    cx.spawn_thread("stream-processor", move || {
        let make = |_| Processor::new(Arc::clone(&sets), steps.clone());
        Ok(run_stage(
            Arc::new(log),
            &checkpoints,
            make,
            &options,
            &stop,
            &watch,
        )?)
    })
}
