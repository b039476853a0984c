//! The active alerter: reads every partition, lets the merged sequence through the machine, and writes intervals.
//!
//! It also ticks on `commands`, so that time passes there while nobody decides anything: else every alert would wait for a
//! command that may come before it. Whoever is fenced off may tick for another moment; a tick too many does no harm.
//!
//! One thread. It is either standing by, or active for a *term* under the lease. Whatever goes wrong with the database
//! ends the term: what was in memory is dropped, the lease is acquired again, and everything is read again from the
//! checkpoint. There is no other way of recovery, so it is exercised by every restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use forewarn_bus::{
    AppendError, Appender, BusError, Event, Log, Observe, Place, Record, RunError, Start, StopFlag,
    Ticker, log_id, mint_on,
};
use forewarn_messages::{
    ANOMALY_PREDICTIONS, Audience, Body, COMMANDS, Command, DEAD_LETTERS, DeadReason, DecodeError,
    Headers, Prediction, Tick, Ticked as _,
};
use forewarn_rules::RuleSet;
use forewarn_types::{LogId, LogTime, Src};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::ledger::{Commit, Lease, Ledger, LedgerError};
use crate::merge::Said;
use crate::{Config, Message, Pipeline, Receiver, metered};

/// What the active alerter works with.
pub struct Lead {
    /// Where predictions come from.
    pub log: Arc<dyn Log>,
    /// Where everything goes.
    pub ledger: Ledger,
    /// What deserves an alert.
    pub rules: Arc<RuleSet>,
    /// `[alerter]`.
    pub config: Config,
    /// Whom to tell.
    pub receivers: Vec<Receiver>,
    /// Set while this process is the active alerter.
    pub is_active: Arc<AtomicBool>,
    /// Woken after an interval that changed something: outboxes and relay.
    pub committed: Vec<Arc<Notify>>,
}

impl std::fmt::Debug for Lead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lead")
            .field("config", &self.config)
            .field("receivers", &self.receivers)
            .finish_non_exhaustive()
    }
}

/// Why a term ended.
enum End {
    /// Somebody asked to stop.
    Stopped,
    /// The lease or the database is gone for now.
    Lost(LedgerError),
    /// The log does not answer: no reason to end, since notifications go on without it.
    Away(anyhow::Error),
    /// It makes no sense to go on.
    Fatal(anyhow::Error),
}

fn is_away(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<BusError>(),
        Some(BusError::Unreachable { .. })
    ) || matches!(
        error.downcast_ref::<AppendError>(),
        Some(AppendError::Full | AppendError::Unknown(_))
    )
}

impl From<LedgerError> for End {
    fn from(error: LedgerError) -> Self {
        // Refused values would be refused again: better to stop and be seen than to try forever.
        if error.is_refusal() {
            Self::Fatal(anyhow::Error::new(error).context("the database refuses an interval"))
        } else {
            Self::Lost(error)
        }
    }
}

impl From<anyhow::Error> for End {
    fn from(error: anyhow::Error) -> Self {
        Self::Fatal(error)
    }
}

/// How often a standby asks for the lease, and how long to wait for a database that is away.
const ASK: Duration = Duration::from_secs(1);
/// How long one wait for records lasts.
const POLL: Duration = Duration::from_millis(20);
/// Records between two turns of the pipeline at most.
const TURN: usize = 256;
/// An interval is written after so many messages, even if nothing followed from them …
const INTERVAL_MESSAGES: u64 = 20_000;
/// … and after this while: that keeps the lease, and bounds what is read again.
const QUIET: Duration = Duration::from_secs(1);
/// How often it is looked whether the reader is stuck.
const LOOK: Duration = Duration::from_secs(5);
/// Records wait for so long and none comes: the client is stuck, and only a new process helps.
const STUCK: Duration = Duration::from_secs(30);

