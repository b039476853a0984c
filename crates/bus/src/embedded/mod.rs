//! The log inside this process: the same promises as Kafka's, for one process on one machine.
//!
//! Records lie in a folder, in a well-kept key-value store with a journal; what was acknowledged has been synced to the
//! disk. One thread appends ([`writer`]): it takes whatever has come meanwhile, writes it at once, syncs once, and answers.
//! Readers see a record after it is synced, never before. Groups of readers live in memory ([`groups`]), since all their
//! members live in this process; how far they are is kept in the folder.

mod config;
mod consumer;
mod groups;
mod signal;
mod store;
mod writer;

use std::ops::Range;
use std::sync::Arc;

use forewarn_messages::Topic;
use forewarn_types::LogTime;

pub use config::Config;

use self::consumer::EmbeddedConsumer;
use self::groups::Groups;
use self::store::Store;
use self::writer::Queue;
use crate::log::Order;
use crate::{Appender, BusError, Consumer, Log, LogAccess, Place, Record, Subscription};

/// The clock that stamps records: the log's time.
pub type Clock = Arc<dyn Fn() -> LogTime + Send + Sync>;

/// A log in a folder. Clones share it; when the last one is gone, the folder is free for another process.
#[derive(Clone)]
pub struct EmbeddedLog(Arc<Shared>);

struct Shared {
    store: Arc<Store>,
    queue: Arc<Queue>,
    groups: Arc<Groups>,
}

impl std::fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedLog").finish_non_exhaustive()
    }
}

impl EmbeddedLog {
    /// Opens the folder, makes it if need be, and stamps records with this machine's clock.
    ///
    /// # Errors
    /// [`BusError`] when the folder cannot be used, belongs to another process, or has other partitions.
    pub fn open(config: &Config) -> Result<Self, BusError> {
        Self::open_with_clock(config, Arc::new(wall_clock))
    }

    /// The same with another clock, for simulations.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_with_clock(config: &Config, clock: Clock) -> Result<Self, BusError> {
        let store = Arc::new(Store::open(config, clock)?);
        let queue = Queue::start(Arc::clone(&store))?;
        Ok(Self(Arc::new(Shared {
            store,
            queue,
            groups: Arc::default(),
        })))
    }
}

impl EmbeddedLog {
    /// Gives this log to whoever asks.
    #[must_use]
    pub fn access(&self) -> LogAccess {
        let log = self.clone();
        LogAccess::new(self.0.store.retention(), move || Ok(Arc::new(log.clone())))
    }
}

impl Log for EmbeddedLog {
    fn ensure_topics(&self, partitions: u32) -> Result<(), BusError> {
        self.0.store.check_partitions(partitions)
    }

    fn partitions(&self, topic: &'static Topic) -> Result<u32, BusError> {
        Ok(self.0.store.partitions(topic))
    }

    fn bounds(&self, place: Place) -> Result<Range<u64>, BusError> {
        self.0.store.bounds(place)
    }

    fn read(
        &self,
        place: Place,
        span: Range<u64>,
        each: &mut dyn FnMut(Record) -> bool,
    ) -> Result<(), BusError> {
        self.0.store.read(place, span, each)
    }

    fn appender(&self) -> Result<Arc<dyn Appender>, BusError> {
        Ok(Arc::new(self.0.queue.appender(Order::PerRecord)))
    }

    fn appender_in_order(&self) -> Result<Arc<dyn Appender>, BusError> {
        Ok(Arc::new(self.0.queue.appender(Order::WithoutHoles)))
    }

    fn reader(&self, places: &[Place]) -> Result<Box<dyn Consumer>, BusError> {
        Ok(Box::new(EmbeddedConsumer::alone(
            Arc::clone(&self.0.store),
            places,
        )))
    }

    fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Consumer>, BusError> {
        let places = subscription
            .topics
            .iter()
            .flat_map(|topic| {
                (0..self.0.store.partitions(topic)).map(move |partition| Place { topic, partition })
            })
            .collect();
        let member = self.0.groups.join(&subscription.group, places);
        Ok(Box::new(EmbeddedConsumer::member(
            Arc::clone(&self.0.store),
            member,
        )))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.stop();
    }
}

fn wall_clock() -> LogTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    LogTime(since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }))
}
