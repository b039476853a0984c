//! The one thread that appends. Whatever has come while it was busy is written and synced together (group commit), so that
//! many small records cost one sync; nobody waits for company.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use forewarn_messages::{Envelope, Topic};
use forewarn_types::LogTime;
use tokio::sync::oneshot;

use super::store::{Entry, RECORD_BYTES_MAX, Store};
use crate::log::Order;
use crate::{AppendError, Appender, BusError, Place, Position, Receipt};

/// What may wait to be written; beyond that senders are told to come back.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// What is written at once at most.
const BATCH_RECORDS: usize = 4_096;
const BATCH_BYTES: usize = 4 << 20;

/// How often the disk is asked for its free space.
const LOOK: Duration = Duration::from_millis(250);

type Answer = oneshot::Sender<Result<Position, AppendError>>;

struct Waiting {
    entry: Entry,
    answer: Answer,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Waitings {
    queue: VecDeque<Waiting>,
    bytes: usize,
    stopping: bool,
}

/// What is known of the disk.
struct Room {
    looked: Option<Instant>,
    is_there: bool,
}

/// Records that wait to be written.
pub(super) struct Queue {
    waiting: Mutex<Waitings>,
    came: Condvar,
    /// Spreads records without a key.
    round: AtomicU32,
    room: Mutex<Room>,
    store: Arc<Store>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    pub(super) fn start(store: Arc<Store>) -> Result<Arc<Self>, BusError> {
        let queue = Arc::new(Self {
            waiting: Mutex::default(),
            came: Condvar::new(),
            round: AtomicU32::new(0),
            room: Mutex::new(Room {
                looked: None,
                is_there: true,
            }),
            store,
            thread: Mutex::default(),
        });
        let writer = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || writer.write())
            .map_err(|error| BusError::Client(format!("the system gives no thread: {error}")))?;
        *queue.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(queue)
    }

    pub(super) fn appender(self: &Arc<Self>, order: Order) -> EmbeddedAppender {
        EmbeddedAppender {
            queue: Arc::clone(self),
            tally: Arc::new(Tally {
                order,
                state: Mutex::default(),
                settled: Condvar::new(),
            }),
        }
    }

    /// Writes what is there, and ends.
    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.came.notify_all();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waitings> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) {
        while let Some(batch) = self.take() {
            self.append(batch);
        }
    }

    /// Whether the disk has room for more, as it was a moment ago.
    fn has_room(&self) -> bool {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if room.looked.is_none_or(|at| at.elapsed() >= LOOK) {
            room.looked = Some(Instant::now());
            let has_room = self.store.has_room();
            if room.is_there && !has_room {
                tracing::error!(
                    "nothing is taken: the disk is nearly full; free some space, or lower [embedded] free_bytes_min"
                );
            } else if !room.is_there && has_room {
                tracing::info!("the disk has room again");
            }
            room.is_there = has_room;
        }
        room.is_there
    }

    /// The next batch; `None` when it is time to end and nothing is left.
    fn take(&self) -> Option<Vec<Waiting>> {
        let mut waiting = self.lock();
        while waiting.queue.is_empty() {
            if waiting.stopping {
                return None;
            }
            waiting = self
                .came
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(next) = waiting.queue.front() {
            let size = next.entry.bytes();
            if batch.len() == BATCH_RECORDS || (!batch.is_empty() && bytes + size > BATCH_BYTES) {
                break;
            }
            bytes += size;
            batch.extend(waiting.queue.pop_front());
        }
        waiting.bytes -= bytes;
        Some(batch)
    }

    fn append(&self, batch: Vec<Waiting>) {
        // A stage's appender that has lost a record gets nothing more in.
        let mut taken = Vec::with_capacity(batch.len());
        for waiting in batch {
            match waiting.tally.broken() {
                None => taken.push(waiting),
                Some(why) => waiting.fail(AppendError::Unknown(why)),
            }
        }
        let batch = taken;
        let entries: Vec<&Entry> = batch.iter().map(|waiting| &waiting.entry).collect();
        match self.store.append(&entries) {
            Ok(offsets) => {
                for (waiting, offset) in batch.into_iter().zip(offsets) {
                    waiting.succeed(offset);
                }
            }
            Err(error) => {
                tracing::error!(%error, "records are not taken");
                for waiting in batch {
                    waiting.fail(AppendError::Unknown(error.to_string()));
                }
            }
        }
    }
}

