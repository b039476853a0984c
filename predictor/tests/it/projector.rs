//! From a real topic to real rows: once in effect, whatever breaks in between.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use forewarn_bus::{Appender, Config, KafkaLog, Log, StopFlag};
use forewarn_messages::{
    ANOMALY_PREDICTIONS, Body, DEAD_LETTERS, DeadLetter, Envelope, FailurePrediction, Headers,
    Part, Prediction, SeriesVerdict, Tick, Verdict,
};
use forewarn_predictor::projector::project;
use forewarn_store::ledger::{Ledger, sql};
use forewarn_store::postgres::{self, Postgres};
use forewarn_testkit::database::Database;
use forewarn_testkit::servers;
use forewarn_types::{
    EventTime, FailureKind, Kind, LogId, LogTime, PredictionState, ResourceKey, Src, StepLength,
    VerdictState,
};
use tokio::runtime::Runtime;
use uuid::Uuid;

const PARTITIONS: u32 = 2;
const START: i64 = 1_795_226_664_000;

/// A topic and a database of the test's own.
struct World {
    kafka: KafkaLog,
    log: Arc<dyn Log>,
    appender: Arc<dyn Appender>,
    runtime: Runtime,
    config: postgres::Config,
    database: Database,
    /// What the rows must come to.
    expected: Mutex<Ledger>,
}

impl World {
    fn new(what: &str) -> Option<Self> {
        let runtime = Runtime::new().expect("a runtime");
        let kafka = servers::kafka(what)?;
        let database = runtime.block_on(Database::create(what))?;
        let config = Config {
            servers: kafka,
            partitions: PARTITIONS,
            topic_prefix: format!("{}_", servers::unique("projector")),
            ..Config::default()
        };
        let kafka = KafkaLog::connect(&config).expect("Kafka answers");
        kafka.ensure_topics(PARTITIONS).expect("topics can be made");
        let log: Arc<dyn Log> = Arc::new(KafkaLog::connect(&config).expect("Kafka answers"));
        let appender = log.appender().expect("an appender");
        Some(Self {
            kafka,
            log,
            appender,
            runtime,
            config: database.config(),
            database,
            expected: Mutex::default(),
        })
    }

    /// Appends records as the predictor does; each is expected in the rows once.
    fn append(&self, partition: u32, offsets: std::ops::Range<u64>) {
        for offset in offsets {
            for (src, log_time, record) in step(partition, offset) {
                self.expected().apply(src, log_time, &record);
                self.send(partition, src, log_time, &record);
            }
        }
        self.appender
            .flush(Duration::from_secs(20))
            .expect("acknowledged");
    }

    fn expected(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.expected.lock().expect("nobody panics with it")
    }

    /// Appends them again, as a predictor does that starts from its checkpoint.
    fn repeat(&self, partition: u32, offsets: std::ops::Range<u64>) {
        for (src, log_time, record) in offsets.flat_map(|offset| step(partition, offset)) {
            self.send(partition, src, log_time, &record);
        }
        self.appender
            .flush(Duration::from_secs(20))
            .expect("acknowledged");
    }

    fn send(&self, partition: u32, src: Src, log_time: LogTime, record: &Prediction) {
        let envelope = record.seal(Some(src), None);
        self.send_raw(partition, log_time, envelope);
    }

    fn send_raw(&self, partition: u32, log_time: LogTime, envelope: Envelope) {
        self.appender
            .append(
                &ANOMALY_PREDICTIONS,
                Some(partition),
                Some(log_time),
                envelope,
            )
            .expect("there is room");
    }

    /// Runs a projector until `until` holds, and stops it.
    fn run(&self, until: impl FnMut(&Self) -> bool) {
        self.run_many(&["a"], until);
    }

    fn run_many(&self, instances: &[&str], mut until: impl FnMut(&Self) -> bool) {
        std::thread::scope(|scope| {
            let stop = StopFlag::new();
            let running: Vec<_> = instances
                .iter()
                .map(|instance| {
                    let stop = stop.clone();
                    let postgres = self.postgres();
                    let handle = self.runtime.handle().clone();
                    scope.spawn(move || project(&self.log, postgres, handle, instance, &stop, &()))
                })
                .collect();
            let deadline = Instant::now() + Duration::from_secs(60);
            while !until(self) {
                assert!(
                    Instant::now() < deadline,
                    "the projector does not get there"
                );
                std::thread::sleep(Duration::from_millis(20));
            }
            stop.stop();
            for running in running {
                running
                    .join()
                    .expect("no panic")
                    .expect("it ends because it was asked to");
            }
        });
    }

