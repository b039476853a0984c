//! The recorder: samples, features and scores become points in the metric store, each once in effect.
//!
//! The same record is the same points (`forewarn_store::metrics::points`), so a batch is written as often as it takes,
//! and only then is its end committed to the group: after a crash some points are written again, which changes nothing.
//! While the store is away the partitions wait; nothing is skipped. A point that it will never take goes to the
//! dead letters with the store's words, and the rest is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use forewarn_bus::{
    Appender, Batch, FollowOptions, Log, Observe, Place, Reading, Record, RunError, Setback, Sink,
    Start, StopFlag, Subscription, Taken, Unreadable, follow,
};
use forewarn_features::FeatureSets;
use forewarn_messages::{
    ANOMALY_PREDICTIONS, Body, DEAD_LETTERS, DeadReason, PROCESSED_METRICS, Prediction,
    ProcessedMetric, SYSTEM_METRICS, SystemMetric,
};
use forewarn_store::Retry;
use forewarn_store::metrics::{Lines, MetricStore, Refused, WriteError, points};
use tokio::runtime::Handle;

use crate::seldom::Seldom;

/// The group of readers.
pub const GROUP: &str = "recorder";

/// How long dead letters may take to be acknowledged.
const FLUSH_WAIT: Duration = Duration::from_secs(5);
/// How often a partition that cannot go on looks whether it can now.
const HALTED: Duration = Duration::from_secs(30);
/// How often InfluxDB is tried again after it refused the token: a person has to act first.
const DENIED: Duration = Duration::from_secs(10);

/// Runs the recorder until stopped. Blocks: give it a thread of its own, outside of any asynchronous runtime.
///
/// `instance` names this replica, the same after a restart; `runtime` carries the connections to the store; `sets` are
/// those of the stream-processor, which give the numbers of a vector their names.
///
/// # Errors
/// [`RunError`] when it cannot go on; the process should end and be started again.
pub fn record(
    log: &Arc<dyn Log>,
    store: Arc<dyn MetricStore>,
    sets: Arc<FeatureSets>,
    runtime: Handle,
    instance: &str,
    stop: &StopFlag,
    observe: &dyn Observe,
) -> Result<(), RunError> {
    let mut recorder = Recorder {
        appender: log.appender()?,
        store,
        sets,
        runtime,
        retries: BTreeMap::new(),
        unnamed: Seldom::every(Duration::from_secs(60)),
    };
    let reading = Reading::Shared(Subscription {
        group: GROUP.to_owned(),
        instance: instance.to_owned(),
        topics: vec![&SYSTEM_METRICS, &PROCESSED_METRICS, &ANOMALY_PREDICTIONS],
    });
    // Few large writes cost a store far less than many small ones, and nobody waits for points.
    let options = FollowOptions {
        end_wait: Duration::from_millis(500),
        ..FollowOptions::new(GROUP)
    };
    follow(
        log.as_ref(),
        &reading,
        &mut recorder,
        &options,
        stop,
        observe,
    )
}

struct Recorder {
    appender: Arc<dyn Appender>,
    store: Arc<dyn MetricStore>,
    sets: Arc<FeatureSets>,
    runtime: Handle,
    retries: BTreeMap<Place, Retry>,
    unnamed: Seldom,
}

/// A batch as points.
#[derive(Default)]
struct Plan {
    lines: Lines,
    /// For each line the record it comes from, by its place in the batch.
    origins: Vec<usize>,
    /// What cannot be read: by its place in the batch, with the reason.
    dead: Vec<(usize, DeadReason, String)>,
    /// The record before which the batch ends, and why.
    halted: Option<(usize, String)>,
}

impl Sink for Recorder {
    fn begin(&mut self, _place: Place, committed: Option<u64>) -> Result<Start, Setback> {
        Ok(committed.map_or(Start::Earliest, Start::Offset))
    }

    fn take(&mut self, batch: &Batch) -> Result<Taken, Setback> {
        let place = batch.place;
        let mut plan = self.plan(batch);
        let written = match self.runtime.block_on(self.store.write(&plan.lines)) {
            Ok(written) => written,
            Err(error) => return Err(self.set_back(place, error)),
        };
        self.retries.remove(&place);
        let stored = plan
            .lines
            .len()
            .saturating_sub(written.refused.len() + written.expired);
        metrics::counter!("forewarn_recorder_points_total", "topic" => place.topic.name)
            .increment(stored as u64);
        self.tell_expired(place, written.expired);
        let refused = letters(&plan, &written.refused);
        plan.dead.extend(refused);
        self.bury(batch, &plan.dead)?;
        match plan.halted {
            None => Ok(Taken::Done),
            // What comes before the record that halts is written; it is offered again alone.
            Some((at, _)) if at > 0 => Ok(Taken::GoTo(Start::Offset(batch.records[at].offset))),
            Some((_, why)) => Err(Setback::Later {
                after: HALTED,
                why: format!("{place} is halted: {why}"),
            }),
        }
    }

