//! What a log can do, whichever log it is: Kafka (`kafka`), or the one inside the process (`embedded`).
//!
//! Everything here is synchronous: a consumer has a thread of its own (librdkafka's stream consumer has a history of
//! silent stalls), and a stage is CPU-bound work between two polls. Only receipts are futures, for HTTP handlers.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use forewarn_messages::{Envelope, Topic};
use forewarn_types::LogTime;
use tokio::sync::oneshot;

/// A partition of a topic.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Of which topic.
    pub topic: &'static Topic,
    /// Its number, from 0.
    pub partition: u32,
}

impl Place {
    fn identity(&self) -> (&'static str, u32) {
        (self.topic.name, self.partition)
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl std::hash::Hash for Place {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic.name, self.partition)
    }
}

/// A record as it came out of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it was.
    pub place: Place,
    /// Its number in the partition.
    pub offset: u64,
    /// The log's append time where the topic is stamped by the log, else the log time that the writer carried over.
    pub log_time: LogTime,
    /// The key; empty for ticks.
    pub key: Vec<u8>,
    /// Names and values, in the order in which they were written.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Where a record was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// In which partition.
    pub partition: u32,
    /// Under which offset.
    pub offset: u64,
}

/// Why a record did not get into the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The send buffer is full: answer 503 and let the sender come back.
    #[error("the log's send buffer is full")]
    Full,
    /// The disk under the log is nearly full: the same, and somebody has to make room.
    #[error("the disk has less free space than [embedded] free_bytes_min; make room")]
    NoRoom,
    /// The record can never be taken: too large, or malformed.
    #[error("the log refuses the record: {0}")]
    Refused(String),
    /// Not acknowledged in time, or the connection broke: it may or may not be in the log. Sending it again is safe.
    #[error("the log did not acknowledge the record: {0}")]
    Unknown(String),
}

impl AppendError {
    /// The class of the problem, to tell metrics apart.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoRoom => "no_room",
            Self::Refused(_) => "refused",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// What becomes of an appender's records after one that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Each record stands for itself (ingestion): the others go on.
    PerRecord,
    /// Nothing more is taken, so that no partition gets a hole (stages).
    WithoutHoles,
}

/// Resolves when the log has acknowledged the record, or given up on it.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Position, AppendError>>);

impl Receipt {
    /// A receipt, and the end through which the log's implementation answers it.
    #[must_use]
    pub fn channel() -> (oneshot::Sender<Result<Position, AppendError>>, Self) {
        let (answer, receipt) = oneshot::channel();
        (answer, Self(receipt))
    }
}

impl Future for Receipt {
    type Output = Result<Position, AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| {
            answer.unwrap_or_else(|_| {
                Err(AppendError::Unknown(
                    "the connection to the log was closed".into(),
                ))
            })
        })
    }
}

/// Puts records into the log.
pub trait Appender: Send + Sync {
    /// Queues a record and returns at once; the receipt tells how it went. A dropped receipt is no cancellation.
    ///
    /// Without a `partition` the key chooses one. `log_time` is carried over to topics that the log does not stamp.
    ///
    /// # Errors
    /// [`AppendError::Full`], [`AppendError::NoRoom`] and [`AppendError::Refused`] at once; the rest through the receipt.
    fn append(
        &self,
        topic: &'static Topic,
        partition: Option<u32>,
        log_time: Option<LogTime>,
        envelope: Envelope,
    ) -> Result<Receipt, AppendError>;

    /// Waits until everything appended so far is acknowledged.
    ///
    /// # Errors
    /// [`AppendError::Unknown`] if any of it, since the last successful flush, was not acknowledged within `wait`.
    fn flush(&self, wait: Duration) -> Result<(), AppendError>;
}

/// What goes wrong with a log apart from appending.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The log cannot be reached, or the connection broke.
    #[error("the log at {servers} cannot be reached: {problem}")]
    Unreachable {
        /// Where it was looked for.
        servers: String,
        /// The client's words.
        problem: String,
    },
    /// A topic is not as this program needs it.
    #[error("topic `{topic}`: {problem}")]
    Topic {
        /// Which one.
        topic: &'static str,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// Anything else that the client reports and that does not mend itself.
    #[error("the log's client failed: {0}")]
    Client(String),
}

/// Membership in a group of readers that share the partitions of some topics.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The group: one per stage.
    pub group: String,
    /// This member's name, the same after a restart, so that it gets its partitions back without waiting.
    pub instance: String,
    /// What to read.
    pub topics: Vec<&'static Topic>,
}

/// Where to begin reading a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The oldest record that is kept.
    Earliest,
    /// This offset; if it is not kept any more, the oldest that is (counted and logged).
    Offset(u64),
}

/// What a consumer has to tell.
#[derive(Debug)]
pub enum Event {
    /// These partitions are this member's from now on. Nothing is read from one before [`Consumer::start`].
    Assigned(Vec<Place>),
    /// These partitions are taken away. Finish what they have in flight, then call [`Consumer::release`].
    Revoked(Vec<Place>),
    /// These partitions were lost (this member was thought dead): forget their state and commit nothing.
    Lost(Vec<Place>),
    /// A record of a started partition, in the order of its offsets.
    Record(Record),
    /// The reader stands at the end of this partition for now.
    End(Place),
    /// Nothing happened within the wait.
    Nothing,
}

