//! The projector: `anomaly_predictions` becomes rows in PostgreSQL, each exactly once in effect.
//!
//! A batch of one partition is one transaction: the offset moves by compare-and-set, the rows that the batch changes are
//! loaded, the batch is folded into them ([`Ledger`]) and they are saved. Whatever dies in between leaves either all of
//! it or nothing. Where to go on is what PostgreSQL says, never Kafka. If it is unknown whether a commit went through,
//! the same batch is run again and the compare-and-set tells; the same holds for another projector that was thought
//! dead and still writes. Repetitions in the topic are dropped by `src`, whose last value stands beside the offset.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use forewarn_bus::{
    Appender, Batch, FollowOptions, Log, Observe, Place, Reading, Record, RunError, Setback, Sink,
    Start, StopFlag, Subscription, Taken, Unreadable, follow, log_id,
};
use forewarn_messages::{ANOMALY_PREDICTIONS, Body, DEAD_LETTERS, DeadReason, Prediction, Ticked};
use forewarn_store::Retry;
use forewarn_store::ledger::{Ledger, Touched, sql};
use forewarn_store::postgres::offsets::{self, AdvanceError, Key, Offset};
use forewarn_store::postgres::{
    ClientError, CommitError, Error, Fault, Postgres, describe, guarded_commit,
};
use forewarn_types::{LogId, LogTime, Src};
use tokio::runtime::Handle;

/// The group of readers, and the name under which offsets are kept.
pub const GROUP: &str = "projector";

/// Records that change no row move the offset only with others, or after this many: a quiet log causes no commits.
const IDLE_RECORDS: u64 = 1_000;
/// How long dead letters may take to be acknowledged.
const FLUSH_WAIT: Duration = Duration::from_secs(5);
/// How often a partition that cannot go on looks whether it can now.
const HALTED: Duration = Duration::from_secs(30);

/// Runs the projector until stopped. Blocks: give it a thread of its own, outside of any asynchronous runtime.
///
/// `instance` names this replica, the same after a restart; `runtime` carries the connections to PostgreSQL.
///
/// # Errors
/// [`RunError`] when it cannot go on; the process should end and be started again.
pub fn project(
    log: &Arc<dyn Log>,
    postgres: Postgres,
    runtime: Handle,
    instance: &str,
    stop: &StopFlag,
    observe: &dyn Observe,
) -> Result<(), RunError> {
    let mut projector = Projector {
        log: Arc::clone(log),
        appender: log.appender()?,
        postgres,
        runtime,
        owner: instance.to_owned(),
        places: BTreeMap::new(),
    };
    let reading = Reading::Shared(Subscription {
        group: GROUP.to_owned(),
        instance: instance.to_owned(),
        topics: vec![&ANOMALY_PREDICTIONS],
    });
    // People wait for these rows: a batch is closed as soon as nothing more is there for a moment.
    let options = FollowOptions {
        max_wait: Duration::from_millis(100),
        end_wait: Duration::from_millis(20),
        ..FollowOptions::new(GROUP)
    };
    follow(
        log.as_ref(),
        &reading,
        &mut projector,
        &options,
        stop,
        observe,
    )
}

struct Projector {
    log: Arc<dyn Log>,
    appender: Arc<dyn Appender>,
    postgres: Postgres,
    runtime: Handle,
    owner: String,
    places: BTreeMap<Place, Progress>,
}

/// How far one partition is.
#[derive(Debug, Default)]
struct Progress {
    /// Identity of the history; unknown while the partition is empty.
    log: Option<LogId>,
    /// As it stands in PostgreSQL.
    stored: Option<Offset>,
    /// As it is in memory: ahead of what is stored by records that change no row.
    seen: Offset,
    /// What was put into the dead letters already, should its batch have to be offered again.
    buried: Option<u64>,
    retry: Retry,
}

/// A record that changes rows.
struct Entry<'a> {
    record: &'a Record,
    src: Src,
    log_time: LogTime,
    prediction: Prediction,
}

/// A record that is set aside, and why.
type Dead<'a> = (&'a Record, DeadReason, String);

