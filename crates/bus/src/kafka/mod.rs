//! The log on Kafka, through librdkafka.
//!
//! Choices, with their reasons (DESIGN.md §7, RELIABILITY.md §2.10): consumers are polled by their own thread, since
//! the stream consumer of rdkafka has a history of silent stalls; offsets are committed by hand after the effect;
//! membership is static, so a restarted replica gets its partitions back at once; no transactions.

mod appender;
mod config;
mod consumer;
mod reading;
mod topics;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use forewarn_messages::{TOPICS, Topic};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

pub use config::Config;

use self::appender::KafkaAppender;
use self::consumer::KafkaConsumer;
use self::reading::Readers;
use crate::log::Order;
use crate::{Appender, BusError, Consumer, Log, LogAccess, Place, Record, Subscription};

/// Kafka as the log.
pub struct KafkaLog {
    cluster: Cluster,
    readers: Readers,
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLog")
            .field("config", &self.cluster.config)
            .finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// Connects when it is asked to, and makes the topics that are missing.
    #[must_use]
    pub fn access(config: Config) -> LogAccess {
        LogAccess::new(config.retention, move || {
            let log = Self::connect(&config)?;
            log.ensure_topics(config.partitions)?;
            Ok(Arc::new(log))
        })
    }

    /// Prepares the connection. Servers that are not there yet are waited for in [`Log::ensure_topics`], so services
    /// may start before Kafka.
    ///
    /// # Errors
    /// [`BusError::Client`] when the client refuses its settings.
    pub fn connect(config: &Config) -> Result<Self, BusError> {
        let cluster = Cluster::new(config.clone());
        let readers = Readers::new(cluster.clone())?;
        Ok(Self { cluster, readers })
    }
}

impl KafkaLog {
    /// Deletes the topics of this installation with all that they hold: for tests, which share a cluster.
    ///
    /// # Errors
    /// [`BusError::Client`] when the servers do not do it.
    pub fn delete_topics(&self) -> Result<(), BusError> {
        topics::delete(&self.cluster)
    }
}

impl Log for KafkaLog {
    fn ensure_topics(&self, partitions: u32) -> Result<(), BusError> {
        topics::ensure(&self.cluster, &self.readers, partitions)
    }

    fn partitions(&self, topic: &'static Topic) -> Result<u32, BusError> {
        self.readers.partitions(topic)
    }

    fn bounds(&self, place: Place) -> Result<Range<u64>, BusError> {
        self.readers.bounds(place)
    }

    fn read(
        &self,
        place: Place,
        span: Range<u64>,
        each: &mut dyn FnMut(Record) -> bool,
    ) -> Result<(), BusError> {
        self.readers.read(place, span, each)
    }

    fn appender(&self) -> Result<Arc<dyn Appender>, BusError> {
        Ok(Arc::new(KafkaAppender::new(
            self.cluster.clone(),
            Order::PerRecord,
        )?))
    }

    fn appender_in_order(&self) -> Result<Arc<dyn Appender>, BusError> {
        Ok(Arc::new(KafkaAppender::new(
            self.cluster.clone(),
            Order::WithoutHoles,
        )?))
    }

    fn reader(&self, places: &[Place]) -> Result<Box<dyn Consumer>, BusError> {
        Ok(Box::new(KafkaConsumer::alone(&self.cluster, places)?))
    }

    fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Consumer>, BusError> {
        Ok(Box::new(KafkaConsumer::member(
            &self.cluster,
            &subscription,
        )?))
    }
}

/// What every client of this log needs to know about the cluster.
#[derive(Clone)]
struct Cluster {
    config: Arc<Config>,
    /// Names on the cluster of all topics, in the order of [`TOPICS`].
    names: Arc<[String]>,
}

impl Cluster {
    fn new(config: Config) -> Self {
        let names = TOPICS
            .iter()
            .map(|topic| format!("{}{}", config.topic_prefix, topic.name))
            .collect();
        Self {
            config: Arc::new(config),
            names,
        }
    }

