//! The whole alerter on real Kafka and PostgreSQL: replicas come and go, and all is as one alone would have made it.
//! Here they end in order; [`crate::binary`] kills the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forewarn_alerter::ledger::Ledger;
use forewarn_alerter::outbox::{Outbox, Patience, deliver};
use forewarn_alerter::relay;
use forewarn_alerter::rows::HistoryRow;
use forewarn_alerter::{Config, Lead, Pipeline, Receiver};
use forewarn_bus::{Config as LogConfig, KafkaLog, Log, Place, StopFlag};
use forewarn_messages::{
    ALERT_EVENTS, ANOMALY_PREDICTIONS, AlertTransition, Body, DEAD_LETTERS, Headers,
};
use forewarn_testkit::servers;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::support::{Database, Endpoint, change, pipeline, rules, sealed, tick, wait};

pub(crate) const PARTITIONS: u32 = 4;
const START: i64 = 1_700_000_000_000;

pub(crate) struct World {
    pub(crate) kafka: Arc<KafkaLog>,
    pub(crate) log: LogConfig,
    pub(crate) database: Database,
    receivers: Vec<Receiver>,
    endpoint: Endpoint,
    /// In one of so many seconds conditions change; the others only tick.
    pub(crate) every: u64,
    /// What the alerters should have seen.
    pipeline: Pipeline,
}

/// A replica in this process.
struct Replica {
    stop: StopFlag,
    thread: std::thread::JoinHandle<anyhow::Result<()>>,
    is_active: Arc<AtomicBool>,
}

impl World {
    pub(crate) async fn new(what: &str) -> Option<Self> {
        let server = servers::kafka(what)?;
        let database = Database::create(what).await?;
        let config = LogConfig {
            servers: server,
            partitions: PARTITIONS,
            topic_prefix: format!("{}_", servers::unique("alerter")),
            ..LogConfig::default()
        };
        let log = config.clone();
        let kafka = tokio::task::spawn_blocking(move || {
            let kafka = KafkaLog::connect(&config).expect("Kafka answers");
            kafka.ensure_topics(PARTITIONS).expect("topics can be made");
            kafka
        });
        let endpoint = Endpoint::start([]).await;
        let receivers = vec![endpoint.config("hook", "s").build().expect("it is sound")];
        let pipeline = pipeline(PARTITIONS);
        Some(Self {
            kafka: Arc::new(kafka.await.expect("it does not panic")),
            log,
            database,
            receivers,
            endpoint,
            every: 1,
            pipeline,
        })
    }

    /// Appends seconds of records to all partitions, some of them twice, as a stage does after a crash.
    pub(crate) async fn append(&mut self, seconds: std::ops::Range<u64>, repeat: bool) {
        let appender = self.kafka.appender().expect("an appender");
        for second in seconds.clone() {
            for partition in 0..PARTITIONS {
                let at = START + second as i64 * 1000;
                let resource = format!("web-{partition}{}", second % 3);
                let message = if second % 4 == 3 || (second / 3) % self.every != 0 {
                    tick(partition, second, at)
                } else {
                    change(
                        partition,
                        second,
                        at,
                        &resource,
                        (second / 3 / self.every).is_multiple_of(2),
                    )
                };
                let envelope = sealed(&message);
                let time = Some(message.log_time);
                for _ in 0..if repeat { 2 } else { 1 } {
                    appender
                        .append(
                            &ANOMALY_PREDICTIONS,
                            Some(partition),
                            time,
                            envelope.clone(),
                        )
                        .expect("there is room");
                }
                self.pipeline.push(message).expect("it is one log");
            }
        }
        self.flush(appender).await;
    }

    pub(crate) async fn flush(&self, appender: Arc<dyn forewarn_bus::Appender>) {
        let flushed = tokio::task::spawn_blocking(move || appender.flush(Duration::from_secs(20)));
        flushed
            .await
            .expect("it does not panic")
            .expect("acknowledged");
    }

