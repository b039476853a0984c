//! A trainer with stores of its own, and hosts whose history the test writes.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forewarn_config::Secret;
use forewarn_features::FeatureSets;
use forewarn_messages::{FeatureVector, ProcessedMetric};
use forewarn_store::influxdb::{Config as InfluxConfig, InfluxDb};
use forewarn_store::metrics::{Lines, MetricStore as _, points};
use forewarn_store::postgres::Postgres;
use forewarn_store::shelf::{self, Shelf};
use forewarn_testkit::database::Database;
use forewarn_testkit::generate::Draw;
use forewarn_testkit::servers;
use forewarn_trainer::{Config, Trainer, Workshop};
use forewarn_types::{EventTime, Kind, ResourceKey, StepLength};

pub(crate) const SET: &str = "host/1";
const STEP_MS: i64 = 1_000;

pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) postgres: Postgres,
    influxdb: InfluxDb,
    sets: Arc<FeatureSets>,
    pub(crate) shelf: Shelf,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) trainer: Trainer,
}

impl World {
    pub(crate) async fn new(what: &str) -> Option<Self> {
        let config = Config {
            least_steps: 600,
            ..Config::default()
        };
        Self::with(what, config).await
    }

    pub(crate) async fn with(what: &str, config: Config) -> Option<Self> {
        let (url, token) = servers::influxdb(what)?;
        let database = Database::create(what).await?;
        let influxdb = InfluxDb::start(&InfluxConfig {
            url,
            token: Secret::new(token),
            bucket: servers::unique("trainer"),
            startup_wait: Duration::from_secs(10),
            ..InfluxConfig::default()
        })
        .await
        .expect("buckets can be made");
        let postgres = database.start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = Shelf::open(&shelf::Config {
            path: folder.path().to_owned(),
        })
        .expect("a folder of our own");
        let sets = Arc::new(FeatureSets::standard());
        let workshop = Workshop {
            config,
            judge: forewarn_judge::Config::default(),
            metrics: Arc::new(influxdb.clone()),
            postgres: postgres.clone(),
            shelf: shelf.clone(),
            log_retention: Duration::from_secs(7 * 86_400),
        };
        let trainer = Trainer::new(workshop, Arc::clone(&sets));
        Some(Self {
            database,
            postgres,
            influxdb,
            sets,
            shelf,
            folder,
            trainer,
        })
    }

    /// Gives `host` history: the last `seconds` seconds, around the levels that are `lift` of their floors higher than
    /// usual.
    pub(crate) async fn live(&self, host: &str, seconds: i64, lift: f64) {
        let set = self.sets.by_id(SET).expect("it is shipped");
        let mut draw = Draw::new(7, host);
        let now = now() / STEP_MS * STEP_MS;
        let mut lines = Lines::default();
        for end in (now - seconds * STEP_MS..now).step_by(1_000) {
            let mut values = vec![None; set.features.len()];
            for metric in &set.metrics {
                let level = 10.0 + lift;
                values[metric.value_index] = Some((metric.floor * (level + draw.normal())) as f32);
            }
            let vector = FeatureVector {
                resource: ResourceKey::new(host),
                kind: Kind::Server,
                feature_set: SET.into(),
                step: StepLength::SECOND,
                step_end: EventTime(end),
                incomplete: false,
                late: 0,
                backfill: false,
                values,
                limits: Vec::new(),
            };
            points::of_processed_metric(&ProcessedMetric::Vector(vector), &self.sets, &mut lines)
                .expect("a known set");
        }
        let written = self.influxdb.write(&lines).await.expect("written");
        assert!(written.refused.is_empty(), "{written:?}");
        self.database
            .run(&format!(
                "INSERT INTO resources (tenant, resource, kind, state, state_since_at, first_step_at, last_step_at, \
                    open_predictions, reached, feature_sets, logged_at, src) \
                 VALUES ('default', '{host}', 'server', 'healthy', now(), to_timestamp({first}), to_timestamp({last}), \
                    0, '[]', '{{\"{SET}\": {{}}}}', now(), 'l/0/0/0') \
                 ON CONFLICT (tenant, resource) DO UPDATE SET last_step_at = excluded.last_step_at",
                first = now / 1_000 - seconds,
                last = now / 1_000 - 1,
            ))
            .await;
    }

    /// The one number that a query gives.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let session = self.postgres.session().await.expect("a connection");
        let number = session.query_one(sql, &[]).await.expect("a row").get(0);
        session.give_back();
        number
    }

    pub(crate) async fn end(self) {
        self.influxdb
            .tear_down()
            .await
            .expect("buckets can be deleted");
        self.database.drop().await;
    }
}

fn now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(now.as_millis()).expect("before the year 292 million")
}
