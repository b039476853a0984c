//! Appending: an idempotent producer whose delivery reports answer the receipts.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use forewarn_messages::{Envelope, Topic};
use forewarn_types::LogTime;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use tokio::sync::oneshot;

use super::{Chatter, Cluster, refused};
use crate::log::Order;
use crate::{AppendError, Appender, BusError, Position, Receipt};

/// The client is replaced at most this often …
const REPLACEMENTS: usize = 3;
/// … within this time; more is no passing fault.
const REPLACEMENTS_WITHIN: Duration = Duration::from_secs(60);

pub(super) struct KafkaAppender {
    cluster: Cluster,
    order: Order,
    producer: RwLock<Arc<Producer>>,
    /// When the client was replaced last; never longer than [`REPLACEMENTS`].
    replaced: Mutex<VecDeque<Instant>>,
    ledger: Arc<Ledger>,
}

type Producer = ThreadedProducer<Deliveries>;

impl KafkaAppender {
    pub(super) fn new(cluster: Cluster, order: Order) -> Result<Self, BusError> {
        let ledger = Arc::new(Ledger::default());
        let producer = RwLock::new(Arc::new(produce(&cluster, order, &ledger)?));
        Ok(Self {
            cluster,
            order,
            producer,
            replaced: Mutex::default(),
            ledger,
        })
    }

    fn current(&self) -> Arc<Producer> {
        Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The client, a new one if the old one has met an error that it does not recover from.
    fn usable(&self) -> Result<Arc<Producer>, AppendError> {
        let producer = self.current();
        let Some(problem) = fatal(&producer) else {
            return Ok(producer);
        };
        if self.order == Order::WithoutHoles {
            return Err(AppendError::Unknown(problem));
        }
        let mut place = self
            .producer
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if fatal(&place).is_none() {
            return Ok(Arc::clone(&place));
        }
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        while replaced
            .front()
            .is_some_and(|at| at.elapsed() > REPLACEMENTS_WITHIN)
        {
            replaced.pop_front();
        }
        if replaced.len() >= REPLACEMENTS {
            let problem =
                format!("the client failed {REPLACEMENTS} times within a minute, last: {problem}");
            return Err(AppendError::Unknown(problem));
        }
        replaced.push_back(Instant::now());
        tracing::warn!(
            problem,
            "the log's client met a fatal error and is replaced"
        );
        metrics::counter!("forewarn_log_clients_replaced_total").increment(1);
        let fresh = produce(&self.cluster, self.order, &self.ledger)
            .map_err(|error| AppendError::Unknown(error.to_string()))?;
        let old = std::mem::replace(&mut *place, Arc::new(fresh));
        let fresh = Arc::clone(&place);
        // Its pending receipts are answered while it is dropped, which takes a moment that no sender should wait for.
        std::thread::spawn(move || drop(old));
        Ok(fresh)
    }
}

impl Appender for KafkaAppender {
    fn append(
        &self,
        topic: &'static Topic,
        partition: Option<u32>,
        log_time: Option<LogTime>,
        envelope: Envelope,
    ) -> Result<Receipt, AppendError> {
        let producer = self.usable()?;
        let (answer, receipt) = Receipt::channel();
        let epoch = self.ledger.open(self.order)?;
        let pending = Box::new(Pending {
            answer,
            epoch,
            topic: topic.name,
        });

        let pairs = envelope.headers.to_pairs();
        let mut headers = OwnedHeaders::new_with_capacity(pairs.len());
        for (key, value) in &pairs {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        let name = self.cluster.name(topic);
        let mut record = BaseRecord::with_opaque_to(&name, pending)
            .key(envelope.key.as_str())
            .payload(envelope.body.as_slice())
            .headers(headers);
        if let Some(partition) = partition {
            record = record.partition(i32::try_from(partition).unwrap_or(i32::MAX));
        }
        if let (false, Some(log_time)) = (topic.stamped_by_log, log_time) {
            record = record.timestamp(log_time.millis());
        }
        producer.send(record).map(|()| receipt).map_err(|(error, record)| {
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
                producer.context().fatal.store(true, Ordering::Release);
            }
            self.ledger.withdraw(record.delivery_opaque.epoch);
            let error = classify(&error);
            metrics::counter!("forewarn_log_append_failures_total", "topic" => topic.name, "reason" => error.reason())
                .increment(1);
            error
        })
    }

