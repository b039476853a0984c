//! `POST /train`: a training on demand, for people, scripts and schedulers such as Airflow, that can be waited for.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use forewarn_service::{Problem, site};
use forewarn_store::orders::Order;
use forewarn_types::DEFAULT_TENANT;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::desk::{Desk, NotTaken};
use crate::pass::PassError;

/// Longer than any list of names that somebody writes.
const BODY_BYTES_MAX: usize = 256 << 10;

/// What may be asked. An empty body asks for whoever is due, and waits.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Request {
    /// Whom to train, due or not; nobody named means whoever is due.
    resources: Option<Vec<String>>,
    /// History is looked for from here on, in milliseconds since the epoch, though it lies before the first step that was
    /// judged.
    since_ms: Option<i64>,
    /// Whose resources.
    tenant: String,
    /// Who asks; for the record.
    actor: String,
    /// Whether to answer when it is done; otherwise at once, with 202.
    wait: bool,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            resources: None,
            since_ms: None,
            tenant: DEFAULT_TENANT.to_owned(),
            actor: "POST /train".to_owned(),
            wait: true,
        }
    }
}

pub(crate) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/train", post(train))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(desk)
}

async fn train(
    State(desk): State<Arc<Desk>>,
    uri: Uri,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Result<Response, Problem> {
    if site::is_foreign(&uri, &headers, &[]) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "foreign-page",
            "A page from elsewhere may change nothing here",
        )
        .detail("the request's Origin is not this service")
        .remedy("send it from a program"));
    }
    let request = read(&body).map_err(|detail| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "body",
            "The body is no request for a training",
        )
        .detail(detail)
        .remedy("send {\"resources\": [\"web-01\"], \"wait\": true}, or nothing for whoever is due")
    })?;
    let order = Order {
        command: Uuid::new_v4(),
        tenant: request.tenant,
        actor: request.actor,
        resources: request.resources,
        since: request.since_ms,
        attempts: 0,
    };
    if !request.wait {
        desk.take(&order).await.map_err(|error| not_taken(&error))?;
        return Ok(taken(&order));
    }
    let answered = desk.ask(&order).await.map_err(|error| not_taken(&error))?;
    match answered.await {
        Ok(Ok(summary)) => Ok(Json(summary).into_response()),
        Ok(Err(error @ PassError::Unknown(_))) => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "unknown-resource",
            "There is no such resource",
        )
        .detail(error.to_string())
        .remedy("SELECT resource FROM resources shows those there are")),
        // Its row stays: the other trainer serves it, or this one after its restart.
        Ok(Err(_)) | Err(_) => Ok(taken(&order)),
    }
}

fn taken(order: &Order) -> Response {
    let body = json!({
        "accepted": true,
        "command_id": order.command,
        "see": format!("SELECT * FROM training_orders WHERE command_id = '{}'", order.command),
    });
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

fn not_taken(error: &NotTaken) -> Problem {
    let (name, title, remedy) = match error {
        NotTaken::Full => (
            "busy",
            "Too many trainings wait already",
            "ask again in a minute; training_orders shows those that wait",
        ),
        NotTaken::Store(_) => (
            "stores",
            "The order cannot be written down",
            "ask again when PostgreSQL answers",
        ),
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, name, title)
        .detail(error.to_string())
        .remedy(remedy)
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