    fn replica(&self, name: &str, lease: Duration) -> Replica {
        let (stop, is_active) = (StopFlag::new(), Arc::new(AtomicBool::new(false)));
        let lead = Lead {
            log: Arc::clone(&self.kafka) as Arc<dyn Log>,
            ledger: Ledger::new(
                self.database.postgres.clone(),
                name.into(),
                lease,
                rules().digest().into(),
            ),
            rules: rules(),
            config: Config {
                cooldown: Duration::ZERO,
                ..Config::default()
            },
            receivers: self.receivers.clone(),
            is_active: Arc::clone(&is_active),
            committed: vec![Arc::new(Notify::new())],
        };
        let (runtime, flag) = (Handle::current(), stop.clone());
        let thread = std::thread::spawn(move || lead.run(&runtime, &flag, &()));
        Replica {
            stop,
            thread,
            is_active,
        }
    }

    /// What should be in the ledger by now.
    pub(crate) fn expected(&mut self) -> Vec<HistoryRow> {
        self.pipeline.turn(usize::MAX);
        self.pipeline
            .interval()
            .transitions
            .iter()
            .map(HistoryRow::from)
            .collect()
    }

    pub(crate) async fn history(&self) -> Vec<HistoryRow> {
        let sql = "SELECT (to_jsonb(h) - 'published')::text FROM alert_history h ORDER BY ordinal";
        let lines = self.database.lines(sql).await;
        lines
            .iter()
            .map(|line| serde_json::from_str(line).expect("it is such a row"))
            .collect()
    }

    /// How many there are.
    pub(crate) async fn dead_letters(&self) -> u64 {
        let kafka = Arc::clone(&self.kafka);
        let counted = tokio::task::spawn_blocking(move || {
            let mut dead = 0;
            for partition in 0..kafka.partitions(&DEAD_LETTERS).expect("it exists") {
                let place = Place {
                    topic: &DEAD_LETTERS,
                    partition,
                };
                let bounds = kafka.bounds(place).expect("Kafka answers");
                dead += bounds.end - bounds.start;
            }
            dead
        });
        counted.await.expect("it does not panic")
    }

    pub(crate) async fn end(self) {
        let kafka = Arc::clone(&self.kafka);
        tokio::task::spawn_blocking(move || kafka.delete_topics().expect("topics can be deleted"))
            .await
            .expect("it ends");
        self.database.drop().await;
    }
}

