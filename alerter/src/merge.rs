//! One sequence out of all partitions of `anomaly_predictions`, the same whoever reads it and however fast (DESIGN.md §2.5).
//!
//! The order is (log time, partition, position of `src`). A message passes only when no partition can bring one before
//! it any more, that is, when each has reached a later moment. A partition whose writer is gone would stop everything,
//! so one may be left out, but only while the reader stands at its end and it is more than [`LEAVE_OUT`] behind the
//! newest. That is a decision, not a fact of the log: it is recorded with the number of messages that had passed, is
//! committed with the interval, and a replay takes it from the record ([`Merge::replay`]).
//!
//! `commands` is one more lane behind the partitions ([`Merge::with_commands`]): what a person decides takes effect where
//! its log time stands among theirs. The active alerter itself ticks there. That clock runs on when everything else stands
//! still, so it never makes a partition count as being behind.
//!
//! Repetitions (a stage that started from its checkpoint says again what it had said) are dropped by `src`.

use std::collections::VecDeque;
use std::time::Duration;

use forewarn_bus::{RestoreError, decode_state, encode_state};
use forewarn_messages::{AlertCommand, Prediction};
use forewarn_types::{LogId, LogTime, Src};
use serde::{Deserialize, Serialize};

/// How far a partition must be behind the newest to be left out: ticks come every second, so its writer is gone.
pub const LEAVE_OUT: Duration = Duration::from_secs(30);

/// What a record says to the alerter.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all of them are predictions"
)]
pub enum Said {
    /// By the predictor.
    Prediction(Prediction),
    /// By a person: this alert is being looked after.
    Acknowledge(AlertCommand),
    /// By a person: this alert is over.
    Resolve(AlertCommand),
    /// Nothing but that time has passed on `commands`: a tick, or what is for others.
    Nothing,
}

/// A record of one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Where it was: of `anomaly_predictions`, or [`Merge::commands`].
    pub partition: u32,
    /// Where it was.
    pub offset: u64,
    /// The log's time, the maximum so far in its partition.
    pub log_time: LogTime,
    /// What caused it.
    pub src: Src,
    /// What it says.
    pub said: Said,
}

/// A partition was left out of the order, or came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Counts the decisions from 1.
    pub number: u64,
    /// How many messages had passed.
    pub passed: u64,
    /// Which partition; one more than there are is `commands`.
    pub partition: u32,
    /// Left out from here on, or back.
    pub left_out: bool,
    /// The newest moment that any partition had reached.
    pub newest: LogTime,
}

/// Why a partition cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The partition's history was replaced under us.
    #[error(
        "the history of partition {partition} changed from log {was} to log {found}: its topic was deleted and made \
         again; start with a new database"
    )]
    OtherLog {
        /// Which partition.
        partition: u32,
        /// As it was known.
        was: LogId,
        /// As the record says.
        found: LogId,
    },
    /// The number of partitions changed.
    #[error(
        "the topic has {found} partitions but the checkpoint was written with {was}; the count cannot change"
    )]
    Partitions {
        /// At the checkpoint.
        was: usize,
        /// Now.
        found: usize,
    },
}

/// Puts partitions into one order.
#[derive(Debug)]
pub struct Merge {
    lanes: Vec<Lane>,
    /// The lane of `commands`, the last one.
    commands: Option<u32>,
    /// Messages that passed, and decisions taken, since the beginning of the log.
    passed: u64,
    decided: u64,
    /// Decisions since they were taken out last.
    fresh: Vec<Decision>,
    /// Decisions that are read instead of taken.
    script: Option<VecDeque<Decision>>,
    newest: Option<LogTime>,
    /// Where the order began: how far a partition without any record is behind is counted from here.
    origin: Option<LogTime>,
}

/// One partition.
#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Message>,
    /// Position of the last record that came, passed or not.
    seen: Option<(u64, u64)>,
    reached: Option<LogTime>,
    at_end: bool,
    left_out: bool,
    /// Nothing more will ever come.
    is_complete: bool,
    progress: Progress,
}

/// How far a partition has passed; the checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    next_offset: u64,
    log: Option<LogId>,
    done: Option<(u64, u64)>,
    reached: Option<LogTime>,
}

