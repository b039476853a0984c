//! A log in memory for the tests of this crate: it keeps what it is given and answers as it is told.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use forewarn_bus::{AppendError, Appender, Position, Receipt};
use forewarn_messages::{Body, Envelope, SYSTEM_METRICS, SampleBatch, SystemMetric, Topic};
use forewarn_types::LogTime;
use tokio::sync::oneshot;

/// A log in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryLog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: Vec<Envelope>,
    answers: VecDeque<Result<(), AppendError>>,
    full: bool,
    /// Whether receipts are kept waiting; dropping one would answer it.
    silent: bool,
    kept: Vec<oneshot::Sender<Result<Position, AppendError>>>,
}

impl MemoryLog {
    /// The next receipts are answered like this, all later ones with success.
    pub(crate) fn answer_next(&self, answers: impl IntoIterator<Item = Result<(), AppendError>>) {
        self.state().answers.extend(answers);
    }

    /// Whether the send buffer is full.
    pub(crate) fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Whether receipts are left without an answer.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.state().silent = silent;
    }

    /// Acknowledges everything that was left without an answer.
    pub(crate) fn answer_all(&self) {
        for answer in std::mem::take(&mut self.state().kept) {
            let _ = answer.send(Ok(Position {
                partition: 0,
                offset: 0,
            }));
        }
    }

    /// The trace context of the last record.
    pub(crate) fn last_trace(&self) -> Option<String> {
        self.state()
            .records
            .last()
            .and_then(|record| record.headers.traceparent.clone())
    }

    /// The batches that were appended.
    pub(crate) fn batches(&self) -> Vec<SampleBatch> {
        let decode = |record: &Envelope| match SystemMetric::decode(&record.headers, &record.body) {
            Ok(SystemMetric::Samples(batch)) => batch,
            other => panic!("not a batch: {other:?}"),
        };
        self.state().records.iter().map(decode).collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Appender for MemoryLog {
    fn append(
        &self,
        topic: &'static Topic,
        _partition: Option<u32>,
        _log_time: Option<LogTime>,
        envelope: Envelope,
    ) -> Result<Receipt, AppendError> {
        assert_eq!(topic, &SYSTEM_METRICS);
        let mut state = self.state();
        if state.full {
            return Err(AppendError::Full);
        }
        state.records.push(envelope);
        let offset = state.records.len() as u64 - 1;
        let (answer, receipt) = Receipt::channel();
        if state.silent {
            state.kept.push(answer);
        } else {
            let outcome = state.answers.pop_front().unwrap_or(Ok(()));
            let _ = answer.send(outcome.map(|()| Position {
                partition: 0,
                offset,
            }));
        }
        Ok(receipt)
    }

    fn flush(&self, _wait: Duration) -> Result<(), AppendError> {
        Ok(())
    }
}
