//! Runs a stage: joins its group and turns input partitions into output partitions, exactly once in effect.
//!
//! The order that makes it so: outputs acknowledged, then the checkpoint durable, then the offset committed (a hint
//! for lag; never read back). A partition begins at its newest checkpoint, or at the oldest record; what it makes up
//! to the last `src` in the output was made before and is not appended again. For that the output must have no holes,
//! hence the appender in order: after one record that was not acknowledged, this loop ends and a new one starts over.

mod seat;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forewarn_messages::{Body, Envelope, Topic};
use forewarn_types::LogTime;

use self::seat::Seat;
use crate::watchdog::Watchdog;
use crate::{
    AppendError, Appender, Checkpoints, Consumer, Event, Log, Observe, Place, Record, RunError,
    Stage, StopFlag, Subscription,
};

/// How a stage is run.
#[derive(Clone, Debug)]
pub struct StageOptions {
    /// This replica's name, the same after a restart (StatefulSets give one), so that it gets its partitions back.
    pub instance: String,
    /// How often a checkpoint is made …
    pub checkpoint_every: Duration,
    /// … and after how many records of a partition at the latest, if that is limited.
    pub checkpoint_records: Option<u64>,
    /// How long to wait for outstanding acknowledgements before a checkpoint is put off.
    pub flush_wait: Duration,
    /// After this long without progress while records wait, the loop ends with [`RunError::Stalled`].
    pub stall_limit: Duration,
    /// After more dead letters in a row than this the loop ends with [`RunError::TooManyDead`].
    pub dead_limit: u32,
}

impl StageOptions {
    /// The usual figures: a checkpoint each minute, the watchdog's 30 s, 100 dead letters.
    #[must_use]
    pub fn new(instance: impl Into<String>) -> Self {
        Self {
            instance: instance.into(),
            checkpoint_every: Duration::from_secs(60),
            checkpoint_records: None,
            flush_wait: Duration::from_secs(5),
            stall_limit: Duration::from_secs(30),
            dead_limit: 100,
        }
    }
}

/// Runs the stage until stopped. Blocks: give it a thread of its own. `make` builds the stage of a partition.
///
/// # Errors
/// [`RunError`] when it cannot go on; the process should end and be started again.
pub fn run_stage<S: Stage>(
    log: Arc<dyn Log>,
    checkpoints: &Checkpoints,
    make: impl Fn(u32) -> S,
    options: &StageOptions,
    stop: &StopFlag,
    observe: &dyn Observe,
) -> Result<(), RunError> {
    let subscription = Subscription {
        group: S::NAME.to_owned(),
        instance: options.instance.clone(),
        topics: vec![S::Input::TOPIC],
    };
    let mut runner = Runner {
        consumer: log.subscribe(subscription)?,
        appender: log.appender_in_order()?,
        log: log.as_ref(),
        checkpoints,
        make: &make,
        options,
        observe,
        seats: BTreeMap::new(),
        outgoing: VecDeque::new(),
        held: VecDeque::new(),
        blocked: false,
        waiting: None,
        checkpoint_due: Instant::now() + options.checkpoint_every,
        chores_due: Instant::now(),
        watchdog: Watchdog::new(options.stall_limit),
        put_off: None,
        trouble: None,
    };
    while !stop.is_stopped() {
        runner.turn()?;
    }
    runner.finish();
    Ok(())
}

/// How long a turn waits for a record.
const TURN: Duration = Duration::from_millis(100);

/// How long a turn waits when the send buffer is full.
const FULL: Duration = Duration::from_millis(10);

/// How often what is not a record is looked after.
const CHORES: Duration = Duration::from_millis(100);

/// A checkpoint that could not be made is tried again after this time.
const AGAIN: Duration = Duration::from_secs(5);

/// What decides about a record may take this long to be known before it is said that something is wrong.
const WAITING: Duration = Duration::from_secs(10);

const NOT_KNOWN: &str = "it is not known which models judge: their activations cannot be read, or a model not be loaded";

struct Runner<'a, S, M> {
    log: &'a dyn Log,
    checkpoints: &'a Checkpoints,
    make: &'a M,
    options: &'a StageOptions,
    observe: &'a dyn Observe,
    consumer: Box<dyn Consumer>,
    appender: Arc<dyn Appender>,
    seats: BTreeMap<Place, Seat<S>>,
    /// Made but not appended yet, since the send buffer is full. Bounded by what one record causes.
    outgoing: VecDeque<Outgoing>,
    /// Read before the partitions were paused. Bounded by what the client had handed out by then.
    held: VecDeque<Record>,
    /// Whether all partitions are paused: the send buffer is full, or what decides about a record is not known yet.
    blocked: bool,
    /// Since when the record at the head of `held` has waited for that.
    waiting: Option<Instant>,
    checkpoint_due: Instant,
    chores_due: Instant,
    watchdog: Watchdog,
    /// Why the last checkpoint could not be made.
    put_off: Option<String>,
    /// As the observer was told last.
    trouble: Option<String>,
}

