//! Reading as a member of a group, or alone.
//!
//! A rebalance is answered at once where nothing is at stake and later where work has to be finished first:
//! *assigned* partitions are acknowledged with an empty list and added one by one when their reader has found out
//! where to begin ([`Consumer::start`]); *revoked* ones stay with librdkafka, which goes on with heartbeats, until
//! they are released; *lost* ones are let go immediately.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use forewarn_messages::Topic;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::reading::{at, number, record};
use super::{Chatter, Cluster, QUESTION, QUESTIONS, refused};
use crate::{BusError, Consumer, Event, Place, Start, Subscription};

/// Closing may wait for a coordinator that is away; skipping it is harmless, since membership is static.
const CLOSING: Duration = Duration::from_secs(5);

pub(super) struct KafkaConsumer {
    cluster: Cluster,
    /// Present until dropped.
    inner: Option<BaseConsumer<Membership>>,
    /// Name on the cluster of each topic that is read.
    topics: Vec<(String, &'static Topic)>,
    group: Option<String>,
    events: VecDeque<Event>,
    /// What is read now.
    started: BTreeMap<Place, Reading>,
    /// Taken away by the group, not yet released by the reader.
    revoking: BTreeSet<Place>,
    /// Released while others of the same revocation are still in work.
    released: Vec<Place>,
    paused: BTreeSet<Place>,
    /// Numbers of partitions of which one (of several topics) was read to its end.
    ends: BTreeSet<u32>,
}

/// A partition that is read.
#[derive(Clone, Copy, Debug)]
struct Reading {
    next: u64,
    /// A gap in the offsets before this record was looked into and found to be in the log itself.
    gap_before: Option<u64>,
}

impl KafkaConsumer {
    pub(super) fn member(cluster: &Cluster, subscription: &Subscription) -> Result<Self, BusError> {
        let group = cluster.group(&subscription.group);
        let mut config = cluster.client();
        config
            .set("group.id", &group)
            .set("group.instance.id", &subscription.instance)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "10000")
            // Members learn of a rebalance with their next heartbeat.
            .set("heartbeat.interval.ms", "1000")
            // A loop that hangs for longer loses its partitions to the others.
            .set("max.poll.interval.ms", "60000");
        let consumer = Self::new(cluster, config, &subscription.topics, Some(group))?;
        let names: Vec<_> = consumer
            .topics
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        consumer.client().subscribe(&names).map_err(refused)?;
        Ok(consumer)
    }

    pub(super) fn alone(cluster: &Cluster, places: &[Place]) -> Result<Self, BusError> {
        let mut topics: Vec<&'static Topic> = Vec::new();
        for place in places {
            if !topics.contains(&place.topic) {
                topics.push(place.topic);
            }
        }
        let mut config = cluster.client();
        // librdkafka wants a group for manual assignments too; it is never joined.
        config.set("group.id", cluster.group("forewarn-reader"));
        let mut consumer = Self::new(cluster, config, &topics, None)?;
        consumer.events.push_back(Event::Assigned(places.to_vec()));
        Ok(consumer)
    }

