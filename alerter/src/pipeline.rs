//! Merge and machine as one thing with one checkpoint: what an interval is made of. Pure.

use std::sync::Arc;

use forewarn_bus::{RestoreError, decode_state, encode_state};
use forewarn_rules::RuleSet;
use forewarn_types::LogTime;

use crate::merge::Said;
use crate::{
    Answer, Decision, Deed, Machine, MachineConfig, Merge, MergeError, Message, Transition,
};

/// From records of all partitions to transitions.
#[derive(Debug)]
pub struct Pipeline {
    merge: Merge,
    machine: Machine,
    interval: Interval,
}

/// What followed from a span of the merged sequence; it becomes durable as a whole or not at all.
#[derive(Debug, Default)]
pub struct Interval {
    /// Of all alerts, in their order.
    pub transitions: Vec<Transition>,
    /// What commands came to, in their order.
    pub answers: Vec<Answer>,
    /// Of the merge.
    pub decisions: Vec<Decision>,
    /// Messages that passed.
    pub messages: u64,
    /// The log's time of the last of them.
    pub log_time: Option<LogTime>,
}

impl Pipeline {
    /// Begins at the start of the log.
    #[must_use]
    pub fn new(partitions: u32, rules: Arc<RuleSet>, config: MachineConfig) -> Self {
        Self {
            merge: Merge::new(partitions).with_commands(),
            machine: Machine::new(rules, config),
            interval: Interval::default(),
        }
    }

    /// The same, with the order's decisions read instead of taken.
    #[must_use]
    pub fn replay(
        partitions: u32,
        rules: Arc<RuleSet>,
        config: MachineConfig,
        decisions: Vec<Decision>,
    ) -> Self {
        Self {
            merge: Merge::replay(partitions, decisions).with_commands(),
            ..Self::new(partitions, rules, config)
        }
    }

    /// Takes in the next record of a partition, and says whether it is new. See [`Merge::push`].
    ///
    /// # Errors
    /// [`MergeError`] when it belongs to another history.
    pub fn push(&mut self, message: Message) -> Result<bool, MergeError> {
        self.merge.push(message)
    }

    /// See [`Merge::at_end`].
    pub fn at_end(&mut self, partition: u32) {
        self.merge.at_end(partition);
    }

    /// All commands that there are have been pushed. See [`Merge::complete`].
    pub fn no_more_commands(&mut self) {
        if let Some(lane) = self.merge.commands() {
            self.merge.complete(lane);
        }
    }

    /// See [`Merge::stragglers`].
    #[must_use]
    pub fn stragglers(&self) -> Vec<u32> {
        self.merge.stragglers()
    }

    /// See [`Merge::not_at_end`].
    pub fn not_at_end(&mut self, partition: u32) {
        self.merge.not_at_end(partition);
    }

    /// Lets pass what may, at most `limit` messages, into the current interval. Says how many did.
    pub fn turn(&mut self, limit: usize) -> usize {
        let mut passed = 0;
        while passed < limit {
            let Some(message) = self.merge.next() else {
                break;
            };
            passed += 1;
            self.interval.messages += 1;
            self.interval.log_time = self.interval.log_time.max(Some(message.log_time));
            let (log_time, src) = (message.log_time, message.src);
            let (transitions, answer) = match &message.said {
                Said::Prediction(prediction) => {
                    (self.machine.apply(prediction, log_time, src), None)
                }
                Said::Acknowledge(command) => {
                    self.machine
                        .command(Deed::Acknowledge, command, log_time, src)
                }
                Said::Resolve(command) => {
                    self.machine.command(Deed::Resolve, command, log_time, src)
                }
                // Timers belong to the time of `anomaly_predictions`, whether people decide anything or not.
                Said::Nothing => (Vec::new(), None),
            };
            self.interval.transitions.extend(transitions);
            self.interval.answers.extend(answer);
        }
        self.interval.decisions.extend(self.merge.take_decisions());
        passed
    }

    /// What followed since the last call.
    pub fn take_interval(&mut self) -> Interval {
        std::mem::take(&mut self.interval)
    }

    /// The current interval.
    #[must_use]
    pub fn interval(&self) -> &Interval {
        &self.interval
    }

    /// The merge, for what it can tell.
    #[must_use]
    pub fn merge(&self) -> &Merge {
        &self.merge
    }

    /// The machine, for what it can tell.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Everything needed to go on after the current interval.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        encode_state(&(self.merge.snapshot(), self.machine.snapshot()))
    }

    /// Goes on from a snapshot; reading has to begin at [`Merge::next_offsets`].
    ///
    /// # Errors
    /// [`RestoreError`] when the bytes are of another format or another number of partitions.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let (merge, machine): (Vec<u8>, Vec<u8>) = decode_state(snapshot)?;
        self.merge.restore(&merge)?;
        self.machine.restore(&machine)?;
        self.interval = Interval::default();
        Ok(())
    }
}
