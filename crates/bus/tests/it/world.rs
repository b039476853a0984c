//! A corner of a real cluster for one test, removed when the test is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forewarn_bus::{Appender, Config, KafkaLog, Log, Place, Record};
use forewarn_messages::{Body, SYSTEM_METRICS, SystemMetric, TOPICS, Topic};
use forewarn_testkit::servers;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

/// Waits are for a condition; this is when it counts as never.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) log: Arc<KafkaLog>,
}

impl World {
    /// Topics of their own with `partitions` each; `None` where there is no Kafka.
    pub(crate) fn new(what: &str, partitions: u32) -> Option<Self> {
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
        Some(Self { config, log })
    }

    pub(crate) fn name(&self, topic: &Topic) -> String {
        format!("{}{}", self.config.topic_prefix, topic.name)
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.config.servers)
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
