//! A stage: a pure function of one partition of its input topic.

use forewarn_messages::Ticked;
use forewarn_types::{LogTime, Src};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What caused a call of a stage: the stage's only clock.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    /// The record in work.
    pub src: Src,
    /// The log's time, the maximum so far in this partition.
    pub log_time: LogTime,
}

/// Turns the records of one partition of a topic into records of the same partition of the next.
///
/// A stage reads no clock, does no I/O and draws no unseeded randomness; what it returns depends on the records it
/// has been given, in their order, and on nothing else. Collections that it walks have a defined order.
/// Around it, [`Partition`](crate::Partition) drops repetitions, keeps the log's time and forwards ticks.
pub trait Stage: Send {
    /// What it reads.
    type Input: Ticked;
    /// What it writes.
    type Output: Ticked;

    /// Its name: consumer group, checkpoint folder and metrics label.
    const NAME: &'static str;

    /// Whether everything from outside that decides about this record is known: which model judges it, say. While it is
    /// not, the record waits, and with it all that comes after; it is asked again until it is. Such knowledge has to be
    /// the same at every replay, so it is fixed by log time before that time comes (DESIGN.md §2.9).
    fn is_ready_for(&self, input: &Self::Input, cause: &Cause) -> bool {
        let _ = (input, cause);
        true
    }

    /// Takes in one record (a tick too, which is forwarded by the caller after the stage's own outputs) and pushes
    /// what follows from it, in a defined order.
    fn apply(&mut self, input: Self::Input, cause: &Cause, out: &mut Vec<Self::Output>);

    /// Everything it would need to go on from here, as bytes ([`encode_state`]).
    fn snapshot(&self) -> Vec<u8>;

    /// Goes on from a snapshot of a stage with the same settings.
    ///
    /// # Errors
    /// [`RestoreError`] when the bytes are of another version or the settings do not fit; the caller then replays.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError>;
}

/// A snapshot that cannot be used; never fatal, since the log can be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("snapshot cannot be used: {0}")]
pub struct RestoreError(pub String);

/// The compact binary form in which states are kept: exact for floats, not self-describing, so a state's type
/// carries a format number of its own.
///
/// # Panics
/// Never for states made of plain data: the encoder only refuses sequences of unknown length.
pub fn encode_state<T: Serialize>(state: &T) -> Vec<u8> {
    postcard::to_stdvec(state).expect("states are plain data of known length")
}

/// Reads what [`encode_state`] wrote.
///
/// # Errors
/// [`RestoreError`] when the bytes are not a state of this type.
pub fn decode_state<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RestoreError> {
    match postcard::take_from_bytes(bytes) {
        Ok((state, [])) => Ok(state),
        Ok((_, rest)) => Err(RestoreError(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(RestoreError(error.to_string())),
    }
}