/// Reads partitions as a member of a group. Lives on one thread.
pub trait Consumer: Send {
    /// Waits up to `wait` for something to happen. Must be called often, or the group takes this member for dead.
    ///
    /// # Errors
    /// [`BusError`] when the client cannot go on; passing faults are retried inside and logged.
    fn poll(&mut self, wait: Duration) -> Result<Event, BusError>;

    /// Begins to read an assigned partition.
    ///
    /// # Errors
    /// [`BusError`] when the client refuses.
    fn start(&mut self, place: Place, from: Start) -> Result<(), BusError>;

    /// Lets revoked or lost partitions go.
    ///
    /// # Errors
    /// [`BusError`] when the client refuses.
    fn release(&mut self, places: &[Place]) -> Result<(), BusError>;

    /// Stops fetching a partition while it keeps its place, for backpressure.
    ///
    /// # Errors
    /// [`BusError`] when the client refuses.
    fn pause(&mut self, place: Place) -> Result<(), BusError>;

    /// Fetches a paused partition again.
    ///
    /// # Errors
    /// [`BusError`] when the client refuses.
    fn resume(&mut self, place: Place) -> Result<(), BusError>;

    /// Tells the group how far a partition is done: the next offset to read. A hint for others and for lag, never truth
    /// for those who keep their own checkpoint.
    ///
    /// # Errors
    /// [`BusError`] when the group does not take it; harmless.
    fn commit(&mut self, place: Place, next_offset: u64) -> Result<(), BusError>;

    /// What was committed last for a partition.
    ///
    /// # Errors
    /// [`BusError`] when the log does not answer.
    fn committed(&mut self, place: Place) -> Result<Option<u64>, BusError>;
}

/// A log: topics of partitions of records.
pub trait Log: Send + Sync {
    /// Creates the topics that are missing, with `partitions` each, and checks the rest.
    ///
    /// # Errors
    /// [`BusError::Topic`] when an existing topic has another number of partitions or another time stamping.
    fn ensure_topics(&self, partitions: u32) -> Result<(), BusError>;

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// [`BusError::Topic`] when it does not exist.
    fn partitions(&self, topic: &'static Topic) -> Result<u32, BusError>;

    /// The offsets that are kept: from the oldest to one past the newest.
    ///
    /// # Errors
    /// [`BusError`] when the log does not answer.
    fn bounds(&self, place: Place) -> Result<Range<u64>, BusError>;

    /// Reads a span of a partition outside any group, in order; offsets that are not kept are passed over.
    /// `each` returns whether to go on.
    ///
    /// # Errors
    /// [`BusError`] when the log does not answer.
    fn read(
        &self,
        place: Place,
        span: Range<u64>,
        each: &mut dyn FnMut(Record) -> bool,
    ) -> Result<(), BusError>;

    /// Puts records into this log.
    ///
    /// # Errors
    /// [`BusError`] when the settings are refused.
    fn appender(&self) -> Result<Arc<dyn Appender>, BusError>;

    /// Puts records into this log so that no partition gets a hole: after the first record that was not acknowledged
    /// nothing more is taken, and the appender has to be made anew. For stages: who takes over from one trusts that
    /// everything up to the last `src` in the output is there.
    ///
    /// # Errors
    /// [`BusError`] when the settings are refused.
    fn appender_in_order(&self) -> Result<Arc<dyn Appender>, BusError>;

    /// Reads these partitions outside any group. The first events assign them; commits are ignored.
    ///
    /// # Errors
    /// [`BusError`] when the settings are refused.
    fn reader(&self, places: &[Place]) -> Result<Box<dyn Consumer>, BusError>;

    /// Joins a group of readers.
    ///
    /// # Errors
    /// [`BusError`] when the settings are refused.
    fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Consumer>, BusError>;
}

/// How a service gets at the log, whichever it is. Clones lead to the same log.
#[derive(Clone)]
pub struct LogAccess {
    open: Arc<dyn Fn() -> Result<Arc<dyn Log>, BusError> + Send + Sync>,
    retention: Duration,
}

impl LogAccess {
    pub(crate) fn new(
        retention: Duration,
        open: impl Fn() -> Result<Arc<dyn Log>, BusError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            open: Arc::new(open),
            retention,
        }
    }

    /// Opens it, with all its topics. Blocks until it is there, or gives up.
    ///
    /// # Errors
    /// [`BusError`] when it cannot be reached, or is not as it is configured.
    pub fn open(&self) -> Result<Arc<dyn Log>, BusError> {
        (self.open)()
    }

    /// Opens it away from the runtime's own threads.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub async fn connect(&self) -> Result<Arc<dyn Log>, BusError> {
        let access = self.clone();
        tokio::task::spawn_blocking(move || access.open())
            .await
            .map_err(|error| BusError::Client(format!("opening it broke off: {error}")))?
    }

    /// For how long it keeps records at least.
    #[must_use]
    pub const fn retention(&self) -> Duration {
        self.retention
    }
}

impl fmt::Debug for LogAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogAccess")
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}
