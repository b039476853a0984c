//! How good the failure predictions have been: the view `prediction_quality`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::App;
use crate::params::Params;
use crate::problem::Problem;
use crate::resources::TenantQuery;

/// How the predictions of one kind of failure ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Quality {
    /// Which kind of failure was predicted; `all`: every kind together.
    pub(crate) failure: String,
    /// Which predictions are counted: those opened in the last `30 days`, or `ever`.
    pub(crate) span: String,
    /// How many were said; the five states add up to it.
    pub(crate) opened: i64,
    /// The breach came.
    pub(crate) confirmed: i64,
    /// An action or a change ran, and the breach did not come.
    pub(crate) averted: i64,
    /// No breach by `p90_at` and a grace: false alarms.
    pub(crate) expired: i64,
    /// The evidence went away before: taken back.
    pub(crate) withdrawn: i64,
    /// Still expected; not graded yet.
    pub(crate) open: i64,
    /// (confirmed + averted) / (confirmed + averted + expired); null before any has ended so.
    pub(crate) precision: Option<f64>,
    /// confirmed / (confirmed + averted + expired + withdrawn).
    pub(crate) precision_strict: Option<f64>,
    /// One confirmed prediction in ten was said less than this before the breach.
    pub(crate) lead_p10_seconds: Option<f64>,
    /// Half of the confirmed predictions were said at least this long before the breach.
    pub(crate) lead_p50_seconds: Option<f64>,
    /// One confirmed prediction in ten was said more than this before the breach.
    pub(crate) lead_p90_seconds: Option<f64>,
    /// Share of confirmed predictions that were said at least 15 minutes before the breach.
    pub(crate) lead_15m_share: Option<f64>,
    /// Median distance between the breach and the `p50_at` that was said last before it.
    pub(crate) p50_error_seconds: Option<f64>,
    /// The same with its sign: positive when breaches come later than said.
    pub(crate) p50_late_by_seconds: Option<f64>,
    /// Share of confirmed predictions whose breach came within the `p10_at` to `p90_at` that was said last; 0.8 if the
    /// interval is honest.
    pub(crate) in_interval_share: Option<f64>,
}

/// All lines of the view: two spans, at most one line per kind of failure and one for all.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QualityReport {
    /// The lines; in each span the sum of the kinds comes first.
    items: Vec<Quality>,
}

/// More lines than there are kinds of failure, twice.
pub(crate) const LINES_MAX: i64 = 100;

pub(crate) const LIST: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT failure, span, opened, confirmed, averted, expired, withdrawn, open, precision, precision_strict,
            extract(epoch FROM lead_p10) AS lead_p10_seconds,
            extract(epoch FROM lead_p50) AS lead_p50_seconds,
            extract(epoch FROM lead_p90) AS lead_p90_seconds,
            lead_15m_share,
            extract(epoch FROM p50_error) AS p50_error_seconds,
            extract(epoch FROM p50_late_by) AS p50_late_by_seconds,
            in_interval_share
        FROM prediction_quality
        WHERE tenant = $1
        LIMIT $2
    ) r";

/// How good the predictions are
///
/// How failure predictions ended, per kind of failure, over the last 30 days and in all. Imported history is left out.
#[utoipa::path(get, path = "/api/v1/prediction-quality", tag = "predictions", params(TenantQuery), responses(
    (status = 200, description = "All lines", body = QualityReport),
))]
pub(crate) async fn prediction_quality(
    State(app): State<Arc<App>>,
    uri: Uri,
) -> Result<Json<QualityReport>, Problem> {
    let mut query = Params::of::<TenantQuery>(&uri);
    let tenant = query.tenant();
    query.finish()?;
    let found = app.ledger().page(LIST, &[&tenant], LINES_MAX).await?;
    Ok(Json(QualityReport { items: found.rows }))
}
