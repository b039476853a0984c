//! The loop of those who read the log without being a stage: recorder, projector, alerter.
//!
//! Semantics: each partition comes in order, in batches. A batch is offered until it is taken; only then is its end
//! committed, so its effect comes at least once and has to be idempotent. A sink makes one bounded attempt and says
//! [`Setback::Later`] when the store is away: the loop waits for it with the partition paused, stays in its group and
//! stays alive. A sink that keeps its own offsets beside its effect says in [`Sink::begin`] where to go on, and
//! [`Taken::GoTo`] when it finds that somebody else has moved on.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use forewarn_messages::Topic;

use crate::watchdog::Watchdog;
use crate::{
    Consumer, Event, Log, Observe, Place, Record, RunError, Start, StopFlag, Subscription,
};

/// Who reads what.
#[derive(Clone, Debug)]
pub enum Reading {
    /// As a member of a group that shares the partitions. What is taken is committed to the group.
    Shared(Subscription),
    /// Every partition of these topics, outside any group. Nothing is committed; [`Sink::begin`] knows where to go on.
    Alone(Vec<&'static Topic>),
}

/// Bounds of a loop.
#[derive(Clone, Debug)]
pub struct FollowOptions {
    /// Name in metrics: `recorder`, `projector` …
    pub name: &'static str,
    /// A batch is offered when it has this many records …
    pub max_records: usize,
    /// … or this many bytes of bodies …
    pub max_bytes: usize,
    /// … or when its oldest record has waited for this long, or the reader stands at the partition's end and has
    /// waited for `end_wait`.
    pub max_wait: Duration,
    /// How long a batch is kept open at the partition's end.
    pub end_wait: Duration,
    /// How often what was taken is committed to the group at most.
    pub commit_every: Duration,
    /// After this long without progress while records wait, the loop ends with [`RunError::Stalled`].
    pub stall_limit: Duration,
}

impl FollowOptions {
    /// 1,000 records or 1 MiB, 1 s; 100 ms at the end; commits each second; the watchdog's 30 s.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            max_records: 1_000,
            max_bytes: 1 << 20,
            max_wait: Duration::from_secs(1),
            end_wait: Duration::from_millis(100),
            commit_every: Duration::from_secs(1),
            stall_limit: Duration::from_secs(30),
        }
    }
}

/// Some records of one partition, in order.
#[derive(Debug)]
pub struct Batch {
    /// Of which partition.
    pub place: Place,
    /// The records. Empty only when `at_end` is set, to say that the end was reached with nothing new.
    pub records: Vec<Record>,
    /// Whether the reader stood at the partition's end after the last of them.
    pub at_end: bool,
}

/// What follows from a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Its effect is durable.
    Done,
    /// Nothing of it has an effect; go on there instead (somebody else moved on, or moved back).
    GoTo(Start),
}

/// Why a batch was not taken.
#[derive(Debug)]
pub enum Setback {
    /// The store is away or busy: offer it again after this while. Other partitions go on.
    Later {
        /// How long to wait.
        after: Duration,
        /// What is the matter, for the log and for readiness.
        why: String,
    },
    /// It makes no sense to go on; the loop ends with [`RunError::Sink`].
    Fatal(anyhow::Error),
}

impl From<anyhow::Error> for Setback {
    fn from(error: anyhow::Error) -> Self {
        Self::Fatal(error)
    }
}

/// What becomes of the records.
pub trait Sink {
    /// Where to begin a partition that is this reader's from now on. `committed` is the next offset as last
    /// committed to the group, `None` if never or outside any group.
    ///
    /// # Errors
    /// [`Setback::Later`] is asked again; [`Setback::Fatal`] ends the loop.
    fn begin(&mut self, place: Place, committed: Option<u64>) -> Result<Start, Setback>;

    /// Makes the effect of a batch durable: one attempt of at most about 20 s (the loop does not poll meanwhile, and
    /// after a minute the group takes it for dead).
    ///
    /// # Errors
    /// [`Setback::Later`] is offered the same records again; [`Setback::Fatal`] ends the loop.
    fn take(&mut self, batch: &Batch) -> Result<Taken, Setback>;

    /// Called about every `end_wait` between batches, for what is due without records.
    ///
    /// # Errors
    /// [`Setback::Later`] is called again no sooner than that; [`Setback::Fatal`] ends the loop.
    fn idle(&mut self) -> Result<(), Setback> {
        Ok(())
    }

    /// The partition is not this reader's any more: forget what is kept in memory for it.
    fn end(&mut self, place: Place) {
        let _ = place;
    }
}

