//! A database of a test's own with something of everything in it, and a client without a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use forewarn_api::{App, Config, Ledger};
use forewarn_bus::{Config as LogConfig, KafkaLog, LogAccess};
use forewarn_config::Secret;
use forewarn_store::influxdb::{Config as InfluxConfig, InfluxDb};
use forewarn_store::postgres::Config as PostgresConfig;
use forewarn_testkit::database::Database;
use serde_json::Value;
use tower::ServiceExt as _;

/// A resource whose name would be a program if it were not escaped.
pub(crate) const HOSTILE: &str = r#"<script>alert("1")</script>&'x"#;

/// A database with the schema; `None` when there is no server, after saying that `what` is left out.
pub(crate) async fn migrated(what: &str) -> Option<Database> {
    let database = Database::create(what).await?;
    database.start().await;
    Some(database)
}

/// One with something of everything.
pub(crate) async fn seeded(what: &str) -> Option<Database> {
    let database = migrated(what).await?;
    database.run(include_str!("seed.sql")).await;
    Some(database)
}

pub(crate) fn postgres(url: &str) -> PostgresConfig {
    PostgresConfig {
        url: Secret::new(url),
        startup_wait: Duration::from_secs(10),
        ..PostgresConfig::default()
    }
}

/// Nobody answers there.
pub(crate) fn away() -> InfluxConfig {
    InfluxConfig {
        url: "http://127.0.0.1:9".to_owned(),
        ..InfluxConfig::default()
    }
}

/// No log answers there.
pub(crate) fn log_away() -> LogAccess {
    KafkaLog::access(LogConfig {
        servers: "127.0.0.1:9".to_owned(),
        startup_wait: Duration::from_secs(1),
        ..LogConfig::default()
    })
}

/// All pages, asked without a socket.
pub(crate) struct Pages {
    router: Router,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

impl Pages {
    /// In front of a database, with an InfluxDB that is away.
    pub(crate) fn before(database: &Database) -> Self {
        Self::of(&database.url, Config::default(), &away())
    }

    pub(crate) fn of(url: &str, config: Config, influxdb: &InfluxConfig) -> Self {
        let ledger = Ledger::open(&postgres(url), &config).expect("a readable address");
        let client = InfluxDb::open(influxdb).expect("a readable address");
        let retention = influxdb.retention();
        let app = App::new(config, ledger, Arc::new(client), retention, log_away());
        Self {
            router: Arc::new(app).router(Router::new()),
        }
    }

    /// In front of a database, with a log.
    pub(crate) fn with_log(database: &Database, log: LogAccess) -> Self {
        let config = Config::default();
        let ledger = Ledger::open(&postgres(&database.url), &config).expect("a readable address");
        let client = InfluxDb::open(&away()).expect("a readable address");
        let app = App::new(config, ledger, Arc::new(client), away().retention(), log);
        Self {
            router: Arc::new(app).router(Router::new()),
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        let request = Request::post(path).header("host", "localhost:3000");
        self.ask(
            request
                .body(Body::from(body.to_owned()))
                .expect("a request"),
        )
        .await
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("a router always answers");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 64 << 20).await.expect("a body");
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(body.to_vec()).expect("text"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("host", "localhost:3000");
        self.ask(request.body(Body::empty()).expect("a request"))
            .await
    }

    /// The JSON of a page that has to be there.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        answer.json()
    }
}