impl Lead {
    /// Stands by or leads until stopped. Blocks: give it a thread of its own.
    ///
    /// # Errors
    /// When going on makes no sense: another history, refused values, a stuck client. The process should end.
    pub fn run(
        &self,
        runtime: &Handle,
        stop: &StopFlag,
        observe: &dyn Observe,
    ) -> anyhow::Result<()> {
        let mut told_standby = false;
        while !stop.is_stopped() {
            match runtime.block_on(self.ledger.acquire()) {
                Ok(Some(lease)) => {
                    told_standby = false;
                    tracing::info!(epoch = lease.epoch, "this is the active alerter");
                    let end = self.term(lease, runtime, stop, observe);
                    self.set_active(false);
                    match end {
                        End::Stopped => return Ok(()),
                        End::Fatal(error) => return Err(error),
                        End::Lost(error) => {
                            tracing::warn!(%error, "no longer the active alerter");
                            observe.trouble(Some(&error.to_string()));
                        }
                        End::Away(error) => {
                            let why = format!("{error:#}");
                            tracing::warn!(why, "cannot lead while the log is away");
                            observe.trouble(Some(&why));
                        }
                    }
                }
                Ok(None) => {
                    if !told_standby {
                        tracing::info!("another alerter is active; standing by");
                        told_standby = true;
                    }
                    observe.trouble(None);
                }
                Err(error) if error.is_refusal() => {
                    return Err(anyhow::Error::new(error).context("cannot ask for the lease"));
                }
                Err(error) => {
                    metered::warn(
                        "lease",
                        || tracing::warn!(%error, "cannot ask for the lease"),
                    );
                    observe.trouble(Some(&error.to_string()));
                }
            }
            observe.beat();
            rest(ASK, stop);
        }
        Ok(())
    }

    fn set_active(&self, active: bool) {
        self.is_active.store(active, Ordering::Release);
        metrics::gauge!("forewarn_alerter_active").set(if active { 1.0 } else { 0.0 });
    }

    /// Leads until the lease is lost.
    fn term(&self, lease: Lease, runtime: &Handle, stop: &StopFlag, observe: &dyn Observe) -> End {
        let mut term = match Term::begin(self, lease, runtime) {
            Ok(term) => term,
            Err(error) if is_away(&error) => return End::Away(error),
            Err(error) => return End::Fatal(error),
        };
        self.set_active(true);
        observe.trouble(None);
        let end = loop {
            if stop.is_stopped() {
                break End::Stopped;
            }
            if let Err(end) = term.turn(observe) {
                break end;
            }
            observe.beat();
        };
        if matches!(end, End::Stopped) {
            // The last interval need not be written: it is read again. But nobody should have to wait for the lease.
            if let Err(error) = runtime.block_on(self.ledger.release(&term.lease)) {
                tracing::debug!(%error, "the lease was not released, and runs out by itself");
            }
        }
        end
    }
}

/// One term of the active alerter.
struct Term<'a> {
    lead: &'a Lead,
    runtime: &'a Handle,
    lease: Lease,
    pipeline: Pipeline,
    consumer: Box<dyn forewarn_bus::Consumer>,
    appender: Arc<dyn Appender>,
    /// Identity of the history of `commands`, and when its next tick is due.
    commands: LogId,
    tick_due: Instant,
    /// By partition, `commands` last.
    lanes: Vec<Reading>,
    /// The newest moment known of the log, read or not.
    newest: LogTime,
    since_turn: usize,
    /// When the current interval began, and when something followed first.
    written_at: Instant,
    changed_at: Option<Instant>,
    looked_at: Instant,
}

/// How far the reader is in one partition.
#[derive(Clone, Copy)]
struct Reading {
    next_offset: u64,
    moved_at: Instant,
    paused: bool,
    /// A newer writer than this program: it waits for an upgrade.
    halted: bool,
}

