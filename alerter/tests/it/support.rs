//! A database of a test's own, messages as the predictor would write them, and an HTTP receiver that remembers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use forewarn_alerter::{MachineConfig, Message, Pipeline, ReceiverConfig, Said};
use forewarn_messages::{Body as _, ConditionChange, Envelope, Prediction, Tick};
use forewarn_rules::{RuleConfig, RuleSet};
use forewarn_store::postgres::Postgres;
use forewarn_testkit::database;
use forewarn_types::{EventTime, Kind, LogId, LogTime, ResourceKey, Src};
use serde::Deserialize;
use uuid::Uuid;

/// A database of its own on the real server, with the schema.
pub(crate) struct Database {
    pub(crate) postgres: Postgres,
    /// Its address, for other processes.
    pub(crate) url: String,
    itself: database::Database,
}

impl Database {
    /// `None` when there is no server, after saying that `what` is left out.
    pub(crate) async fn create(what: &str) -> Option<Self> {
        let itself = database::Database::create(what).await?;
        Some(Self {
            postgres: itself.start().await,
            url: itself.url.clone(),
            itself,
        })
    }

    pub(crate) async fn drop(self) {
        self.itself.drop().await;
    }

    /// The lines of a query whose rows have one column of text.
    pub(crate) async fn lines(&self, sql: &str) -> Vec<String> {
        let session = self.postgres.session().await.expect("the server answers");
        let rows = session.query(sql, &[]).await.expect("the query is sound");
        session.give_back();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// One rule without patience, so that every change of its condition is a transition.
pub(crate) fn rules() -> Arc<RuleSet> {
    #[derive(Deserialize)]
    struct File {
        rules: Vec<RuleConfig>,
    }
    let text = r#"
        [[rules]]
        type = "threshold"
        name = "busy"
        metric = "disk.busy"
        operator = ">"
        value = 0.8
    "#;
    let file: File = toml::from_str(text).expect("the rules parse");
    Arc::new(RuleSet::new(file.rules).expect("the rules are sound"))
}

/// No cooldown, so that every change is told.
pub(crate) fn machine() -> MachineConfig {
    MachineConfig {
        cooldown: Duration::ZERO,
        ..MachineConfig::default()
    }
}

/// Where nobody decides anything.
pub(crate) fn pipeline(partitions: u32) -> Pipeline {
    let mut pipeline = Pipeline::new(partitions, rules(), machine());
    pipeline.no_more_commands();
    pipeline
}

pub(crate) fn log_id(partition: u32) -> LogId {
    LogId(Uuid::from_u128(u128::from(partition) + 1))
}

/// The offset'th record of a partition: second after second the condition of one of its resources begins or ceases.
pub(crate) fn change(partition: u32, offset: u64, at: i64, resource: &str, holds: bool) -> Message {
    let prediction = Prediction::Condition(ConditionChange {
        rule: "busy".into(),
        rules: "r".into(),
        resource: ResourceKey::new(resource),
        kind: Kind::Server,
        subject: "disk.busy".into(),
        holds,
        value: Some(if holds { 0.93 } else { 0.2 }),
        threshold: Some(0.8),
        step_end: EventTime(at),
        backfill: false,
    });
    message(partition, offset, at, prediction)
}

pub(crate) fn tick(partition: u32, offset: u64, at: i64) -> Message {
    message(
        partition,
        offset,
        at,
        Prediction::Tick(Tick {
            log: log_id(partition),
            genesis: false,
        }),
    )
}

fn message(partition: u32, offset: u64, at: i64, prediction: Prediction) -> Message {
    Message {
        partition,
        offset,
        log_time: LogTime(at),
        src: Src::root(log_id(partition), partition, offset),
        said: Said::Prediction(prediction),
    }
}

/// The record that a prediction becomes.
pub(crate) fn sealed(message: &Message) -> Envelope {
    match &message.said {
        Said::Prediction(prediction) => prediction.seal(Some(message.src), None),
        other => panic!("{other:?} is no prediction"),
    }
}

/// What came to the receiver.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("it is JSON")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("it is text"))
    }
}

/// An HTTP endpoint that gives the answers it was told to, then 200.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

/// Status, `Retry-After`, and how long it takes.
#[derive(Clone, Copy)]
pub(crate) struct Answer(pub(crate) u16, pub(crate) Option<u32>, pub(crate) Duration);

impl Answer {
    pub(crate) const fn status(status: u16) -> Self {
        Self(status, None, Duration::ZERO)
    }
}

impl Endpoint {
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let endpoint = Self {
            url: format!(
                "http://{}/secret-path",
                listener.local_addr().expect("it is bound")
            ),
            requests: Arc::default(),
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
        };
        let router = Router::new()
            .route("/secret-path", post(receive))
            .with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        endpoint
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("nobody panics with it").clone()
    }

    /// Waits until there are `count` requests.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Request> {
        wait("requests", async || self.requests().len() >= count).await;
        self.requests()
    }

    pub(crate) fn config(&self, name: &str, secret: &str) -> ReceiverConfig {
        let text = format!(
            "type = 'webhook'\nname = '{name}'\nurl = '{}'\nsecret = '{secret}'\ntimeout = '2s'",
            self.url
        );
        toml::from_str(&text).expect("it is sound")
    }
}

async fn receive(State(endpoint): State<Endpoint>, headers: HeaderMap, body: Bytes) -> Response {
    endpoint
        .requests
        .lock()
        .expect("nobody panics with it")
        .push(Request { headers, body });
    let answer = endpoint
        .answers
        .lock()
        .expect("nobody panics with it")
        .pop_front();
    let Answer(status, retry_after, pause) = answer.unwrap_or(Answer::status(200));
    tokio::time::sleep(pause).await;
    let status = StatusCode::from_u16(status).expect("a status");
    match retry_after {
        Some(seconds) => (status, [("retry-after", seconds.to_string())], "later").into_response(),
        None if status.is_redirection() => {
            (status, [("location", "/elsewhere")], "moved").into_response()
        }
        None => (status, "some text").into_response(),
    }
}

/// Waits for a condition, for at most two minutes: other tests use the machine too.
pub(crate) async fn wait(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    while !condition().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain for {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
