//! What needs or needed attention, how it went, and who was told.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use forewarn_store::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::App;
use crate::by_id::ById;
use crate::page::{Page, place};
use crate::params::{NoQuery, Params, texts};
use crate::problem::Problem;
use crate::words;

/// A finding of a rule that needs or needed attention.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Alert {
    /// Made from the content: the same alert has the same id from its first transition to its last.
    alert_id: Uuid,
    /// The owner; `default` unless tenants are configured.
    tenant: String,
    /// Name of the rule that found it.
    rule: String,
    /// From impact and time left.
    #[schema(value_type = words::Severity)]
    severity: String,
    /// `predicted` (a failure is expected), `open` and `acknowledged` need attention; `resolved`, `silenced` and
    /// `dismissed` do not.
    #[schema(value_type = words::AlertState)]
    state: String,
    /// Whom it is about.
    resource: String,
    /// What that is.
    #[schema(value_type = words::Kind)]
    kind: String,
    /// What about it: a metric, a mount point, `resource`.
    subject: String,
    /// How it fails, for alerts of failure prediction rules.
    #[schema(value_type = Option<words::FailureKind>)]
    failure: Option<String>,
    /// The failure prediction that began it or came true.
    prediction_id: Option<Uuid>,
    /// What it is about, as one text: there is one active alert per fingerprint.
    fingerprint: String,
    /// What is or was wrong, in one line.
    title: String,
    /// The last that was said about it, in one line; for a resolved alert how it ended.
    summary: String,
    /// Why it ended or came back.
    reason: Option<String>,
    /// End of the step with which it began, in the time of the measurement.
    #[schema(value_type = String, format = DateTime)]
    began_at: Timestamp,
    /// The log's time at which it was predicted or open first.
    #[schema(value_type = Option<String>, format = DateTime)]
    opened_at: Option<Timestamp>,
    /// The log's time of its last transition.
    #[schema(value_type = String, format = DateTime)]
    changed_at: Timestamp,
    /// The log's time at which it ended; null while active.
    #[schema(value_type = Option<String>, format = DateTime)]
    resolved_at: Option<Timestamp>,
    /// How many transitions it has had.
    transitions: i64,
    /// How often it came back within its cooldown.
    reopened: i64,
    /// Whether its last transition comes from imported or generated history, which never notifies.
    backfill: bool,
    /// Where in the log the cause of its last transition is: log/partition/offset/sub of `system_metrics`, or of `commands`
    /// where a person caused it.
    src: String,
}

/// One transition of an alert.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Transition {
    /// Counts the alert's transitions from 1.
    sequence: i64,
    /// The state before; null for the first.
    #[schema(value_type = Option<words::AlertState>)]
    from_state: Option<String>,
    /// The state from then on. Equal to `from_state` when only the severity rose, or when it came back and stayed.
    #[schema(value_type = words::AlertState)]
    to_state: String,
    /// How bad it was from then on.
    #[schema(value_type = words::Severity)]
    severity: String,
    /// The transition in one line.
    title: String,
    /// Why it ended or came back.
    reason: Option<String>,
    /// The numbers behind the title; they depend on the rule's type.
    details: serde_json::Value,
    /// End of the step that brought it about, in the time of the measurement.
    #[schema(value_type = String, format = DateTime)]
    ts: Timestamp,
    /// The log's time of the transition.
    #[schema(value_type = String, format = DateTime)]
    logged_at: Timestamp,
    /// Whether people are told: not of flapping, nor of history, nor of an acknowledgement.
    notify: bool,
    /// Where in the log the cause is: log/partition/offset/sub of `system_metrics`, or of `commands` where `command_id` is
    /// given.
    src: String,
    /// Who brought it about, where it was a person.
    actor: Option<String>,
    /// What they said about it.
    message: Option<String>,
    /// The command by which they did.
    command_id: Option<Uuid>,
}

