//! `alerts ack` and `alerts resolve`: which alert is meant, what is sent, and what is told of it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::State;
use axum::http::Request;
use axum::response::Json;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::{Cli, Server};

const FIRST: &str = "0a000000-0000-8000-8000-000000000001";
const SECOND: &str = "0a000000-0000-8000-8000-000000000002";
const THIRD: &str = "0b000000-0000-8000-8000-000000000003";

type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// An API with three alerts, of which the second is acknowledged, that remembers what it was asked to do.
fn server() -> (Server, Asked) {
    let asked = Asked::default();
    let router = Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&asked));
    (
        Server::of(Runtime::new().expect("a runtime"), router),
        asked,
    )
}

async fn answer(State(asked): State<Asked>, request: Request<axum::body::Body>) -> Json<Value> {
    let path = request.uri().path().to_owned();
    if request.method() == "GET" {
        let items: Vec<Value> = [FIRST, SECOND, THIRD]
            .iter()
            .map(|id| json!({"alert_id": id, "title": "web-01: hot"}))
            .collect();
        return Json(json!({"items": items, "next": null}));
    }
    let body = to_bytes(request.into_body(), 1 << 20)
        .await
        .expect("a body");
    let body = serde_json::from_slice(&body).expect("JSON");
    asked
        .lock()
        .expect("nobody panics with it")
        .push((path.clone(), body));
    let (outcome, detail) = if path.contains(SECOND) {
        ("already", Some("already acknowledged by bob at noon"))
    } else if path.contains(THIRD) {
        ("pending", None)
    } else {
        ("done", None)
    };
    let at = (outcome != "pending").then_some("2026-11-21T12:00:00+00:00");
    Json(json!({
        "command_id": "00000000-0000-8000-8000-00000000000c", "outcome": outcome, "detail": detail, "logged_at": at
    }))
}

#[test]
fn each_alert_is_a_command_with_the_login_name_and_the_message() {
    let (server, asked) = server();
    let cli = Cli::asking(&server.url()).with("USER", "ada");
    let said = cli.run(&["alerts", "ack", FIRST, SECOND, "0B0000", "-m", "looking"]);
    said.is(0, "");
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(
        lines[..2],
        [
            format!("{FIRST} acknowledged at 2026-11-21 12:00:00Z"),
            format!("{SECOND} already acknowledged by bob at noon"),
        ]
    );
    assert!(
        lines[2].starts_with(&format!("{THIRD} is not acknowledged yet")),
        "{said:?}"
    );
    let sent = asked.lock().expect("nobody panics with it").clone();
    let wanted: Vec<_> = [FIRST, SECOND, THIRD]
        .iter()
        .map(|id| {
            (
                format!("/api/v1/alerts/{id}/acknowledge"),
                json!({"actor": "ada", "message": "looking"}),
            )
        })
        .collect();
    assert_eq!(sent, wanted);

    let document = cli.run(&["alerts", "resolve", FIRST, "--json"]).json();
    assert_eq!(document["items"][0]["outcome"], "done");
    cli.run(&["alerts", "resolve", "0a0000"])
        .is(2, "the ids of several alerts begin with `0a0000`");
    cli.run(&["alerts", "ack"]).is(2, "ID");
}