/// What a batch comes to, before anything is written.
struct Plan<'a> {
    entries: Vec<Entry<'a>>,
    /// What cannot be read, with the reason.
    dead: Vec<Dead<'a>>,
    /// Where the partition is after it.
    after: Offset,
    /// Why the batch ends before its last record.
    halted: Option<String>,
}

/// Why a transaction was not committed.
enum Failure {
    /// The offset is elsewhere in PostgreSQL.
    Moved,
    /// A value is refused.
    Data(String),
    /// Anything that may go well later.
    Later(String),
}

impl Sink for Projector {
    fn begin(&mut self, place: Place, _committed: Option<u64>) -> Result<Start, Setback> {
        let log = log_id(self.log.as_ref(), place)
            .context("cannot read the identity of the partition")?;
        let progress = self.places.entry(place).or_default();
        progress.log = log;
        progress.stored = None;
        progress.seen = Offset::default();
        match log {
            // Nothing was ever written here: whose history it will be, its first record says.
            None => Ok(Start::Earliest),
            Some(_) => self.resume(place),
        }
    }

    fn take(&mut self, batch: &Batch) -> Result<Taken, Setback> {
        let place = batch.place;
        if batch.records.is_empty() {
            return Ok(Taken::Done);
        }
        if self.progress(place).log.is_none() && self.learn_identity(batch) {
            // The first records of a partition that was empty, or whose old records are gone: perhaps it is known.
            return Ok(Taken::GoTo(self.resume(place)?));
        }
        let plan = plan(self.progress(place), batch);
        self.bury_unreadable(place, &plan)?;
        if let Some(moved) = self.write(place, &plan)? {
            return Ok(Taken::GoTo(moved));
        }
        match plan.halted {
            None => {
                self.progress(place).retry.reset();
                Ok(Taken::Done)
            }
            // What came before the record that halts is done; it is offered again alone.
            Some(_) if plan.after.next > batch.records[0].offset => {
                Ok(Taken::GoTo(Start::Offset(plan.after.next)))
            }
            Some(why) => Err(Setback::Later {
                after: HALTED,
                why: format!("{place} is halted: {why}"),
            }),
        }
    }

    fn end(&mut self, place: Place) {
        self.places.remove(&place);
    }
}

impl Projector {
    fn progress(&mut self, place: Place) -> &mut Progress {
        self.places.entry(place).or_default()
    }

    /// Whether the identity was unknown and a record of the batch tells it.
    fn learn_identity(&mut self, batch: &Batch) -> bool {
        let src = batch
            .records
            .iter()
            .find_map(|record| record.headers().ok()?.src);
        self.progress(batch.place).log = src.map(|src| src.log);
        src.is_some()
    }

    /// Reads from PostgreSQL where to go on.
    fn resume(&mut self, place: Place) -> Result<Start, Setback> {
        let Some(key) = key(place, self.progress(place)) else {
            return Ok(Start::Earliest);
        };
        let postgres = self.postgres.clone();
        let loaded: Result<_, Error> = self.runtime.block_on(async {
            let session = postgres.session().await?;
            let offset = offsets::load(&*session, &key).await?;
            session.give_back();
            Ok(offset)
        });
        let progress = self.progress(place);
        let offset = loaded.map_err(|error| Setback::Later {
            after: progress.retry.pause(),
            why: error.to_string(),
        })?;
        progress.stored = offset;
        progress.seen = offset.unwrap_or_default();
        Ok(offset.map_or(Start::Earliest, |offset| Start::Offset(offset.next)))
    }

    /// Sets aside what cannot be read, once, however often its batch is offered.
    fn bury_unreadable(&mut self, place: Place, plan: &Plan<'_>) -> Result<(), Setback> {
        let buried = self.progress(place).buried;
        let new: Vec<_> = plan
            .dead
            .iter()
            .filter(|dead| buried.is_none_or(|buried| dead.0.offset > buried))
            .collect();
        for dead in &new {
            self.bury(place, dead)?;
        }
        if let Some(last) = new.last() {
            self.settle_letters(place)?;
            self.progress(place).buried = Some(last.0.offset);
        }
        Ok(())
    }

