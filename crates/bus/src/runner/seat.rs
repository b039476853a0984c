//! One partition of a stage at work: found, restored, worked on, checkpointed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forewarn_messages::{Body, DEAD_LETTERS, DeadLetter, DeadReason, Topic};
use forewarn_types::LogId;

use super::Outgoing;
use crate::identity::log_id;
use crate::{
    Applied, BusError, CheckpointError, Checkpoints, Log, Owner, Partition, Place, Record,
    RunError, Stage, Start,
};

pub(super) struct Seat<S> {
    partition: Partition<S>,
    place: Place,
    /// `src` position of the last record in the output: what comes up to it was appended by an earlier run.
    appended: Option<(u64, u64)>,
    since_checkpoint: u64,
    dead_in_a_row: u32,
    halted: Option<Halted>,
}

struct Halted {
    why: String,
    said: Instant,
}

/// How often a partition that cannot go on is complained about.
const COMPLAINT: Duration = Duration::from_secs(60);

impl<S: Stage> Seat<S> {
    /// Finds out where the partition goes on, and with which state.
    pub(super) fn open(
        log: &dyn Log,
        checkpoints: &Checkpoints,
        make: &impl Fn(u32) -> S,
        place: Place,
    ) -> Result<(Self, Start), RunError> {
        let begun = Instant::now();
        let bounds = log.bounds(place)?;
        let id = log_id(log, place)?;
        let fresh = || Partition::new(make(place.partition), place.partition, id);
        let mut partition = fresh();
        let mut restored = None;
        if let Some(id) = id {
            let owner = Owner {
                log: id,
                stage: S::NAME,
                partition: place.partition,
            };
            restored = checkpoints.restore(&owner, bounds.start..=bounds.end, |snapshot| {
                // A fresh one for each try: one that was refused may have left half of itself behind.
                let mut candidate = fresh();
                candidate.restore(snapshot)?;
                partition = candidate;
                Ok(())
            })?;
        }
        let output = Place {
            topic: S::Output::TOPIC,
            partition: place.partition,
        };
        let appended = match id {
            Some(id) => last_src(log, output, id)?,
            None => None,
        };
        let from = restored.map_or(Start::Earliest, Start::Offset);
        tracing::info!(
            stage = S::NAME, partition = place.partition, ?from, ?appended, kept = ?bounds, took = ?begun.elapsed(),
            "opened partition"
        );
        let seat = Self {
            partition,
            place,
            appended,
            since_checkpoint: 0,
            dead_in_a_row: 0,
            halted: None,
        };
        Ok((seat, from))
    }

    pub(super) fn next_offset(&self) -> u64 {
        self.partition.next_offset()
    }

    pub(super) const fn since_checkpoint(&self) -> u64 {
        self.since_checkpoint
    }

    pub(super) const fn dead_in_a_row(&self) -> u32 {
        self.dead_in_a_row
    }

    pub(super) const fn is_halted(&self) -> bool {
        self.halted.is_some()
    }

    /// Works on a record and queues what follows from it. Returns whether it was consumed: if not, what decides about it
    /// is not known yet, and it has to be given again.
    pub(super) fn work(&mut self, record: &Arc<Record>, outgoing: &mut VecDeque<Outgoing>) -> bool {
        let applied = match self.partition.apply(record) {
            Ok(applied) => applied,
            Err(halt) => {
                let why = format!("{}: {halt} (offset {})", self.place, record.offset);
                tracing::error!(stage = S::NAME, why, "partition is halted");
                self.halted = Some(Halted {
                    why,
                    said: Instant::now(),
                });
                return true;
            }
        };
        if matches!(applied, Applied::NotYet) {
            return false;
        }
        metrics::counter!("forewarn_stage_records_total", "stage" => S::NAME).increment(1);
        self.since_checkpoint += 1;
        match applied {
            Applied::NotYet => {}
            Applied::Repeated => {
                self.dead_in_a_row = 0;
                metrics::counter!("forewarn_stage_repeated_total", "stage" => S::NAME).increment(1);
            }
            Applied::Dead(letter) => {
                self.dead_in_a_row += 1;
                outgoing.push_back(self.bury(record, &letter));
            }
            Applied::Outputs(outputs) => {
                self.dead_in_a_row = 0;
                let before = outgoing.len();
                let made = outputs.len();
                outgoing.extend(
                    outputs
                        .into_iter()
                        .filter(|output| {
                            self.appended
                                .is_none_or(|appended| output.src.position() > appended)
                        })
                        .map(|output| Outgoing {
                            topic: S::Output::TOPIC,
                            partition: Some(self.place.partition),
                            log_time: output.log_time,
                            envelope: output.envelope,
                            cause: Arc::clone(record),
                        }),
                );
                let new = outgoing.len() - before;
                metrics::counter!("forewarn_stage_outputs_total", "stage" => S::NAME)
                    .increment(new as u64);
                metrics::counter!("forewarn_stage_outputs_suppressed_total", "stage" => S::NAME)
                    .increment((made - new) as u64);
            }
        }
        true
    }