impl<'a> Term<'a> {
    fn begin(lead: &'a Lead, lease: Lease, runtime: &'a Handle) -> anyhow::Result<Self> {
        let partitions = lead
            .log
            .partitions(&ANOMALY_PREDICTIONS)
            .context("cannot read predictions")?;
        let mut pipeline =
            Pipeline::new(partitions, Arc::clone(&lead.rules), lead.config.machine());
        if !lease.checkpoint.is_empty() {
            pipeline
                .restore(&lease.checkpoint)
                .context("the checkpoint in `alerter_state` cannot be used")?;
        }
        let appender = lead.log.appender().context("cannot write ticks")?;
        let log = identity(lead.log.as_ref(), appender.as_ref(), &pipeline)
            .context("cannot tell which `commands` these are")?;
        // Before anything is read: whoever is away for an hour finds commands an hour behind, and must not leave them out.
        append_tick(appender.as_ref(), log).context("cannot write ticks")?;
        appender.flush(STUCK).context("cannot write ticks")?;
        let places: Vec<Place> = (0..=partitions)
            .map(|lane| place(lane, partitions))
            .collect();
        let consumer = lead
            .log
            .reader(&places)
            .context("cannot read predictions")?;
        let lane = |next_offset| Reading {
            next_offset,
            moved_at: Instant::now(),
            paused: false,
            halted: false,
        };
        let lanes = pipeline
            .merge()
            .next_offsets()
            .into_iter()
            .map(lane)
            .collect();
        let now = Instant::now();
        let mut term = Self {
            lead,
            runtime,
            lease,
            pipeline,
            consumer,
            appender,
            commands: log,
            tick_due: now + Ticker::EVERY,
            lanes,
            newest: LogTime::default(),
            since_turn: 0,
            written_at: now,
            changed_at: None,
            looked_at: now,
        };
        term.look().context("cannot read predictions")?;
        Ok(term)
    }

    /// The lane of a place.
    fn lane_of(&self, place: Place) -> u32 {
        if place.topic.name == COMMANDS.name {
            self.partitions()
        } else {
            place.partition
        }
    }

    /// How many partitions predictions have; the lane behind them is `commands`.
    fn partitions(&self) -> u32 {
        self.lanes.len() as u32 - 1
    }

    fn place(&self, lane: u32) -> Place {
        place(lane, self.partitions())
    }

    /// Moves time on `commands`. A tick that is not taken is left out: the next comes in a second.
    fn tick_if_due(&mut self) {
        let now = Instant::now();
        if now < self.tick_due {
            return;
        }
        self.tick_due = (self.tick_due + Ticker::EVERY).max(now);
        if let Err(error) = append_tick(self.appender.as_ref(), self.commands) {
            metrics::counter!("forewarn_log_ticks_left_out_total").increment(1);
            metered::warn(
                "tick",
                || tracing::warn!(%error, "left out a tick on `commands`"),
            );
        }
    }

    fn turn(&mut self, observe: &dyn Observe) -> Result<(), End> {
        self.tick_if_due();
        let event = self
            .consumer
            .poll(POLL)
            .context("cannot read predictions")?;
        let is_record = matches!(event, Event::Record(_));
        match event {
            Event::Record(record) => self.take(&record, observe)?,
            Event::Assigned(places) => {
                for place in places {
                    let next = self.lanes[self.lane_of(place) as usize].next_offset;
                    let from = if next == 0 {
                        Start::Earliest
                    } else {
                        Start::Offset(next)
                    };
                    self.consumer
                        .start(place, from)
                        .context("cannot read predictions")?;
                }
            }
            Event::End(place) => self.pipeline.at_end(self.lane_of(place)),
            Event::Nothing => {}
            Event::Revoked(_) | Event::Lost(_) => {
                return Err(anyhow::anyhow!(
                    "partitions were taken from a reader that is in no group"
                )
                .into());
            }
        }
        self.since_turn += 1;
        if !is_record || self.since_turn >= TURN {
            self.since_turn = 0;
            self.confirm_ends();
            // A tick on `commands` may let much pass at once: it is written as it falls due all the same.
            while self.pipeline.turn(TURN) == TURN {
                self.write_if_due()?;
            }
            self.balance()?;
            self.write_if_due()?;
        }
        if self.looked_at.elapsed() >= LOOK {
            self.looked_at = Instant::now();
            self.look()?;
        }
        Ok(())
    }