/// What is kept between runs. What waits is not: it is read again.
#[derive(Debug, Serialize, Deserialize)]
struct Checkpoint {
    format: u16,
    passed: u64,
    decided: u64,
    origin: Option<LogTime>,
    lanes: Vec<(Progress, bool)>,
}

const FORMAT: u16 = 2;

/// As it was before `commands` had a lane.
const FORMAT_WITHOUT_COMMANDS: u16 = 1;

impl Merge {
    /// Begins at the start of `partitions` partitions.
    #[must_use]
    pub fn new(partitions: u32) -> Self {
        Self {
            lanes: (0..partitions).map(|_| Lane::default()).collect(),
            commands: None,
            passed: 0,
            decided: 0,
            fresh: Vec::new(),
            script: None,
            newest: None,
            origin: None,
        }
    }

    /// Begins at the start, and takes no decisions but these, in their order.
    #[must_use]
    pub fn replay(partitions: u32, decisions: Vec<Decision>) -> Self {
        Self {
            script: Some(decisions.into()),
            ..Self::new(partitions)
        }
    }

    /// The same with a lane for `commands`.
    #[must_use]
    pub fn with_commands(mut self) -> Self {
        self.commands = u32::try_from(self.lanes.len()).ok();
        self.lanes.push(Lane::default());
        self
    }

    /// The lane of `commands`, if there is one.
    #[must_use]
    pub fn commands(&self) -> Option<u32> {
        self.commands
    }

    /// Takes in the next record of a partition, and says whether it is new.
    ///
    /// # Errors
    /// [`MergeError::OtherLog`] when it belongs to another history.
    ///
    /// # Panics
    /// If the partition is not among those that the merge was made for.
    pub fn push(&mut self, mut message: Message) -> Result<bool, MergeError> {
        let lane = &mut self.lanes[message.partition as usize];
        match lane.progress.log {
            None => lane.progress.log = Some(message.src.log),
            Some(was) if was != message.src.log => {
                let (partition, found) = (message.partition, message.src.log);
                return Err(MergeError::OtherLog {
                    partition,
                    was,
                    found,
                });
            }
            Some(_) => {}
        }
        lane.at_end = false;
        if lane.seen.is_some_and(|seen| message.src.position() <= seen) {
            return Ok(false);
        }
        lane.seen = Some(message.src.position());
        let reached = lane
            .reached
            .map_or(message.log_time, |reached| reached.max(message.log_time));
        lane.reached = Some(reached);
        message.log_time = reached;
        if Some(message.partition) != self.commands {
            self.newest = self.newest.max(Some(reached));
            self.origin.get_or_insert(reached);
        }
        let (partition, was_left_out) = (message.partition, lane.left_out);
        lane.waiting.push_back(message);
        if was_left_out && self.script.is_none() {
            self.decide(partition, false);
        }
        Ok(true)
    }

    /// The reader stands at the end of this partition for now.
    ///
    /// # Panics
    /// If the partition is not among those that the merge was made for.
    pub fn at_end(&mut self, partition: u32) {
        self.lanes[partition as usize].at_end = true;
    }

    /// Nothing more will come in this partition than what has been pushed: for a replay, which has read all of it, while its
    /// writer may be about to go on.
    ///
    /// # Panics
    /// If the partition is not among those that the merge was made for.
    pub fn complete(&mut self, partition: u32) {
        self.lanes[partition as usize].is_complete = true;
    }

    /// Partitions that [`Merge::next`] would leave out if they were in the way: the caller makes sure that the reader
    /// really stands at their ends, since a writer that catches up may have gone on after it was last asked.
    #[must_use]
    pub fn stragglers(&self) -> Vec<u32> {
        let lanes = 0..self.lanes.len();
        let may_be = |index: &usize| {
            !self.lanes[*index].left_out
                && self.lanes[*index].waiting.is_empty()
                && self.may_be_left_out(*index)
        };
        lanes.filter(may_be).map(|index| index as u32).collect()
    }

    /// There is more in this partition than the reader has seen.
    ///
    /// # Panics
    /// If the partition is not among those that the merge was made for.
    pub fn not_at_end(&mut self, partition: u32) {
        self.lanes[partition as usize].at_end = false;
    }

