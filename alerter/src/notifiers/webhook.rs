//! Posts a notification as JSON to any HTTP endpoint. The contract is docs/webhook.md; a test holds the two together.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use async_trait::async_trait;
use forewarn_config::Secret;
use forewarn_types::Severity;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Notification, Notifier, NotifyError};

/// `type = "webhook"`: JSON to an HTTP endpoint.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Unique name.
    pub name: String,
    /// Only alerts at least as bad are told: `info`, `low`, `medium`, `high` or `critical`.
    #[serde(default = "super::everything")]
    pub min_severity: Severity,
    /// Where to post. Such addresses often contain a secret, so it is treated as one (`url_file` works too).
    pub url: Secret,
    /// Signs every request (HMAC-SHA256), so that the endpoint can tell ours from others. Not signed if left out.
    #[serde(default)]
    pub secret: Secret,
    /// How long one attempt may take.
    #[serde(default = "default_timeout", with = "forewarn_config::duration")]
    pub timeout: Duration,
}

const fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

/// After a crash its outcome is unknown for as long as it might have taken, and nothing newer is told meanwhile.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);

impl Config {
    pub(super) fn build(&self) -> Result<Webhook, (&'static str, String)> {
        let url = Url::parse(self.url.reveal())
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or((
            "url",
            "is not an address of the form https://host/path".to_owned(),
        ))?;
        if self.timeout.is_zero() || self.timeout > TIMEOUT_MAX {
            return Err(("timeout", "is longer than 0 and at most 30s".into()));
        }
        let client = forewarn_store::http::client(self.timeout)
            .build()
            .context("cannot build an HTTP client");
        let client = client.map_err(|error| ("url", format!("{error:#}")))?;
        Ok(Webhook {
            client,
            url,
            secret: self.secret.clone(),
        })
    }
}

/// Posts JSON.
#[derive(Debug)]
pub struct Webhook {
    client: reqwest::Client,
    url: Url,
    secret: Secret,
}

#[async_trait]
impl Notifier for Webhook {
    async fn notify(&self, notification: &Notification) -> Result<(), NotifyError> {
        let body = serde_json::to_vec(&body(notification)).expect("it has text keys only");
        // The receiver uses it to refuse replays, so here the wall clock is what is meant.
        let timestamp = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs()
            .to_string();
        let mut request = self
            .client
            .post(self.url.clone())
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", notification.delivery_id.to_string())
            .header("Forewarn-Timestamp", &timestamp);
        if !self.secret.is_empty() {
            request = request.header(
                "Forewarn-Signature",
                sign(self.secret.reveal(), &timestamp, &body),
            );
        }
        let response = request
            .body(body)
            .send()
            .await
            .map_err(|error| NotifyError::Transient {
                reason: in_words(&error.without_url()),
                retry_after: None,
            })?;
        // The answer's body is not read: it could be of any size, and nothing in it matters.
        classify(response.status(), response.headers(), SystemTime::now())
    }
}

/// What is posted.
fn body(notification: &Notification) -> Value {
    let is_resolved = notification.is_resolved();
    json!({
        "version": 1,
        "status": if is_resolved { "resolved" } else { "firing" },
        "delivery_id": notification.delivery_id,
        "receiver": notification.receiver,
        "alert": {
            "alert_id": notification.alert_id,
            "sequence": notification.sequence,
            "tenant": notification.tenant,
            "rule": notification.rule,
            "severity": notification.severity,
            "state": notification.to_state,
            "previous_state": notification.from_state,
            "resource": notification.resource,
            "kind": notification.kind,
            "subject": notification.subject,
            "failure": notification.failure,
            "prediction_id": notification.prediction_id,
            "title": notification.title,
            "reason": notification.reason,
            "began_at": notification.began_at,
            "opened_at": notification.opened_at,
            "changed_at": notification.logged_at,
            "resolved_at": is_resolved.then_some(notification.logged_at),
            "reopened": notification.reopened,
            "details": notification.details,
        },
    })
}

/// `v1=` and the HMAC-SHA256 of `timestamp.body` in hex.
#[must_use]
pub fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v1={hex}")
}

