//! The two things that can be asked to be done: that an alert be acknowledged, and that it be resolved.
//!
//! Nothing is done here. The command goes into the log, the alerter carries it out where its turn comes, and writes what
//! came of it beside the alerts; for that row the answer waits a while. Whoever has waited in vain gets the command's id,
//! under which the row will be. A command that is sent again under its id is the same command.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use forewarn_messages::{AlertCommand, Command as Sent};
use forewarn_store::Timestamp;
use forewarn_types::DEFAULT_TENANT;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::App;
use crate::by_id::ById;
use crate::door::NotSent;
use crate::guard::same_site;
use crate::params::{self, NoQuery, Params};
use crate::problem::Problem;
use crate::words;

/// A message of the longest kind fits in several times over.
pub(crate) const BODY_BYTES_MAX: usize = 16 << 10;

/// How long an answer waits for the alerter.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it looks whether the alerter has come to it.
const LOOK: Duration = Duration::from_millis(100);

/// Who asks while there is no sign-in and nobody says.
const ACTOR: &str = "api";

/// Who decides, and what they say about it. Everything may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Decision {
    /// Who decides, for the record; `api` unless given. At most 100 characters.
    #[schema(max_length = 100)]
    actor: Option<String>,
    /// What they say about it. At most 2000 characters.
    #[schema(max_length = 2000)]
    message: Option<String>,
    /// An id of the sender's own, under which the same command can be sent again without being another one; made up unless
    /// given.
    command_id: Option<Uuid>,
    /// Whose alert; `default` unless tenants are configured.
    tenant: Option<String>,
}

/// A command about an alert, and what came of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Command {
    /// Which command.
    command_id: Uuid,
    /// Whose alert.
    tenant: String,
    /// Which alert.
    alert_id: Uuid,
    /// `acknowledge` or `resolve`.
    #[schema(value_type = words::Deed)]
    deed: String,
    /// Who decided.
    actor: String,
    /// What they said about it.
    message: Option<String>,
    /// `done`; `already` (it was so before, and `detail` says how); `pending` (it is in the log, and the alerter has not come
    /// to it yet); refused are `over` (a resolved alert is not acknowledged) and `unknown` (there was no such alert).
    #[schema(value_type = words::CommandOutcome)]
    outcome: String,
    /// The transition of the alert that it brought about.
    sequence: Option<i64>,
    /// Why nothing was done.
    detail: Option<String>,
    /// The log's time of the command; null while it is pending.
    #[schema(value_type = Option<String>, format = DateTime)]
    logged_at: Option<Timestamp>,
    /// The command's place in the log: log/partition/offset/sub of `commands`; null while it is pending.
    src: Option<String>,
}

const ONE: ById = ById {
    kind: "command",
    parameter: "command_id",
    list: "the table alert_commands",
    sql: "SELECT row_to_json(c)::text FROM alert_commands c WHERE command_id = $1",
};

/// Acknowledge an alert
///
/// Others see that it is being looked after, and nobody is told of it again unless it gets worse. Answers when it is done,
/// or after 5 s with 202.
#[utoipa::path(post, path = "/api/v1/alerts/{alert_id}/acknowledge", tag = "alerts",
    params(("alert_id" = Uuid, Path, description = "Its id"), NoQuery),
    request_body(content = Decision, description = "Who, and why"),
    responses(
        (status = 200, description = "It is acknowledged, by this command or before", body = Command),
        (status = 202, description = "The command is taken, and will be carried out", body = Command),
    ))]
pub(crate) async fn acknowledge_alert(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let command = read(&app, &uri, &headers, &id, body)?;
    carry_out(&app, Sent::Acknowledge(command.clone()), command).await
}

/// Resolve an alert
///
/// It is over, whatever its condition says; what began it says nothing more until it has ceased and begins anew. Answers
/// when it is done, or after 5 s with 202.
#[utoipa::path(post, path = "/api/v1/alerts/{alert_id}/resolve", tag = "alerts",
    params(("alert_id" = Uuid, Path, description = "Its id"), NoQuery),
    request_body(content = Decision, description = "Who, and why"),
    responses(
        (status = 200, description = "It is resolved, by this command or before", body = Command),
        (status = 202, description = "The command is taken, and will be carried out", body = Command),
    ))]
pub(crate) async fn resolve_alert(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let command = read(&app, &uri, &headers, &id, body)?;
    carry_out(&app, Sent::Resolve(command.clone()), command).await
}

/// What came of a command
///
/// Until the alerter has come to it there is none.
#[utoipa::path(get, path = "/api/v1/commands/{command_id}", tag = "alerts",
    params(("command_id" = Uuid, Path, description = "Its id"), NoQuery),
    responses((status = 200, description = "The command", body = Command)))]
pub(crate) async fn get_command(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Command>, Problem> {
    ONE.answer(&app, &uri, &id).await
}

fn read(
    app: &App,
    uri: &Uri,
    headers: &HeaderMap,
    id: &str,
    body: Result<Bytes, BytesRejection>,
) -> Result<AlertCommand, Problem> {
    same_site(app, uri, headers)?;
    Params::of::<NoQuery>(uri).finish()?;
    let alert_id = params::id("alert_id", id)?;
    let body = body.map_err(|_| {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-long",
            "the body is too long",
        )
        .detail(format!("it is longer than {BODY_BYTES_MAX} bytes"))
        .remedy("say it in fewer words")
    })?;
    let decision = parse(&body).map_err(|detail| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "body",
            "the body is not understood",
        )
        .detail(detail)
        .remedy("send {\"actor\": \"ada\", \"message\": \"looking\"}, or nothing")
    })?;
    Ok(AlertCommand {
        command_id: decision.command_id.unwrap_or_else(Uuid::new_v4),
        tenant: decision.tenant.unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
        alert_id,
        actor: decision.actor.unwrap_or_else(|| ACTOR.to_owned()),
        message: decision.message,
    })
}

