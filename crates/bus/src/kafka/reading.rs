//! Questions to the log outside any group: what is there, and reading a span of it.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use forewarn_messages::Topic;
use forewarn_types::LogTime;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};

use super::{Chatter, Cluster, QUESTION, QUESTIONS, refused};
use crate::{BusError, Place, Record};

impl ConsumerContext for Chatter {}

type Reader = BaseConsumer<Chatter>;

/// Clients kept for the next read, each for the topic that it knows: librdkafka looks only once a second for the leader
/// of a topic that is new to a client. A stage needs two, more at a time are rare.
const KEPT: usize = 4;

/// A span that gives nothing for this long is given up.
const SILENCE: Duration = Duration::from_secs(30);

pub(super) struct Readers {
    cluster: Cluster,
    /// Answers questions about the cluster; reads nothing.
    asker: Reader,
    idle: Mutex<Vec<(&'static str, Reader)>>,
}

impl Readers {
    pub(super) fn new(cluster: Cluster) -> Result<Self, BusError> {
        let mut config = cluster.client();
        // A question must not make a topic: it would have the broker's number of partitions.
        config.set("allow.auto.create.topics", "false");
        let asker =
            Reader::from_config_and_context(&config, Chatter::default()).map_err(refused)?;
        Ok(Self {
            cluster,
            asker,
            idle: Mutex::default(),
        })
    }

    /// All topics of the cluster.
    pub(super) fn metadata(&self) -> KafkaResult<Metadata> {
        self.quiet();
        self.asker.fetch_metadata(None, QUESTION)
    }

    pub(super) fn partitions(&self, topic: &'static Topic) -> Result<u32, BusError> {
        let name = self.cluster.name(topic);
        let metadata = self.ask(topic, || self.asker.fetch_metadata(Some(&name), QUESTION))?;
        let found = metadata
            .topics()
            .iter()
            .find(|found| found.name() == name)
            .map(|found| found.partitions().len());
        match found {
            Some(count) if count > 0 => Ok(u32::try_from(count).unwrap_or(u32::MAX)),
            _ => Err(missing(topic, &name)),
        }
    }

    pub(super) fn bounds(&self, place: Place) -> Result<Range<u64>, BusError> {
        let name = self.cluster.name(place.topic);
        let partition = i32::try_from(place.partition).unwrap_or(i32::MAX);
        let (low, high) = self.ask(place.topic, || {
            self.asker.fetch_watermarks(&name, partition, QUESTION)
        })?;
        Ok(u64::try_from(low).unwrap_or_default()..u64::try_from(high).unwrap_or_default())
    }

