//! `import csv` before a door that answers as docs/push-api.md says.

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::{Cli, Server};

/// What came through the door, and how often it was knocked at.
#[derive(Clone, Default)]
struct Door {
    taken: Arc<Mutex<Vec<Value>>>,
    knocks: Arc<AtomicU32>,
}

async fn push(State(door): State<Door>, body: Bytes) -> (StatusCode, String) {
    // The second request finds the log away, and has to come again.
    if door.knocks.fetch_add(1, Ordering::SeqCst) == 1 {
        return (StatusCode::SERVICE_UNAVAILABLE, "{}".to_owned());
    }
    let batches: Vec<Value> = serde_json::from_slice(&body).expect("JSON");
    let (mut accepted, mut refusals) = (0, Vec::new());
    for (batch, one) in batches.iter().enumerate() {
        for (sample, measured) in one["samples"]
            .as_array()
            .expect("samples")
            .iter()
            .enumerate()
        {
            if measured["value"].as_f64() < Some(0.0) {
                refusals.push(json!({
                    "batch": batch, "sample": sample, "field": "value", "reason": "range", "detail": "it is negative",
                    "remedy": "leave it out"
                }));
            } else {
                accepted += 1;
            }
        }
    }
    door.taken.lock().expect("sound").extend(batches);
    let answer = json!({ "accepted": accepted, "refused": refusals.len(), "refusals": refusals });
    (StatusCode::OK, answer.to_string())
}

fn door() -> (Server, Door) {
    let door = Door::default();
    let router = Router::new()
        .route("/api/v1/metrics", post(push))
        .layer(axum::extract::DefaultBodyLimit::max(8 << 20))
        .with_state(door.clone());
    (Server::of(Runtime::new().expect("a runtime"), router), door)
}

#[test]
fn every_row_is_a_sample_and_what_is_refused_is_named_by_its_line() {
    let (server, door) = door();
    let cli = Cli::new().with("FOREWARN_INGESTION", &server.url());
    let text = "time,metric,value,unit,route,resource\n\
                2026-11-21T12:00:00Z,response_time,180,ms,\"/a,b\",shop\n\
                1795262400000,orders.per_minute,-1,,,shop\n\
                1795262400000,cpu_usage,x,%,,web-01\n\
                1795262400000,cpu_usage,55,%,,web-01\n";
    fs::write(cli.home().join("a.csv"), text).expect("written");
    let dry = cli.run(&["import", "csv", "a.csv", "--dry-run"]);
    assert_eq!(door.knocks.load(Ordering::SeqCst), 0);
    dry.is(1, "3 samples can be read, 1 are refused");
    let said = cli.run(&["import", "csv", "a.csv", "--kind", "application"]);
    said.is(1, "2 samples are in the log, 2 are refused");
    said.is(1, "line 3: value: it is negative; leave it out");
    said.is(1, "line 4: value: `x` is not a number");
    let taken = door.taken.lock().expect("sound");
    let expected = json!({
        "resource": "shop", "kind": "application", "interval": "1m", "samples": [
            {"time": "2026-11-21T12:00:00Z", "metric": "response_time", "value": 180.0, "unit": "ms", "tags": {"route": "/a,b"}},
            {"time": 1_795_262_400_000_i64, "metric": "orders.per_minute", "value": -1.0}
        ]
    });
    assert_eq!(taken[0], expected);
    assert_eq!(taken[1]["resource"], "web-01");
}

#[test]
fn a_long_file_goes_in_parts_and_a_part_that_was_not_acknowledged_goes_again() {
    let (server, door) = door();
    let cli = Cli::new();
    let mut text = "time,metric,value\n".to_owned();
    for k in 0..12_000 {
        writeln!(text, "{},orders,{k}", 1_795_262_400_000_i64 + k)
            .expect("a String takes every write");
    }
    fs::write(cli.home().join("long.csv"), &text).expect("written");
    let said = cli.run(&[
        "import",
        "csv",
        "long.csv",
        "--resource",
        "shop",
        "--ingestion",
        &server.url(),
        "--json",
    ]);
    assert_eq!(
        said.json(),
        json!({"accepted": 12_000, "refused": 0, "refusals": []})
    );
    assert_eq!(
        door.knocks.load(Ordering::SeqCst),
        4,
        "three parts, one of them twice"
    );
}

#[test]
fn a_file_without_what_it_needs_is_refused_at_once() {
    let cli = Cli::new();
    for (text, code, words) in [
        ("", 2, "the file is empty"),
        ("tme,metric,value\n", 2, "is it `tme`?"),
        ("time,metric,value\n", 2, "--resource"),
    ] {
        fs::write(cli.home().join("a.csv"), text).expect("written");
        cli.run(&["import", "csv", "a.csv"]).is(code, words);
    }
    cli.run(&["import", "csv", "none.csv", "--resource", "x"])
        .is(6, "cannot be read");
}
