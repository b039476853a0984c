//! One partition of one stage: repetitions dropped, the log's time kept, outputs numbered, poison set aside.
//!
//! Pure, and so shared by the services and by the reference pipeline that judges them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use forewarn_messages::{
    Body, DeadLetter, DeadReason, DecodeError, Envelope, Headers, Tick, Ticked,
};
use forewarn_types::{LogId, LogTime, SUB_FANOUT, Src};
use serde::{Deserialize, Serialize};

use crate::{Cause, Record, RestoreError, Stage, decode_state, encode_state};

/// A record that a stage made.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    /// What caused it; also in its headers.
    pub src: Src,
    /// The log time of its cause.
    pub log_time: LogTime,
    /// The record.
    pub envelope: Envelope,
}

/// What became of an input record.
#[derive(Debug)]
pub enum Applied {
    /// It caused these records, possibly none.
    Outputs(Vec<Derived>),
    /// Done before: a repetition after a crash.
    Repeated,
    /// It cannot be read or worked on, and is set aside.
    Dead(DeadLetter),
    /// What decides about it is not known yet ([`Stage::is_ready_for`]): it is not consumed, and has to be given again.
    NotYet,
}

/// Why a partition cannot go on. Skipping would lose data, so a person has to look.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// A newer writer than this program.
    #[error(transparent)]
    TooNew(DecodeError),
    /// The partition's history was replaced under us.
    #[error(
        "the history of this partition changed from log {was} to log {found}: the topic was deleted and made again; \
         delete its derived topics too, or start with a new data folder"
    )]
    OtherLog {
        /// As this stage has known it.
        was: LogId,
        /// As the record says.
        found: LogId,
    },
    /// Data before any tick: the writer did not mint an identity first.
    #[error("offset {offset} comes before the first tick, so this history has no identity yet")]
    NoIdentity {
        /// Of the record.
        offset: u64,
    },
}

/// A stage at work on one partition.
#[derive(Debug)]
pub struct Partition<S> {
    stage: S,
    number: u32,
    progress: Progress,
}

/// How far a partition is; with the stage's own snapshot it is the checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    /// The input offset to read next.
    next_offset: u64,
    log: Option<LogId>,
    log_time: LogTime,
    /// `src` position of the last record done.
    done: Option<(u64, u64)>,
}

impl<S: Stage> Partition<S> {
    /// Starts at the beginning of partition `number`. `log` is its identity where that is already known.
    #[must_use]
    pub fn new(stage: S, number: u32, log: Option<LogId>) -> Self {
        Self {
            stage,
            number,
            progress: Progress {
                log,
                ..Progress::default()
            },
        }
    }

