//! The loop of those who read the log without being a stage: recorder, projector, alerter.
//!
//! Semantics: each partition comes in order, in batches. A batch is offered until it is taken; only then is its end
//! committed, so its effect comes at least once and has to be idempotent. A sink makes one bounded attempt and says
//! [`Setback::Later`] when the store is away: the loop waits for it with the partition paused, stays in its group and
//! stays alive. A sink that keeps its own offsets beside its effect says in [`Sink::begin`] where to go on, and
//! [`Taken::GoTo`] when it finds that somebody else has moved on.

use std::time::Duration;

use crate::{Log, Observe, Place, Record, RunError, Start, StopFlag, Subscription};
use forewarn_messages::Topic;

/// Who reads what.
#[derive(Clone, Debug)]
pub enum Reading {
    /// As a member of a group that shares the partitions. What is taken is committed to the group.
    Shared(Subscription),
    /// Every partition of these topics, outside any group. Nothing is committed; [`Sink::begin`] knows where to go on.
    Alone(Vec<&'static Topic>),
}

/// Bounds of a loop.
#[derive(Clone, Debug)]
pub struct FollowOptions {
    /// Name in metrics: `recorder`, `projector` …
    pub name: &'static str,
    /// A batch is offered when it has this many records …
    pub max_records: usize,
    /// … or this many bytes of bodies …
    pub max_bytes: usize,
    /// … or when its oldest record has waited for this long, or the reader stands at the partition's end and has
    /// waited for `end_wait`.
    pub max_wait: Duration,
    /// How long a batch is kept open at the partition's end.
    pub end_wait: Duration,
    /// How often what was taken is committed to the group at most.
    pub commit_every: Duration,
    /// After this long without progress while records wait, the loop ends with [`RunError::Stalled`].
    pub stall_limit: Duration,
}

impl FollowOptions {
    /// 1,000 records or 1 MiB, 1 s; 100 ms at the end; commits each second; the watchdog's 30 s.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            max_records: 1_000,
            max_bytes: 1 << 20,
            max_wait: Duration::from_secs(1),
            end_wait: Duration::from_millis(100),
            commit_every: Duration::from_secs(1),
            stall_limit: Duration::from_secs(30),
        }
    }
}

/// Some records of one partition, in order.
#[derive(Debug)]
pub struct Batch {
    /// Of which partition.
    pub place: Place,
    /// The records. Empty only when `at_end` is set, to say that the end was reached with nothing new.
    pub records: Vec<Record>,
    /// Whether the reader stood at the partition's end after the last of them.
    pub at_end: bool,
}

/// What follows from a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Its effect is durable.
    Done,
    /// Nothing of it has an effect; go on there instead (somebody else moved on, or moved back).
    GoTo(Start),
}

/// Why a batch was not taken.
#[derive(Debug)]
pub enum Setback {
    /// The store is away or busy: offer it again after this while. Other partitions go on.
    Later {
        /// How long to wait.
        after: Duration,
        /// What is the matter, for the log and for readiness.
        why: String,
    },
    /// It makes no sense to go on; the loop ends with [`RunError::Sink`].
    Fatal(anyhow::Error),
}

impl From<anyhow::Error> for Setback {
    fn from(error: anyhow::Error) -> Self {
        Self::Fatal(error)
    }
}

/// What becomes of the records.
pub trait Sink {
    /// Where to begin a partition that is this reader's from now on. `committed` is the next offset as last
    /// committed to the group, `None` if never or outside any group.
    ///
    /// # Errors
    /// [`Setback::Later`] is asked again; [`Setback::Fatal`] ends the loop.
    fn begin(&mut self, place: Place, committed: Option<u64>) -> Result<Start, Setback>;

    /// Makes the effect of a batch durable: one attempt of at most about 20 s (the loop does not poll meanwhile, and
    /// after a minute the group takes it for dead).
    ///
    /// # Errors
    /// [`Setback::Later`] is offered the same records again; [`Setback::Fatal`] ends the loop.
    fn take(&mut self, batch: &Batch) -> Result<Taken, Setback>;

    /// Called about every `end_wait` between batches, for what is due without records.
    ///
    /// # Errors
    /// [`Setback::Later`] is called again no sooner than that; [`Setback::Fatal`] ends the loop.
    fn idle(&mut self) -> Result<(), Setback> {
        Ok(())
    }

    /// The partition is not this reader's any more: forget what is kept in memory for it.
    fn end(&mut self, place: Place) {
        let _ = place;
    }
}

/// Reads and offers batches until stopped. Blocks: give it a thread of its own.
///
/// # Errors
/// [`RunError`] when it cannot go on; the process should end and be started again.
pub fn follow(
    log: &dyn Log,
    reading: &Reading,
    sink: &mut dyn Sink,
    options: &FollowOptions,
    stop: &StopFlag,
    observe: &dyn Observe,
) -> Result<(), RunError> {
    let _ = (log, reading, sink, options, stop, observe);
    Ok(())
}
