//! Failures that are or were expected.

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

/// A failure that is or was expected.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Prediction {
    /// Made from the content: the same prediction has the same id.
    prediction_id: Uuid,
    /// The owner; `default` unless tenants are configured.
    tenant: String,
    /// Whom it is about.
    resource: String,
    /// What that is.
    #[schema(value_type = words::Kind)]
    kind: String,
    /// How it will fail.
    #[schema(value_type = words::FailureKind)]
    failure: String,
    /// What will reach its limit: a mount point, memory, a pool.
    subject: String,
    /// `open`, or how it ended: `confirmed` (the breach came), `averted` (something was done), `expired` (no breach by
    /// `p90_at` plus grace), `withdrawn` (the evidence went away).
    #[schema(value_type = words::PredictionState)]
    state: String,
    /// The prediction in one line.
    title: String,
    /// What it is founded on.
    why: String,
    /// What to do first.
    first_action: String,
    /// The step at which it was said first.
    #[schema(value_type = String, format = DateTime)]
    opened_at: Timestamp,
    /// The step as of which everything else here is said.
    #[schema(value_type = String, format = DateTime)]
    ts: Timestamp,
    /// The limit is reached before this moment with a probability of one in ten.
    #[schema(value_type = Option<String>, format = DateTime)]
    p10_at: Option<Timestamp>,
    /// The limit is as likely reached before this moment as after.
    #[schema(value_type = Option<String>, format = DateTime)]
    p50_at: Option<Timestamp>,
    /// The limit is reached after this moment with a probability of one in ten; null when that is beyond what the trend
    /// supports.
    #[schema(value_type = Option<String>, format = DateTime)]
    p90_at: Option<Timestamp>,
    /// Seconds from now to `p50_at`, negative when it has passed; null for a prediction that has ended.
    seconds_to_failure: Option<f64>,
    /// What a straight line through the last values says; null for never.
    #[schema(value_type = Option<String>, format = DateTime)]
    baseline_at: Option<Timestamp>,
    /// Probability that the limit is reached within `horizon_seconds`.
    probability: f64,
    /// How far ahead the probability looks.
    horizon_seconds: f64,
    /// What is used, in the unit of `limit_value`.
    used: f64,
    /// The level at which it counts as failed.
    limit_value: f64,
    /// Recent growth per second.
    slope_per_second: f64,
    /// The step at which it ended; null while open.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Why it ended, in a few words.
    reason: Option<String>,
    /// For a confirmed one: seconds between saying it first and the breach.
    lead_seconds: Option<f64>,
    /// How many times it was said, the first time and the end included.
    updates: i64,
    /// Whether it comes from imported or generated history, which never notifies.
    backfill: bool,
    /// The log's time at which the cause was taken in.
    #[schema(value_type = String, format = DateTime)]
    logged_at: Timestamp,
    /// Where in the log the cause is: log/partition/offset/sub of `system_metrics`.
    src: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes; Params reads")]
pub(crate) struct PredictionsQuery {
    /// Only of this resource.
    resource: Option<String>,
    /// Only of resources that are one of these; separated by commas.
    #[param(value_type = Option<Vec<words::Kind>>, style = Form, explode = false, inline)]
    kind: Option<Vec<String>>,
    /// Only of one of these kinds of failure; separated by commas.
    #[param(value_type = Option<Vec<words::FailureKind>>, style = Form, explode = false, inline)]
    failure: Option<Vec<String>>,
    /// Only in one of these states; separated by commas. `open` is what is expected now.
    #[param(value_type = Option<Vec<words::PredictionState>>, style = Form, explode = false, inline)]
    state: Option<Vec<String>>,
    /// Only said first at this moment or later, as RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// Only said first before this moment, as RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<String>,
    /// Whose predictions; `default` unless tenants are configured.
    tenant: Option<String>,
    /// How many items at most, 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

// What both statements read of a row.
macro_rules! columns {
    () => {
        "prediction_id, tenant, resource, kind, failure, subject, state, title, why, first_action, opened_at, ts, p10_at,
            p50_at, p90_at, CASE WHEN state = 'open' THEN extract(epoch FROM p50_at - now()) END AS seconds_to_failure,
            baseline_at, probability, horizon_seconds, used, limit_value, slope_per_second, ended_at, reason, lead_seconds,
            updates, backfill, logged_at, src"
    };
}

const LIST: &str = concat!(
    "
    SELECT row_to_json(r)::text FROM (
        SELECT ",
    columns!(),
    "
        FROM predictions
        WHERE tenant = $1
            AND ($2::text IS NULL OR resource = $2)
            AND ($3::text[] IS NULL OR kind = ANY ($3))
            AND ($4::text[] IS NULL OR failure = ANY ($4))
            AND ($5::text[] IS NULL OR state = ANY ($5))
            AND ($6::text IS NULL OR opened_at >= $6::text::timestamptz)
            AND ($7::text IS NULL OR opened_at < $7::text::timestamptz)
            AND ($8::text IS NULL OR (opened_at, prediction_id) < ($8::text::timestamptz, $9::uuid))
        ORDER BY opened_at DESC, prediction_id DESC
        LIMIT $10
    ) r"
);

const ONE: ById = ById {
    kind: "prediction",
    parameter: "prediction_id",
    list: "/api/v1/predictions",
    sql: concat!(
        "
    SELECT row_to_json(r)::text FROM (
        SELECT ",
        columns!(),
        "
        FROM predictions
        WHERE prediction_id = $1
    ) r"
    ),
};

/// Lists failure predictions
///
/// The one that was said last first. `state=open` is what is expected to fail.
#[utoipa::path(get, path = "/api/v1/predictions", tag = "predictions", params(PredictionsQuery), responses(
    (status = 200, description = "A page of predictions", body = Page<Prediction>),
))]
pub(crate) async fn list_predictions(
    State(app): State<Arc<App>>,
    uri: Uri,
) -> Result<Json<Page<Prediction>>, Problem> {
    let mut query = Params::of::<PredictionsQuery>(&uri);
    let (tenant, resource) = (query.tenant(), query.name("resource"));
    let kind = query.words("kind", &words::kinds());
    let failure = query.words("failure", &words::failures());
    let state = query.words("state", &words::prediction_states());
    let (since, until) = texts(query.span());
    let (limit, after) = (query.limit(), query.cursor::<(i64, Uuid)>());
    let binding = query.finish()?;
    let (at, id) = place(after);
    let found = app
        .ledger()
        .page(
            LIST,
            &[
                &tenant, &resource, &kind, &failure, &state, &since, &until, &at, &id,
            ],
            limit,
        )
        .await?;
    Ok(Json(found.into_page(binding, |last: &Prediction| {
        (last.opened_at.micros(), last.prediction_id)
    })))
}

/// One failure prediction
#[utoipa::path(get, path = "/api/v1/predictions/{prediction_id}", tag = "predictions",
    params(("prediction_id" = Uuid, Path, description = "Its id"), NoQuery),
    responses((status = 200, description = "The prediction", body = Prediction)))]
pub(crate) async fn get_prediction(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Prediction>, Problem> {
    ONE.answer(&app, &uri, &id).await
}