impl Waiting {
    fn succeed(self, offset: u64) {
        let Place { topic, partition } = self.entry.place;
        metrics::counter!("forewarn_log_appended_total", "topic" => topic.name).increment(1);
        // Whoever does not care has dropped the receipt.
        let _ = self.answer.send(Ok(Position { partition, offset }));
        self.tally.settle(None);
    }

    fn fail(self, error: AppendError) {
        let labels = [
            ("topic", self.entry.place.topic.name),
            ("reason", error.reason()),
        ];
        metrics::counter!("forewarn_log_append_failures_total", &labels).increment(1);
        let why = error.to_string();
        let _ = self.answer.send(Err(error));
        self.tally.settle(Some(why));
    }
}

/// What an appender has under way.
struct Tally {
    order: Order,
    state: Mutex<Pending>,
    settled: Condvar,
}

#[derive(Default)]
struct Pending {
    records: usize,
    /// Why one of them was not taken, since the last flush that said so.
    failed: Option<String>,
    /// The same, for good.
    broken: Option<String>,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, failed: Option<String>) {
        let mut pending = self.lock();
        pending.records -= 1;
        if let Some(why) = failed {
            if self.order == Order::WithoutHoles {
                pending.broken.get_or_insert_with(|| why.clone());
            }
            pending.failed.get_or_insert(why);
        }
        if pending.records == 0 {
            self.settled.notify_all();
        }
    }

    fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }
}

/// Puts records into the queue.
pub(super) struct EmbeddedAppender {
    queue: Arc<Queue>,
    tally: Arc<Tally>,
}

impl EmbeddedAppender {
    fn place(&self, topic: &'static Topic, partition: Option<u32>, key: &[u8]) -> Place {
        let count = self.queue.store.partitions(topic);
        let partition = partition.unwrap_or_else(|| {
            if key.is_empty() {
                return self.queue.round.fetch_add(1, Ordering::Relaxed) % count;
            }
            // The same key has to find its partition after a restart too: no random state here.
            let digest = blake3::hash(key);
            let (first, _) = digest.as_bytes().split_at(4);
            first
                .iter()
                .fold(0_u32, |n, byte| n << 8 | u32::from(*byte))
                % count
        });
        Place { topic, partition }
    }
}

impl Appender for EmbeddedAppender {
    fn append(
        &self,
        topic: &'static Topic,
        partition: Option<u32>,
        log_time: Option<LogTime>,
        envelope: Envelope,
    ) -> Result<Receipt, AppendError> {
        if let Some(why) = self.tally.broken() {
            return Err(AppendError::Unknown(why));
        }
        let key = envelope.key.into_bytes();
        let place = self.place(topic, partition, &key);
        if place.partition >= self.queue.store.partitions(topic) {
            return Err(AppendError::Refused(format!(
                "there is no partition {place}"
            )));
        }
        let headers = envelope.headers.to_pairs().into_iter();
        let entry = Entry {
            place,
            log_time,
            key,
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.into_bytes()))
                .collect(),
            body: envelope.body,
        };
        let bytes = entry.bytes();
        if bytes > RECORD_BYTES_MAX {
            return Err(AppendError::Refused(format!(
                "it has {bytes} bytes, and a record has {RECORD_BYTES_MAX} at most"
            )));
        }
        if !self.queue.has_room() {
            return Err(AppendError::NoRoom);
        }
        let (answer, receipt) = Receipt::channel();
        let mut waiting = self.queue.lock();
        if waiting.stopping {
            return Err(AppendError::Unknown("the log is being closed".into()));
        }
        if waiting.bytes + bytes > WAITING_BYTES_MAX {
            return Err(AppendError::Full);
        }
        self.tally.lock().records += 1;
        waiting.bytes += bytes;
        waiting.queue.push_back(Waiting {
            entry,
            answer,
            tally: Arc::clone(&self.tally),
        });
        drop(waiting);
        self.queue.came.notify_one();
        Ok(receipt)
    }

    fn flush(&self, wait: Duration) -> Result<(), AppendError> {
        let pending = self.tally.lock();
        let (mut pending, late) = self
            .tally
            .settled
            .wait_timeout_while(pending, wait, |pending| pending.records > 0)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = pending.failed.take() {
            return Err(AppendError::Unknown(why));
        }
        if late.timed_out() && pending.records > 0 {
            let records = pending.records;
            return Err(AppendError::Unknown(format!(
                "{records} records are not on the disk after {wait:?}"
            )));
        }
        Ok(())
    }
}