    /// The next message that may pass, if there is one yet.
    #[allow(
        clippy::should_implement_trait,
        reason = "no iterator: `None` means not yet, not the end"
    )]
    pub fn next(&mut self) -> Option<Message> {
        loop {
            self.follow_script();
            let candidates = self
                .lanes
                .iter()
                .enumerate()
                .filter(|(_, lane)| !lane.left_out);
            let heads = candidates
                .filter_map(|(index, lane)| Some((lane.waiting.front()?.log_time, index)));
            let (log_time, chosen) = heads.min()?;
            // Heads are compared by (log time, partition), and within a partition they are in order anyway. Whoever
            // has nothing waiting could still bring something before the head unless it has reached a later moment.
            let blocks = |(index, lane): &(usize, &Lane)| {
                let is_before = |reached| (reached, *index) <= (log_time, chosen);
                !lane.left_out
                    && !lane.is_complete
                    && lane.waiting.is_empty()
                    && lane.reached.is_none_or(is_before)
            };
            let blocking: Vec<usize> = self
                .lanes
                .iter()
                .enumerate()
                .filter(blocks)
                .map(|(index, _)| index)
                .collect();
            if blocking.is_empty() {
                return self.pass(chosen);
            }
            if !blocking.iter().all(|index| self.may_be_left_out(*index)) {
                return None;
            }
            for index in blocking {
                self.decide(index as u32, true);
            }
        }
    }

    /// Decisions since the last call, to be committed with what passed.
    pub fn take_decisions(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.fresh)
    }

    /// The identity of a partition's history, if it is known.
    #[must_use]
    pub fn log_of(&self, partition: u32) -> Option<LogId> {
        self.lanes.get(partition as usize)?.progress.log
    }

    /// Messages of a partition that came and have not passed.
    #[must_use]
    pub fn waiting(&self, partition: u32) -> usize {
        self.lanes
            .get(partition as usize)
            .map_or(0, |lane| lane.waiting.len())
    }

    /// The newest moment that any partition has reached, but for `commands`.
    #[must_use]
    pub fn newest(&self) -> Option<LogTime> {
        self.newest
    }

    /// Messages that have passed since the beginning of the log.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// The offsets to read next after a restart, by partition.
    #[must_use]
    pub fn next_offsets(&self) -> Vec<u64> {
        self.lanes
            .iter()
            .map(|lane| lane.progress.next_offset)
            .collect()
    }

    /// Partitions that are left out at the moment.
    pub fn left_out(&self) -> impl Iterator<Item = u32> + '_ {
        (0..)
            .zip(&self.lanes)
            .filter(|(_, lane)| lane.left_out)
            .map(|(partition, _)| partition)
    }

    /// Everything needed to go on after the last message that passed.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        encode_state(&Checkpoint {
            format: FORMAT,
            passed: self.passed,
            decided: self.decided,
            origin: self.origin,
            lanes: self
                .lanes
                .iter()
                .map(|lane| (lane.progress, lane.left_out))
                .collect(),
        })
    }

    /// Goes on from a snapshot: reading has to begin at [`Merge::next_offsets`].
    ///
    /// # Errors
    /// [`RestoreError`] when the bytes are no snapshot of this format, or of another number of partitions.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let mut checkpoint: Checkpoint = decode_state(snapshot)?;
        if checkpoint.format == FORMAT_WITHOUT_COMMANDS && self.commands.is_some() {
            // Nobody was heard there yet, so its lane begins where the topic does.
            checkpoint.lanes.push((Progress::default(), false));
        } else if checkpoint.format != FORMAT {
            return Err(RestoreError(format!(
                "format {}, this program writes {FORMAT}",
                checkpoint.format
            )));
        }
        if checkpoint.lanes.len() != self.lanes.len() {
            let error = MergeError::Partitions {
                was: checkpoint.lanes.len(),
                found: self.lanes.len(),
            };
            return Err(RestoreError(error.to_string()));
        }
        self.passed = checkpoint.passed;
        self.decided = checkpoint.decided;
        self.origin = checkpoint.origin;
        self.newest = checkpoint
            .lanes
            .iter()
            .zip(0_u32..)
            .filter(|(_, partition)| Some(*partition) != self.commands)
            .filter_map(|((progress, _), _)| progress.reached)
            .max();
        self.fresh.clear();
        for (lane, (progress, left_out)) in self.lanes.iter_mut().zip(checkpoint.lanes) {
            *lane = Lane {
                seen: progress.done,
                reached: progress.reached,
                left_out,
                is_complete: lane.is_complete,
                progress,
                ..Lane::default()
            };
        }
        Ok(())
    }

    fn pass(&mut self, chosen: usize) -> Option<Message> {
        let lane = &mut self.lanes[chosen];
        let message = lane.waiting.pop_front()?;
        lane.progress.next_offset = message.offset + 1;
        lane.progress.done = Some(message.src.position());
        lane.progress.reached = Some(message.log_time);
        self.passed += 1;
        Some(message)
    }

    fn may_be_left_out(&self, index: usize) -> bool {
        let lane = &self.lanes[index];
        let Some((newest, reached)) = self.newest.zip(lane.reached.or(self.origin)) else {
            return false;
        };
        self.script.is_none() && lane.at_end && newest.since(reached) > LEAVE_OUT
    }

    fn decide(&mut self, partition: u32, left_out: bool) {
        self.lanes[partition as usize].left_out = left_out;
        self.decided += 1;
        self.fresh.push(Decision {
            number: self.decided,
            passed: self.passed,
            partition,
            left_out,
            newest: self.newest.unwrap_or_default(),
        });
    }

    /// Takes the decisions that were recorded for this place in the order.
    fn follow_script(&mut self) {
        let Some(script) = &mut self.script else {
            return;
        };
        while let Some(decision) = script
            .front()
            .filter(|decision| decision.passed <= self.passed)
            .copied()
        {
            script.pop_front();
            if let Some(lane) = self.lanes.get_mut(decision.partition as usize) {
                lane.left_out = decision.left_out;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use forewarn_messages::Tick;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn log(partition: u32) -> LogId {
        LogId(Uuid::from_u128(u128::from(partition) + 1))
    }

    fn message(partition: u32, offset: u64, position: u64, log_time: i64) -> Message {
        Message {
            partition,
            offset,
            log_time: LogTime(log_time),
            src: Src::root(log(partition), partition, position),
            said: Said::Prediction(Prediction::Tick(Tick {
                log: log(partition),
                genesis: false,
            })),
        }
    }

    /// Partition, log time and offset of what passes.
    fn drain(merge: &mut Merge) -> Vec<(u32, i64, u64)> {
        std::iter::from_fn(|| merge.next())
            .map(|m| (m.partition, m.log_time.0, m.offset))
            .collect()
    }

    fn push(merge: &mut Merge, message: Message) -> bool {
        merge.push(message).expect("it is the same log")
    }

    #[test]
    fn a_moment_passes_only_when_every_partition_has_reached_a_later_one() {
        let mut merge = Merge::new(2);
        push(&mut merge, message(0, 0, 0, 10));
        push(&mut merge, message(0, 1, 1, 20));
        assert_eq!(drain(&mut merge), []);
        push(&mut merge, message(1, 0, 0, 15));
        // Partition 1 may still bring something at 15, but nothing before it; partition 0 comes first at 20 anyway.
        assert_eq!(drain(&mut merge), [(0, 10, 0), (1, 15, 0)]);
        push(&mut merge, message(1, 1, 1, 20));
        assert_eq!(drain(&mut merge), [(0, 20, 1)]);
    }

    #[test]
    fn repetitions_are_dropped_and_time_never_goes_back_within_a_partition() {
        let mut merge = Merge::new(1);
        assert!(push(&mut merge, message(0, 0, 5, 100)));
        assert!(push(&mut merge, message(0, 1, 6, 90)));
        assert!(!push(&mut merge, message(0, 2, 5, 100)));
        assert!(!push(&mut merge, message(0, 3, 6, 90)));
        assert!(push(&mut merge, message(0, 4, 7, 110)));
        assert_eq!(drain(&mut merge), [(0, 100, 0), (0, 100, 1), (0, 110, 4)]);
        assert_eq!(merge.next_offsets(), [5]);
    }

    #[test]
    fn a_partition_is_left_out_only_at_its_end_and_far_behind() {
        let mut merge = Merge::new(2);
        push(&mut merge, message(1, 0, 0, 1_000));
        push(&mut merge, message(0, 0, 0, 2_000));
        push(&mut merge, message(0, 1, 1, 31_000));
        assert_eq!(
            drain(&mut merge),
            [(1, 1_000, 0)],
            "30 s behind is not more than 30 s"
        );
        push(&mut merge, message(0, 2, 2, 31_001));
        assert_eq!(
            drain(&mut merge),
            [],
            "the reader does not stand at its end"
        );
        merge.at_end(1);
        assert_eq!(merge.stragglers(), [1]);
        // The writer has gone on since the reader stood at the end.
        merge.not_at_end(1);
        assert_eq!((drain(&mut merge), merge.stragglers()), (vec![], vec![]));
        merge.at_end(1);
        assert_eq!(drain(&mut merge).len(), 3);
        let [decision] = merge.take_decisions()[..] else {
            panic!("one decision")
        };
        assert_eq!(
            (decision.passed, decision.partition, decision.left_out),
            (1, 1, true)
        );
        // It comes back with what it has, late as it is.
        push(&mut merge, message(1, 1, 1, 1_500));
        assert_eq!(drain(&mut merge), [(1, 1_500, 1)]);
        let [decision] = merge.take_decisions()[..] else {
            panic!("one decision")
        };
        assert_eq!(
            (decision.passed, decision.partition, decision.left_out),
            (4, 1, false)
        );
    }

    #[test]
    fn a_partition_that_never_had_a_record_is_waited_for_and_then_left_out() {
        let mut merge = Merge::new(2);
        merge.at_end(1);
        push(&mut merge, message(0, 0, 0, 1_000));
        push(&mut merge, message(0, 1, 1, 20_000));
        assert_eq!(drain(&mut merge), []);
        push(&mut merge, message(0, 2, 2, 40_000));
        assert_eq!(drain(&mut merge).len(), 3);
    }

    #[test]
    fn a_command_passes_at_its_moment_and_its_clock_leaves_nobody_behind() {
        let mut merge = Merge::new(2).with_commands();
        assert_eq!(merge.commands(), Some(2));
        push(&mut merge, message(2, 0, 0, 15));
        push(&mut merge, message(0, 0, 0, 10));
        push(&mut merge, message(1, 0, 0, 15));
        push(&mut merge, message(0, 1, 1, 20));
        // At equal moments it comes behind the partitions, of which the second may still bring something at 15.
        assert_eq!(drain(&mut merge), [(0, 10, 0), (1, 15, 0)]);
        push(&mut merge, message(1, 1, 1, 20));
        assert_eq!(drain(&mut merge), [(2, 15, 0)]);
        // Time goes on there alone: nobody else is behind for that.
        push(&mut merge, message(2, 1, 1, 1_000_000));
        (0..3).for_each(|partition| merge.at_end(partition));
        assert_eq!(drain(&mut merge), [(0, 20, 1)]);
        assert_eq!(
            (merge.stragglers(), merge.take_decisions()),
            (vec![], vec![])
        );
        assert_eq!(merge.newest(), Some(LogTime(20)));
    }

    #[test]
    fn without_a_clock_commands_are_left_out_like_any_other() {
        let mut merge = Merge::new(1).with_commands();
        push(&mut merge, message(1, 0, 0, 1_000));
        push(&mut merge, message(0, 0, 0, 31_001));
        merge.at_end(1);
        assert_eq!(drain(&mut merge), [(1, 1_000, 0), (0, 31_001, 0)]);
        assert_eq!(merge.take_decisions().len(), 1);
        // Whoever has read all of it knows that nothing comes.
        let mut merge = Merge::replay(1, Vec::new()).with_commands();
        push(&mut merge, message(0, 0, 0, 31_001));
        assert_eq!(drain(&mut merge), []);
        merge.complete(1);
        assert_eq!(drain(&mut merge), [(0, 31_001, 0)]);
    }

    #[test]
    fn a_checkpoint_from_before_there_were_commands_goes_on() {
        let mut merge = Merge::new(1);
        push(&mut merge, message(0, 7, 7, 10));
        assert_eq!(drain(&mut merge), [(0, 10, 7)]);
        let mut old: Checkpoint = decode_state(&merge.snapshot()).expect("it is one");
        old.format = FORMAT_WITHOUT_COMMANDS;
        let mut restored = Merge::new(1).with_commands();
        restored
            .restore(&encode_state(&old))
            .expect("it can be read");
        assert_eq!(restored.next_offsets(), [8, 0]);
        assert_eq!(
            (restored.log_of(0), restored.log_of(1)),
            (Some(log(0)), None)
        );
    }

    #[test]
    fn another_history_is_refused() {
        let mut merge = Merge::new(1);
        push(&mut merge, message(0, 0, 0, 1));
        let mut other = message(0, 1, 1, 2);
        other.src.log = log(9);
        assert!(matches!(
            merge.push(other),
            Err(MergeError::OtherLog { partition: 0, .. })
        ));
        let mut restored = Merge::new(2);
        assert!(restored.restore(&merge.snapshot()).is_err());
    }

    /// Per partition: gaps of log time between its records (0: the same moment).
    fn histories() -> impl Strategy<Value = Vec<Vec<i64>>> {
        proptest::collection::vec(proptest::collection::vec(0_i64..4_000, 1..40), 1..5)
    }

    fn records(gaps: &[Vec<i64>]) -> Vec<Vec<Message>> {
        let lane = |(partition, gaps): (u32, &Vec<i64>)| {
            let mut at = 0;
            let times = gaps.iter().map(move |gap| {
                at += gap;
                at
            });
            (0..)
                .zip(times)
                .map(|(offset, at)| message(partition, offset, offset, at))
                .collect()
        };
        (0..).zip(gaps).map(lane).collect()
    }

    proptest! {
        #[test]
        fn how_the_partitions_arrive_does_not_matter(gaps in histories(), choices in proptest::collection::vec(any::<prop::sample::Index>(), 200)) {
            let lanes = records(&gaps);
            let partitions = lanes.len() as u32;
            let mut at_once = Merge::new(partitions);
            lanes.iter().flatten().for_each(|m| { push(&mut at_once, m.clone()); });
            let expected = drain(&mut at_once);

            let mut queues: Vec<VecDeque<Message>> = lanes.into_iter().map(VecDeque::from).collect();
            let mut merge = Merge::new(partitions);
            let mut passed = Vec::new();
            for choice in choices.iter().cycle() {
                let open: Vec<usize> = (0..queues.len()).filter(|i| !queues[*i].is_empty()).collect();
                if open.is_empty() { break; }
                let queue = &mut queues[open[choice.index(open.len())]];
                push(&mut merge, queue.pop_front().expect("it is not empty"));
                passed.extend(drain(&mut merge));
            }
            // Nothing was ever said to be at its end, so what passed is the same prefix of the one order.
            prop_assert_eq!(passed, expected);
        }

        #[test]
        fn a_replay_with_its_decisions_passes_the_same(gaps in histories(), choices in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<bool>()), 200)) {
            let gaps: Vec<Vec<i64>> = gaps.into_iter().map(|lane| lane.into_iter().map(|gap| gap * 10).collect()).collect();
            let lanes = records(&gaps);
            let partitions = lanes.len() as u32;
            let mut merge = Merge::new(partitions);
            let mut next: Vec<usize> = vec![0; lanes.len()];
            let (mut passed, mut decisions) = (Vec::new(), Vec::new());
            for (choice, end, restart) in &choices {
                let index = choice.index(lanes.len());
                if let Some(m) = lanes[index].get(next[index]) {
                    push(&mut merge, m.clone());
                    next[index] += 1;
                }
                if *end || next[index] == lanes[index].len() { merge.at_end(index as u32); }
                passed.extend(drain(&mut merge));
                decisions.extend(merge.take_decisions());
                if *restart {
                    let snapshot = merge.snapshot();
                    merge = Merge::new(partitions);
                    merge.restore(&snapshot).expect("it was written just now");
                    next = merge.next_offsets().iter().map(|offset| *offset as usize).collect();
                }
            }
            let mut replay = Merge::replay(partitions, decisions);
            lanes.iter().flatten().for_each(|m| { push(&mut replay, m.clone()); });
            let mut again = drain(&mut replay);
            again.truncate(passed.len());
            prop_assert_eq!(again, passed);
        }
    }
}