impl Replica {
    async fn end(self) {
        self.stop.stop();
        let ended = tokio::task::spawn_blocking(move || self.thread.join())
            .await
            .expect("it ends");
        ended.expect("it does not panic").expect("it ends well");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_replicas_make_what_one_would_have_made() {
    let Some(mut world) = World::new("two alerters on real Kafka").await else {
        return;
    };
    world.append(0..40, false).await;
    let first = world.replica("first", Duration::from_secs(2));
    wait("the first to lead", async || {
        first.is_active.load(Ordering::Acquire)
    })
    .await;
    let second = world.replica("second", Duration::from_secs(2));
    let expected = world.expected();
    wait("the first to catch up", async || {
        world.history().await.len() >= expected.len()
    })
    .await;
    assert!(!second.is_active.load(Ordering::Acquire));
    assert_eq!(world.history().await, expected);

    // The active one stops; the other goes on. Repetitions have no effect.
    first.end().await;
    world.append(40..80, true).await;
    let expected = world.expected();
    wait("the second to catch up", async || {
        world.history().await.len() >= expected.len()
    })
    .await;
    assert!(second.is_active.load(Ordering::Acquire));
    assert_eq!(world.history().await, expected);

    // It ends too, and another begins.
    second.end().await;
    world.append(80..100, false).await;
    let third = world.replica("third", Duration::from_secs(2));
    let expected = world.expected();
    wait("the third to catch up", async || {
        world.history().await.len() >= expected.len()
    })
    .await;
    assert_eq!(world.history().await, expected);
    assert!(expected.len() > 100, "{}", expected.len());
    third.end().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_transition_is_published_and_told() {
    let Some(mut world) = World::new("relay and outbox on real Kafka").await else {
        return;
    };
    world.append(0..30, false).await;
    let lead = world.replica("lead", Duration::from_secs(5));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let until = |mut stopped: tokio::sync::watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let relaying = tokio::spawn(relay::relay(
        Arc::clone(&world.kafka) as Arc<dyn Log>,
        world.database.postgres.clone(),
        Arc::clone(&lead.is_active),
        Arc::new(Notify::new()),
        || (),
        until(stopped.clone()),
    ));
    let outbox = Outbox::new(world.database.postgres.clone(), Patience::default());
    let (receiver, wake) = (world.receivers[0].clone(), Arc::new(Notify::new()));
    let delivering = tokio::spawn(deliver(outbox, receiver, wake, || (), until(stopped)));

    let expected = world.expected();
    let unpublished = "SELECT ordinal::text FROM alert_history WHERE NOT published";
    wait("everything to be published", async || {
        world.history().await.len() >= expected.len()
            && world.database.lines(unpublished).await.is_empty()
    })
    .await;
    let unsettled =
        "SELECT delivery_id::text FROM deliveries WHERE state IN ('pending', 'sending')";
    wait("everything to be told", async || {
        world.database.lines(unsettled).await.is_empty()
    })
    .await;

    let kafka = Arc::clone(&world.kafka);
    let events = tokio::task::spawn_blocking(move || {
        let mut events = Vec::new();
        for partition in 0..kafka.partitions(&ALERT_EVENTS).expect("it exists") {
            let place = Place {
                topic: &ALERT_EVENTS,
                partition,
            };
            let bounds = kafka.bounds(place).expect("Kafka answers");
            let mut each = |record: forewarn_bus::Record| {
                let pairs = record
                    .headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_slice()));
                let headers = Headers::from_pairs(pairs).expect("headers");
                let event = AlertTransition::decode(&headers, &record.body).expect("a transition");
                assert_eq!(record.log_time, event.log_time);
                events.push(event);
                true
            };
            kafka.read(place, bounds, &mut each).expect("Kafka answers");
        }
        events
    });
    let mut events = events.await.expect("it does not panic");
    events.sort_by_key(|event| (event.alert_id, event.sequence));
    let mut transitions: Vec<_> = world
        .pipeline
        .interval()
        .transitions
        .iter()
        .map(|one| one.message())
        .collect();
    transitions.sort_by_key(|event| (event.alert_id, event.sequence));
    assert_eq!(events, transitions);

    // Whatever was superseded, each alert's last word has come, and no trigger after its end.
    let mut last = std::collections::BTreeMap::new();
    for request in world.endpoint.requests() {
        let alert = request.json()["alert"].clone();
        let (id, sequence) = (
            alert["alert_id"].to_string(),
            alert["sequence"].as_i64().expect("a number"),
        );
        assert!(
            last.insert(id, sequence)
                .is_none_or(|before| before <= sequence),
            "out of order"
        );
    }
    let told = world
        .pipeline
        .interval()
        .transitions
        .iter()
        .filter(|one| one.notify);
    let wanted: std::collections::BTreeMap<String, i64> = told
        .map(|one| (format!("\"{}\"", one.alert_id), one.sequence))
        .collect();
    assert_eq!(last, wanted);

    stop.send_replace(true);
    relaying.await.expect("it does not panic");
    delivering.await.expect("it does not panic");
    lead.end().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_cannot_be_read_goes_to_the_dead_letters_and_the_rest_goes_on() {
    let Some(mut world) = World::new("dead letters of the alerter").await else {
        return;
    };
    let appender = world.kafka.appender().expect("an appender");
    let mut envelope = sealed(&tick(0, 0, START));
    envelope.headers.schema = "nonsense".into();
    appender
        .append(
            &ANOMALY_PREDICTIONS,
            Some(0),
            Some(forewarn_types::LogTime(START)),
            envelope.clone(),
        )
        .expect("there is room");
    envelope.headers.schema = "verdict".into();
    envelope.body = b"{\"resource\":".to_vec();
    appender
        .append(
            &ANOMALY_PREDICTIONS,
            Some(0),
            Some(forewarn_types::LogTime(START)),
            envelope,
        )
        .expect("there is room");
    world.flush(appender).await;
    world.append(0..20, false).await;
    let lead = world.replica("lead", Duration::from_secs(5));
    let expected = world.expected();
    wait("the alerter to catch up", async || {
        world.history().await.len() >= expected.len()
    })
    .await;
    assert_eq!(world.history().await, expected);
    assert_eq!(world.dead_letters().await, 2);
    lead.end().await;
    world.end().await;
}