    fn end(&mut self, place: Place) {
        self.retries.remove(&place);
    }
}

impl Recorder {
    fn plan(&mut self, batch: &Batch) -> Plan {
        let mut plan = Plan::default();
        for (index, record) in batch.records.iter().enumerate() {
            match self.append(record, &mut plan.lines) {
                Ok(()) => plan.origins.resize(plan.lines.len(), index),
                Err(Unreadable::Dead { reason, detail }) => plan.dead.push((index, reason, detail)),
                Err(Unreadable::TooNew(error)) => {
                    plan.halted = Some((index, error.to_string()));
                    break;
                }
            }
        }
        plan
    }

    fn append(&mut self, record: &Record, lines: &mut Lines) -> Result<(), Unreadable> {
        let headers = record.headers()?;
        let topic = record.place.topic;
        if topic == &SYSTEM_METRICS {
            points::of_system_metric(&record.body::<SystemMetric>(&headers)?, lines);
        } else if topic == &PROCESSED_METRICS {
            let vector = record.body::<ProcessedMetric>(&headers)?;
            if let Err(unstored) = points::of_processed_metric(&vector, &self.sets, lines) {
                metrics::counter!("forewarn_recorder_unstored_total", "reason" => unstored.reason)
                    .increment(1);
                if let Some(unsaid) = self.unnamed.may(unstored.reason) {
                    tracing::warn!(unsaid, "{} cannot be stored", unstored.detail);
                }
            }
        } else {
            points::of_prediction(&record.body::<Prediction>(&headers)?, lines);
        }
        Ok(())
    }

    /// Points older than the bucket keeps anything are no loss, but worth a word: the recorder is a week behind.
    fn tell_expired(&mut self, place: Place, expired: usize) {
        if expired == 0 {
            return;
        }
        metrics::counter!("forewarn_recorder_expired_total", "topic" => place.topic.name)
            .increment(expired as u64);
        if let Some(unsaid) = self.unnamed.may("expired") {
            tracing::warn!(%place, points = expired, unsaid, "points are older than `retention_raw`, and not stored");
        }
    }

    fn set_back(&mut self, place: Place, error: WriteError) -> Setback {
        let pause = self.retries.entry(place).or_default().pause();
        let after = match &error {
            // The process ends, and whoever watches it starts another.
            WriteError::Broken(_) => return Setback::Fatal(error.into()),
            WriteError::Later { retry_after, .. } => {
                retry_after.map_or(pause, |asked| asked.clamp(pause, HALTED))
            }
            WriteError::Denied { .. } => DENIED,
        };
        Setback::Later {
            after,
            why: error.to_string(),
        }
    }

    /// Puts records into the dead letters, and waits until they are there.
    fn bury(&mut self, batch: &Batch, dead: &[(usize, DeadReason, String)]) -> Result<(), Setback> {
        let mut outcome = Ok(());
        for (index, reason, detail) in dead {
            let record = &batch.records[*index];
            metrics::counter!("forewarn_recorder_dead_letters_total", "reason" => reason.as_str())
                .increment(1);
            if let Some(unsaid) = self.unnamed.may(reason.as_str()) {
                let (place, offset) = (batch.place, record.offset);
                tracing::warn!(%place, offset, reason = reason.as_str(), detail, unsaid, "set a record aside");
            }
            let letter = record.dead_letter(GROUP, *reason, detail.clone());
            outcome = outcome.and(
                self.appender
                    .append(&DEAD_LETTERS, None, None, letter.seal(None, None))
                    .map(drop),
            );
        }
        if !dead.is_empty() {
            outcome = outcome.and(self.appender.flush(FLUSH_WAIT));
        }
        outcome.map_err(|error| {
            let after = self.retries.entry(batch.place).or_default().pause();
            Setback::Later {
                after,
                why: error.to_string(),
            }
        })
    }
}

/// One letter for each record of which points were refused.
fn letters(plan: &Plan, refused: &[Refused]) -> Vec<(usize, DeadReason, String)> {
    let mut letters: BTreeMap<usize, (usize, String)> = BTreeMap::new();
    for refused in refused {
        let first = || {
            let line: String = plan
                .lines
                .slice(refused.line..refused.line + 1)
                .trim_end()
                .chars()
                .take(500)
                .collect();
            (0, format!("`{line}`: {}", refused.message))
        };
        letters
            .entry(plan.origins[refused.line])
            .or_insert_with(first)
            .0 += 1;
    }
    let letters = letters.into_iter();
    letters
        .map(|(index, (count, first))| {
            (
                index,
                DeadReason::RefusedByStore,
                format!("{count} points refused, first {first}"),
            )
        })
        .collect()
}