    fn bury(&mut self, place: Place, (record, reason, detail): &Dead<'_>) -> Result<(), Setback> {
        metrics::counter!("forewarn_projector_dead_letters_total", "reason" => reason.as_str())
            .increment(1);
        tracing::warn!(%place, offset = record.offset, reason = reason.as_str(), detail, "set a record aside");
        let letter = record.dead_letter(GROUP, *reason, detail.clone());
        match self
            .appender
            .append(&DEAD_LETTERS, None, None, letter.seal(None, None))
        {
            Ok(_) => Ok(()),
            Err(error) => Err(self.progress(place).later(error.to_string())),
        }
    }

    /// Waits until the dead letters are in the log.
    fn settle_letters(&mut self, place: Place) -> Result<(), Setback> {
        self.appender
            .flush(FLUSH_WAIT)
            .map_err(|error| self.progress(place).later(error.to_string()))
    }

    /// Makes the plan's rows and offset durable. Returns where to go on if that is elsewhere.
    fn write(&mut self, place: Place, plan: &Plan<'_>) -> Result<Option<Start>, Setback> {
        let progress = self.progress(place);
        let stored = progress.stored.map_or(0, |offset| offset.next);
        if plan.entries.is_empty() && plan.after.next.saturating_sub(stored) < IDLE_RECORDS {
            progress.seen = plan.after;
            return Ok(None);
        }
        // Usually one piece: the whole batch. When PostgreSQL refuses a value, its halves, down to the record to blame.
        let mut pieces = vec![&plan.entries[..]];
        while let Some(piece) = pieces.pop() {
            // The last piece also passes what follows it without changing rows.
            let to = match (pieces.is_empty(), piece.last()) {
                (false, Some(last)) => Offset {
                    next: last.record.offset + 1,
                    done: Some(last.src.position()),
                },
                _ => plan.after,
            };
            match self.commit(place, piece, to) {
                Ok(()) => {
                    let progress = self.progress(place);
                    progress.stored = Some(to);
                    progress.seen = to;
                    told(piece);
                }
                Err(Failure::Moved) => {
                    let start = self.resume(place)?;
                    // Our own commit, of which we did not hear: nothing has to be done again.
                    if self.progress(place).stored == Some(to) {
                        continue;
                    }
                    return Ok(Some(start));
                }
                Err(Failure::Later(why)) => return Err(self.progress(place).later(why)),
                Err(Failure::Data(why)) if piece.len() == 1 => {
                    let entry = &piece[0];
                    self.bury(place, &(entry.record, DeadReason::RefusedByStore, why))?;
                    self.settle_letters(place)?;
                    // Passed over: the same offset, without its rows.
                    match self.commit(place, &[], to) {
                        Ok(()) => {
                            let progress = self.progress(place);
                            progress.stored = Some(to);
                            progress.seen = to;
                        }
                        Err(Failure::Moved) => return Ok(Some(self.resume(place)?)),
                        Err(Failure::Later(why) | Failure::Data(why)) => {
                            return Err(self.progress(place).later(why));
                        }
                    }
                }
                Err(Failure::Data(_)) => {
                    let (first, second) = piece.split_at(piece.len() / 2);
                    pieces.push(second);
                    pieces.push(first);
                }
            }
        }
        Ok(None)
    }