    fn postgres(&self) -> Postgres {
        self.runtime
            .block_on(Postgres::start(&self.config, "projector"))
            .expect("the schema can be made")
    }

    fn rows(&self) -> Ledger {
        self.runtime.block_on(async {
            let postgres = Postgres::open(&self.config, "test").expect("an address");
            let session = postgres.session().await.expect("a connection");
            sql::dump(&*session).await.expect("readable rows")
        })
    }

    /// Whether every record that must come to rows has; the rows themselves are compared in full at the end.
    fn is_done(&self) -> bool {
        self.rows().resources == self.expected().resources
    }

    fn query(&self, sql: &str) -> i64 {
        self.runtime.block_on(async {
            let postgres = Postgres::open(&self.config, "test").expect("an address");
            let session = postgres.session().await.expect("a connection");
            session.query_one(sql, &[]).await.expect("a number").get(0)
        })
    }

    fn check(self) {
        assert_eq!(self.rows().canonical(), self.expected().canonical());
        self.runtime.block_on(self.database.drop());
        self.kafka.delete_topics().expect("topics can be deleted");
    }
}

/// Everything that one root record of a partition causes: verdicts of two hosts, now and then more, and a tick.
fn step(partition: u32, offset: u64) -> Vec<(Src, LogTime, Prediction)> {
    let log = LogId(Uuid::from_u128(7 + u128::from(partition)));
    let at = i64::try_from(offset).expect("small") * 1_000;
    let mut records = Vec::new();
    for host in 0..2 {
        let resource = ResourceKey::new(format!("host-{partition}-{host}"));
        if offset % 7 == 3 {
            records.push(Prediction::Failure(failure(&resource, offset)));
        }
        records.push(Prediction::Verdict(verdict(&resource, offset)));
    }
    records.push(Prediction::Tick(Tick {
        log,
        genesis: false,
    }));
    let src = Src::root(log, partition, offset).derive(0);
    (0..)
        .zip(records)
        .map(|(index, record)| (src.derive(index), LogTime(START + at + 5), record))
        .collect()
}

fn verdict(resource: &ResourceKey, offset: u64) -> Verdict {
    let score = if offset.is_multiple_of(11) { 1.5 } else { 0.25 };
    let anomaly = score > 1.0;
    let part = Part {
        metric: "cpu.utilization".into(),
        part: score,
        value: 0.97,
        expected: 0.12,
    };
    let series = SeriesVerdict {
        metric: "cpu.utilization".into(),
        score,
        p: 1e-9,
        p0: 1e-7,
        value: 0.97,
        expected: 0.12,
        lower: Some(0.0),
        upper: Some(0.4),
    };
    Verdict {
        resource: resource.clone(),
        kind: Kind::Server,
        feature_set: "host/1".into(),
        model_set: "abc".into(),
        step: StepLength::SECOND,
        step_end: EventTime(START + i64::try_from(offset).expect("small") * 1_000),
        state: VerdictState::Scored,
        eta_seconds: None,
        score: Some(score),
        p: Some(1e-8),
        p0: Some(1e-7),
        confidence: Some(0.5),
        parts: if anomaly { vec![part] } else { Vec::new() },
        series: if anomaly { vec![series] } else { Vec::new() },
        backfill: false,
    }
}

fn failure(resource: &ResourceKey, offset: u64) -> FailurePrediction {
    let ended = offset.is_multiple_of(3);
    let offset = i64::try_from(offset).expect("small");
    FailurePrediction {
        resource: resource.clone(),
        kind: Kind::Server,
        failure: FailureKind::DiskFull,
        subject: "/data".into(),
        first_step: EventTime(START + offset / 50 * 50_000),
        step_end: EventTime(START + offset * 1_000),
        state: if ended {
            PredictionState::Withdrawn
        } else {
            PredictionState::Open
        },
        used: 80.0,
        limit: 100.0,
        slope: 0.01,
        p10_seconds: (!ended).then_some(1_000.5),
        p50_seconds: (!ended).then_some(2_000.0),
        p90_seconds: None,
        probability: 0.75,
        horizon_seconds: 86_400.0,
        baseline_seconds: None,
        reason: ended.then(|| "the level has fallen".into()),
        lead_seconds: None,
        backfill: false,
    }
}