fn parse(body: &[u8]) -> Result<Decision, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Decision::default());
    }
    let mut decision: Decision = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    // What says nothing is as good as left out.
    for text in [&mut decision.actor, &mut decision.message] {
        *text = text
            .take()
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty());
    }
    let is_within = |text: &Option<String>, limit| {
        text.as_ref()
            .is_none_or(|text| text.chars().count() <= limit)
    };
    for (name, text, limit) in [
        ("actor", &decision.actor, AlertCommand::ACTOR_CHARS),
        ("message", &decision.message, AlertCommand::MESSAGE_CHARS),
        ("tenant", &decision.tenant, AlertCommand::ACTOR_CHARS),
    ] {
        if !is_within(text, limit) {
            return Err(format!("`{name}` is longer than {limit} characters"));
        }
    }
    Ok(decision)
}

async fn carry_out(app: &App, sent: Sent, command: AlertCommand) -> Result<Response, Problem> {
    let deed = match &sent {
        Sent::Resolve(_) => "resolve",
        _ => "acknowledge",
    };
    let deadline = Instant::now() + PATIENCE;
    // It may be there already, when the sender has missed the answer. A ledger that is away shows it later.
    let found = app.ledger().one(ONE.sql, &[&command.command_id]).await;
    if let Some(found) = found.ok().flatten() {
        return answer(&command, deed, found);
    }
    app.door()
        .send(&sent, deadline)
        .await
        .map_err(|why| not_sent(&why, command.command_id))?;
    loop {
        let found = app.ledger().one(ONE.sql, &[&command.command_id]).await;
        // From here on the command counts, so a ledger that is away is no reason to say that it did not work.
        if let Some(found) = found.ok().flatten() {
            return answer(&command, deed, found);
        }
        if Instant::now() + LOOK >= deadline {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let pending = Command {
        command_id: command.command_id,
        tenant: command.tenant,
        alert_id: command.alert_id,
        deed: deed.to_owned(),
        actor: command.actor,
        message: command.message,
        outcome: "pending".to_owned(),
        sequence: None,
        detail: Some(format!(
            "the alerter has not come to it yet; /api/v1/commands/{} will tell",
            command.command_id
        )),
        logged_at: None,
        src: None,
    };
    Ok((StatusCode::ACCEPTED, Json(pending)).into_response())
}

fn answer(command: &AlertCommand, deed: &str, found: Command) -> Result<Response, Problem> {
    let id = found.command_id;
    if found.alert_id != command.alert_id || found.deed != deed {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "command-id",
            "the command's id is another command's",
        )
        .detail(format!(
            "{id} was to {} alert {}",
            found.deed, found.alert_id
        ))
        .remedy("leave `command_id` out, or make up a new one for each command"));
    }
    let alert = found.alert_id;
    match found.outcome.as_str() {
        "unknown" => Err(Problem::not_found(
            format!("there is no alert {alert}"),
            "see /api/v1/alerts for those that are kept",
        )
        .with("command_id", &id)),
        "over" => Err(Problem::new(
            StatusCode::CONFLICT,
            "alert-over",
            "the alert is over",
        )
        .detail(format!(
            "alert {alert} is resolved, and an acknowledgement does not bring it back"
        ))
        .remedy("if the trouble is back, there is another alert: see /api/v1/alerts?state=predicted,open")
        .with("command_id", &id)),
        _ => Ok(Json(found).into_response()),
    }
}

fn not_sent(why: &NotSent, id: Uuid) -> Problem {
    let problem = match why {
        NotSent::Refused(why) => {
            tracing::error!(why, "the log refuses a command");
            return Problem::internal("the log refuses a command").with("command_id", &id);
        }
        NotSent::Away => Problem::later("log-away", "the log cannot be written now")
            .detail("the command was not taken: the log does not answer")
            .remedy("send it again in a moment"),
        NotSent::Unknown => Problem::later("log-away", "the log does not acknowledge the command")
            .detail("the command may have been taken, or not")
            .remedy("send it again in a moment under the same `command_id`: it is then the same command"),
    };
    problem.with("command_id", &id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_may_say_nothing_and_what_is_misspelt_or_too_long_is_named() {
        assert!(parse(b" \n").is_ok_and(|decision| decision.actor.is_none()));
        let decision = parse(br#"{"actor":" ada ","message":"  "}"#).expect("it is one");
        assert_eq!(
            (decision.actor.as_deref(), decision.message),
            (Some("ada"), None)
        );
        let misspelt = parse(br#"{"massage":"x"}"#).expect_err("misspelt");
        assert!(misspelt.contains("massage"), "{misspelt}");
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(2_001));
        let long = parse(long.as_bytes()).expect_err("too long");
        assert!(long.contains("`message`"), "{long}");
        assert!(parse(b"[1]").is_err());
    }
}
