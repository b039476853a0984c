//! `POST /api/v1/metrics`: samples from whoever has some.
//!
//! 200: every sample is in the log. 207: the good ones are, the others are named. 400: none was good.
//! 503: not all good samples are known to be in the log, and sending the same again is safe.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use forewarn_messages::{Body as _, Envelope, SystemMetric};
use forewarn_service::Problem;
use forewarn_types::EventTime;
use metrics::counter;
use serde_json::{Value, json};

use super::App;
use super::body::{self, Lease, Received};
use super::problem;
use crate::door::{self, Malformed, Refusals, SOURCE};

/// Bodies up to this size are read where they are; larger ones would hold up other requests.
const INLINE_BYTES: usize = 16 << 10;

/// What is left of a request when it has passed the door.
struct Work {
    records: Vec<Envelope>,
    accepted: usize,
    refusals: Refusals,
    /// The records are about as large as the body was, and are kept until the log has them.
    lease: Lease,
}

/// Handles one push.
pub(crate) async fn push(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    let Ok(_place) = app.places.try_acquire() else {
        return Err(problem::later("busy", "too many requests at once")
            .detail(format!(
                "{} requests are being worked on",
                app.config.requests_max
            ))
            .remedy("send it again in a moment, and more samples per request"));
    };
    // Before the body is read: an outage is no time to take in what cannot be kept.
    let log = app.log()?;
    let (head, body) = request.into_parts();
    let config = &app.config;
    let received: Received = body::receive(
        &head.headers,
        Body::new(body),
        &app.budget,
        config.body_max,
        config.receive_within,
    )
    .await?;
    // From here on: a slow sender does not use up the log's time.
    let started = Instant::now();
    let trace = traceparent(&head.headers);

    let work = if received.len() <= INLINE_BYTES && !received.is_compressed() {
        app.admit(received, trace)?
    } else {
        let worker = Arc::clone(&app);
        tokio::task::spawn_blocking(move || worker.admit(received, trace))
            .await
            .map_err(|error| {
                tracing::error!(%error, "a push could not be read");
                Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "the request could not be worked on",
                )
                .detail("a defect of this program; its log says more")
            })??
    };
    let Work {
        records,
        accepted,
        refusals,
        lease,
    } = work;
    for (reason, count) in refusals.counts() {
        counter!("forewarn_ingestion_samples_refused_total", "reason" => reason.as_str())
            .increment(count as u64);
    }
    app.status.refused(refusals.samples() as u64);
    let said = outcome(0, &refusals);
    if accepted == 0 {
        return Err(fold(
            Problem::new(
                StatusCode::BAD_REQUEST,
                "no-good-sample",
                "no sample can be taken",
            )
            .detail(format!(
                "all {} samples are refused, each for its own reason",
                refusals.samples()
            ))
            .remedy("see `refusals`; the other fields of their samples may be fine"),
            said,
        ));
    }
    let patience = config.acknowledge_within.saturating_sub(started.elapsed());
    crate::acknowledge::acknowledge(log.as_ref(), records, patience).await?;
    drop(lease);
    app.status.accepted(SOURCE, accepted as u64);
    let status = if refusals.samples() == 0 {
        StatusCode::OK
    } else {
        StatusCode::MULTI_STATUS
    };
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    Ok((
        status,
        content_type,
        outcome(accepted, &refusals).to_string(),
    )
        .into_response())
}

impl App {
    /// Decompresses, reads and checks a body, and makes records of what is good.
    fn admit(&self, received: Received, trace: Option<String>) -> Result<Work, Problem> {
        let (body, lease) = received.decode(self.config.decompressed_max)?;
        let uptime = self.born.elapsed().as_secs();
        let offer = door::read(
            &body,
            &self.config.limits,
            &self.config.push,
            &self.series,
            EventTime(super::now()),
            uptime,
        )?;
        let accepted = offer.accepted();
        let records = offer
            .batches
            .into_iter()
            .flat_map(door::split)
            .map(|batch| SystemMetric::Samples(batch).seal(None, trace.clone()));
        Ok(Work {
            records: records.collect(),
            accepted,
            refusals: offer.refusals,
            lease,
        })
    }
}

/// The sender's W3C trace context, if it has the form of one; it goes along with the records.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let hexadecimal = text
        .bytes()
        .all(|b| b == b'-' || b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    (lengths == [2, 32, 16, 2] && hexadecimal).then(|| text.to_owned())
}

/// The answer's document.
fn outcome(accepted: usize, refusals: &Refusals) -> Value {
    let mut document = json!({ "accepted": accepted, "refused": refusals.samples() });
    if !refusals.named().is_empty() {
        document["refusals"] = json!(refusals.named());
    }
    if refusals.unnamed() > 0 {
        document["refusals_not_named"] = json!(refusals.unnamed());
    }
    document
}

fn fold(mut problem: Problem, document: Value) -> Problem {
    if let Value::Object(members) = document {
        for (name, value) in members {
            problem = problem.with(&name, &value);
        }
    }
    problem
}

impl From<Malformed> for Problem {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Document { detail, remedy } => Self::new(
                StatusCode::BAD_REQUEST,
                "malformed",
                "the body cannot be read",
            )
            .detail(detail)
            .remedy(remedy),
            error @ Malformed::TooManySamples { .. } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-many-samples",
                "the request has too many samples",
            )
            .detail(error.to_string())
            .remedy("send them in several requests"),
        }
    }
}
