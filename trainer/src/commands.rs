//! Reads `commands` for orders to train: each is a row before the log's offset moves on, and a row that is there already
//! is the same order, so reading twice is reading once.

use std::sync::Arc;
use std::time::Duration;

use forewarn_bus::{
    Appender, Batch, FollowOptions, Log, Observe, Place, Reading, Record, RunError, Setback, Sink,
    Start, StopFlag, Subscription, Taken, Unreadable, follow,
};
use forewarn_messages::{Audience, Body, COMMANDS, Command, DEAD_LETTERS, DeadReason};
use forewarn_store::Retry;
use forewarn_store::orders::Order;
use tokio::runtime::Handle;

use crate::desk::{Desk, NotTaken};

/// The group of readers.
const GROUP: &str = "trainer";

/// Records that are looked through at once: a trainer that was away for a day finds its ticks.
const BATCH: usize = 500;

/// How long a dead letter may take to be acknowledged, and a row to be written.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a command that only a newer program can read is looked at again.
const HALTED: Duration = Duration::from_secs(30);

/// Reads until stopped. Blocks: give it a thread of its own, outside of any asynchronous runtime.
///
/// `instance` names this replica, the same after a restart; `runtime` carries the connections to PostgreSQL.
///
/// # Errors
/// [`RunError`] when it cannot go on; the process should end and be started again.
pub(crate) fn obey(
    log: &dyn Log,
    desk: Arc<Desk>,
    runtime: Handle,
    instance: &str,
    stop: &StopFlag,
    observe: &dyn Observe,
) -> Result<(), RunError> {
    let mut reader = Commands {
        appender: log.appender()?,
        desk,
        runtime,
        retry: Retry::default(),
    };
    let reading = Reading::Shared(Subscription {
        group: GROUP.to_owned(),
        instance: instance.to_owned(),
        topics: vec![&COMMANDS],
    });
    // Most records are ticks. Orders are rare, and one that is met again is the same row, so a batch may be half done.
    let options = FollowOptions {
        max_records: BATCH,
        ..FollowOptions::new(GROUP)
    };
    follow(log, &reading, &mut reader, &options, stop, observe)
}

struct Commands {
    appender: Arc<dyn Appender>,
    desk: Arc<Desk>,
    runtime: Handle,
    retry: Retry,
}

impl Sink for Commands {
    fn begin(&mut self, _place: Place, committed: Option<u64>) -> Result<Start, Setback> {
        Ok(committed.map_or(Start::Earliest, Start::Offset))
    }

    fn take(&mut self, batch: &Batch) -> Result<Taken, Setback> {
        for record in &batch.records {
            let headers = record.headers();
            // What is for others is passed over, be it of a version that this program cannot read.
            let audience = headers
                .as_ref()
                .map(|headers| Audience::of(&headers.schema));
            if matches!(audience, Ok(Some(Audience::Alerter | Audience::Clock))) {
                continue;
            }
            match headers.and_then(|headers| record.body::<Command>(&headers)) {
                Ok(Command::Acknowledge(_) | Command::Resolve(_) | Command::Tick(_)) => {}
                Ok(Command::Train(train)) => self.order(Order {
                    command: train.command_id,
                    tenant: train.tenant,
                    actor: train.actor,
                    resources: train.resources,
                    since: train.since_ms,
                    attempts: 0,
                })?,
                Err(Unreadable::Dead { reason, detail }) => self.bury(record, reason, detail)?,
                Err(Unreadable::TooNew(error)) => {
                    return Err(Setback::Later {
                        after: HALTED,
                        why: format!("{} is halted: {error}", batch.place),
                    });
                }
            }
        }
        self.retry.reset();
        Ok(Taken::Done)
    }
}

impl Commands {
    fn order(&mut self, order: Order) -> Result<(), Setback> {
        let taken = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, self.desk.take(&order)).await });
        let why = match taken {
            Ok(Ok(())) => {
                tracing::info!(command = %order.command, actor = order.actor, "a training is ordered");
                return Ok(());
            }
            Ok(Err(NotTaken::Full)) => {
                // It has its row, which says so.
                tracing::warn!(command = %order.command, actor = order.actor, "an order is refused: too many wait");
                return Ok(());
            }
            Ok(Err(NotTaken::Store(error))) => error.to_string(),
            Err(_) => "PostgreSQL does not answer".to_owned(),
        };
        Err(self.later(why))
    }

    fn bury(&mut self, record: &Record, reason: DeadReason, detail: String) -> Result<(), Setback> {
        metrics::counter!("forewarn_trainer_dead_letters_total", "reason" => reason.as_str())
            .increment(1);
        let (place, offset) = (record.place, record.offset);
        tracing::warn!(%place, offset, reason = reason.as_str(), detail, "set a command aside");
        let letter = record.dead_letter(GROUP, reason, detail);
        let written = self
            .appender
            .append(&DEAD_LETTERS, None, None, letter.seal(None, None))
            .map(drop)
            .and_then(|()| self.appender.flush(PATIENCE));
        written.map_err(|error| self.later(error.to_string()))
    }

    fn later(&mut self, why: String) -> Setback {
        Setback::Later {
            after: self.retry.pause(),
            why,
        }
    }
}
