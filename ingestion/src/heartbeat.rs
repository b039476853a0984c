//! Whether the log takes records, known from the ticks: each partition gets one a second, so a partition whose tick is
//! not acknowledged for a few seconds would not acknowledge samples either.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forewarn_bus::{AppendError, Appender, Receipt};
use forewarn_messages::{Envelope, Topic};
use forewarn_types::LogTime;
use tokio::runtime::Handle;

/// Without an acknowledgement for this long the log counts as away: five ticks.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ticks of one partition that may wait for their acknowledgement: those of an outage would only fill the send buffer.
const WAITING_MAX: u64 = 10;

/// How the log is doing, partition by partition.
#[derive(Debug)]
pub struct Heartbeat {
    born: Instant,
    patience: Duration,
    partitions: Vec<Pulse>,
    /// Why the log did not take the last tick that it did not take, until it takes one.
    refusal: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct Pulse {
    /// Milliseconds after `born` of the last acknowledgement.
    heard: AtomicU64,
    waiting: AtomicU64,
}

impl Heartbeat {
    /// All partitions count as heard now.
    #[must_use]
    pub fn new(partitions: usize) -> Self {
        Self::with_patience(partitions, PATIENCE)
    }

    fn with_patience(partitions: usize, patience: Duration) -> Self {
        let partitions = (0..partitions).map(|_| Pulse::default()).collect();
        Self {
            born: Instant::now(),
            patience,
            partitions,
            refusal: Mutex::default(),
        }
    }

    fn refused(&self, why: Option<String>) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Why the log does not count as reachable, or `None`.
    #[must_use]
    pub fn lacks(&self) -> Option<String> {
        let now = self.now();
        let silence = |pulse: &Pulse| {
            Duration::from_millis(now.saturating_sub(pulse.heard.load(Ordering::Relaxed)))
        };
        let (partition, longest) = (0..)
            .zip(self.partitions.iter().map(silence))
            .max_by_key(|(_, silence)| *silence)?;
        (longest > self.patience).then(|| {
            let silence = format!(
                "partition {partition} of the log has not acknowledged a record for {} s",
                longest.as_secs()
            );
            let refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
            match &*refusal {
                Some(why) => format!("{silence}: {why}"),
                None => silence,
            }
        })
    }
}

/// An appender for the ticker, which hears what becomes of each tick.
pub struct Listening {
    inner: Arc<dyn Appender>,
    heartbeat: Arc<Heartbeat>,
    runtime: Handle,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening")
            .field("heartbeat", &self.heartbeat)
            .finish_non_exhaustive()
    }
}

impl Listening {
    /// Puts ticks into `inner`; their receipts are awaited on `runtime`.
    #[must_use]
    pub fn new(inner: Arc<dyn Appender>, heartbeat: Arc<Heartbeat>, runtime: Handle) -> Self {
        Self {
            inner,
            heartbeat,
            runtime,
        }
    }
}

impl Appender for Listening {
    fn append(
        &self,
        topic: &'static Topic,
        partition: Option<u32>,
        log_time: Option<LogTime>,
        envelope: Envelope,
    ) -> Result<Receipt, AppendError> {
        let index = partition.and_then(|partition| usize::try_from(partition).ok());
        let Some(index) = index.filter(|index| *index < self.heartbeat.partitions.len()) else {
            return self.inner.append(topic, partition, log_time, envelope);
        };
        let waiting = &self.heartbeat.partitions[index].waiting;
        if waiting.load(Ordering::Relaxed) >= WAITING_MAX {
            return Err(AppendError::Full);
        }
        let appended = self.inner.append(topic, partition, log_time, envelope);
        let receipt =
            appended.inspect_err(|error| self.heartbeat.refused(Some(error.to_string())))?;
        waiting.fetch_add(1, Ordering::Relaxed);
        let (answer, passed_on) = Receipt::channel();
        let heartbeat = Arc::clone(&self.heartbeat);
        self.runtime.spawn(async move {
            let outcome = receipt.await;
            let pulse = &heartbeat.partitions[index];
            pulse.waiting.fetch_sub(1, Ordering::Relaxed);
            heartbeat.refused(outcome.as_ref().err().map(ToString::to_string));
            if outcome.is_ok() {
                pulse.heard.store(heartbeat.now(), Ordering::Relaxed);
            }
            // The ticker does not wait for it.
            let _ = answer.send(outcome);
        });
        Ok(passed_on)
    }

    fn flush(&self, wait: Duration) -> Result<(), AppendError> {
        self.inner.flush(wait)
    }
}

#[cfg(test)]
mod tests {
    use forewarn_messages::{Body, SYSTEM_METRICS, SystemMetric, Tick};
    use forewarn_types::LogId;

    use super::*;
    use crate::testing::MemoryLog;

    #[tokio::test]
    async fn a_log_that_acknowledges_no_tick_counts_as_away_until_it_does() {
        let log = Arc::new(MemoryLog::default());
        let heartbeat = Arc::new(Heartbeat::with_patience(1, Duration::from_millis(20)));
        let listening = Listening::new(log.clone(), Arc::clone(&heartbeat), Handle::current());
        let tick = || {
            let tick = SystemMetric::Tick(Tick {
                log: LogId(uuid::Uuid::nil()),
                genesis: false,
            });
            listening.append(&SYSTEM_METRICS, Some(0), None, tick.seal(None, None))
        };
        log.set_silent(true);
        for _ in 0..WAITING_MAX {
            assert!(tick().is_ok());
        }
        assert_eq!(
            tick().err(),
            Some(AppendError::Full),
            "an outage does not fill the send buffer with ticks"
        );
        until(|| heartbeat.lacks().is_some()).await;

        // The log is back and answers what had waited.
        log.set_silent(false);
        log.answer_all();
        until(|| tick().is_ok() && heartbeat.lacks().is_none()).await;
    }

    async fn until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "did not come about");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
