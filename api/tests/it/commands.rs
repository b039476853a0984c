//! Commands: what goes into the log, what the answer waits for, and who may not send any. A test stands in for the alerter.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use forewarn_bus::embedded::{Config as LogConfig, EmbeddedLog};
use forewarn_bus::{Log, Place};
use forewarn_messages::{COMMANDS, Command};
use forewarn_testkit::database::Database;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Pages, migrated, seeded};

const ALERT: &str = "00000000-0000-8000-8000-00000000000a";
const COMMAND: &str = "00000000-0000-8000-8000-00000000000c";
const BODY: &str = r#"{"actor": "ada", "message": "looking", "command_id": "00000000-0000-8000-8000-00000000000c"}"#;

fn log(folder: &std::path::Path) -> EmbeddedLog {
    let config = LogConfig {
        path: folder.to_owned(),
        ..LogConfig::default()
    };
    EmbeddedLog::open(&config).expect("a folder of our own")
}

/// Every command in the log.
fn sent(log: &EmbeddedLog) -> Vec<Command> {
    let place = Place {
        topic: &COMMANDS,
        partition: 0,
    };
    let mut commands = Vec::new();
    let bounds = log.bounds(place).expect("it is open");
    log.read(place, bounds, &mut |record| {
        let headers = record.headers().expect("readable");
        commands.push(record.body(&headers).expect("a command"));
        true
    })
    .expect("it is open");
    commands
}

/// What the alerter would have written.
async fn answered(database: &Database, outcome: &str) {
    let sequence = if outcome == "done" { "2" } else { "NULL" };
    database
        .run(&format!(
            "INSERT INTO alert_commands VALUES ('{COMMAND}', 'default', '{ALERT}', 'acknowledge', 'ada', 'looking', \
             '{outcome}', {sequence}, NULL, now(), '1/0/5/0')"
        ))
        .await;
}

#[tokio::test]
async fn a_command_is_a_record_and_its_answer_is_what_became_of_it() {
    let Some(database) = migrated("commands of the API").await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let log = log(folder.path());
    let pages = Arc::new(Pages::with_log(&database, log.access()));
    let path = format!("/api/v1/alerts/{ALERT}/acknowledge");

    let waiting = tokio::spawn({
        let (pages, path) = (Arc::clone(&pages), path.clone());
        async move { pages.post(&path, BODY).await }
    });
    while sent(&log).is_empty() {
        assert!(
            !waiting.is_finished(),
            "it is answered and nothing was sent"
        );
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    answered(&database, "done").await;
    let answer = waiting.await.expect("it does not panic");
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let document = answer.json();
    assert_eq!(
        (
            &document["outcome"],
            &document["sequence"],
            &document["actor"]
        ),
        (&json!("done"), &json!(2), &json!("ada"))
    );
    let [Command::Acknowledge(command)] = &sent(&log)[..] else {
        panic!("one command")
    };
    assert_eq!(command.message.as_deref(), Some("looking"));
    assert_eq!(command.alert_id, ALERT.parse::<Uuid>().expect("an id"));

    // Sent again it is the same command, and another one cannot have its id.
    let again = pages.post(&path, BODY).await;
    assert_eq!(
        (again.status, again.json()),
        (StatusCode::OK, document.clone())
    );
    assert_eq!(sent(&log).len(), 1);
    let other = format!("/api/v1/alerts/{ALERT}/resolve");
    assert_eq!(pages.post(&other, BODY).await.status, StatusCode::CONFLICT);
    assert_eq!(
        pages.json(&format!("/api/v1/commands/{COMMAND}")).await,
        document
    );
    database.drop().await;
}

#[tokio::test]
async fn refusals_have_their_statuses_and_nobody_waits_for_ever() {
    let Some(database) = migrated("refused commands of the API").await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let log = log(folder.path());
    let pages = Pages::with_log(&database, log.access());
    let path = format!("/api/v1/alerts/{ALERT}/acknowledge");
    let pending = pages.post(&path, BODY).await;
    assert_eq!(pending.status, StatusCode::ACCEPTED, "{}", pending.text);
    assert_eq!(pending.json()["outcome"], "pending");
    assert_eq!(pending.json()["command_id"], COMMAND);
    let later = format!("/api/v1/commands/{COMMAND}");
    assert_eq!(pages.get(&later).await.status, StatusCode::NOT_FOUND);
    for (outcome, status) in [
        ("unknown", StatusCode::NOT_FOUND),
        ("over", StatusCode::CONFLICT),
        ("already", StatusCode::OK),
    ] {
        database.run("DELETE FROM alert_commands").await;
        answered(&database, outcome).await;
        let answer = pages.post(&path, BODY).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.json()["command_id"], COMMAND);
    }

    for (body, status) in [
        ("[", StatusCode::BAD_REQUEST),
        (r#"{"massage": ""}"#, StatusCode::BAD_REQUEST),
        (&"x".repeat(20_000), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let answer = pages.post(&path, body).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(answer.json()["remedy"].is_string());
    }
    let wrong = pages.post("/api/v1/alerts/x/resolve", "").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{}", wrong.text);
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let request = Request::post(&path)
            .header("host", "localhost:3000")
            .header(name, value);
        let answer = pages
            .ask(request.body(Body::from(BODY)).expect("a request"))
            .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    assert_eq!(sent(&log).len(), 1, "what is refused is not sent");
    database.drop().await;
}

#[tokio::test]
async fn while_the_log_is_away_everything_can_be_read_and_nothing_be_asked_for() {
    let Some(database) = seeded("the API without a log").await else {
        return;
    };
    let pages = Pages::before(&database);
    let answer = pages
        .post(&format!("/api/v1/alerts/{ALERT}/resolve"), "")
        .await;
    assert_eq!(
        answer.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        answer.text
    );
    assert_eq!(answer.header("retry-after"), "2");
    assert!(answer.json()["command_id"].is_string());
    pages.json("/api/v1/alerts").await;
    database.drop().await;
}