/// One notification of one transition to one receiver.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Delivery {
    /// Receivers see it as `Idempotency-Key`.
    delivery_id: Uuid,
    /// Which of the alert's transitions.
    sequence: i64,
    /// Name of the receiver.
    receiver: String,
    /// `pending`, `sending` (an attempt is on its way, or its process died), `delivered`, `superseded` (a newer transition
    /// is told instead), `failed` (refused for good, or given up).
    #[schema(value_type = words::DeliveryState)]
    state: String,
    /// Attempts begun so far.
    attempts: i64,
    /// No attempt before then.
    #[schema(value_type = String, format = DateTime)]
    due_at: Timestamp,
    /// Why the last attempt failed. Never holds an address or a secret.
    last_error: Option<String>,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was delivered, superseded or given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    settled_at: Option<Timestamp>,
    /// The last attempts, ten at most, the newest first.
    last_attempts: Vec<Attempt>,
}

/// One attempt of a delivery.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Attempt {
    /// Counts from 1.
    attempt: i64,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// When its outcome was known; null if it never was.
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// `delivered`, `transient` (it is tried again) or `permanent` (it is not); null: it was cut off, and may or may not
    /// have arrived.
    outcome: Option<String>,
    /// The receiver's answer or the error, without any address or secret.
    detail: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes; Params reads")]
pub(crate) struct AlertsQuery {
    /// Only about this resource.
    resource: Option<String>,
    /// Only about resources that are one of these; separated by commas.
    #[param(value_type = Option<Vec<words::Kind>>, style = Form, explode = false, inline)]
    kind: Option<Vec<String>>,
    /// Only in one of these states; separated by commas. `predicted,open,acknowledged` is what needs attention.
    #[param(value_type = Option<Vec<words::AlertState>>, style = Form, explode = false, inline)]
    state: Option<Vec<String>>,
    /// Only of one of these severities; separated by commas.
    #[param(value_type = Option<Vec<words::Severity>>, style = Form, explode = false, inline)]
    severity: Option<Vec<String>>,
    /// Only of the rule of this name.
    rule: Option<String>,
    /// Only predicted or open first at this moment or later, as RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// Only predicted or open first before this moment, as RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<String>,
    /// Whose alerts; `default` unless tenants are configured.
    tenant: Option<String>,
    /// How many items at most, 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes; Params reads")]
pub(crate) struct PageQuery {
    /// How many items at most, 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

// What both statements read of a row.
macro_rules! columns {
    () => {
        "alert_id, tenant, rule, severity, state, resource, kind, subject, failure, prediction_id, fingerprint, title,
            summary, reason, began_at, opened_at, changed_at, resolved_at, transitions, reopened, backfill, src"
    };
}

// What has not been open yet is placed by its beginning.
const LIST: &str = concat!(
    "
    SELECT row_to_json(r)::text FROM (
        SELECT ",
    columns!(),
    "
        FROM alerts
        WHERE tenant = $1
            AND ($2::text IS NULL OR resource = $2)
            AND ($3::text[] IS NULL OR kind = ANY ($3))
            AND ($4::text[] IS NULL OR state = ANY ($4))
            AND ($5::text[] IS NULL OR severity = ANY ($5))
            AND ($6::text IS NULL OR rule = $6)
            AND ($7::text IS NULL OR coalesce(opened_at, began_at) >= $7::text::timestamptz)
            AND ($8::text IS NULL OR coalesce(opened_at, began_at) < $8::text::timestamptz)
            AND ($9::text IS NULL OR (coalesce(opened_at, began_at), alert_id) < ($9::text::timestamptz, $10::uuid))
        ORDER BY coalesce(opened_at, began_at) DESC, alert_id DESC
        LIMIT $11
    ) r"
);

const ONE: ById = ById {
    kind: "alert",
    parameter: "alert_id",
    list: "/api/v1/alerts",
    sql: concat!(
        "
    SELECT row_to_json(r)::text FROM (
        SELECT ",
        columns!(),
        "
        FROM alerts
        WHERE alert_id = $1
    ) r"
    ),
};

const EXISTS: &str = "SELECT to_json(true)::text FROM alerts WHERE alert_id = $1";

const HISTORY: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT sequence, from_state, to_state, severity, title, reason, details, ts, logged_at, notify, src,
            actor, message, command_id
        FROM alert_history
        WHERE alert_id = $1 AND ($2::bigint IS NULL OR sequence > $2)
        ORDER BY sequence
        LIMIT $3
    ) r";

const DELIVERIES: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT d.delivery_id, d.sequence, d.receiver, d.state, d.attempts, d.due_at, d.last_error, d.created_at, d.settled_at,
            (
                SELECT coalesce(json_agg(row_to_json(a) ORDER BY a.attempt DESC), '[]')
                FROM (
                    SELECT attempt, started_at, finished_at, outcome, detail
                    FROM delivery_attempts
                    WHERE delivery_id = d.delivery_id
                    ORDER BY attempt DESC
                    LIMIT 10
                ) a
            ) AS last_attempts
        FROM deliveries d
        WHERE d.alert_id = $1 AND ($2::bigint IS NULL OR (d.sequence, d.receiver) > ($2, $3))
        ORDER BY d.sequence, d.receiver
        LIMIT $4
    ) r";