    fn flush(&self, wait: Duration) -> Result<(), AppendError> {
        self.ledger.settle(self.order, wait)
    }
}

fn produce(cluster: &Cluster, order: Order, ledger: &Arc<Ledger>) -> Result<Producer, BusError> {
    let mut config = cluster.client();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // Deadlines are the caller's: a record that the client gives up on by itself has an unknown fate.
        .set("message.timeout.ms", "0")
        .set("compression.type", "lz4")
        .set("linger.ms", cluster.config.linger.as_millis().to_string())
        .set("queue.buffering.max.messages", "50000")
        .set("queue.buffering.max.kbytes", "65536")
        // The choice that Kafka's own clients make, so that other tools find a key's partition.
        .set("partitioner", "murmur2_random");
    if order == Order::WithoutHoles {
        // Otherwise the client renumbers what follows a refused batch and sends it.
        config.set("enable.gapless.guarantee", "true");
    }
    let context = Deliveries {
        chatter: Chatter::default(),
        ledger: Arc::clone(ledger),
        fatal: AtomicBool::new(false),
    };
    Producer::from_config_and_context(&config, context).map_err(refused)
}

/// The error that this client does not recover from, if it has met one.
fn fatal(producer: &Producer) -> Option<String> {
    if !producer.context().fatal.load(Ordering::Acquire) {
        return None;
    }
    Some(
        producer
            .client()
            .fatal_error()
            .map_or_else(|| "fatal error".to_owned(), |(_, problem)| problem),
    )
}

fn classify(error: &KafkaError) -> AppendError {
    use RDKafkaErrorCode::{
        InvalidMessageSize, InvalidRecord, InvalidTimestamp, MessageSizeTooLarge, QueueFull,
        UnknownPartition,
    };
    match error.rdkafka_error_code() {
        Some(QueueFull) => AppendError::Full,
        Some(
            code @ (MessageSizeTooLarge | InvalidMessageSize | InvalidRecord | InvalidTimestamp
            | UnknownPartition),
        ) => AppendError::Refused(code.to_string()),
        _ => AppendError::Unknown(error.to_string()),
    }
}

/// A record that is not acknowledged yet.
struct Pending {
    answer: oneshot::Sender<Result<Position, AppendError>>,
    epoch: u64,
    topic: &'static str,
}

struct Deliveries {
    chatter: Chatter,
    ledger: Arc<Ledger>,
    /// Set when the client has met an error that it does not recover from: asking it costs an allocation each time.
    fatal: AtomicBool,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.chatter.words(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.fatal.store(true, Ordering::Release);
        }
        self.chatter.problem(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Self::DeliveryOpaque) {
        let answer = match result {
            Ok(message) => Ok(Position {
                partition: u32::try_from(message.partition()).unwrap_or_default(),
                offset: u64::try_from(message.offset()).unwrap_or_default(),
            }),
            Err((error, _)) => Err(classify(error)),
        };
        match &answer {
            Ok(_) => metrics::counter!("forewarn_log_appended_total", "topic" => pending.topic)
                .increment(1),
            Err(error) => {
                let labels = [("topic", pending.topic), ("reason", error.reason())];
                metrics::counter!("forewarn_log_append_failures_total", &labels).increment(1);
            }
        }
        self.ledger.close(pending.epoch, answer.as_ref().err());
        // Whoever dropped the receipt does not want to know.
        let _ = pending.answer.send(answer);
    }
}

/// Counts what is not acknowledged yet. Reports come in any order over the partitions, so records are counted
/// by epoch, and a flush closes one: it waits for all before it and for none of those that others append meanwhile.
#[derive(Default)]
struct Ledger {
    book: Mutex<Book>,
    changed: Condvar,
}

#[derive(Default)]
struct Book {
    /// The epoch of records appended now.
    epoch: u64,
    /// Open records per epoch, for the epochs from `oldest` on.
    open: VecDeque<u64>,
    oldest: u64,
    /// The first failure that was not told by a flush, or the one after which nothing may follow.
    failure: Option<String>,
}

impl Book {
    fn slot(&mut self, epoch: u64) -> Option<&mut u64> {
        let index = usize::try_from(epoch.checked_sub(self.oldest)?).ok()?;
        self.open.get_mut(index)
    }