    pub(super) fn read(
        &self,
        place: Place,
        span: Range<u64>,
        each: &mut dyn FnMut(Record) -> bool,
    ) -> Result<(), BusError> {
        let bounds = self.bounds(place)?;
        let span = span.start.max(bounds.start)..span.end.min(bounds.end);
        if span.is_empty() {
            return Ok(());
        }
        let taken = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let at = idle
                .iter()
                .position(|(topic, _)| *topic == place.topic.name);
            at.map(|at| idle.remove(at).1)
        };
        let reader = match taken {
            Some(reader) => reader,
            None => self.make()?,
        };
        self.read_with(&reader, place, span, each)?;
        // A reader that failed is not kept: its state is anybody's guess.
        reader.unassign().map_err(refused)?;
        let spare = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((place.topic.name, reader));
            (idle.len() > KEPT).then(|| idle.remove(0))
        };
        // Closing takes a moment, which no other reader has to wait for.
        drop(spare);
        Ok(())
    }

    fn make(&self) -> Result<Reader, BusError> {
        let mut config = self.cluster.client();
        config
            // librdkafka wants a group for manual assignments too; it is never joined.
            .set("group.id", self.cluster.group("forewarn-reader"))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true")
            // It reads what is there: waiting for more would only delay the next read on the same connection.
            .set("fetch.wait.max.ms", "10")
            .set("queued.max.messages.kbytes", "16384")
            .set("queued.min.messages", "10000")
            .set("fetch.queue.backoff.ms", "20");
        Reader::from_config_and_context(&config, Chatter::default()).map_err(refused)
    }

    fn read_with(
        &self,
        reader: &Reader,
        place: Place,
        span: Range<u64>,
        each: &mut dyn FnMut(Record) -> bool,
    ) -> Result<(), BusError> {
        let name = self.cluster.name(place.topic);
        let mut next = span.start;
        reader
            .assign(&at(&name, place.partition, next))
            .map_err(refused)?;
        let mut heard = Instant::now();
        let mut ended = false;
        while next < span.end {
            match reader.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    let offset = u64::try_from(message.offset()).unwrap_or_default();
                    // What an earlier assignment had fetched may still come out.
                    if message.topic() != name
                        || message.partition() != number(place.partition)
                        || offset < next
                    {
                        continue;
                    }
                    if offset >= span.end {
                        return Ok(());
                    }
                    next = offset + 1;
                    heard = Instant::now();
                    ended = false;
                    if !each(record(place, &message)) {
                        return Ok(());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition)))
                    if partition == number(place.partition) =>
                {
                    ended = true
                }
                Some(Err(error))
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) =>
                {
                    let low = self.bounds(place)?.start;
                    tracing::warn!(%place, from = next, to = low, "records were deleted while they were read");
                    next = next.max(low);
                    reader.unassign().map_err(refused)?;
                    reader
                        .assign(&at(&name, place.partition, next))
                        .map_err(refused)?;
                }
                Some(Err(error)) => tracing::debug!(%place, %error, "reading was disturbed"),
                None => {}
            }
            // The bounds promised more; offsets that hold no record (of another's transactions) end the span too.
            if ended && heard.elapsed() > Duration::from_secs(2) {
                return Ok(());
            }
            if heard.elapsed() > SILENCE {
                return Err(self
                    .cluster
                    .unreachable(format!("no answer for {SILENCE:?} while reading {place}")));
            }
        }
        Ok(())
    }

    /// Asks until there is an answer, a few times.
    fn ask<T>(
        &self,
        topic: &'static Topic,
        question: impl Fn() -> KafkaResult<T>,
    ) -> Result<T, BusError> {
        use RDKafkaErrorCode::{
            LeaderNotAvailable, UnknownPartition, UnknownTopic, UnknownTopicOrPartition,
        };
        let mut asked = 0;
        loop {
            self.quiet();
            let error = match question() {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            asked += 1;
            // A topic just made may be missing from the answers of some brokers for a moment.
            let unknown = matches!(
                error.rdkafka_error_code(),
                Some(
                    UnknownPartition | UnknownTopic | UnknownTopicOrPartition | LeaderNotAvailable
                )
            );
            if asked == QUESTIONS {
                return Err(if unknown {
                    missing(topic, &self.cluster.name(topic))
                } else {
                    self.cluster.unreachable(error)
                });
            }
            sleep(Duration::from_millis(250));
        }
    }

    /// Takes in what the client wants to tell, so that it does not pile up.
    fn quiet(&self) {
        while self.asker.poll(Duration::ZERO).is_some() {}
    }
}

fn missing(topic: &'static Topic, name: &str) -> BusError {
    BusError::Topic {
        topic: topic.name,
        problem: format!("does not exist (as `{name}`); a service makes it at start-up"),
    }
}

pub(super) fn number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// One partition and where to begin in it.
pub(super) fn at(name: &str, partition: u32, offset: u64) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(1);
    let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
    list.add_partition_offset(name, number(partition), offset)
        .expect("an offset that is not negative can be written");
    list
}

pub(super) fn record(place: Place, message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        let owned = |header: rdkafka::message::Header<'_, &[u8]>| {
            (
                header.key.to_owned(),
                header.value.unwrap_or_default().to_vec(),
            )
        };
        headers.iter().map(owned).collect()
    });
    Record {
        place,
        offset: u64::try_from(message.offset()).unwrap_or_default(),
        log_time: LogTime(message.timestamp().to_millis().unwrap_or_default()),
        key: message.key().unwrap_or_default().to_vec(),
        headers,
        body: message.payload().unwrap_or_default().to_vec(),
    }
}