    /// Reads a record into the merge; what cannot be read goes to the dead letters.
    fn take(&mut self, record: &Record, observe: &dyn Observe) -> Result<(), End> {
        let number = self.lane_of(record.place);
        let is_command = number == self.partitions();
        let lane = &mut self.lanes[number as usize];
        if lane.halted {
            return Ok(());
        }
        lane.next_offset = record.offset + 1;
        lane.moved_at = Instant::now();
        let decoded = if is_command {
            decode_command(record, self.commands, number)
        } else {
            // The clock of `commands` runs on when all else stands still, and tells nothing about how far behind this is.
            self.newest = self.newest.max(record.log_time);
            decode(record)
        };
        match decoded {
            Ok(message) => {
                self.pipeline.push(message).map_err(anyhow::Error::new)?;
                Ok(())
            }
            Err((_, error)) if error.is_too_new() => {
                let why = format!(
                    "{} is halted at offset {}: {error}",
                    record.place, record.offset
                );
                tracing::error!("{why}");
                self.lanes[number as usize].halted = true;
                self.consumer
                    .pause(record.place)
                    .context("cannot pause a partition")?;
                observe.trouble(Some(&why));
                Ok(())
            }
            Err((reason, error)) => self.bury(record, reason, &error.to_string()),
        }
    }

    fn bury(&mut self, record: &Record, reason: DeadReason, detail: &str) -> Result<(), End> {
        let letter = record.dead_letter("alerter", reason, detail.to_owned());
        metrics::counter!("forewarn_alerter_dead_letters_total", "reason" => reason.as_str())
            .increment(1);
        metered::warn(
            "dead",
            || tracing::warn!(place = %record.place, offset = record.offset, detail, "a record cannot be read"),
        );
        self.appender
            .append(&DEAD_LETTERS, None, None, letter.seal(None, None))
            .context("cannot write a dead letter")?;
        // Rare, and it must not be passed over before it is kept.
        self.appender
            .flush(STUCK)
            .context("cannot write a dead letter")?;
        Ok(())
    }

    /// Before a partition is left out the log itself is asked whether it has nothing more. Rare: its writer is gone,
    /// or was. A log that does not answer lets nobody be left out, until [`Term::look`] finds the reader at the end again.
    fn confirm_ends(&mut self) {
        for partition in self.pipeline.stragglers() {
            let next = self.lanes[partition as usize].next_offset;
            let bounds = self.lead.log.bounds(self.place(partition));
            if !bounds.is_ok_and(|bounds| next.max(bounds.start) >= bounds.end) {
                self.pipeline.not_at_end(partition);
            }
        }
    }

    /// Stops reading partitions that are far ahead of the others, and goes on when the others have come.
    fn balance(&mut self) -> Result<(), End> {
        let limit = self.lead.config.waiting_max;
        let partitions = self.partitions();
        for (partition, lane) in (0_u32..).zip(&mut self.lanes) {
            let waiting = self.pipeline.merge().waiting(partition);
            if lane.halted
                || (lane.paused && waiting > limit / 2)
                || (!lane.paused && waiting <= limit)
            {
                continue;
            }
            lane.paused = !lane.paused;
            lane.moved_at = Instant::now();
            let outcome = if lane.paused {
                self.consumer.pause(place(partition, partitions))
            } else {
                self.consumer.resume(place(partition, partitions))
            };
            outcome.context("cannot pause or resume a partition")?;
        }
        Ok(())
    }