    /// A topic's name on the cluster.
    fn name(&self, topic: &Topic) -> Cow<'_, str> {
        match TOPICS.iter().position(|known| *known == topic) {
            Some(index) => Cow::Borrowed(&self.names[index]),
            None => Cow::Owned(format!("{}{}", self.config.topic_prefix, topic.name)),
        }
    }

    /// A group's name on the cluster.
    fn group(&self, group: &str) -> String {
        format!("{}{group}", self.config.topic_prefix)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.config.servers)
            .set("client.id", "forewarn")
            .set("socket.keepalive.enable", "true")
            // The default waits up to 10 s before it tries again; the log is what everything waits for.
            .set("reconnect.backoff.max.ms", "2000")
            .set_log_level(RDKafkaLogLevel::Info);
        client
    }

    fn unreachable(&self, problem: impl fmt::Display) -> BusError {
        BusError::Unreachable {
            servers: self.config.servers.clone(),
            problem: problem.to_string(),
        }
    }
}

/// An error that does not mend itself.
fn refused(error: impl fmt::Display) -> BusError {
    BusError::Client(error.to_string())
}

/// Takes librdkafka's own words to the program's log: a broker that is away fills no disk with them.
#[derive(Default)]
struct Chatter {
    throttle: Throttle,
}

impl ClientContext for Chatter {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.words(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.problem(&error, reason);
    }
}

impl Chatter {
    fn words(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Emerg, Error, Info, Notice, Warning};
        match level {
            // It calls settings experimental that were chosen on purpose.
            _ if facility == "CONFWARN" => tracing::debug!(facility, "kafka client: {message}"),
            // A lost connection is mended by the client itself, so none of its complaints wants a person.
            Emerg | Alert | Critical | Error | Warning => {
                if let Some(skipped) = self.throttle.pass() {
                    tracing::warn!(facility, skipped, "kafka client: {message}");
                }
            }
            Notice | Info => tracing::debug!(facility, "kafka client: {message}"),
            RDKafkaLogLevel::Debug => tracing::trace!(facility, "kafka client: {message}"),
        }
    }

    fn problem(&self, error: &KafkaError, reason: &str) {
        // Reaching the end is an event, told as such by the poll, and no problem.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        if let Some(skipped) = self.throttle.pass() {
            tracing::warn!(%error, skipped, "kafka client: {reason}");
        }
    }
}

/// Lets one in a second pass and counts the rest.
struct Throttle {
    born: Instant,
    /// Milliseconds after `born` from which the next one may pass.
    free_at: AtomicU64,
    skipped: AtomicU64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            free_at: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        }
    }
}

impl Throttle {
    /// How many were held back since the last that passed, if this one may.
    fn pass(&self) -> Option<u64> {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        let free_at = self.free_at.load(Ordering::Relaxed);
        let next = now.saturating_add(1_000);
        let passes = now >= free_at
            && self
                .free_at
                .compare_exchange(free_at, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if passes {
            Some(self.skipped.swap(0, Ordering::Relaxed))
        } else {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// How long one question to the cluster may take before it is asked again.
const QUESTION: Duration = Duration::from_secs(3);

/// How often a question is asked before the log counts as unreachable. With [`QUESTION`] it stays well below the time
/// after which a loop that does not turn over counts as dead: Kafka being away is no reason to start it anew.
const QUESTIONS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_complaint_a_second_passes_and_the_rest_is_counted() {
        let throttle = Throttle::default();
        assert_eq!(throttle.pass(), Some(0));
        assert_eq!((throttle.pass(), throttle.pass()), (None, None));
        throttle.free_at.store(0, Ordering::Relaxed);
        assert_eq!(throttle.pass(), Some(2));
    }

    #[test]
    fn names_on_the_cluster_carry_the_prefix() {
        let cluster = Cluster::new(Config {
            topic_prefix: "t_".into(),
            ..Config::default()
        });
        assert_eq!(
            cluster.name(&forewarn_messages::DEAD_LETTERS),
            "t_dead_letters"
        );
        assert_eq!(cluster.group("recorder"), "t_recorder");
    }
}
