//! `POST /api/v1/chaos`: puts a fault into a simulated resource.
//!
//! Only ever into one of the simulator's: there is no code here that could touch anything real, and a name that is not
//! the simulator's is refused before anything is done.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use forewarn_config::nearest;
use forewarn_service::Problem;
use forewarn_simulate::{FaultKind, InjectError, Injected, Order, UnknownFault};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::body;
use super::problem;
use crate::sources::simulated::Simulator;

/// An order is a line.
const BODY_MOST: usize = 4 << 10;

/// What is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    fault: String,
    host: Option<String>,
    for_seconds: Option<u64>,
}

pub(crate) async fn inject(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let Some(simulator) = app.simulator.clone() else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no-simulator",
            "no simulator runs here",
        )
        .detail("faults are only ever injected into simulated resources")
        .remedy("set simulator.enabled to true where nothing depends on what is said"));
    };
    let Ok(_place) = app.places.try_acquire() else {
        return Err(
            problem::later("busy", "too many requests at once").remedy("ask again in a moment")
        );
    };
    let (head, body) = request.into_parts();
    let most = app.config.body_max.min(BODY_MOST);
    let time = app.config.receive_within;
    let received = body::receive(&head.headers, Body::new(body), &app.budget, most, time).await?;
    let (text, _lease) = received.decode(most)?;
    let wish: Wish = serde_json::from_slice(&text).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed",
            "the body cannot be read",
        )
        .detail(error.to_string())
        .remedy("send {\"fault\": \"memory-leak\", \"host\": \"web-02\", \"for_seconds\": 300}; host and for_seconds may be left out")
    })?;
    let order = Order {
        host: wish.host,
        seconds: wish.for_seconds,
        ..Order::new(wish.fault.parse().map_err(unknown_fault)?)
    };
    if order.host.is_some() && order.host == app.own_name {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "real-resource",
            "this resource is real",
        )
        .detail(
            "faults are only ever injected into simulated resources, and this is the host itself",
        )
        .remedy(format!("take one of {}", names(&simulator).join(", "))));
    }
    let injected = simulator
        .inject(&order)
        .map_err(|error| refusal(error, &simulator))?;
    tracing::info!(
        fault = injected.fault.name(),
        host = injected.host,
        "a fault was injected"
    );
    let mut document = json!(injected);
    document["summary"] = json!(summary(&injected));
    Ok(Json(document))
}

/// For people: what was injected, and when it ends.
fn summary(injected: &Injected) -> String {
    let after = |at: forewarn_types::EventTime| {
        let seconds = at.since(injected.onset).as_secs();
        forewarn_config::duration::format(Duration::from_secs(seconds))
    };
    let limit = match injected.limit_reached_about {
        Some(at) => format!(", reaches its limit after about {},", after(at)),
        None => String::new(),
    };
    let (fault, host, ends) = (injected.fault, &injected.host, after(injected.ends));
    format!("{fault} on {host} begins now{limit} and has ended after {ends} at the latest")
}

fn names(simulator: &Simulator) -> Vec<String> {
    let resources = simulator.resources().into_iter();
    resources.map(|resource| resource.name).collect()
}

fn unknown_fault(error: UnknownFault) -> Problem {
    let meant = nearest(&error.0.replace('_', "-"), FaultKind::NAMES.iter().copied());
    Problem::new(
        StatusCode::BAD_REQUEST,
        "unknown-fault",
        "there is no such fault",
    )
    .detail(error.to_string())
    .remedy(known(meant, FaultKind::NAMES))
}

fn refusal(error: InjectError, simulator: &Simulator) -> Problem {
    let detail = error.to_string();
    match error {
        InjectError::UnknownHost(name) => {
            let names = names(simulator);
            let meant = nearest(&name, names.iter().map(String::as_str));
            Problem::new(
                StatusCode::NOT_FOUND,
                "unknown-resource",
                "there is no such simulated resource",
            )
            .detail(format!(
                "{detail}; faults are only ever injected into simulated resources"
            ))
            .remedy(known(meant, &names))
        }
        InjectError::DoesNotFit { fitting, .. } => Problem::new(
            StatusCode::CONFLICT,
            "does-not-fit",
            "the fault could not be seen there",
        )
        .detail(detail)
        .remedy(match fitting.as_slice() {
            [] => "no simulated resource could have this fault".to_owned(),
            fitting => format!("take one of {}", fitting.join(", ")),
        }),
        InjectError::Seconds { .. } => Problem::new(
            StatusCode::BAD_REQUEST,
            "length",
            "no fault lasts so long or so short",
        )
        .detail(detail)
        .remedy("send another for_seconds, or none for as long as the fault usually takes"),
        InjectError::TooMany { .. } => Problem::new(
            StatusCode::CONFLICT,
            "too-many-faults",
            "enough goes wrong there already",
        )
        .detail(detail)
        .remedy("wait until some of them have ended"),
    }
}

fn known(meant: Option<&str>, all: &[impl AsRef<str>]) -> String {
    let all: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
    let all = all.join(", ");
    match meant {
        Some(meant) => format!("did you mean `{meant}`? Known are: {all}"),
        None => format!("known are: {all}"),
    }
}