    /// What becomes of an output that the log will never take; `None` if it was a dead letter itself.
    pub(super) fn refused(
        &self,
        cause: &Arc<Record>,
        topic: &'static Topic,
        problem: &str,
    ) -> Option<Outgoing> {
        if topic == &DEAD_LETTERS {
            return None;
        }
        let detail = format!("what it causes on `{}` is refused: {problem}", topic.name);
        let letter = cause.dead_letter(S::NAME, DeadReason::RefusedByStore, detail);
        Some(self.bury(cause, &letter))
    }

    fn bury(&self, record: &Arc<Record>, letter: &DeadLetter) -> Outgoing {
        let (reason, detail) = (letter.reason.as_str(), &letter.detail);
        metrics::counter!("forewarn_stage_dead_letters_total", "stage" => S::NAME, "reason" => reason).increment(1);
        // A row of them ends the loop, so this cannot fill a disk.
        tracing::warn!(stage = S::NAME, place = %record.place, offset = record.offset, reason, detail, "dead letter");
        Outgoing {
            topic: &DEAD_LETTERS,
            partition: None,
            log_time: record.log_time,
            envelope: letter.seal(None, None),
            cause: Arc::clone(record),
        }
    }

    /// Makes a checkpoint if there is something new, and returns the offset that may be committed.
    pub(super) fn checkpoint(
        &mut self,
        checkpoints: &Checkpoints,
    ) -> Result<Option<u64>, CheckpointError> {
        let Some(log) = self.partition.log().filter(|_| self.since_checkpoint > 0) else {
            return Ok(None);
        };
        let owner = Owner {
            log,
            stage: S::NAME,
            partition: self.place.partition,
        };
        let next_offset = self.partition.next_offset();
        checkpoints.write(&owner, next_offset, &self.partition.snapshot())?;
        self.since_checkpoint = 0;
        Ok(Some(next_offset))
    }

    /// Why the partition cannot go on, if so; says it in the log each minute.
    pub(super) fn complain(&mut self) -> Option<&str> {
        let halted = self.halted.as_mut()?;
        if halted.said.elapsed() > COMPLAINT {
            halted.said = Instant::now();
            tracing::error!(
                stage = S::NAME,
                why = halted.why,
                "partition is still halted"
            );
        }
        Some(&halted.why)
    }
}

/// How many records at the end of the output are looked at first. A crash leaves no more than a send buffer of
/// repetitions behind the last `src`, and repetitions are harmless.
const TAIL: u64 = 1_000;

/// Position of the last record of this history in an output partition.
fn last_src(log: &dyn Log, output: Place, id: LogId) -> Result<Option<(u64, u64)>, BusError> {
    let bounds = log.bounds(output)?;
    let mut length = TAIL;
    loop {
        let start = bounds.end.saturating_sub(length).max(bounds.start);
        let mut last = None;
        log.read(output, start..bounds.end, &mut |record| {
            // Records that cannot be read, or of another history, say nothing.
            let src = record
                .headers()
                .ok()
                .and_then(|headers| headers.src)
                .filter(|src| src.log == id);
            last = last.max(src.map(forewarn_types::Src::position));
            true
        })?;
        if last.is_some() || start == bounds.start {
            return Ok(last);
        }
        length = length.saturating_mul(8);
    }
}