/// Reads and offers batches until stopped. Blocks: give it a thread of its own.
///
/// # Errors
/// [`RunError`] when it cannot go on; the process should end and be started again.
pub fn follow(
    log: &dyn Log,
    reading: &Reading,
    sink: &mut dyn Sink,
    options: &FollowOptions,
    stop: &StopFlag,
    observe: &dyn Observe,
) -> Result<(), RunError> {
    let consumer = match reading {
        Reading::Shared(subscription) => log.subscribe(subscription.clone())?,
        Reading::Alone(topics) => {
            let mut places = Vec::new();
            for topic in topics {
                places.extend(
                    (0..log.partitions(topic)?).map(|partition| Place { topic, partition }),
                );
            }
            log.reader(&places)?
        }
    };
    let mut follower = Follower {
        log,
        sink,
        options,
        observe,
        consumer,
        queues: BTreeMap::new(),
        idle_due: Instant::now(),
        chores_due: Instant::now(),
        watchdog: Watchdog::new(options.stall_limit),
        troubled: false,
        last: None,
    };
    while !stop.is_stopped() {
        follower.turn()?;
    }
    follower.commit(Duration::ZERO);
    Ok(())
}

/// A pass over the partitions ends after this while, so that the loop polls and gives signs of life in between.
const PASS: Duration = Duration::from_secs(1);

/// How often what is not a record is looked after.
const CHORES: Duration = Duration::from_millis(100);

struct Follower<'a> {
    log: &'a dyn Log,
    sink: &'a mut dyn Sink,
    options: &'a FollowOptions,
    observe: &'a dyn Observe,
    consumer: Box<dyn Consumer>,
    queues: BTreeMap<Place, Queue>,
    idle_due: Instant,
    chores_due: Instant,
    watchdog: Watchdog,
    troubled: bool,
    /// Where the last pass ended: the next one begins behind it, so that everybody gets a turn.
    last: Option<Place>,
}

