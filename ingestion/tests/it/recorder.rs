//! From real topics to real points: each once, whatever is in between.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forewarn_bus::{Appender, Config, KafkaLog, Log, Place, StopFlag};
use forewarn_config::Secret;
use forewarn_features::FeatureSets;
use forewarn_ingestion::recorder::record;
use forewarn_messages::{
    ANOMALY_PREDICTIONS, Body, DEAD_LETTERS, DeadLetter, FeatureVector, PROCESSED_METRICS,
    Prediction, ProcessedMetric, SYSTEM_METRICS, SampleBatch, SystemMetric, Verdict,
};
use forewarn_store::influxdb::{self, InfluxDb};
use forewarn_store::metrics::{Lines, Span, line, points};
use forewarn_testkit::servers;
use forewarn_types::{
    EventTime, Kind, LogId, LogTime, MetricType, ResourceKey, Sample, Src, StepLength, Tags,
    VerdictState,
};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Topics and buckets of the test's own.
struct World {
    kafka: KafkaLog,
    log: Arc<dyn Log>,
    appender: Arc<dyn Appender>,
    runtime: Runtime,
    config: influxdb::Config,
    influxdb: InfluxDb,
    sets: Arc<FeatureSets>,
    start: i64,
    /// The points that must be there: measurement, tags, field, value and time as text.
    expected: BTreeSet<String>,
}

impl World {
    fn new(what: &str) -> Option<Self> {
        let (servers, (url, token)) = (servers::kafka(what)?, servers::influxdb(what)?);
        let config = Config {
            servers,
            partitions: 2,
            topic_prefix: format!("{}_", servers::unique("recorder")),
            ..Config::default()
        };
        let kafka = KafkaLog::connect(&config).expect("Kafka answers");
        kafka.ensure_topics(2).expect("topics can be made");
        let log: Arc<dyn Log> = Arc::new(KafkaLog::connect(&config).expect("Kafka answers"));
        let appender = log.appender().expect("an appender");
        let runtime = Runtime::new().expect("a runtime");
        let config = influxdb::Config {
            url,
            token: Secret::new(token),
            bucket: servers::unique("test"),
            downsampling: false,
            ..influxdb::Config::default()
        };
        let influxdb = runtime
            .block_on(InfluxDb::start(&config))
            .expect("buckets can be made");
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_millis();
        let start =
            i64::try_from(now).expect("before the year 292 million") / 1_000 * 1_000 - 600_000;
        let sets = Arc::new(FeatureSets::standard());
        Some(Self {
            kafka,
            log,
            appender,
            runtime,
            config,
            influxdb,
            sets,
            start,
            expected: BTreeSet::new(),
        })
    }

    /// Appends one second of a host to all three topics.
    fn append(&mut self, partition: u32, second: i64) {
        let time = EventTime(self.start + second * 1_000);
        let resource = ResourceKey::new(format!("host {partition}\\"));
        let mut lines = Lines::default();

        let samples = ["user", "a,b =c", ""].map(|mode| Sample {
            metric: "system.cpu.utilization".into(),
            tags: Tags::from([
                ("cpu.mode".to_owned(), mode.to_owned()),
                ("time".to_owned(), "x".to_owned()),
            ]),
            metric_type: MetricType::Gauge,
            time,
            value: second as f64 / 3.0,
        });
        let batch = SampleBatch::new(
            resource.clone(),
            Kind::Server,
            "host",
            StepLength::SECOND,
            samples.into(),
        );
        let raw = SystemMetric::Samples(batch);
        points::of_system_metric(&raw, &mut lines);
        self.appender
            .append(&SYSTEM_METRICS, Some(partition), None, raw.seal(None, None))
            .expect("room");

        let set = self.sets.all().first().expect("a standard set");
        let vector = ProcessedMetric::Vector(FeatureVector {
            resource: resource.clone(),
            kind: Kind::Server,
            feature_set: set.id().to_owned(),
            step: StepLength::SECOND,
            step_end: time,
            incomplete: false,
            values: (0..set.features.len())
                .map(|i| (i % 5 != 0).then_some(i as f32 / 7.0))
                .collect(),
            limits: Vec::new(),
            late: 0,
            backfill: false,
        });
        points::of_processed_metric(&vector, &self.sets, &mut lines).expect("a known set");
        let src = Src::root(LogId(Uuid::from_u128(7)), partition, second as u64);
        let log_time = Some(LogTime(time.millis()));
        self.appender
            .append(
                &PROCESSED_METRICS,
                Some(partition),
                log_time,
                vector.seal(Some(src), None),
            )
            .expect("room");

        let verdict = Prediction::Verdict(Verdict {
            resource,
            kind: Kind::Server,
            feature_set: set.id().to_owned(),
            model_set: "abc".into(),
            step: StepLength::SECOND,
            step_end: time,
            state: VerdictState::Scored,
            eta_seconds: None,
            score: Some(0.1),
            p: Some(0.012_345_678_901_234_5),
            p0: Some(1e-7),
            confidence: Some(0.3),
            parts: Vec::new(),
            series: Vec::new(),
            backfill: false,
        });
        points::of_prediction(&verdict, &mut lines);
        self.appender
            .append(
                &ANOMALY_PREDICTIONS,
                Some(partition),
                log_time,
                verdict.seal(Some(src.derive(0)), None),
            )
            .expect("room");

        for point in lines
            .iter()
            .map(|line| line::parse(line).expect("our own line"))
        {
            for (field, value) in &point.fields {
                let text = format!(
                    "{} {:?} {field} {value:?} {}",
                    point.measurement, point.tags, point.time
                );
                self.expected.insert(text);
            }
        }
    }

