//! The program as a command, and servers for it to ask: the real API before a real ledger, and one that answers as told.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use forewarn_api::{App, Config, Ledger};
use forewarn_store::influxdb::{Config as InfluxConfig, InfluxDb};
use forewarn_testkit::database::Database;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// What a command said, and its exit code.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// The result as JSON, of a command that went well.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn is(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(
            self.err.contains(words) || self.out.contains(words),
            "`{words}` is not in {self:?}"
        );
    }
}

/// The program in a folder of its own, with nothing in its environment but what a test puts there.
#[derive(Debug)]
pub(crate) struct Cli {
    home: TempDir,
    variables: BTreeMap<&'static str, String>,
}

impl Cli {
    pub(crate) fn new() -> Self {
        Self {
            home: tempfile::tempdir().expect("a folder"),
            variables: BTreeMap::new(),
        }
    }

    pub(crate) fn asking(address: &str) -> Self {
        Self::new().with("FOREWARN_SERVER", address)
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.insert(name, value.to_owned());
        self
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forewarn"));
        command
            .args(args)
            .env_clear()
            .envs(&self.variables)
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Said {
        let output = self.command(args).output().expect("the program runs");
        Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A server on this machine, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) runtime: Runtime,
}

impl Server {
    pub(crate) fn of(runtime: Runtime, router: Router) -> Self {
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, runtime }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// What a told server answers to a request: status, content type and text.
pub(crate) type Told = (u16, &'static str, String);

/// A server that answers as it is told to, by method and path with query.
pub(crate) fn told(answer: impl Fn(&str) -> Told + Send + Sync + 'static) -> Server {
    let answer: Arc<dyn Fn(&str) -> Told + Send + Sync> = Arc::new(answer);
    let router = Router::new().fallback(reply).with_state(answer);
    Server::of(Runtime::new().expect("a runtime"), router)
}

type Answer = Arc<dyn Fn(&str) -> Told + Send + Sync>;

async fn reply(State(answer): State<Answer>, request: Request<Body>) -> Response<Body> {
    let (status, kind, text) = answer(&format!("{} {}", request.method(), request.uri()));
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .body(Body::from(text))
        .expect("an answer")
}

/// A document.
pub(crate) fn json(status: u16, document: &Value) -> Told {
    (status, "application/json", document.to_string())
}

/// A problem document, as the API writes it.
pub(crate) fn problem(status: u16, name: &str, detail: &str, remedy: &str) -> Told {
    let document = serde_json::json!({
        "type": format!("urn:forewarn:problem:{name}"), "title": name, "status": status, "detail": detail, "remedy": remedy
    });
    (status, "application/problem+json", document.to_string())
}

/// An address where nobody answers.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

/// The real API before a ledger with something of everything; `None` when there is no PostgreSQL.
pub(crate) fn seeded(what: &str) -> Option<(Server, Database)> {
    let runtime = Runtime::new().expect("a runtime");
    let database = runtime.block_on(async {
        let database = Database::create(what).await?;
        database.start().await;
        database
            .run(include_str!("../../../api/tests/it/seed.sql"))
            .await;
        Some(database)
    })?;
    let influxdb = InfluxConfig {
        url: nobody(),
        ..InfluxConfig::default()
    };
    let _inside = runtime.enter();
    let ledger = Ledger::open(&database.config(), &Config::default()).expect("a readable address");
    let client = InfluxDb::open(&influxdb).expect("a readable address");
    let app = App::new(
        Config::default(),
        ledger,
        Arc::new(client),
        influxdb.retention(),
        forewarn_bus::KafkaLog::access(forewarn_bus::Config {
            servers: nobody().replace("http://", ""),
            ..forewarn_bus::Config::default()
        }),
    );
    drop(_inside);
    let server = Server::of(runtime, Arc::new(app).router(Router::new()));
    Some((server, database))
}
