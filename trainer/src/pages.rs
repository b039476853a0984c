//! `POST /train`: a training on demand, for people, scripts and schedulers such as Airflow, that can be waited for.

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::pass::PassError;
use crate::run::Order;

/// Longer than any list of names that somebody writes.
const BODY_BYTES_MAX: usize = 256 << 10;

/// What may be asked. An empty body asks for whoever is due, and waits.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Request {
    /// Whom to train, due or not; nobody named means whoever is due.
    resources: Option<Vec<String>>,
    /// Whether to answer when it is done; otherwise at once, with 202.
    wait: bool,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            resources: None,
            wait: true,
        }
    }
}

pub(crate) fn router(orders: mpsc::Sender<Order>) -> Router {
    Router::new()
        .route("/train", post(train))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(orders)
}

async fn train(State(orders): State<mpsc::Sender<Order>>, body: axum::body::Bytes) -> Response {
    let request: Request = match read(&body) {
        Ok(request) => request,
        Err(problem) => {
            return error(
                StatusCode::BAD_REQUEST,
                "body",
                "The body is no request for a training",
                &problem,
                "send {\"resources\": [\"web-01\"], \"wait\": true}, or nothing for whoever is due",
            );
        }
    };
    let (answer, answered) = oneshot::channel();
    let order = Order {
        resources: request.resources,
        answer,
    };
    if orders.try_send(order).is_err() {
        return error(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "Too many trainings wait already",
            "the queue is full, or the service is stopping",
            "ask again in a minute",
        );
    }
    if !request.wait {
        return (StatusCode::ACCEPTED, Json(json!({ "accepted": true }))).into_response();
    }
    match answered.await {
        Ok(Ok(summary)) => Json(summary).into_response(),
        Ok(Err(problem @ PassError::Unknown(_))) => error(
            StatusCode::NOT_FOUND,
            "unknown-resource",
            "There is no such resource",
            &problem.to_string(),
            "SELECT resource FROM resources shows those there are",
        ),
        Ok(Err(problem @ PassError::Busy)) => error(
            StatusCode::CONFLICT,
            "busy",
            "Another trainer is at work",
            &problem.to_string(),
            "ask again when it is done; model_runs shows what it does",
        ),
        Ok(Err(problem @ PassError::Store(_))) => error(
            StatusCode::SERVICE_UNAVAILABLE,
            "stores",
            "The training broke off",
            &problem.to_string(),
            "ask again when InfluxDB, PostgreSQL and the store of models answer",
        ),
        Err(_) => error(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "The service is stopping",
            "what was begun has changed nothing",
            "ask again when it is back",
        ),
    }
}

fn read(body: &[u8]) -> Result<Request, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Request::default());
    }
    let request: Request = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match &request.resources {
        Some(names) if names.is_empty() => Err("`resources` names nobody".to_owned()),
        _ => Ok(request),
    }
}

/// RFC 9457.
fn error(status: StatusCode, name: &str, title: &str, detail: &str, remedy: &str) -> Response {
    let body = json!({
        "type": format!("urn:forewarn:problem:{name}"),
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
        "remedy": remedy,
    });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asks_for_whoever_is_due_and_what_is_misspelt_is_named() {
        assert!(read(b" ").is_ok_and(|request| request.wait && request.resources.is_none()));
        assert!(read(br#"{"resources":["a"],"wait":false}"#).is_ok_and(|request| !request.wait));
        let misspelt = read(br#"{"resource":["a"]}"#).expect_err("misspelt");
        assert!(misspelt.contains("resource"), "{misspelt}");
        assert!(read(br#"{"resources":[]}"#).is_err());
        assert!(read(b"[1]").is_err());
    }
}