    fn points(&self) -> BTreeSet<String> {
        let span = Span {
            start: self.start - 1_000,
            stop: self.start + 1_200_000,
        };
        let mut found = Vec::new();
        self.runtime
            .block_on(
                self.influxdb
                    .all_points(&self.influxdb.raw_bucket(), span, &mut |point| {
                        for (field, value) in &point.fields {
                            found.push(format!(
                                "{} {:?} {field} {value:?} {}",
                                point.measurement, point.tags, point.time
                            ));
                        }
                    }),
            )
            .expect("readable");
        let count = found.len();
        let points: BTreeSet<String> = found.into_iter().collect();
        assert_eq!(points.len(), count, "no point is there twice");
        points
    }

    fn run(&self, influxdb: &InfluxDb, mut until: impl FnMut(&Self) -> bool) {
        std::thread::scope(|scope| {
            let stop = StopFlag::new();
            let (store, sets) = (Arc::new(influxdb.clone()), Arc::clone(&self.sets));
            let (handle, ending) = (self.runtime.handle().clone(), stop.clone());
            let running =
                scope.spawn(move || record(&self.log, store, sets, handle, "a", &ending, &()));
            let deadline = Instant::now() + Duration::from_secs(60);
            while !until(self) {
                assert!(Instant::now() < deadline, "the recorder does not get there");
                std::thread::sleep(Duration::from_millis(50));
            }
            stop.stop();
            running
                .join()
                .expect("no panic")
                .expect("it ends because it was asked to");
        });
    }

    fn check(self) {
        let (found, expected) = (self.points(), &self.expected);
        assert_eq!(
            found.difference(expected).next(),
            None,
            "a point that should not be there"
        );
        assert_eq!(
            expected.difference(&found).next(),
            None,
            "a point that is missing"
        );
        self.runtime
            .block_on(self.influxdb.tear_down())
            .expect("cleaned up");
        self.kafka.delete_topics().expect("topics can be deleted");
    }
}

#[test]
fn every_record_becomes_its_points_whatever_is_in_between() {
    let Some(mut world) = World::new("recorder") else {
        return;
    };
    for second in 0..100 {
        world.append(0, second);
        world.append(1, second);
    }
    // Poison in the middle.
    let poison = SystemMetric::Samples(SampleBatch::new(
        ResourceKey::new("x"),
        Kind::Server,
        "push",
        StepLength::SECOND,
        Vec::new(),
    ));
    let mut envelope = poison.seal(None, None);
    envelope.body = b"{\"nonsense\"".to_vec();
    world
        .appender
        .append(&SYSTEM_METRICS, Some(0), None, envelope)
        .expect("room");
    // A time that InfluxDB cannot hold: one point of three is refused.
    let far = |metric: &str, time| Sample {
        metric: metric.into(),
        tags: Tags::new(),
        metric_type: MetricType::Gauge,
        time: EventTime(time),
        value: 1.0,
    };
    let samples = vec![
        far("near", world.start),
        far("far", i64::MAX / 4),
        far("nearer", world.start),
    ];
    let resource = ResourceKey::new("y");
    let batch = SampleBatch::new(resource, Kind::Server, "push", StepLength::SECOND, samples);
    let envelope = SystemMetric::Samples(batch).seal(None, None);
    world
        .appender
        .append(&SYSTEM_METRICS, Some(0), None, envelope)
        .expect("room");
    for metric in ["near", "nearer"] {
        world.expected.insert(format!(
            "{metric} {{\"resource\": \"y\"}} value Float(1.0) {}",
            world.start
        ));
    }
    for second in 100..150 {
        world.append(0, second);
    }
    world
        .appender
        .flush(Duration::from_secs(20))
        .expect("acknowledged");

    // InfluxDB is away at first: nothing is given up.
    let away = influxdb::Config {
        url: "http://127.0.0.1:1".into(),
        ..world.config.clone()
    };
    let away = InfluxDb::open(&away).expect("an address");
    let until = Instant::now() + Duration::from_secs(6);
    world.run(&away, |_| Instant::now() > until);
    assert!(world.points().is_empty());
    world.run(&world.influxdb, |world| {
        world.points().len() == world.expected.len()
    });

    // Another start goes on where the first one was, and what is new comes beside what is there.
    for second in 150..170 {
        world.append(1, second);
    }
    world
        .appender
        .flush(Duration::from_secs(20))
        .expect("acknowledged");
    world.run(&world.influxdb, |world| {
        world.points().len() == world.expected.len()
    });

    let mut letters = Vec::new();
    for partition in 0..world.log.partitions(&DEAD_LETTERS).expect("the topic") {
        let place = Place {
            topic: &DEAD_LETTERS,
            partition,
        };
        let mut each = |record: forewarn_bus::Record| {
            let headers = record.headers().expect("headers");
            letters.push(record.body::<DeadLetter>(&headers).expect("a letter"));
            true
        };
        world
            .log
            .read(place, world.log.bounds(place).expect("bounds"), &mut each)
            .expect("readable");
    }
    let reasons: BTreeSet<_> = letters
        .iter()
        .map(|letter| letter.reason.as_str())
        .collect();
    assert_eq!(reasons, BTreeSet::from(["body", "refused_by_store"]));
    let refused = letters
        .iter()
        .find(|letter| letter.detail.contains("far"))
        .expect("the refused point");
    assert!(
        refused.detail.starts_with("1 points refused"),
        "{}",
        refused.detail
    );
    world.check();
}
