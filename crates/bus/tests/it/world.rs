//! A log of its own for one test, removed when the test is over: a corner of a real cluster, or a folder.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forewarn_bus::embedded::{self, EmbeddedLog};
use forewarn_bus::{Appender, Config, KafkaLog, Log, Place, Record};
use forewarn_messages::{Body, SYSTEM_METRICS, SystemMetric, TOPICS, Topic};
use forewarn_testkit::servers;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

/// Waits are for a condition; this is when it counts as never.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) log: Arc<dyn Log>,
    /// Where it is a cluster.
    config: Option<Config>,
    /// Where it is a folder.
    _folder: Option<tempfile::TempDir>,
}

impl World {
    /// Runs a test of what every log promises on each of them, with `partitions` to each topic that is spread; on Kafka
    /// where there is one.
    pub(crate) fn each(what: &str, partitions: u32, promise: impl Fn(&Self)) {
        if let Some(world) = Self::kafka(what, partitions) {
            promise(&world);
        }
        promise(&Self::embedded(partitions));
    }

    /// Topics of their own on Kafka; `None` where there is none.
    pub(crate) fn kafka(what: &str, partitions: u32) -> Option<Self> {
        let world = Self::bare(what, partitions)?;
        world
            .log
            .ensure_topics(partitions)
            .expect("the topics can be made");
        Some(world)
    }

    /// The same without any topic yet.
    pub(crate) fn bare(what: &str, partitions: u32) -> Option<Self> {
        let servers = servers::kafka(what)?;
        let topic_prefix = format!("{}_", servers::unique("bus"));
        let config = Config {
            servers,
            partitions,
            topic_prefix,
            linger: Duration::from_millis(2),
            ..Config::default()
        };
        let log = Arc::new(KafkaLog::connect(&config).expect("the settings are fine"));
        Some(Self {
            log,
            config: Some(config),
            _folder: None,
        })
    }

    fn embedded(partitions: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = embedded::Config {
            path: folder.path().join("log"),
            partitions,
            ..embedded::Config::default()
        };
        let log = EmbeddedLog::open(&config).expect("a folder of our own");
        log.ensure_topics(partitions).expect("just made so");
        Self {
            log: Arc::new(log),
            config: None,
            _folder: Some(folder),
        }
    }

    /// The settings of the cluster.
    pub(crate) fn config(&self) -> &Config {
        self.config.as_ref().expect("only Kafka has a cluster")
    }

    /// The log as another part of the pipeline has it: a client of its own, where there are clients.
    pub(crate) fn another(&self) -> Arc<dyn Log> {
        match &self.config {
            Some(config) => Arc::new(KafkaLog::connect(config).expect("the settings are fine")),
            None => Arc::clone(&self.log),
        }
    }

    pub(crate) fn name(&self, topic: &Topic) -> String {
        format!("{}{}", self.config().topic_prefix, topic.name)
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.config().servers)
            .create()
            .expect("an admin client")
    }

    /// Appends to a partition of `system_metrics` and waits for the acknowledgement.
    pub(crate) fn put(&self, appender: &dyn Appender, partition: u32, bodies: &[SystemMetric]) {
        for body in bodies {
            appender
                .append(
                    &SYSTEM_METRICS,
                    Some(partition),
                    None,
                    body.seal(None, None),
                )
                .expect("there is room");
        }
        appender.flush(LONG).expect("acknowledged");
    }

    /// Everything that a partition holds now.
    pub(crate) fn all(&self, topic: &'static Topic, partition: u32) -> Vec<Record> {
        let place = Place { topic, partition };
        let mut records = Vec::new();
        let bounds = self.log.bounds(place).expect("the topic exists");
        self.log
            .read(place, bounds, &mut |record| {
                records.push(record);
                true
            })
            .expect("the log can be read");
        records
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.config.is_none() {
            return;
        }
        let names: Vec<_> = TOPICS.iter().map(|topic| self.name(topic)).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        // Best effort: the test has already had its say.
        let _ =
            futures::executor::block_on(self.admin().delete_topics(&names, &AdminOptions::new()));
    }
}

/// Waits until `happened` gives something.
pub(crate) fn eventually<T>(what: &str, mut happened: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(found) = happened() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {LONG:?} for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
