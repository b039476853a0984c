//! The pages that every service answers: `/live`, `/ready`, `/metrics`, and `PUT /log-level`.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use serde_json::json;
use tower_http::timeout::TimeoutLayer;

use crate::{Context, process};

/// Longer than any filter that a person writes.
const BODY_BYTES_MAX: usize = 16 << 10;

/// These pages read memory only; one that takes longer is stuck.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The pages, to be served alone or merged into a service's own.
pub(crate) fn router(cx: Context) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/log-level", put(log_level))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            TIMEOUT,
        ))
        .with_state(cx)
}

/// Whether the loops still turn over. Says nothing about Kafka or the databases: starting again would not bring them.
async fn live(State(cx): State<Context>) -> Response {
    let late = cx.shared.loops.silent(cx.shared.config.late_after);
    if late.is_empty() {
        return axum::Json(json!({ "live": true })).into_response();
    }
    let late: Vec<_> = late
        .into_iter()
        .map(|(name, silence)| json!({ "loop": name, "silent_for_seconds": silence.as_secs() }))
        .collect();
    (
        StatusCode::SERVICE_UNAVAILABLE,
        axum::Json(json!({ "live": false, "late": late })),
    )
        .into_response()
}

/// Whether the service takes work, and what it lacks if not.
async fn ready(State(cx): State<Context>) -> Response {
    let mut lacking = cx.shared.conditions.lacking();
    if cx.shared.stop.since().is_some() {
        lacking.push(("stop".to_owned(), "the service is stopping".to_owned()));
    }
    if lacking.is_empty() {
        return axum::Json(json!({ "ready": true })).into_response();
    }
    let lacking: Vec<_> = lacking
        .into_iter()
        .map(|(name, reason)| json!({ "condition": name, "reason": reason }))
        .collect();
    (
        StatusCode::SERVICE_UNAVAILABLE,
        axum::Json(json!({ "ready": false, "lacking": lacking })),
    )
        .into_response()
}

/// All metrics in Prometheus' text format.
async fn metrics(State(cx): State<Context>) -> impl IntoResponse {
    let text = cx.shared.metrics.render() + &process::render();
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
}

/// Changes what is logged until the process ends: `curl -X PUT -d 'info,forewarn_bus=debug' …/log-level`.
async fn log_level(State(cx): State<Context>, filter: String) -> Response {
    match cx.shared.log_level.set(filter.trim()) {
        Ok(()) => {
            tracing::info!(log_level = filter.trim(), "log level changed");
            axum::Json(json!({ "log_level": filter.trim() })).into_response()
        }
        Err(problem) => (
            StatusCode::BAD_REQUEST,
            axum::Json(json!({ "error": problem })),
        )
            .into_response(),
    }
}