impl Follower<'_> {
    fn turn(&mut self) -> Result<(), RunError> {
        let wait = CHORES
            .min(self.options.end_wait)
            .max(Duration::from_millis(1));
        let mut settle = false;
        match self.consumer.poll(wait)? {
            Event::Record(record) => {
                let place = record.place;
                if let Some(queue) = self.queues.get_mut(&place) {
                    queue.push(record);
                    if queue.is_over(self.options) && !queue.paused {
                        queue.paused = true;
                        self.consumer.pause(place)?;
                    }
                    settle = queue.is_full(self.options);
                }
            }
            Event::End(place) => {
                if let Some(queue) = self.queues.get_mut(&place) {
                    queue.at_end = true;
                    queue.told_end = false;
                    settle = true;
                }
            }
            Event::Assigned(places) => {
                for place in places {
                    self.queues.insert(place, Queue::default());
                }
                settle = true;
            }
            Event::Revoked(places) => {
                self.commit(Duration::ZERO);
                self.end(&places)?;
            }
            Event::Lost(places) => self.end(&places)?,
            Event::Nothing => settle = true,
        }
        if settle || self.chores_due <= Instant::now() {
            self.settle()?;
        }
        if self.chores_due <= Instant::now() {
            self.chores()?;
            self.chores_due = Instant::now() + CHORES;
        }
        if self.idle_due <= Instant::now() {
            self.idle_due = Instant::now() + self.options.end_wait;
            match self.sink.idle() {
                Ok(()) => {}
                Err(Setback::Later { after, why }) => {
                    self.idle_due = Instant::now() + after.max(self.options.end_wait);
                    tracing::warn!(reader = self.options.name, why, ?after, "has to wait");
                }
                Err(Setback::Fatal(error)) => return Err(RunError::Idle(error)),
            }
        }
        Ok(())
    }

    /// Begins what is not begun and offers what is ready, until there was a setback or the pass has lasted for long:
    /// a store that hangs takes its whole time limit for each partition.
    fn settle(&mut self) -> Result<(), RunError> {
        let mut ready: Vec<_> = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.is_due(self.options))
            .map(|(place, _)| *place)
            .collect();
        let behind = ready.partition_point(|place| Some(*place) <= self.last);
        ready.rotate_left(behind);
        let begun = Instant::now();
        for place in ready {
            self.last = Some(place);
            let Some(mut queue) = self.queues.remove(&place) else {
                continue;
            };
            let done = if queue.begun {
                self.offer(place, &mut queue)
            } else {
                self.begin(place, &mut queue)
            };
            let is_set_back = queue.setback.is_some();
            self.queues.insert(place, queue);
            done?;
            if is_set_back || begun.elapsed() >= PASS {
                // What is the matter is told before the next partition meets it too.
                self.chores_due = Instant::now();
                break;
            }
        }
        Ok(())
    }

    fn begin(&mut self, place: Place, queue: &mut Queue) -> Result<(), RunError> {
        let committed = self.consumer.committed(place)?;
        match self.sink.begin(place, committed) {
            Ok(from) => {
                self.consumer.start(place, from)?;
                queue.begun = true;
                queue.setback = None;
                queue.next = match from {
                    Start::Offset(offset) => Some(offset),
                    Start::Earliest => None,
                };
                tracing::info!(reader = self.options.name, %place, ?from, ?committed, "begins");
                Ok(())
            }
            Err(setback) => self.set_back(place, queue, setback),
        }
    }

    fn offer(&mut self, place: Place, queue: &mut Queue) -> Result<(), RunError> {
        let batch = match queue.offered.take() {
            Some(batch) => batch,
            None => queue.cut(place, self.options),
        };
        let begun = Instant::now();
        let taken = self.sink.take(&batch);
        metrics::histogram!("forewarn_reader_batch_seconds", "reader" => self.options.name)
            .record(begun.elapsed());
        match taken {
            Ok(Taken::Done) => {
                queue.setback = None;
                if let Some(last) = batch.records.last() {
                    queue.taken = Some(last.offset + 1);
                }
                let labels = [("reader", self.options.name), ("topic", place.topic.name)];
                metrics::counter!("forewarn_reader_records_total", &labels)
                    .increment(batch.records.len() as u64);
                if queue.paused && !queue.is_over(self.options) {
                    queue.paused = false;
                    self.consumer.resume(place)?;
                }
                Ok(())
            }
            Ok(Taken::GoTo(from)) => {
                tracing::warn!(reader = self.options.name, %place, ?from, "goes on somewhere else");
                metrics::counter!("forewarn_reader_moves_total", "reader" => self.options.name)
                    .increment(1);
                self.consumer.start(place, from)?;
                *queue = Queue {
                    begun: true,
                    next: queue.next,
                    ..Queue::default()
                };
                if let Start::Offset(offset) = from {
                    queue.next = Some(offset);
                }
                Ok(())
            }
            Err(setback) => {
                queue.offered = Some(batch);
                self.set_back(place, queue, setback)
            }
        }
    }

    fn set_back(
        &mut self,
        place: Place,
        queue: &mut Queue,
        setback: Setback,
    ) -> Result<(), RunError> {
        match setback {
            Setback::Later { after, why } => {
                metrics::counter!("forewarn_reader_setbacks_total", "reader" => self.options.name)
                    .increment(1);
                // A store that is away is one story, however often it is told.
                if queue.setback.as_ref().is_none_or(|(_, told)| *told != why) {
                    tracing::warn!(reader = self.options.name, %place, why, ?after, "has to wait");
                }
                queue.setback = Some((Instant::now() + after, why));
                Ok(())
            }
            Setback::Fatal(error) => Err(RunError::Sink { place, error }),
        }
    }

    fn end(&mut self, places: &[Place]) -> Result<(), RunError> {
        for place in places {
            if self.queues.remove(place).is_some() {
                self.sink.end(*place);
            }
        }
        self.consumer.release(places)?;
        Ok(())
    }

    fn chores(&mut self) -> Result<(), RunError> {
        self.observe.beat();
        self.commit(self.options.commit_every);
        if self.watchdog.is_due() {
            // Who waits for a store is not stuck.
            let reading: Vec<_> = self
                .queues
                .iter()
                .filter(|(_, queue)| queue.begun && !queue.paused && queue.setback.is_none())
                .filter_map(|(place, queue)| Some((*place, queue.next?)))
                .collect();
            self.watchdog.look(self.log, &reading, |place, lag| {
                let labels = [
                    ("reader", self.options.name.to_owned()),
                    ("topic", place.topic.name.to_owned()),
                    ("partition", place.partition.to_string()),
                ];
                metrics::gauge!("forewarn_reader_lag_records", &labels).set(lag as f64);
            })?;
        }
        let why = self
            .queues
            .values()
            .find_map(|queue| queue.setback.as_ref().map(|(_, why)| why.as_str()));
        if why.is_some() != self.troubled {
            self.troubled = why.is_some();
            self.observe.trouble(why);
        }
        Ok(())
    }

    /// Commits what was taken, of partitions whose last commit is older than `every`.
    fn commit(&mut self, every: Duration) {
        for (place, queue) in &mut self.queues {
            let Some(taken) = queue.taken else { continue };
            if queue.committed_at.is_some_and(|at| at.elapsed() < every) {
                continue;
            }
            queue.committed_at = Some(Instant::now());
            match self.consumer.commit(*place, taken) {
                Ok(()) => queue.taken = None,
                Err(error) => tracing::debug!(%place, %error, "the group did not take a commit"),
            }
        }
    }
}