    fn write_if_due(&mut self) -> Result<(), End> {
        let interval = self.pipeline.interval();
        if !interval.transitions.is_empty() || !interval.answers.is_empty() {
            self.changed_at.get_or_insert_with(Instant::now);
        }
        let is_full = interval.messages >= INTERVAL_MESSAGES;
        let is_due = self
            .changed_at
            .is_some_and(|at| at.elapsed() >= self.lead.config.interval);
        if is_full || is_due || self.written_at.elapsed() >= QUIET {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), End> {
        let begun = Instant::now();
        self.written_at = begun;
        self.changed_at = None;
        // A decision without a message stays with the interval: it is written with the message that follows it.
        if self.pipeline.interval().messages == 0 {
            self.runtime.block_on(self.lead.ledger.renew(&self.lease))?;
            return Ok(());
        }
        let interval = self.pipeline.take_interval();
        self.newest = self
            .newest
            .max(self.pipeline.merge().newest().unwrap_or_default());
        let behind = interval
            .log_time
            .map(|at| self.newest.since(at))
            .unwrap_or_default();
        let offsets = self.pipeline.merge().next_offsets().into_iter();
        let commit = Commit {
            lease: &self.lease,
            interval: &interval,
            next_offsets: offsets
                .map(|offset| i64::try_from(offset).unwrap_or(i64::MAX))
                .collect(),
            checkpoint: self.pipeline.snapshot(),
            passed: self.pipeline.merge().passed(),
            is_behind: behind > self.lead.config.behind_after,
            receivers: &self.lead.receivers,
        };
        let size = commit.checkpoint.len();
        self.lease = self.runtime.block_on(self.lead.ledger.commit(&commit))?;
        for decision in &interval.decisions {
            let left_out = decision.left_out;
            tracing::warn!(
                partition = decision.partition,
                left_out,
                "a partition far behind was left out of the order, or came back"
            );
        }
        for woken in &self.lead.committed {
            woken.notify_one();
        }
        metrics::histogram!("forewarn_alerter_interval_seconds").record(begun.elapsed());
        metrics::counter!("forewarn_alerter_messages_total").increment(interval.messages);
        metrics::counter!("forewarn_alerter_transitions_total")
            .increment(interval.transitions.len() as u64);
        metrics::gauge!("forewarn_alerter_behind_seconds").set(behind.as_secs_f64());
        metrics::gauge!("forewarn_alerter_checkpoint_bytes").set(size as f64);
        metrics::gauge!("forewarn_alerter_tracked_resources")
            .set(self.pipeline.machine().tracked() as f64);
        Ok(())
    }

    /// Learns how far the log is, and notices a reader that is stuck.
    fn look(&mut self) -> anyhow::Result<()> {
        for partition in 0..self.lanes.len() as u32 {
            let place = self.place(partition);
            // A log that does not answer is not the reader's fault.
            let Ok(bounds) = self.lead.log.bounds(place) else {
                self.lanes
                    .iter_mut()
                    .for_each(|lane| lane.moved_at = Instant::now());
                return Ok(());
            };
            let name = match place.topic.name {
                name if name == COMMANDS.name => name.to_owned(),
                _ => partition.to_string(),
            };
            let lane = &mut self.lanes[partition as usize];
            let lag = bounds
                .end
                .saturating_sub(lane.next_offset.max(bounds.start));
            metrics::gauge!("forewarn_alerter_lag_records", "partition" => name.clone())
                .set(lag as f64);
            if lag == 0 {
                // The client tells each end once; this is for those after which the log did not answer.
                self.pipeline.at_end(partition);
            }
            let lane = &mut self.lanes[partition as usize];
            if lag == 0 || lane.paused || lane.halted {
                lane.moved_at = Instant::now();
            } else if lane.moved_at.elapsed() > STUCK {
                anyhow::bail!(
                    "no progress on {place} for {:?} while {lag} records wait",
                    lane.moved_at.elapsed()
                );
            }
            if lag > 0 && partition < self.partitions() {
                // How far behind the log's time is shows only at its other end.
                let newest = &mut self.newest;
                let tail = bounds.end - 1..bounds.end;
                let read = self.lead.log.read(place, tail, &mut |record| {
                    *newest = (*newest).max(record.log_time);
                    true
                });
                if let Err(error) = read {
                    tracing::debug!(%place, %error, "cannot see the end of a partition");
                }
            }
        }
        Ok(())
    }
}

/// Where the records of a lane are, if there are so many partitions.
fn place(lane: u32, partitions: u32) -> Place {
    if lane == partitions {
        Place {
            topic: &COMMANDS,
            partition: 0,
        }
    } else {
        Place {
            topic: &ANOMALY_PREDICTIONS,
            partition: lane,
        }
    }
}

fn append_tick(appender: &dyn Appender, log: LogId) -> Result<(), AppendError> {
    let genesis = false;
    let tick = Command::from_tick(Tick { log, genesis }).seal(None, None);
    appender.append(&COMMANDS, Some(0), None, tick).map(drop)
}

/// Which history `commands` is: as its oldest tick says, or, where all of them have expired, as the checkpoint does; the
/// first alerter ever mints it.
fn identity(log: &dyn Log, appender: &dyn Appender, pipeline: &Pipeline) -> anyhow::Result<LogId> {
    let place = Place {
        topic: &COMMANDS,
        partition: 0,
    };
    if let Some(found) = log_id(log, place)? {
        return Ok(found);
    }
    let merge = pipeline.merge();
    if let Some(lane) = merge.commands()
        && let Some(known) = merge.log_of(lane)
        && let Some(next) = merge.next_offsets().get(lane as usize)
        && log.bounds(place)?.end >= *next
    {
        return Ok(known);
    }
    let ids = mint_on::<Command>(log, appender).map_err(|error| match error {
        RunError::Bus(error) => anyhow::Error::new(error),
        RunError::Append(error) => anyhow::Error::new(error),
        other => anyhow::Error::new(other),
    })?;
    ids.first().copied().context("`commands` has no partition")
}

/// A record as a message, or why it is none.
pub fn decode(record: &Record) -> Result<Message, (DeadReason, DecodeError)> {
    let pairs = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()));
    let headers = Headers::from_pairs(pairs).map_err(|error| (DeadReason::Header, error))?;
    let prediction = Prediction::decode(&headers, &record.body).map_err(|error| match error {
        DecodeError::UnknownSchema { .. } => (DeadReason::UnknownSchema, error),
        _ => (DeadReason::Body, error),
    })?;
    let missing = || DecodeError::Header {
        name: "src".into(),
        problem: "is missing",
    };
    let src = headers.src.ok_or_else(|| (DeadReason::Header, missing()))?;
    let partition = record.place.partition;
    Ok(Message {
        partition,
        offset: record.offset,
        log_time: record.log_time,
        src,
        said: Said::Prediction(prediction),
    })
}