/// A record on its way out.
struct Outgoing {
    topic: &'static Topic,
    partition: Option<u32>,
    log_time: LogTime,
    envelope: Envelope,
    /// The input record that caused it, shared with its siblings.
    cause: Arc<Record>,
}

impl<S: Stage, M: Fn(u32) -> S> Runner<'_, S, M> {
    fn turn(&mut self) -> Result<(), RunError> {
        self.send()?;
        if self.chores_due <= Instant::now() {
            self.chores()?;
            self.chores_due = Instant::now() + CHORES;
        }
        if self.waiting.is_some() && self.outgoing.is_empty() {
            // The group has to be polled all the while, so this is one try in each turn.
            match self.held.pop_front() {
                Some(record) => self.work(record)?,
                None => self.waiting = None,
            }
        }
        if !self.blocked
            && let Some(record) = self.held.pop_front()
        {
            return self.work(record);
        }
        let wait = if self.blocked { FULL } else { TURN };
        match self.consumer.poll(wait)? {
            Event::Record(record) if self.blocked => self.held.push_back(record),
            Event::Record(record) => self.work(record)?,
            Event::Assigned(places) => {
                for place in places {
                    self.open(place)?;
                }
            }
            Event::Revoked(places) => self.hand_over(&places)?,
            Event::Lost(places) => {
                self.forget(&places);
                self.consumer.release(&places)?;
            }
            Event::End(_) | Event::Nothing => {}
        }
        Ok(())
    }

    fn open(&mut self, place: Place) -> Result<(), RunError> {
        let (seat, from) = Seat::open(self.log, self.checkpoints, self.make, place)?;
        self.seats.insert(place, seat);
        self.consumer.start(place, from)?;
        if self.blocked {
            self.consumer.pause(place)?;
        }
        Ok(())
    }

    fn work(&mut self, record: Record) -> Result<(), RunError> {
        let waiting = self.waiting.take();
        let place = record.place;
        let Some(seat) = self.seats.get_mut(&place) else {
            return Ok(());
        };
        if seat.is_halted() {
            return Ok(());
        }
        let record = Arc::new(record);
        if !seat.work(&record, &mut self.outgoing) {
            // Nobody else holds it: a record that was not consumed has caused nothing.
            self.held.push_front(Arc::unwrap_or_clone(record));
            self.waiting = waiting.or_else(|| Some(Instant::now()));
            return self.block();
        }
        if seat.is_halted() {
            self.consumer.pause(place)?;
        }
        let dead = seat.dead_in_a_row();
        if dead > self.options.dead_limit {
            // So that they can be looked at. What is not acknowledged by then is found again by the next start.
            self.send()?;
            let _ = self.appender.flush(self.options.flush_wait);
            return Err(RunError::TooManyDead { place, count: dead });
        }
        let limit = self.options.checkpoint_records;
        // One that was put off has its own time.
        if self.put_off.is_none() && limit.is_some_and(|limit| seat.since_checkpoint() >= limit) {
            self.checkpoint_due = Instant::now();
            self.chores_due = Instant::now();
        }
        Ok(())
    }

    /// Appends what was made, as far as the send buffer takes it; pauses reading while it does not.
    fn send(&mut self) -> Result<(), RunError> {
        while let Some(Outgoing {
            topic,
            partition,
            log_time,
            envelope,
            cause,
        }) = self.outgoing.front()
        {
            match self
                .appender
                .append(topic, *partition, Some(*log_time), envelope.clone())
            {
                Ok(_) => {}
                Err(AppendError::Full | AppendError::NoRoom) => return self.block(),
                Err(AppendError::Refused(problem)) => {
                    let Some(seat) = self.seats.get_mut(&cause.place) else {
                        self.outgoing.pop_front();
                        continue;
                    };
                    let letter = seat.refused(cause, topic, &problem);
                    self.outgoing.pop_front();
                    // Never a letter about a letter: they are far below the limit, so this would be another defect.
                    match letter {
                        Some(letter) => self.outgoing.push_front(letter),
                        None => return Err(RunError::Append(AppendError::Refused(problem))),
                    }
                    continue;
                }
                Err(error @ AppendError::Unknown(_)) => return Err(RunError::Append(error)),
            }
            self.outgoing.pop_front();
        }
        if self.waiting.is_none() && std::mem::take(&mut self.blocked) {
            let running: Vec<_> = self
                .seats
                .iter()
                .filter(|(_, seat)| !seat.is_halted())
                .map(|(at, _)| *at)
                .collect();
            for place in running {
                self.consumer.resume(place)?;
            }
        }
        Ok(())
    }

    fn block(&mut self) -> Result<(), RunError> {
        if !self.blocked {
            self.blocked = true;
            let why = if self.waiting.is_some() {
                "activations"
            } else {
                "output"
            };
            metrics::counter!("forewarn_stage_blocked_total", "stage" => S::NAME, "waits_for" => why).increment(1);
            for place in self.seats.keys() {
                self.consumer.pause(*place)?;
            }
        }
        Ok(())
    }

    fn chores(&mut self) -> Result<(), RunError> {
        self.observe.beat();
        if self.watchdog.is_due() {
            let reading: Vec<_> = self
                .seats
                .iter()
                // Who was paused because the output takes nothing is not stuck.
                .filter(|(_, seat)| !self.blocked && !seat.is_halted())
                .map(|(place, seat)| (*place, seat.next_offset()))
                .collect();
            self.watchdog.look(self.log, &reading, |place, lag| {
                let labels = [
                    ("stage", S::NAME.to_owned()),
                    ("partition", place.partition.to_string()),
                ];
                metrics::gauge!("forewarn_stage_lag_records", &labels).set(lag as f64);
            })?;
        }
        if self.checkpoint_due <= Instant::now() {
            let made = self.checkpoint(None);
            let pause = if made.is_ok() {
                self.options.checkpoint_every
            } else {
                AGAIN
            };
            self.checkpoint_due = Instant::now() + pause;
            self.put_off = made.err();
        }
        let halted = self
            .seats
            .values_mut()
            .filter_map(|seat| seat.complain().map(str::to_owned))
            .next();
        let waiting = self
            .waiting
            .filter(|since| since.elapsed() > WAITING)
            .map(|_| NOT_KNOWN.to_owned());
        let trouble = halted.or(waiting).or_else(|| self.put_off.clone());
        if trouble != self.trouble {
            self.observe.trouble(trouble.as_deref());
            self.trouble = trouble;
        }
        Ok(())
    }

    /// Outputs acknowledged, checkpoint durable, offset committed; of these partitions, or of all.
    fn checkpoint(&mut self, only: Option<&[Place]>) -> Result<(), String> {
        let fail = |why: String| {
            tracing::warn!(stage = S::NAME, why, "checkpoint is put off");
            metrics::counter!("forewarn_stage_checkpoints_put_off_total", "stage" => S::NAME)
                .increment(1);
            Err(why)
        };
        if !self.outgoing.is_empty() {
            return fail("the log's send buffer is full".to_owned());
        }
        let begun = Instant::now();
        if let Err(error) = self.appender.flush(self.options.flush_wait) {
            return fail(error.to_string());
        }
        for (place, seat) in &mut self.seats {
            if only.is_some_and(|only| !only.contains(place)) {
                continue;
            }
            match seat.checkpoint(self.checkpoints) {
                Ok(None) => {}
                Ok(Some(next_offset)) => {
                    if let Err(error) = self.consumer.commit(*place, next_offset) {
                        tracing::debug!(%place, %error, "the group did not take a commit");
                    }
                }
                Err(error) => return fail(format!("{:#}", anyhow::Error::from(error))),
            }
        }
        metrics::histogram!("forewarn_stage_checkpoint_seconds", "stage" => S::NAME)
            .record(begun.elapsed());
        Ok(())
    }

    fn hand_over(&mut self, places: &[Place]) -> Result<(), RunError> {
        self.send()?;
        // Without a checkpoint whoever gets them replays a little more.
        let _ = self.checkpoint(Some(places));
        self.forget(places);
        self.consumer.release(places)?;
        Ok(())
    }

    fn forget(&mut self, places: &[Place]) {
        self.seats.retain(|place, _| !places.contains(place));
        self.held.retain(|record| !places.contains(&record.place));
        // What they made is made again by whoever gets them; what others made stays.
        self.outgoing
            .retain(|outgoing| !places.contains(&outgoing.cause.place));
    }

    /// Everything durable, as far as the log allows. Skipping it is safe.
    fn finish(&mut self) {
        let deadline = Instant::now() + self.options.flush_wait;
        while self.send().is_ok() && !self.outgoing.is_empty() && Instant::now() < deadline {
            std::thread::sleep(FULL);
        }
        let finished = self.checkpoint(None).is_ok();
        tracing::info!(
            stage = S::NAME,
            partitions = self.seats.len(),
            finished,
            "stage stopped"
        );
    }
}

#[cfg(test)]
mod tests;
