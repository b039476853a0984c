//! Checkpoints.

/// Why a checkpoint could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("checkpoint store: {0}")]
pub struct CheckpointError(pub String);

/// The checkpoints of all stages.
#[derive(Clone, Debug)]
pub struct Checkpoints;
