//! The service as its settings describe it.

use std::sync::Arc;

use forewarn_bus::{CheckpointConfig, Checkpoints, LogAccess, StageOptions, run_stage};
use forewarn_config::Settings;
use forewarn_features::FeatureSets;
use forewarn_service::Context;

use crate::{Processor, StepConfig};

/// The sections that this service reads.
#[derive(Debug)]
pub struct Sections {
    checkpoints: CheckpointConfig,
    steps: StepConfig,
    sets: FeatureSets,
}

/// Reads them; what is wrong is remembered by `settings`.
pub fn configure(settings: &mut Settings) -> Sections {
    let sets = settings.made("feature_sets", FeatureSets::extended);
    Sections {
        checkpoints: settings.checked("checkpoints", CheckpointConfig::mistakes),
        steps: settings.checked("stream_processor", StepConfig::mistakes),
        sets,
    }
}

/// Starts everything and returns; the parts end when the service is asked to stop.
///
/// # Errors
/// When the log or the checkpoints cannot be used as they are configured.
pub async fn start(cx: Context, sections: Sections, log: LogAccess) -> anyhow::Result<()> {
    let watch = cx.watch("stream-processor");
    let log = log.connect().await?;
    let checkpoints = Checkpoints::open(&sections.checkpoints)?;
    let options = StageOptions {
        checkpoint_every: sections.checkpoints.every,
        ..StageOptions::new(cx.instance())
    };
    let (sets, steps, stop) = (Arc::new(sections.sets), sections.steps, cx.stop().clone());
    cx.spawn_thread("stream-processor", move || {
        let make = |_| Processor::new(Arc::clone(&sets), steps.clone());
        Ok(run_stage(log, &checkpoints, make, &options, &stop, &watch)?)
    })
}