#[test]
fn rows_are_those_of_the_log_however_often_it_repeats_and_the_projector_starts() {
    let Some(world) = World::new("projector") else {
        return;
    };
    world.append(0, 0..150);
    world.append(1, 0..40);
    world.run(World::is_done);
    // A predictor died and did its last records again, with the same bytes; then went on.
    world.repeat(0, 90..150);
    world.append(0, 150..200);
    world.run(World::is_done);
    // Nothing new: another start changes nothing, and takes in the end of the log.
    world.repeat(1, 0..40);
    world.append(1, 40..60);
    world.run(World::is_done);
    world.check();
}

#[test]
fn rows_are_the_same_when_connections_die_at_any_moment() {
    let Some(world) = World::new("projector under killed connections") else {
        return;
    };
    let mut next = 0;
    let mut killed = 0;
    world.run(|world| {
        if next < 600 || killed < 20 {
            world.append(0, next..next + 10);
            world.append(1, next..next + 10);
            next += 10;
            // In the middle of a transaction, whichever statement it is at.
            killed += world.query(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name = 'projector' AND state <> 'idle'",
            );
            return false;
        }
        world.is_done()
    });
    world.check();
}

#[test]
fn partitions_may_move_between_projectors() {
    let Some(world) = World::new("projectors that share a topic") else {
        return;
    };
    for (round, instances) in [&["a"][..], &["a", "b"], &["b"], &["b", "a"]]
        .into_iter()
        .enumerate()
    {
        let from = round as u64 * 50;
        world.append(0, from..from + 50);
        world.append(1, from..from + 50);
        world.run_many(instances, World::is_done);
    }
    world.check();
}

#[test]
fn what_cannot_be_read_or_stored_is_set_aside_and_the_rest_goes_on() {
    let Some(world) = World::new("projector's dead letters") else {
        return;
    };
    world.append(0, 0..20);
    let (src, log_time, record) = step(0, 20).remove(0);
    // Not JSON; no schema that is known; no cause.
    let sealed = record.seal(Some(src), None);
    world.send_raw(
        0,
        log_time,
        Envelope {
            body: b"{".to_vec(),
            ..sealed.clone()
        },
    );
    let headers = Headers {
        schema: "verdikt".into(),
        ..sealed.headers.clone()
    };
    world.send_raw(
        0,
        log_time,
        Envelope {
            headers,
            ..sealed.clone()
        },
    );
    let headers = Headers {
        src: None,
        ..sealed.headers.clone()
    };
    world.send_raw(0, log_time, Envelope { headers, ..sealed });
    // Readable, but its name is longer than an index of PostgreSQL can take, however well it is compressed.
    let name: String = (0..400).map(blake).collect();
    let refused = Prediction::Verdict(verdict(&ResourceKey::new(name), 20));
    let refused_src = Src {
        sub: src.sub + 500,
        ..src
    };
    world.append(0, 20..21);
    world.send(0, refused_src, log_time, &refused);
    world.append(0, 21..60);
    world.run(World::is_done);

    let mut letters = Vec::new();
    let place = |partition| forewarn_bus::Place {
        topic: &DEAD_LETTERS,
        partition,
    };
    for partition in 0..world.log.partitions(&DEAD_LETTERS).expect("the topic") {
        let bounds = world.log.bounds(place(partition)).expect("bounds");
        let mut each = |record: forewarn_bus::Record| {
            let headers = record.headers().expect("headers");
            letters.push(
                record
                    .body::<DeadLetter>(&headers)
                    .expect("a letter")
                    .reason
                    .as_str(),
            );
            true
        };
        world
            .log
            .read(place(partition), bounds, &mut each)
            .expect("readable");
    }
    letters.sort_unstable();
    assert_eq!(
        letters,
        ["body", "header", "refused_by_store", "unknown_schema"]
    );
    world.check();
}

/// Text without any pattern that compression could find.
fn blake(seed: u64) -> String {
    forewarn_types::id::message(&seed.to_le_bytes())
        .simple()
        .to_string()
}

#[test]
fn a_record_of_a_newer_program_is_waited_for_and_not_skipped() {
    let Some(world) = World::new("projector and newer records") else {
        return;
    };
    world.append(0, 0..10);
    let (src, log_time, record) = step(0, 10).remove(0);
    let sealed = record.seal(Some(src), None);
    let headers = Headers {
        version: 99,
        ..sealed.headers.clone()
    };
    world.send_raw(0, log_time, Envelope { headers, ..sealed });
    let before = world.expected().clone();
    world.append(0, 11..12);
    let all = std::mem::replace(&mut *world.expected(), before);
    assert_ne!(all, *world.expected());
    // What came before is there, and in the other partition work goes on.
    world.append(1, 0..30);
    world.run(World::is_done);
    world.check();
}