/// A record of `commands` as a message in this lane, or why it is none. `log` is the identity of the topic's history; what
/// is for others, or known to nobody, says nothing here: the trainer sets aside what nobody can read.
pub fn decode_command(
    record: &Record,
    log: LogId,
    lane: u32,
) -> Result<Message, (DeadReason, DecodeError)> {
    let pairs = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()));
    let headers = Headers::from_pairs(pairs).ok();
    let concerned = headers.filter(|headers| {
        matches!(
            Audience::of(&headers.schema),
            Some(Audience::Alerter | Audience::Clock)
        )
    });
    let mut found = log;
    let said = match concerned {
        None => Said::Nothing,
        Some(headers) => match Command::decode(&headers, &record.body)
            .map_err(|error| (DeadReason::Body, error))?
        {
            Command::Acknowledge(command) => Said::Acknowledge(command),
            Command::Resolve(command) => Said::Resolve(command),
            Command::Train(_) => Said::Nothing,
            Command::Tick(tick) => {
                // Two may have minted at once; the first counts for both, and is what `log` says.
                if !tick.genesis {
                    found = tick.log;
                }
                Said::Nothing
            }
        },
    };
    Ok(Message {
        partition: lane,
        offset: record.offset,
        log_time: record.log_time,
        src: Src::root(found, record.place.partition, record.offset),
        said,
    })
}

/// Sleeps, but not past a stop.
fn rest(wait: Duration, stop: &StopFlag) {
    let until = Instant::now() + wait;
    while Instant::now() < until && !stop.is_stopped() {
        std::thread::sleep(Duration::from_millis(50).min(wait));
    }
}