    /// One transaction: offset, rows, commit. It runs to its end; time limits are the server's.
    fn commit(&mut self, place: Place, entries: &[Entry<'_>], to: Offset) -> Result<(), Failure> {
        let progress = self.progress(place);
        let Some(key) = key(place, progress) else {
            return Err(Failure::Later(
                "the identity of the partition is not known yet".to_owned(),
            ));
        };
        let expected = progress.stored.map(|offset| offset.next);
        let (postgres, owner) = (self.postgres.clone(), self.owner.clone());
        self.runtime.block_on(async {
            let mut session = postgres
                .session()
                .await
                .map_err(|error| Failure::Later(error.to_string()))?;
            let transaction = session.begin().await.map_err(failure)?;
            offsets::advance(&transaction, &key, expected, to, &owner)
                .await
                .map_err(|error| match error {
                    AdvanceError::Moved => Failure::Moved,
                    AdvanceError::Statement(error) => failure(error),
                })?;
            let mut touched = Touched::default();
            for entry in entries {
                Ledger::touched(&entry.prediction, &mut touched);
            }
            let mut ledger = sql::load(&transaction, &touched).await.map_err(failure)?;
            for entry in entries {
                ledger.apply(entry.src, entry.log_time, &entry.prediction);
            }
            sql::save(&transaction, &ledger).await.map_err(failure)?;
            guarded_commit(transaction)
                .await
                .map_err(|error| match error {
                    CommitError::Refused(error) => failure(error),
                    // Tried again from the same place: if it did go through, the offset has moved.
                    CommitError::Unknown(error) => Failure::Later(describe(&error)),
                })?;
            session.give_back();
            Ok(())
        })
    }
}

impl Progress {
    fn later(&mut self, why: String) -> Setback {
        Setback::Later {
            after: self.retry.pause(),
            why,
        }
    }
}

fn key(place: Place, progress: &Progress) -> Option<Key> {
    Some(Key {
        group: GROUP.to_owned(),
        log: progress.log?,
        topic: place.topic.name.to_owned(),
        partition: place.partition,
    })
}

fn failure(error: ClientError) -> Failure {
    match Fault::of(&error) {
        Fault::Data => Failure::Data(describe(&error)),
        // A missing table or privilege is mended by a person, while the partition waits and says so.
        Fault::Transient | Fault::Other => Failure::Later(describe(&error)),
    }
}

/// Reads a batch: repetitions are dropped, ticks only move the offset, and it ends before a record that halts.
fn plan<'a>(progress: &Progress, batch: &'a Batch) -> Plan<'a> {
    let mut plan = Plan {
        entries: Vec::new(),
        dead: Vec::new(),
        after: progress.seen,
        halted: None,
    };
    for record in &batch.records {
        match read(progress, plan.after, record) {
            Ok(Some((src, prediction))) => {
                plan.after.done = Some(src.position());
                if prediction.tick().is_none() {
                    plan.entries.push(Entry {
                        record,
                        src,
                        log_time: record.log_time,
                        prediction,
                    });
                }
            }
            Ok(None) => {}
            Err(Unread::Dead(reason, detail)) => plan.dead.push((record, reason, detail)),
            Err(Unread::Halt(why)) => {
                plan.halted = Some(why);
                break;
            }
        }
        plan.after.next = record.offset + 1;
    }
    plan
}

enum Unread {
    Dead(DeadReason, String),
    Halt(String),
}

impl From<Unreadable> for Unread {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::TooNew(error) => Self::Halt(error.to_string()),
            Unreadable::Dead { reason, detail } => Self::Dead(reason, detail),
        }
    }
}

/// A record that is not done yet, or `None` for a repetition.
fn read(
    progress: &Progress,
    at: Offset,
    record: &Record,
) -> Result<Option<(Src, Prediction)>, Unread> {
    let headers = record.headers()?;
    let Some(src) = headers.src else {
        return Err(Unread::Dead(
            DeadReason::Header,
            "header `src` is missing".to_owned(),
        ));
    };
    if progress.log.is_some_and(|log| log != src.log) {
        return Err(Unread::Halt(format!(
            "its records come from two histories, log {} and log {}: the input topic was deleted and made again; \
             delete this topic too",
            progress.log.map(|log| log.to_string()).unwrap_or_default(),
            src.log
        )));
    }
    if at.done.is_some_and(|done| src.position() <= done) {
        return Ok(None);
    }
    Ok(Some((src, record.body(&headers)?)))
}

/// Counts what was committed, and how long after the log took in its cause.
fn told(entries: &[Entry<'_>]) {
    metrics::counter!("forewarn_projector_records_total").increment(entries.len() as u64);
    let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) else {
        return;
    };
    for entry in entries {
        let cause = Duration::from_millis(u64::try_from(entry.log_time.millis()).unwrap_or(0));
        metrics::histogram!("forewarn_projector_delay_seconds")
            .record(now.saturating_sub(cause).as_secs_f64());
    }
}