    /// The input offset to read next.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.progress.next_offset
    }

    /// Identity of the history, once known.
    #[must_use]
    pub fn log(&self) -> Option<LogId> {
        self.progress.log
    }

    /// The log's time.
    #[must_use]
    pub fn log_time(&self) -> LogTime {
        self.progress.log_time
    }

    /// The stage itself, for its own counters.
    pub fn stage(&self) -> &S {
        &self.stage
    }

    /// Takes in the next record of the partition.
    ///
    /// # Errors
    /// [`Halt`] when the partition cannot go on; the record is then not consumed.
    pub fn apply(&mut self, record: &Record) -> Result<Applied, Halt> {
        let pairs = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        let headers = match Headers::from_pairs(pairs) {
            Ok(headers) => headers,
            Err(error) => return Ok(self.bury(record, DeadReason::Header, error.to_string())),
        };
        // Derived records say where they come from: a repetition is known before its body is read.
        if let Some(src) = headers.src {
            self.adopt(src.log)?;
            if self.is_done(src) {
                self.progress.next_offset = record.offset + 1;
                return Ok(Applied::Repeated);
            }
        }
        let input = match S::Input::decode(&headers, &record.body) {
            Ok(input) => input,
            Err(error) if error.is_too_new() => return Err(Halt::TooNew(error)),
            Err(error) => {
                let reason = match error {
                    DecodeError::UnknownSchema { .. } => DeadReason::UnknownSchema,
                    _ => DeadReason::Body,
                };
                return Ok(self.bury(record, reason, error.to_string()));
            }
        };
        let tick = input.tick();
        if let Some(tick) = tick {
            // Two writers may both have met the empty partition; the one that came first has named it.
            if tick.genesis && self.progress.log.is_some_and(|log| log != tick.log) {
                self.progress.next_offset = record.offset + 1;
                return Ok(Applied::Repeated);
            }
            self.adopt(tick.log)?;
        }
        let Some(log) = self.progress.log else {
            return Err(Halt::NoIdentity {
                offset: record.offset,
            });
        };
        let src = headers
            .src
            .unwrap_or_else(|| Src::root(log, self.number, record.offset));
        if self.is_done(src) {
            self.progress.next_offset = record.offset + 1;
            return Ok(Applied::Repeated);
        }

        let cause = Cause {
            src,
            log_time: self.progress.log_time.max(record.log_time),
        };
        if !self.stage.is_ready_for(&input, &cause) {
            return Ok(Applied::NotYet);
        }
        self.progress.log_time = cause.log_time;
        self.progress.done = Some(src.position());
        self.progress.next_offset = record.offset + 1;
        let mut outputs = Vec::new();
        // A panic is a defect of ours, and the same on every replay: what the stage had done by then stays done.
        let worked = catch_unwind(AssertUnwindSafe(|| {
            self.stage.apply(input, &cause, &mut outputs)
        }));
        if let Err(panic) = worked {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            return Ok(Applied::Dead(record.dead_letter(
                S::NAME,
                DeadReason::Panic,
                words.to_owned(),
            )));
        }
        if let Some(tick) = tick {
            outputs.push(S::Output::from_tick(Tick {
                genesis: false,
                ..tick
            }));
        }
        assert!(
            (outputs.len() as u64) < SUB_FANOUT,
            "one record may cause at most {SUB_FANOUT} others"
        );
        let outputs = (0..).zip(outputs).map(|(index, output)| {
            let src = src.derive(index);
            let envelope = output.seal(Some(src), headers.traceparent.clone());
            Derived {
                src,
                log_time: cause.log_time,
                envelope,
            }
        });
        Ok(Applied::Outputs(outputs.collect()))
    }

    /// Everything needed to go on from here.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        encode_state(&(FORMAT, self.number, self.progress, self.stage.snapshot()))
    }

    /// Goes on from a snapshot.
    ///
    /// # Errors
    /// [`RestoreError`] when it is of another format, another partition or another history, or the stage refuses it.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let (format, number, progress, state): (u16, u32, Progress, Vec<u8>) =
            decode_state(snapshot)?;
        if format != FORMAT {
            return Err(RestoreError(format!(
                "format {format}, this program writes {FORMAT}"
            )));
        }
        if number != self.number
            || (self.progress.log.is_some() && progress.log != self.progress.log)
        {
            return Err(RestoreError(
                "it belongs to another partition or history".into(),
            ));
        }
        self.stage.restore(&state)?;
        self.progress = progress;
        Ok(())
    }

    fn is_done(&self, src: Src) -> bool {
        self.progress
            .done
            .is_some_and(|done| src.position() <= done)
    }

    fn adopt(&mut self, found: LogId) -> Result<(), Halt> {
        match self.progress.log {
            None => self.progress.log = Some(found),
            Some(was) if was != found => return Err(Halt::OtherLog { was, found }),
            Some(_) => {}
        }
        Ok(())
    }

    fn bury(&mut self, record: &Record, reason: DeadReason, detail: String) -> Applied {
        self.progress.next_offset = record.offset + 1;
        Applied::Dead(record.dead_letter(S::NAME, reason, detail))
    }
}

/// Raised when a checkpoint of an older program cannot be read any more; it is then replayed.
const FORMAT: u16 = 1;

#[cfg(test)]
mod tests;
