//! The pages of port 8001: pushed samples come in here, and people can look and ask for a collection.

mod body;
mod chaos;
mod problem;
mod push;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use forewarn_bus::Appender;
use forewarn_messages::{Body as _, SystemMetric};
use forewarn_service::Problem;
use forewarn_types::EventTime;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use self::body::Budget;
use crate::acknowledge::{Unacknowledged, acknowledge};
use crate::door::{self, ActiveSeries};
use crate::heartbeat::Heartbeat;
use crate::sources::host::{self, HostCollector};
use crate::sources::simulated::Simulator;
use crate::status::Status;
use crate::{Backlog, Config};

/// What the pages work with.
#[derive(Debug)]
pub struct App {
    config: Config,
    /// This host's collector, unless it is switched off; shared with the thread that runs it each second.
    collector: Option<Arc<Mutex<HostCollector>>>,
    /// Whom it measures.
    own_name: Option<String>,
    simulator: Option<Simulator>,
    backlog: Arc<Backlog>,
    status: Arc<Status>,
    log: OnceLock<LogSide>,
    series: Mutex<ActiveSeries>,
    budget: Budget,
    places: Semaphore,
    born: Instant,
}

/// The log, once it is there.
struct LogSide {
    appender: Arc<dyn Appender>,
    heartbeat: Arc<Heartbeat>,
}

impl std::fmt::Debug for LogSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogSide")
            .field("heartbeat", &self.heartbeat)
            .finish_non_exhaustive()
    }
}

impl App {
    /// Pages that answer, but take nothing in before [`App::connect`].
    #[must_use]
    pub fn new(
        config: Config,
        collector: Option<Arc<Mutex<HostCollector>>>,
        backlog: Arc<Backlog>,
        status: Arc<Status>,
    ) -> Self {
        let own_name = collector.as_ref().map(|collector| {
            let collector = collector.lock().unwrap_or_else(PoisonError::into_inner);
            collector.resource().resource.clone()
        });
        Self {
            own_name,
            simulator: None,
            series: Mutex::new(ActiveSeries::new(
                config.limits.series_max,
                config.limits.series_idle.as_secs(),
            )),
            budget: Budget::new(config.bodies_total_max),
            places: Semaphore::new(config.requests_max.min(Semaphore::MAX_PERMITS)),
            collector,
            backlog,
            status,
            log: OnceLock::new(),
            born: Instant::now(),
            config,
        }
    }

    /// The same with a simulator, into whose resources faults can be put.
    #[must_use]
    pub fn simulating(mut self, simulator: Simulator) -> Self {
        self.simulator = Some(simulator);
        self
    }

    /// From now on samples go into this log. Only the first call counts.
    pub fn connect(&self, appender: Arc<dyn Appender>, heartbeat: Arc<Heartbeat>) {
        let _ = self.log.set(LogSide {
            appender,
            heartbeat,
        });
    }

    /// Why the log takes nothing, or `None`.
    #[must_use]
    pub fn lacks_log(&self) -> Option<String> {
        match self.log.get() {
            None => Some("the log has not been reached since the start".to_owned()),
            Some(log) => log.heartbeat.lacks(),
        }
    }

    fn log(&self) -> Result<Arc<dyn Appender>, Problem> {
        match (self.log.get(), self.lacks_log()) {
            (Some(log), None) => Ok(Arc::clone(&log.appender)),
            (_, why) => Err(problem::later("log-away", "the log takes nothing now")
                .detail(why.unwrap_or_default())
                .remedy("keep the samples and send them again; nothing of this request was taken")),
        }
    }

    /// The pages. `Context::pages` has to be merged in for the ones that every service has.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/", get(index))
            .route("/health", get(health))
            .route("/collect", post(collect))
            .route("/api/v1/metrics", post(push::push))
            .route("/api/v1/chaos", post(chaos::inject))
            .fallback(not_found)
            .method_not_allowed_fallback(not_allowed)
            .with_state(self)
    }
}