    fn new(
        cluster: &Cluster,
        mut config: rdkafka::ClientConfig,
        topics: &[&'static Topic],
        group: Option<String>,
    ) -> Result<Self, BusError> {
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("check.crcs", "true")
            .set("allow.auto.create.topics", "false")
            // A record ends the wait, but a partition that starts meanwhile has to sit it out.
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", "16384")
            .set("queued.min.messages", "10000")
            // The default waits for a second before it refills a queue that was full.
            .set("fetch.queue.backoff.ms", "20");
        let inner = BaseConsumer::from_config_and_context(&config, Membership::default())
            .map_err(refused)?;
        Ok(Self {
            cluster: cluster.clone(),
            inner: Some(inner),
            topics: topics
                .iter()
                .map(|topic| (cluster.name(topic).into_owned(), *topic))
                .collect(),
            group,
            events: VecDeque::new(),
            started: BTreeMap::new(),
            revoking: BTreeSet::new(),
            released: Vec::new(),
            paused: BTreeSet::new(),
            ends: BTreeSet::new(),
        })
    }

    fn client(&self) -> &BaseConsumer<Membership> {
        self.inner.as_ref().expect("present until dropped")
    }

    fn place(&self, topic: &str, partition: i32) -> Option<Place> {
        let (_, topic) = self.topics.iter().find(|(name, _)| name == topic)?;
        Some(Place {
            topic,
            partition: u32::try_from(partition).ok()?,
        })
    }

    fn list(&self, places: impl IntoIterator<Item = Place>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for place in places {
            list.add_partition(&self.cluster.name(place.topic), number(place.partition));
        }
        list
    }

    /// Takes over what the group decided during the last poll.
    fn take_changes(&mut self) {
        let changes = std::mem::take(&mut self.client().context().lock().changes);
        for change in changes {
            let places = |this: &Self, partitions: &[(String, i32)]| -> Vec<Place> {
                partitions
                    .iter()
                    .filter_map(|(topic, partition)| this.place(topic, *partition))
                    .collect()
            };
            let event = match change {
                Change::Assigned(partitions) => Event::Assigned(places(self, &partitions)),
                Change::Revoked(partitions) => {
                    let places = places(self, &partitions);
                    self.revoking.extend(&places);
                    Event::Revoked(places)
                }
                Change::Lost(partitions) => {
                    let places = places(self, &partitions);
                    for place in &places {
                        self.forget(*place);
                        self.revoking.remove(place);
                    }
                    self.released.retain(|place| !places.contains(place));
                    Event::Lost(places)
                }
            };
            let (kind, places) = match &event {
                Event::Revoked(places) => ("revoked", places),
                Event::Lost(places) => ("lost", places),
                Event::Assigned(places) => ("assigned", places),
                _ => continue,
            };
            metrics::counter!("forewarn_log_rebalances_total", "kind" => kind).increment(1);
            let names: Vec<_> = places.iter().map(ToString::to_string).collect();
            tracing::info!(
                group = self.group,
                kind,
                partitions = names.join(" "),
                "partitions changed hands"
            );
            self.events.push_back(event);
        }
    }

    fn forget(&mut self, place: Place) {
        self.started.remove(&place);
        self.paused.remove(&place);
    }

    fn take_message(&mut self, wait: Duration) -> Result<Option<Event>, BusError> {
        enum Polled {
            Event(Event),
            Gap(Place, u64),
            End(i32),
            Failed(KafkaError),
            Nothing,
        }
        let polled = match self.client().poll(wait) {
            Some(Ok(message)) => {
                let offset = u64::try_from(message.offset()).unwrap_or_default();
                let place = self.place(message.topic(), message.partition());
                match place.and_then(|place| Some((place, *self.started.get(&place)?))) {
                    // Taken away or not started: whoever has it will read it.
                    None => Polled::Nothing,
                    Some((place, _)) if self.revoking.contains(&place) => Polled::Nothing,
                    Some((_, reading)) if offset < reading.next => Polled::Nothing,
                    Some((place, reading))
                        if offset > reading.next && reading.gap_before != Some(offset) =>
                    {
                        Polled::Gap(place, offset)
                    }
                    Some((place, _)) => Polled::Event(Event::Record(record(place, &message))),
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => Polled::End(partition),
            Some(Err(error)) => Polled::Failed(error),
            None => Polled::Nothing,
        };
        match polled {
            Polled::Event(event) => {
                if let Event::Record(record) = &event {
                    let next = record.offset + 1;
                    self.started.insert(
                        record.place,
                        Reading {
                            next,
                            gap_before: None,
                        },
                    );
                }
                Ok(Some(event))
            }
            Polled::Gap(place, offset) => {
                // Retention, somebody's transaction, or a record fetched for an earlier start: ask for it again.
                let next = self
                    .started
                    .get(&place)
                    .map_or(offset, |reading| reading.next);
                tracing::debug!(%place, next, offset, "offsets jumped");
                self.start(place, Start::Offset(next))?;
                if let Some(reading) = self.started.get_mut(&place) {
                    reading.gap_before = Some(offset);
                }
                Ok(None)
            }
            Polled::End(partition) => {
                self.ends.extend(u32::try_from(partition).ok());
                Ok(self.settle_ends(false))
            }
            Polled::Failed(error) => self.take_error(&error).map(|()| None),
            Polled::Nothing => Ok(self.settle_ends(true)),
        }
    }

    /// The client names only the number of a partition that was read to its end. With one topic that says it all;
    /// with several, the log is asked when there is nothing else to do.
    fn settle_ends(&mut self, idle: bool) -> Option<Event> {
        let single = self.topics.len() == 1;
        if !single && !idle {
            return None;
        }
        while let Some(partition) = self.ends.pop_first() {
            for (name, topic) in &self.topics {
                let place = Place { topic, partition };
                let Some(reading) = self
                    .started
                    .get(&place)
                    .filter(|_| !self.revoking.contains(&place))
                else {
                    continue;
                };
                let ended = single || {
                    let marks = self
                        .client()
                        .fetch_watermarks(name, number(partition), QUESTION);
                    marks.is_ok_and(|(_, high)| {
                        u64::try_from(high).is_ok_and(|high| reading.next >= high)
                    })
                };
                if ended {
                    self.events.push_back(Event::End(place));
                }
            }
        }
        self.events.pop_front()
    }

    fn take_error(&mut self, error: &KafkaError) -> Result<(), BusError> {
        let code = error.rdkafka_error_code();
        if let KafkaError::MessageConsumptionFatal(_) = error {
            let instance = "; does another process run under the same instance name?";
            let hint = if code == Some(RDKafkaErrorCode::FencedInstanceId) {
                instance
            } else {
                ""
            };
            return Err(refused(format!("{error}{hint}")));
        }
        if code == Some(RDKafkaErrorCode::AutoOffsetReset) {
            // One of them stands outside what is kept; starting it again finds out which, and counts it.
            let readings: Vec<_> = self
                .started
                .iter()
                .map(|(place, reading)| (*place, reading.next))
                .collect();
            for (place, next) in readings {
                if !self.revoking.contains(&place)
                    && self.begin_of(place, Start::Offset(next))? != next
                {
                    self.start(place, Start::Offset(next))?;
                }
            }
            return Ok(());
        }
        self.client()
            .context()
            .chatter
            .problem(error, "polling was disturbed");
        Ok(())
    }

    /// The offset at which a start begins. One that is not kept any more gives the oldest that is.
    fn begin_of(&self, place: Place, from: Start) -> Result<u64, BusError> {
        let name = self.cluster.name(place.topic);
        let (low, high) = self.ask(|| {
            self.client()
                .fetch_watermarks(&name, number(place.partition), QUESTION)
        })?;
        let (low, high) = (
            u64::try_from(low).unwrap_or_default(),
            u64::try_from(high).unwrap_or_default(),
        );
        Ok(match from {
            Start::Offset(offset) if (low..=high).contains(&offset) => offset,
            Start::Offset(_) | Start::Earliest => low,
        })
    }

    fn ask<T>(&self, question: impl Fn() -> KafkaResult<T>) -> Result<T, BusError> {
        let mut asked = 1;
        loop {
            match question() {
                Ok(answer) => return Ok(answer),
                Err(error) if asked == QUESTIONS => return Err(self.cluster.unreachable(error)),
                Err(_) => std::thread::sleep(Duration::from_millis(250)),
            }
            asked += 1;
        }
    }

    fn stop_reading(&mut self, places: &[Place]) -> Result<(), BusError> {
        let reading: Vec<_> = places
            .iter()
            .copied()
            .filter(|place| self.started.contains_key(place))
            .collect();
        for place in &reading {
            self.forget(*place);
        }
        let list = self.list(reading);
        self.client().context().note(&list, false);
        // Called even when nothing of it was read: it is the answer that the group waits for.
        self.client().incremental_unassign(&list).map_err(refused)
    }
}

impl Consumer for KafkaConsumer {
    fn poll(&mut self, wait: Duration) -> Result<Event, BusError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        let polled = self.take_message(wait);
        self.take_changes();
        Ok(match polled? {
            Some(event) => event,
            None => self.events.pop_front().unwrap_or(Event::Nothing),
        })
    }

    fn start(&mut self, place: Place, from: Start) -> Result<(), BusError> {
        if self.revoking.contains(&place) {
            return Ok(());
        }
        if self.started.contains_key(&place) {
            self.stop_reading(&[place])?;
        }
        let next = self.begin_of(place, from)?;
        if let Start::Offset(wanted) = from
            && wanted != next
        {
            tracing::error!(%place, wanted, next, "offset is not kept any more; going on with the oldest that is");
            metrics::counter!("forewarn_log_out_of_range_total", "topic" => place.topic.name)
                .increment(1);
        }
        let list = at(&self.cluster.name(place.topic), place.partition, next);
        self.client().context().note(&list, true);
        self.client().incremental_assign(&list).map_err(refused)?;
        // A pause outlives the assignment that it was made for.
        self.client().resume(&self.list([place])).map_err(refused)?;
        self.started.insert(
            place,
            Reading {
                next,
                gap_before: None,
            },
        );
        Ok(())
    }

    fn release(&mut self, places: &[Place]) -> Result<(), BusError> {
        for place in places {
            if self.revoking.remove(place) {
                self.released.push(*place);
            }
        }
        // The group takes one answer for all that it took away; of what was lost it wants none.
        if !self.revoking.is_empty() || self.released.is_empty() {
            return Ok(());
        }
        let released = std::mem::take(&mut self.released);
        self.stop_reading(&released)
    }

    fn pause(&mut self, place: Place) -> Result<(), BusError> {
        if self.started.contains_key(&place) && self.paused.insert(place) {
            self.client().pause(&self.list([place])).map_err(refused)?;
        }
        Ok(())
    }

    fn resume(&mut self, place: Place) -> Result<(), BusError> {
        if self.paused.remove(&place) {
            self.client().resume(&self.list([place])).map_err(refused)?;
        }
        Ok(())
    }

    fn commit(&mut self, place: Place, next_offset: u64) -> Result<(), BusError> {
        if self.group.is_none() {
            return Ok(());
        }
        let list = at(
            &self.cluster.name(place.topic),
            place.partition,
            next_offset,
        );
        self.client()
            .commit(&list, CommitMode::Async)
            .map_err(refused)
    }

    fn committed(&mut self, place: Place) -> Result<Option<u64>, BusError> {
        if self.group.is_none() {
            return Ok(None);
        }
        let answer = self.ask(|| {
            self.client()
                .committed_offsets(self.list([place]), QUESTION)
        })?;
        Ok(
            match answer
                .elements()
                .first()
                .map(rdkafka::topic_partition_list::TopicPartitionListElem::offset)
            {
                Some(Offset::Offset(offset)) => u64::try_from(offset).ok(),
                _ => None,
            },
        )
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else {
            return;
        };
        inner.context().lock().closing = true;
        let (done, closed) = mpsc::channel();
        std::thread::spawn(move || {
            drop(inner);
            // Nobody listens any more if it took too long.
            let _ = done.send(());
        });
        if closed.recv_timeout(CLOSING).is_err() {
            tracing::warn!(
                group = self.group,
                "the log's client does not close; leaving it behind"
            );
        }
    }
}

/// What happens inside a poll, kept until the poll is over.
#[derive(Default)]
struct Membership {
    chatter: Chatter,
    state: Mutex<Rebalances>,
}

#[derive(Default)]
struct Rebalances {
    changes: Vec<Change>,
    /// What the client was told to read, by its own names; only that can be taken from it.
    reading: BTreeSet<(String, i32)>,
    closing: bool,
}

enum Change {
    Assigned(Vec<(String, i32)>),
    Revoked(Vec<(String, i32)>),
    Lost(Vec<(String, i32)>),
}

impl Membership {
    fn lock(&self) -> MutexGuard<'_, Rebalances> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, list: &TopicPartitionList, reads: bool) {
        let mut state = self.lock();
        for element in list.elements() {
            let partition = (element.topic().to_owned(), element.partition());
            if reads {
                state.reading.insert(partition);
            } else {
                state.reading.remove(&partition);
            }
        }
    }
}

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.chatter.words(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.chatter.problem(&error, reason);
    }
}

