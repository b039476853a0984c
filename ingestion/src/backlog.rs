//! What a source measured and the log has not acknowledged yet: in order, bounded, the oldest given up first.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use forewarn_bus::{AppendError, Appender};
use forewarn_messages::{Body, SYSTEM_METRICS, SampleBatch, SystemMetric};
use metrics::counter;
use tokio::sync::Notify;
use tracing::{error, warn};

use crate::door;
use crate::sources::host;

/// Before a record that was not taken is sent again.
const PAUSE: Duration = Duration::from_secs(1);

/// Batches that wait for the log.
#[derive(Debug)]
pub struct Backlog {
    source: &'static str,
    waiting: Mutex<VecDeque<SampleBatch>>,
    max: usize,
    arrived: Notify,
}

impl Backlog {
    /// At most `max` batches of this host wait.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self::of(host::SOURCE, max)
    }

    /// At most `max` batches of `source` wait.
    #[must_use]
    pub fn of(source: &'static str, max: usize) -> Self {
        Self {
            source,
            waiting: Mutex::default(),
            max: max.max(1),
            arrived: Notify::new(),
        }
    }

    /// Puts a batch at the end; the oldest make room for it, and are counted and told.
    pub fn push(&self, batch: SampleBatch) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back(batch);
        let mut given_up = 0;
        while waiting.len() > self.max {
            given_up += waiting.pop_front().map_or(0, |batch| batch.samples.len());
        }
        drop(waiting);
        if given_up > 0 {
            let source = self.source;
            counter!("forewarn_ingestion_samples_dropped_total", "source" => source)
                .increment(given_up as u64);
            // Once per interval and resource at most, since that is how often a batch comes.
            warn!(
                source,
                samples = given_up,
                "the log is away for too long: gave up the oldest samples"
            );
        }
        self.arrived.notify_one();
    }

    /// How many batches wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn pop(&self) -> Option<SampleBatch> {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    /// Puts batch after batch into the log, in order; each one until it is acknowledged, since sending it again is safe.
    /// `accepted` is told how many samples each acknowledgement was for. Never ends on its own.
    pub async fn forward(&self, appender: &dyn Appender, accepted: impl Fn(u64)) {
        loop {
            let arrived = self.arrived.notified();
            match self.pop() {
                Some(batch) => {
                    for record in door::split(batch) {
                        self.forward_one(record, appender, &accepted).await;
                    }
                }
                None => arrived.await,
            }
        }
    }

    async fn forward_one(
        &self,
        record: SampleBatch,
        appender: &dyn Appender,
        accepted: &impl Fn(u64),
    ) {
        let source = self.source;
        let samples = record.samples.len() as u64;
        let envelope = SystemMetric::Samples(record).seal(None, None);
        loop {
            let outcome = match appender.append(&SYSTEM_METRICS, None, None, envelope.clone()) {
                Ok(receipt) => receipt.await.map(|_| ()),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => return accepted(samples),
                Err(AppendError::Refused(problem)) => {
                    counter!("forewarn_ingestion_samples_dropped_total", "source" => source)
                        .increment(samples);
                    error!(source, problem, samples, "the log refuses samples for good");
                    return;
                }
                Err(AppendError::Full | AppendError::NoRoom | AppendError::Unknown(_)) => {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use forewarn_types::{EventTime, Kind, ResourceKey, Sample, StepLength, metric};

    use super::*;
    use crate::testing::MemoryLog;

    fn batch(at: i64) -> SampleBatch {
        let sample = Sample {
            metric: metric::UPTIME.into(),
            tags: Default::default(),
            metric_type: Default::default(),
            time: EventTime(at),
            value: 1.0,
        };
        SampleBatch::new(
            ResourceKey::new("here"),
            Kind::Server,
            "host",
            StepLength::SECOND,
            vec![sample],
        )
    }

    #[test]
    fn the_oldest_make_room() {
        let backlog = Backlog::new(2);
        (1..=5).for_each(|at| backlog.push(batch(at)));
        let kept: Vec<i64> = std::iter::from_fn(|| backlog.pop())
            .map(|batch| batch.time.millis())
            .collect();
        assert_eq!(kept, [4, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn batches_go_out_in_order_and_again_until_they_are_acknowledged() {
        let log = MemoryLog::default();
        log.answer_next([
            Err(AppendError::Unknown("cut".into())),
            Ok(()),
            Err(AppendError::Refused("no".into())),
        ]);
        let backlog = Backlog::new(10);
        (1..=3).for_each(|at| backlog.push(batch(at)));
        let accepted = std::cell::Cell::new(0);
        let forward = backlog.forward(&log, |samples| accepted.set(accepted.get() + samples));
        let _ = tokio::time::timeout(Duration::from_secs(60), forward).await;
        let times: Vec<i64> = log
            .batches()
            .iter()
            .map(|batch| batch.time.millis())
            .collect();
        // The first was sent twice, the second is refused for good.
        assert_eq!(times, [1, 1, 2, 3]);
        assert_eq!(accepted.get(), 2);
        assert!(backlog.is_empty());
    }
}