/// What this is, for whoever opens the address in a browser.
async fn index() -> Json<Value> {
    Json(json!({
        "name": "forewarn-ingestion",
        "about": "takes samples in, from this host and over HTTP, and acknowledges them by the log",
        "version": env!("CARGO_PKG_VERSION"),
        "pages": {
            "GET /health": "how it is doing",
            "POST /api/v1/metrics": "push samples as JSON (docs/push-api.md)",
            "POST /api/v1/chaos": "put a fault into a simulated resource, where a simulator runs (docs/simulator.md)",
            "POST /collect": "measure this host once, now",
            "GET /metrics": "its own metrics in Prometheus' text format",
            "GET /live": "whether its loops turn over",
            "GET /ready": "whether it takes samples",
        },
    }))
}

/// How it is doing: 200 when samples can be taken in, else 503. The recorder may lag behind without that.
async fn health(State(app): State<Arc<App>>) -> Response {
    let lacks = app.lacks_log();
    let host = app.collector.is_some().then(|| {
        json!({
            "last_collection_age_seconds": app.status.collection_age().map(|age| age.as_secs_f64()),
            "waiting_for_the_log": app.backlog.len(),
        })
    });
    let (accepted, refused) = app.status.totals();
    let series = app
        .series
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .len();
    let document = json!({
        "status": if lacks.is_none() { "ok" } else { "degraded" },
        "log": { "reachable": lacks.is_none(), "problem": lacks },
        "host": host,
        "recorder": { "problem": app.status.recorder_problem() },
        "samples": { "accepted": accepted, "refused": refused, "active_pushed_series": series },
        "uptime_seconds": app.born.elapsed().as_secs(),
    });
    let status = if lacks.is_none() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(document)).into_response()
}

/// Measures this host once, now, and answers when the log has it.
async fn collect(State(app): State<Arc<App>>) -> Result<Json<Value>, Problem> {
    let Some(collector) = app.collector.clone() else {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "collector-off",
            "this host is not measured",
        )
        .detail("the host collector is switched off")
        .remedy("set ingestion.host.enabled to true"));
    };
    let Ok(_place) = app.places.try_acquire() else {
        return Err(
            problem::later("busy", "too many requests at once").remedy("ask again in a moment")
        );
    };
    let log = app.log()?;
    let at = EventTime(now());
    // Reading the kernel's files, and waiting for a regular collection to end, blocks for a moment.
    let measured = tokio::task::spawn_blocking(move || {
        let mut collector = collector.lock().unwrap_or_else(PoisonError::into_inner);
        collector.look(at)
    });
    let batch = measured.await.map_err(|error| {
        tracing::error!(%error, "a collection failed");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the collection failed",
        )
        .detail("a defect of this program; its log says more")
    })?;
    let (samples, resource) = (batch.samples.len(), batch.resource.resource.clone());
    let records = door::split(batch)
        .into_iter()
        .map(|record| SystemMetric::Samples(record).seal(None, None))
        .collect();
    acknowledge(log.as_ref(), records, app.config.acknowledge_within).await?;
    app.status.accepted(host::SOURCE, samples as u64);
    Ok(Json(
        json!({ "resource": resource, "samples": samples, "time": at }),
    ))
}

impl From<Unacknowledged> for Problem {
    fn from(error: Unacknowledged) -> Self {
        let detail = error.to_string();
        match error {
            Unacknowledged::Full => problem::later(
                "log-full",
                "the log takes nothing more for now",
            )
            .detail(detail)
            .remedy("send the same request again in a moment; samples that were taken count once"),
            Unacknowledged::NoRoom(_) => problem::later("disk-full", "the disk under the log is nearly full")
                .detail(detail)
                .remedy("send the same request again when there is room; samples that were taken count once"),
            Unacknowledged::Unknown(_) => problem::later(
                "unknown-outcome",
                "the samples may or may not be in the log",
            )
            .detail(detail)
            .remedy("send the same request again; samples that were taken count once"),
            Unacknowledged::Refused(_) => {
                tracing::error!(detail, "the log refuses what the door let in");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "the log refuses the samples",
                )
                .detail("a defect of this program; its log says more")
            }
        }
    }
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "there is no such page")
        .detail(format!(
            "nothing answers at {}",
            uri.path().chars().take(200).collect::<String>()
        ))
        .remedy("see the list at /")
}

async fn not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "this page is asked for in another way",
    )
    .detail(format!("{method} is not understood at {}", uri.path()))
    .remedy("see the list at /")
}

/// This machine's clock, in milliseconds since the epoch: here samples get their times and are checked against it.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