impl ConsumerContext for Membership {
    fn rebalance(
        &self,
        client: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions: Vec<_> = list
            .elements()
            .iter()
            .map(|element| (element.topic().to_owned(), element.partition()))
            .collect();
        let answer = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.lock().changes.push(Change::Assigned(partitions));
            client.incremental_assign(&TopicPartitionList::new())
        } else {
            let lost = client.assignment_lost();
            let mut state = self.lock();
            if !lost && !state.closing && !partitions.is_empty() {
                state.changes.push(Change::Revoked(partitions));
                return;
            }
            let mut reading = TopicPartitionList::new();
            for partition in &partitions {
                if state.reading.remove(partition) {
                    reading.add_partition(&partition.0, partition.1);
                }
            }
            state.changes.push(Change::Lost(partitions));
            drop(state);
            client.incremental_unassign(&reading)
        };
        if let Err(error) = answer {
            self.chatter
                .problem(&error, "a change of partitions could not be answered");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            // A hint only: whoever goes on from there repeats a little more.
            metrics::counter!("forewarn_log_commit_failures_total").increment(1);
            self.chatter
                .problem(&error, "the group did not take a commit");
        }
    }

    fn main_queue_min_poll_interval(&self) -> rdkafka::util::Timeout {
        rdkafka::util::Timeout::After(Duration::from_millis(200))
    }
}
