//! Steps that were unlike the past: of a resource as a whole, or of one metric.

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

/// A step that was judged anomalous.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Anomaly {
    /// Made from the content: the same anomaly has the same id.
    anomaly_id: Uuid,
    /// The owner; `default` unless tenants are configured.
    tenant: String,
    /// Whom it is about.
    resource: String,
    /// What that is.
    #[schema(value_type = words::Kind)]
    kind: String,
    /// Whether the resource as a whole is unusual, or one metric (`series`) on its own.
    #[schema(value_type = words::AnomalyLevel)]
    level: String,
    /// The unusual metric; for a whole resource the one with the largest part. Null if no part is known.
    metric: Option<String>,
    /// From impact: `medium` when several metrics are unusual or the score is 2 or more, else `low`.
    #[schema(value_type = words::Severity)]
    severity: String,
    /// End of the judged step, in the time of the measurement.
    #[schema(value_type = String, format = DateTime)]
    ts: Timestamp,
    /// 1 is as rare as the alarm budget allows, 2 is the square as rare.
    score: f64,
    /// Tail probability: how likely an incident-free five minutes hold a peak at least this high.
    p: Option<f64>,
    /// The tail probability that the alarm budget allows.
    p0: Option<f64>,
    /// How much data stands behind the score, 0 to 1.
    confidence: Option<f64>,
    /// What was measured, in the metric's unit.
    value: Option<f64>,
    /// What was expected.
    expected: Option<f64>,
    /// Lower edge of what would not have been an anomaly; null where less is never one.
    lower: Option<f64>,
    /// Upper edge of what would not have been an anomaly; null where more is never one.
    upper: Option<f64>,
    /// The anomaly in one line.
    summary: String,
    /// What the score of a whole resource consists of, largest first; the parts sum to the score.
    parts: Vec<AnomalyPart>,
    /// Name and version of the features that were judged.
    feature_set: String,
    /// Digest of what judged.
    model_set: String,
    /// Length of the step in seconds.
    step_seconds: f64,
    /// Whether it comes from imported or generated history, which never notifies.
    backfill: bool,
    /// The log's time at which the cause was taken in.
    #[schema(value_type = String, format = DateTime)]
    logged_at: Timestamp,
    /// Where in the log the cause is: log/partition/offset/sub of `system_metrics`.
    src: String,
}

/// One metric's part in the score of a resource.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AnomalyPart {
    /// The metric.
    metric: String,
    /// Its part in the score.
    part: f64,
    /// What was measured, in the metric's unit.
    value: f64,
    /// What was expected.
    expected: f64,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes; Params reads")]
pub(crate) struct AnomaliesQuery {
    /// Only of this resource.
    resource: Option<String>,
    /// Only of resources that are one of these; separated by commas.
    #[param(value_type = Option<Vec<words::Kind>>, style = Form, explode = false, inline)]
    kind: Option<Vec<String>>,
    /// Only of this metric, in the feature set's name.
    metric: Option<String>,
    /// Only of whole resources, or only of single metrics.
    #[param(value_type = Option<Vec<words::AnomalyLevel>>, style = Form, explode = false, inline)]
    level: Option<Vec<String>>,
    /// Only of one of these severities; separated by commas.
    #[param(value_type = Option<Vec<words::Severity>>, style = Form, explode = false, inline)]
    severity: Option<Vec<String>>,
    /// Only with at least this score.
    min_score: Option<f64>,
    /// Only steps that ended at this moment or later, as RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// Only steps that ended before this moment, as RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<String>,
    /// Whose anomalies; `default` unless tenants are configured.
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
        "anomaly_id, tenant, resource, kind, level, metric, severity, ts, score, p, p0, confidence, value, expected,
            lower, upper, summary, parts, feature_set, model_set, step_ms / 1000.0 AS step_seconds, backfill, logged_at, src"
    };
}

const LIST: &str = concat!(
    "
    SELECT row_to_json(r)::text FROM (
        SELECT ",
    columns!(),
    "
        FROM anomalies
        WHERE tenant = $1
            AND ($2::text IS NULL OR resource = $2)
            AND ($3::text[] IS NULL OR kind = ANY ($3))
            AND ($4::text IS NULL OR metric = $4)
            AND ($5::text[] IS NULL OR level = ANY ($5))
            AND ($6::text[] IS NULL OR severity = ANY ($6))
            AND ($7::float8 IS NULL OR score >= $7)
            AND ($8::text IS NULL OR ts >= $8::text::timestamptz)
            AND ($9::text IS NULL OR ts < $9::text::timestamptz)
            AND ($10::text IS NULL OR (ts, anomaly_id) < ($10::text::timestamptz, $11::uuid))
        ORDER BY ts DESC, anomaly_id DESC
        LIMIT $12
    ) r"
);

const ONE: ById = ById {
    kind: "anomaly",
    parameter: "anomaly_id",
    list: "/api/v1/anomalies",
    sql: concat!(
        "
    SELECT row_to_json(r)::text FROM (
        SELECT ",
        columns!(),
        "
        FROM anomalies
        WHERE anomaly_id = $1
    ) r"
    ),
};

/// Lists anomalies
///
/// The newest first.
#[utoipa::path(get, path = "/api/v1/anomalies", tag = "anomalies", params(AnomaliesQuery), responses(
    (status = 200, description = "A page of anomalies", body = Page<Anomaly>),
))]
pub(crate) async fn list_anomalies(
    State(app): State<Arc<App>>,
    uri: Uri,
) -> Result<Json<Page<Anomaly>>, Problem> {
    let mut query = Params::of::<AnomaliesQuery>(&uri);
    let (tenant, resource) = (query.tenant(), query.name("resource"));
    let kind = query.words("kind", &words::kinds());
    let metric = query.name("metric");
    let level = query.words("level", words::LEVELS);
    let severity = query.words("severity", words::SEVERITIES);
    let min_score = query.number("min_score");
    let (since, until) = texts(query.span());
    let (limit, after) = (query.limit(), query.cursor::<(i64, Uuid)>());
    let binding = query.finish()?;
    let (at, id) = place(after);
    let found = app
        .ledger()
        .page(
            LIST,
            &[
                &tenant, &resource, &kind, &metric, &level, &severity, &min_score, &since, &until,
                &at, &id,
            ],
            limit,
        )
        .await?;
    Ok(Json(found.into_page(binding, |last: &Anomaly| {
        (last.ts.micros(), last.anomaly_id)
    })))
}

/// One anomaly
#[utoipa::path(get, path = "/api/v1/anomalies/{anomaly_id}", tag = "anomalies",
    params(("anomaly_id" = Uuid, Path, description = "Its id"), NoQuery),
    responses((status = 200, description = "The anomaly", body = Anomaly)))]
pub(crate) async fn get_anomaly(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Anomaly>, Problem> {
    ONE.answer(&app, &uri, &id).await
}