/// Lists alerts
///
/// The one that began to need attention last first. `state=predicted,open,acknowledged` is what needs it now.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(AlertsQuery), responses(
    (status = 200, description = "A page of alerts", body = Page<Alert>),
))]
pub(crate) async fn list_alerts(
    State(app): State<Arc<App>>,
    uri: Uri,
) -> Result<Json<Page<Alert>>, Problem> {
    let mut query = Params::of::<AlertsQuery>(&uri);
    let (tenant, resource) = (query.tenant(), query.name("resource"));
    let kind = query.words("kind", &words::kinds());
    let state = query.words("state", &words::alert_states());
    let severity = query.words("severity", words::SEVERITIES);
    let rule = query.name("rule");
    let (since, until) = texts(query.span());
    let (limit, after) = (query.limit(), query.cursor::<(i64, Uuid)>());
    let binding = query.finish()?;
    let (at, id) = place(after);
    let found = app
        .ledger()
        .page(
            LIST,
            &[
                &tenant, &resource, &kind, &state, &severity, &rule, &since, &until, &at, &id,
            ],
            limit,
        )
        .await?;
    Ok(Json(found.into_page(binding, |last: &Alert| {
        let at = last.opened_at.unwrap_or(last.began_at);
        (at.micros(), last.alert_id)
    })))
}

/// One alert
#[utoipa::path(get, path = "/api/v1/alerts/{alert_id}", tag = "alerts",
    params(("alert_id" = Uuid, Path, description = "Its id"), NoQuery),
    responses((status = 200, description = "The alert", body = Alert)))]
pub(crate) async fn get_alert(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Alert>, Problem> {
    ONE.answer(&app, &uri, &id).await
}

/// The transitions of an alert
///
/// In the order in which they happened.
#[utoipa::path(get, path = "/api/v1/alerts/{alert_id}/history", tag = "alerts",
    params(("alert_id" = Uuid, Path, description = "Its id"), PageQuery),
    responses((status = 200, description = "A page of transitions", body = Page<Transition>)))]
pub(crate) async fn alert_history(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Page<Transition>>, Problem> {
    let mut query = Params::of::<PageQuery>(&uri);
    let (limit, after) = (query.limit(), query.cursor::<i64>());
    let binding = query.finish()?;
    let id = ONE.id(&id)?;
    ensure(&app, id).await?;
    let found = app.ledger().page(HISTORY, &[&id, &after], limit).await?;
    Ok(Json(
        found.into_page(binding, |last: &Transition| last.sequence),
    ))
}

/// Who was told of an alert
///
/// By transition, then by receiver.
#[utoipa::path(get, path = "/api/v1/alerts/{alert_id}/deliveries", tag = "alerts",
    params(("alert_id" = Uuid, Path, description = "Its id"), PageQuery),
    responses((status = 200, description = "A page of notifications", body = Page<Delivery>)))]
pub(crate) async fn alert_deliveries(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Page<Delivery>>, Problem> {
    let mut query = Params::of::<PageQuery>(&uri);
    let (limit, after) = (query.limit(), query.cursor::<(i64, String)>());
    let binding = query.finish()?;
    let id = ONE.id(&id)?;
    ensure(&app, id).await?;
    let (sequence, receiver) = after.unzip();
    let found = app
        .ledger()
        .page(DELIVERIES, &[&id, &sequence, &receiver], limit)
        .await?;
    Ok(Json(found.into_page(binding, |last: &Delivery| {
        (last.sequence, last.receiver.clone())
    })))
}

async fn ensure(app: &App, id: Uuid) -> Result<(), Problem> {
    let found: Option<bool> = app.ledger().one(EXISTS, &[&id]).await?;
    found.map(|_| ()).ok_or_else(|| ONE.missing(id))
}
