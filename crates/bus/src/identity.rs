//! The log's identity and its clock: the first record of an empty partition mints its log id, a tick repeats it each
//! second. Ingestion writes both, and on `commands` the active alerter; everybody else reads them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forewarn_messages::{Body, SYSTEM_METRICS, SystemMetric, Tick, Ticked};
use forewarn_types::LogId;
use uuid::Uuid;

use crate::{AppendError, Appender, BusError, Log, Place, Record, RunError, StopFlag};

/// The identity of a partition's history, found at its oldest tick or derived record; `None` while it has neither.
///
/// # Errors
/// [`BusError`] when the log does not answer.
pub fn log_id(log: &dyn Log, place: Place) -> Result<Option<LogId>, BusError> {
    let mut found = None;
    log.read(place, log.bounds(place)?, &mut |record| {
        found = identity_in(&record);
        found.is_none()
    })?;
    Ok(found)
}

fn identity_in(record: &Record) -> Option<LogId> {
    let headers = record.headers().ok()?;
    if let Some(src) = headers.src {
        return Some(src.log);
    }
    // Samples do not name their log, and decoding them would be the greater part of the work.
    if headers.schema != TICK {
        return None;
    }
    SystemMetric::decode(&headers, &record.body)
        .ok()?
        .tick()
        .map(|tick| tick.log)
}

const TICK: &str = "tick";

/// How long a writer waits for its first record to be acknowledged.
const MINTING: Duration = Duration::from_secs(60);

/// Gives every partition of `system_metrics` that has none an identity, and returns all, in the order of partitions.
///
/// Two writers may both find a partition empty. Then both append; the record that came first counts for both, and
/// for every reader.
///
/// # Errors
/// [`RunError`] when the log does not answer or does not take the record.
pub fn mint(log: &dyn Log, appender: &dyn Appender) -> Result<Vec<LogId>, RunError> {
    mint_on::<SystemMetric>(log, appender)
}

/// The same for another topic through which a clock passes.
///
/// # Errors
/// As for [`mint`].
pub fn mint_on<B: Ticked>(log: &dyn Log, appender: &dyn Appender) -> Result<Vec<LogId>, RunError> {
    let partitions = log.partitions(B::TOPIC)?;
    let place = |partition| Place {
        topic: B::TOPIC,
        partition,
    };
    let mut empty = Vec::new();
    for partition in 0..partitions {
        if log_id(log, place(partition))?.is_none() {
            empty.push(partition);
        }
    }
    if !empty.is_empty() {
        for partition in &empty {
            let tick = Tick {
                log: LogId(Uuid::new_v4()),
                genesis: true,
            };
            let envelope = B::from_tick(tick).seal(None, None);
            appender
                .append(B::TOPIC, Some(*partition), None, envelope)
                .map_err(RunError::Append)?;
        }
        appender.flush(MINTING).map_err(RunError::Append)?;
        tracing::info!(
            partitions = empty.len(),
            "minted the identity of empty partitions"
        );
    }
    let mut ids = Vec::new();
    for partition in 0..partitions {
        let id = log_id(log, place(partition))?;
        let lost = || {
            AppendError::Unknown(format!(
                "{} has no tick although one was acknowledged",
                place(partition)
            ))
        };
        ids.push(id.ok_or_else(|| RunError::Append(lost()))?);
    }
    Ok(ids)
}

/// Moves the log's clock: one tick to every partition each second.
pub struct Ticker {
    appender: Arc<dyn Appender>,
    ids: Vec<LogId>,
}

impl std::fmt::Debug for Ticker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticker")
            .field("ids", &self.ids)
            .finish_non_exhaustive()
    }
}

impl Ticker {
    /// Ticks are a second apart: the finest step, and so the delay after which a silent resource is noticed.
    pub const EVERY: Duration = Duration::from_secs(1);

    /// A ticker for the partitions whose identities [`mint`] returned.
    #[must_use]
    pub fn new(appender: Arc<dyn Appender>, ids: Vec<LogId>) -> Self {
        Self { appender, ids }
    }

    /// Appends one tick to every partition. One that is not taken is left out: the next comes in a second.
    pub fn tick(&self) {
        for (partition, log) in (0..).zip(&self.ids) {
            let envelope = SystemMetric::from_tick(Tick {
                log: *log,
                genesis: false,
            })
            .seal(None, None);
            if let Err(error) =
                self.appender
                    .append(&SYSTEM_METRICS, Some(partition), None, envelope)
            {
                tracing::debug!(partition, %error, "left out a tick");
                metrics::counter!("forewarn_log_ticks_left_out_total").increment(1);
            }
        }
    }

    /// Ticks until stopped. Blocks: give it a thread of its own.
    pub fn run(&self, stop: &StopFlag) {
        let mut due = Instant::now();
        while !stop.is_stopped() {
            let now = Instant::now();
            if now >= due {
                self.tick();
                // After a pause (a suspended machine) the missed ones are not made up for.
                due = (due + Self::EVERY).max(now);
            }
            std::thread::sleep(
                due.saturating_duration_since(now)
                    .min(Duration::from_millis(100)),
            );
        }
    }
}