fn classify(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Result<(), NotifyError> {
    if status.is_success() {
        return Ok(());
    }
    let reason = format!("answered {}", status.as_u16());
    let may_mend = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY
        );
    if may_mend {
        return Err(NotifyError::Transient {
            reason,
            retry_after: retry_after(headers, now),
        });
    }
    let reason = if status.is_redirection() {
        format!("{reason}; redirects are not followed")
    } else {
        reason
    };
    Err(NotifyError::Permanent { reason })
}

/// Seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// The error and its causes; the client's own words name neither the address nor a header.
fn in_words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use forewarn_types::{EventTime, LogTime};
    use uuid::Uuid;

    use super::*;

    pub(crate) fn notification() -> Notification {
        Notification {
            delivery_id: Uuid::from_u128(1),
            receiver: "hook".into(),
            alert_id: Uuid::from_u128(2),
            sequence: 1,
            tenant: "default".into(),
            rule: "running-out".into(),
            severity: Severity::High,
            from_state: None,
            to_state: "predicted".into(),
            resource: "web-02".into(),
            kind: "server".into(),
            subject: "/".into(),
            failure: Some("disk_full".into()),
            prediction_id: Some(Uuid::from_u128(3)),
            title: "web-02: / will be full in about 3 min (2–5 min)".into(),
            reason: None,
            details: json!({ "p50_seconds": 180.0 }),
            began_at: EventTime(1_700_053_123_000).into(),
            opened_at: Some(LogTime(1_700_053_124_000).into()),
            logged_at: LogTime(1_700_053_124_000).into(),
            reopened: 0,
        }
    }

    #[test]
    fn the_signature_is_the_documented_one() {
        // RFC 4231 has no case with a dot; this value was made with `openssl dgst -sha256 -hmac secret`.
        assert_eq!(sign("secret", "1700053124", b"{\"version\":1}"), SIGNATURE);
    }
    const SIGNATURE: &str = "v1=6134230da039a625c17109602fccc806429c07ac4c77c36474ad3bbcc2d99470";

    #[test]
    fn the_body_is_as_documented() {
        let documented = include_str!("../../../docs/webhook.md");
        let example = documented
            .split("```json\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        let example: Value =
            serde_json::from_str(example.expect("there is an example")).expect("it is JSON");
        let body = body(&notification());
        let keys = |value: &Value| {
            value
                .as_object()
                .expect("an object")
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(&body), keys(&example));
        assert_eq!(keys(&body["alert"]), keys(&example["alert"]));
        for key in keys(&body["alert"]) {
            assert!(
                documented.contains(&format!("`{key}`")),
                "`{key}` is not described"
            );
        }
    }

    #[test]
    fn answers_are_sorted_into_later_and_never() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let answer = |status: u16, retry_after: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = retry_after {
                headers.insert(RETRY_AFTER, value.parse().expect("a header"));
            }
            classify(
                StatusCode::from_u16(status).expect("a status"),
                &headers,
                now,
            )
        };
        let transient = |reason: &str, seconds: Option<u64>| {
            Err(NotifyError::Transient {
                reason: reason.into(),
                retry_after: seconds.map(Duration::from_secs),
            })
        };
        assert_eq!(answer(204, None), Ok(()));
        assert_eq!(answer(500, None), transient("answered 500", None));
        assert_eq!(answer(408, None), transient("answered 408", None));
        assert_eq!(answer(429, Some("7")), transient("answered 429", Some(7)));
        assert_eq!(
            answer(503, Some("Tue, 14 Nov 2023 22:14:20 GMT")),
            transient("answered 503", Some(60))
        );
        assert!(matches!(
            answer(400, Some("7")),
            Err(NotifyError::Permanent { .. })
        ));
        assert!(
            matches!(answer(302, None), Err(NotifyError::Permanent { reason }) if reason.contains("redirects"))
        );
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let config = |url: &str| Config {
            name: "hook".into(),
            min_severity: Severity::Info,
            url: Secret::new(url),
            secret: Secret::default(),
            timeout: default_timeout(),
        };
        assert!(config("https://hooks.example/x").build().is_ok());
        for url in ["", "hooks.example", "ftp://hooks.example/"] {
            assert_eq!(config(url).build().expect_err("it is refused").0, "url");
        }
        let slow = Config {
            timeout: Duration::from_secs(60),
            ..config("https://hooks.example/x")
        };
        assert_eq!(slow.build().expect_err("it is refused").0, "timeout");
    }
}