/// What is read of one partition and not yet taken.
#[derive(Default)]
struct Queue {
    begun: bool,
    records: VecDeque<Record>,
    bytes: usize,
    /// When the oldest of `records` came.
    since: Option<Instant>,
    /// The offset to be read next, where it is known.
    next: Option<u64>,
    /// The reader stands at the end …
    at_end: bool,
    /// … and the sink knows.
    told_end: bool,
    /// Offered and not taken.
    offered: Option<Batch>,
    /// Wait until then, and why.
    setback: Option<(Instant, String)>,
    paused: bool,
    /// Next offset after what was taken and not committed yet.
    taken: Option<u64>,
    committed_at: Option<Instant>,
}

impl Queue {
    fn push(&mut self, record: Record) {
        self.next = Some(record.offset + 1);
        self.bytes += record.body.len();
        self.since.get_or_insert_with(Instant::now);
        self.at_end = false;
        self.records.push_back(record);
    }

    fn is_full(&self, options: &FollowOptions) -> bool {
        self.records.len() >= options.max_records || self.bytes >= options.max_bytes
    }

    /// Twice a batch: one in the sink's hands, one ready behind it.
    fn is_over(&self, options: &FollowOptions) -> bool {
        self.records.len() >= 2 * options.max_records || self.bytes >= 2 * options.max_bytes
    }

    fn is_due(&self, options: &FollowOptions) -> bool {
        if let Some((until, _)) = &self.setback
            && Instant::now() < *until
        {
            return false;
        }
        if !self.begun || self.offered.is_some() || self.is_full(options) {
            return true;
        }
        let waited = self.since.map(|since| since.elapsed());
        match waited {
            Some(waited) => {
                waited >= options.max_wait || (self.at_end && waited >= options.end_wait)
            }
            None => self.at_end && !self.told_end,
        }
    }

    fn cut(&mut self, place: Place, options: &FollowOptions) -> Batch {
        let mut records = Vec::new();
        let mut bytes = 0;
        while records.len() < options.max_records && bytes < options.max_bytes {
            let Some(record) = self.records.pop_front() else {
                break;
            };
            bytes += record.body.len();
            records.push(record);
        }
        self.bytes -= bytes;
        self.since = (!self.records.is_empty()).then(Instant::now);
        let at_end = self.at_end && self.records.is_empty();
        self.told_end |= at_end;
        Batch {
            place,
            records,
            at_end,
        }
    }
}

#[cfg(test)]
mod tests {
    use forewarn_messages::SYSTEM_METRICS;
    use forewarn_types::LogTime;

    use super::*;

    const PLACE: Place = Place {
        topic: &SYSTEM_METRICS,
        partition: 0,
    };

    fn record(offset: u64, size: usize) -> Record {
        let body = vec![0; size];
        Record {
            place: PLACE,
            offset,
            log_time: LogTime(0),
            key: Vec::new(),
            headers: Vec::new(),
            body,
        }
    }

    fn options() -> FollowOptions {
        FollowOptions {
            max_records: 3,
            max_bytes: 100,
            max_wait: Duration::from_secs(3600),
            end_wait: Duration::from_secs(3600),
            ..FollowOptions::new("test")
        }
    }

    fn offsets(batch: &Batch) -> Vec<u64> {
        batch.records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn a_batch_is_cut_at_its_number_of_records_and_at_its_bytes() {
        let mut queue = Queue {
            begun: true,
            ..Queue::default()
        };
        (0..2).for_each(|offset| queue.push(record(offset, 10)));
        assert!(!queue.is_due(&options()));
        (2..7).for_each(|offset| queue.push(record(offset, 10)));
        assert!(queue.is_due(&options()) && queue.is_over(&options()));
        assert_eq!(offsets(&queue.cut(PLACE, &options())), [0, 1, 2]);
        assert!(!queue.is_over(&options()));
        queue.push(record(7, 90));
        assert_eq!(offsets(&queue.cut(PLACE, &options())), [3, 4, 5]);
        queue.push(record(8, 90));
        assert_eq!(offsets(&queue.cut(PLACE, &options())), [6, 7]);
        assert_eq!((queue.bytes, queue.next), (90, Some(9)));
    }

    #[test]
    fn the_end_is_told_once_and_again_after_something_new() {
        let mut queue = Queue {
            begun: true,
            ..Queue::default()
        };
        assert!(!queue.is_due(&options()));
        queue.at_end = true;
        assert!(queue.is_due(&options()));
        let batch = queue.cut(PLACE, &options());
        assert!(batch.at_end && batch.records.is_empty());
        assert!(!queue.is_due(&options()));
        queue.push(record(0, 1));
        assert!(!queue.at_end);
    }

    #[test]
    fn nothing_is_offered_before_a_setback_is_over() {
        let mut queue = Queue {
            begun: true,
            at_end: true,
            ..Queue::default()
        };
        queue.setback = Some((Instant::now() + Duration::from_secs(3600), "away".into()));
        assert!(!queue.is_due(&options()));
        queue.setback = Some((Instant::now(), "away".into()));
        assert!(queue.is_due(&options()));
    }
}
