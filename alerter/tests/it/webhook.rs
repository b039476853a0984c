//! One attempt of the webhook against a real HTTP server: what it sends, and what it makes of the answers.

use std::time::Duration;

use forewarn_alerter::notifiers::webhook::sign;
use forewarn_alerter::notifiers::{Notification, NotifyError};
use serde_json::json;

use crate::support::{Answer, Endpoint};

fn notification() -> Notification {
    serde_json::from_value(json!({
        "delivery_id": "0b2f6c1e-9a57-8b1d-8f3e-5f6d2f1a9c41",
        "receiver": "hook",
        "alert_id": "5f1c1f7e-3f0a-8d52-9d5b-6a1b7c7e2d10",
        "sequence": 2,
        "tenant": "default",
        "rule": "busy",
        "severity": "medium",
        "from_state": "predicted",
        "to_state": "open",
        "resource": "wéb-\u{202e}01",
        "kind": "server",
        "subject": "disk.busy",
        "failure": null,
        "prediction_id": null,
        "title": "wéb-01: disk.busy is 93 %, above 80 %",
        "reason": null,
        "details": { "value": 0.93 },
        "began_at": "2023-11-15T12:58:43+00:00",
        "opened_at": "2023-11-15T12:58:44+00:00",
        "logged_at": "2023-11-15T12:58:44+00:00",
        "reopened": 0,
    }))
    .expect("it is a notification")
}

async fn attempt(answer: Answer) -> (Result<(), NotifyError>, Endpoint) {
    let endpoint = Endpoint::start([answer]).await;
    let receiver = endpoint.config("hook", "").build().expect("it is sound");
    (receiver.notifier.notify(&notification()).await, endpoint)
}

#[tokio::test]
async fn the_request_is_the_documented_one() {
    let endpoint = Endpoint::start([]).await;
    let receiver = endpoint
        .config("hook", "top secret")
        .build()
        .expect("it is sound");
    receiver
        .notifier
        .notify(&notification())
        .await
        .expect("it is taken");
    let [request] = &endpoint.requests()[..] else {
        panic!("one request")
    };
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(
        request.header("idempotency-key"),
        "0b2f6c1e-9a57-8b1d-8f3e-5f6d2f1a9c41"
    );
    let timestamp = request.header("forewarn-timestamp");
    assert!(
        timestamp
            .parse::<u64>()
            .is_ok_and(|seconds| seconds > 1_700_000_000),
        "{timestamp}"
    );
    assert_eq!(
        request.header("forewarn-signature"),
        sign("top secret", timestamp, &request.body)
    );
    let body = request.json();
    assert_eq!(body["version"], 1);
    assert_eq!(body["status"], "firing");
    assert_eq!(body["alert"]["resource"], "wéb-\u{202e}01");
    assert_eq!(body["alert"]["changed_at"], "2023-11-15T12:58:44+00:00");
    assert!(!String::from_utf8_lossy(&request.body).contains("top secret"));
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    let (outcome, endpoint) = attempt(Answer::status(204)).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(endpoint.requests()[0].header("forewarn-signature"), "");
}

#[tokio::test]
async fn answers_decide_whether_it_is_tried_again() {
    let transient = |outcome: Result<(), NotifyError>| match outcome {
        Err(NotifyError::Transient { retry_after, .. }) => retry_after,
        other => panic!("not transient: {other:?}"),
    };
    assert_eq!(transient(attempt(Answer::status(500)).await.0), None);
    assert_eq!(
        transient(attempt(Answer(429, Some(7), Duration::ZERO)).await.0),
        Some(Duration::from_secs(7))
    );
    assert!(matches!(
        attempt(Answer::status(400)).await.0,
        Err(NotifyError::Permanent { .. })
    ));
    let (outcome, endpoint) = attempt(Answer::status(307)).await;
    assert!(matches!(outcome, Err(NotifyError::Permanent { .. })));
    assert_eq!(
        endpoint.requests().len(),
        1,
        "the redirect was not followed"
    );
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_tried_again() {
    let (outcome, _endpoint) = attempt(Answer(200, None, Duration::from_secs(20))).await;
    let Err(NotifyError::Transient { reason, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(reason, "no answer in time");
}

#[tokio::test]
async fn errors_do_not_tell_the_address() {
    let endpoint = Endpoint::start([]).await;
    let mut closed = endpoint.clone();
    // Nobody listens on port 1.
    closed.url = "http://127.0.0.1:1/secret-path?token=s3cr3t".into();
    let receiver = closed.config("hook", "k3y").build().expect("it is sound");
    let outcome = receiver.notifier.notify(&notification()).await;
    let Err(NotifyError::Transient { reason, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(
        !reason.contains("secret-path") && !reason.contains("s3cr3t"),
        "{reason}"
    );
    let printed = format!("{receiver:?} {:?}", closed.config("hook", "k3y"));
    assert!(
        !printed.contains("s3cr3t") && !printed.contains("k3y"),
        "{printed}"
    );
}