    fn settled(&mut self, epoch: u64) -> bool {
        while self.oldest <= epoch && self.open.front() == Some(&0) {
            self.open.pop_front();
            self.oldest += 1;
        }
        self.oldest > epoch
    }
}

impl Ledger {
    fn open(&self, order: Order) -> Result<u64, AppendError> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Order::WithoutHoles, Some(failure)) = (order, &book.failure) {
            return Err(AppendError::Unknown(failure.clone()));
        }
        let epoch = book.epoch;
        while book.oldest + (book.open.len() as u64) <= epoch {
            book.open.push_back(0);
        }
        if let Some(open) = book.slot(epoch) {
            *open += 1;
        }
        Ok(epoch)
    }

    /// A record that the client did not take.
    fn withdraw(&self, epoch: u64) {
        self.close(epoch, None);
    }

    fn close(&self, epoch: u64, failure: Option<&AppendError>) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = failure {
            book.failure.get_or_insert_with(|| failure.to_string());
        }
        let now = book.epoch;
        if let Some(open) = book.slot(epoch) {
            *open -= 1;
            // Somebody can wait only for closed epochs.
            if *open == 0 && epoch < now {
                self.changed.notify_all();
            }
        }
    }

    fn settle(&self, order: Order, wait: Duration) -> Result<(), AppendError> {
        let deadline = Instant::now() + wait;
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = book.epoch;
        while book.oldest + (book.open.len() as u64) <= epoch {
            book.open.push_back(0);
        }
        book.epoch += 1;
        while !book.settled(epoch) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let open: u64 = book.open.iter().sum();
                return Err(AppendError::Unknown(format!(
                    "{open} records are not acknowledged after {wait:?}"
                )));
            }
            book = self
                .changed
                .wait_timeout(book, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        // After a hole nothing may follow; where each record stands for itself, a failure that was told is settled.
        let failure = match order {
            Order::WithoutHoles => book.failure.clone(),
            Order::PerRecord => book.failure.take(),
        };
        match failure {
            None => Ok(()),
            Some(failure) => Err(AppendError::Unknown(failure)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn a_flush_waits_for_what_came_before_it_and_for_nothing_else() {
        let ledger = Ledger::default();
        assert_eq!(ledger.settle(Order::PerRecord, NOW), Ok(()));
        let first = ledger.open(Order::PerRecord).unwrap();
        assert!(matches!(
            ledger.settle(Order::PerRecord, NOW),
            Err(AppendError::Unknown(_))
        ));
        let second = ledger.open(Order::PerRecord).unwrap();
        ledger.close(first, None);
        // `second` came after the flush above but before this one.
        assert!(ledger.settle(Order::PerRecord, NOW).is_err());
        ledger.close(second, None);
        assert_eq!(ledger.settle(Order::PerRecord, NOW), Ok(()));
    }

    #[test]
    fn reports_out_of_order_do_not_settle_a_flush_early() {
        let ledger = Arc::new(Ledger::default());
        let first = ledger.open(Order::PerRecord).unwrap();
        let waiting = std::thread::spawn({
            let ledger = Arc::clone(&ledger);
            move || ledger.settle(Order::PerRecord, Duration::from_secs(20))
        });
        while ledger.book.lock().unwrap().epoch == 0 {
            std::thread::yield_now();
        }
        let later = ledger.open(Order::PerRecord).unwrap();
        ledger.close(later, None);
        assert!(!waiting.is_finished());
        ledger.close(first, None);
        assert_eq!(waiting.join().unwrap(), Ok(()));
    }

    #[test]
    fn a_failure_ends_an_appender_in_order_and_is_told_once_where_records_stand_alone() {
        for (order, again) in [(Order::WithoutHoles, false), (Order::PerRecord, true)] {
            let ledger = Ledger::default();
            let epoch = ledger.open(order).unwrap();
            ledger.close(epoch, Some(&AppendError::Refused("too large".into())));
            let Err(AppendError::Unknown(words)) = ledger.settle(order, NOW) else {
                panic!("told")
            };
            assert!(words.contains("too large"));
            assert_eq!(ledger.settle(order, NOW).is_ok(), again);
            assert_eq!(ledger.open(order).is_ok(), again);
        }
    }

    #[test]
    fn a_record_that_was_not_taken_does_not_count() {
        let ledger = Ledger::default();
        let epoch = ledger.open(Order::PerRecord).unwrap();
        ledger.withdraw(epoch);
        assert_eq!(ledger.settle(Order::PerRecord, NOW), Ok(()));
    }
}
