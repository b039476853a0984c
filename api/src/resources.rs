//! What is watched, and how each is doing.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use forewarn_store::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::page::Page;
use crate::params::{self, Params};
use crate::problem::Problem;
use crate::words;

/// A watched thing, and how it is doing.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Resource {
    /// The name under which it sends metrics.
    pub(crate) resource: String,
    /// The owner; `default` unless tenants are configured.
    tenant: String,
    /// What it is.
    #[schema(value_type = words::Kind)]
    kind: String,
    /// How it is doing. `silent`: it stopped sending; `critical`: a limit is reached; `at_risk`: a failure is predicted;
    /// `degraded`: unusual; `learning`: too little has been seen.
    #[schema(value_type = words::ResourceState)]
    state: String,
    /// Since when it is in this state.
    #[schema(value_type = String, format = DateTime)]
    state_since_at: Timestamp,
    /// The first step that was judged.
    #[schema(value_type = String, format = DateTime)]
    first_step_at: Timestamp,
    /// The last step that was judged.
    #[schema(value_type = String, format = DateTime)]
    last_step_at: Timestamp,
    /// What could be said about the last step.
    #[schema(value_type = Option<words::VerdictState>)]
    verdict: Option<String>,
    /// Score of the last step; above 1 is an anomaly.
    score: Option<f64>,
    /// How much data stands behind the score, 0 to 1.
    confidence: Option<f64>,
    /// While learning: seconds of data still wanted.
    eta_seconds: Option<f64>,
    /// How many failures are predicted of it.
    open_predictions: i64,
    /// When a predicted limit was reached last; null once it is left again.
    #[schema(value_type = Option<String>, format = DateTime)]
    breached_at: Option<Timestamp>,
    /// Limits that are reached and not left again, as `failure:subject`.
    reached: Vec<String>,
    /// Since when it is silent, in the log's time; null while it sends.
    #[schema(value_type = Option<String>, format = DateTime)]
    silent_since_at: Option<Timestamp>,
    /// What each feature set said last, by its name and version.
    feature_sets: BTreeMap<String, SetState>,
    /// The log's time of what changed it last.
    #[schema(value_type = String, format = DateTime)]
    logged_at: Timestamp,
}

/// What one feature set said last about a resource.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SetState {
    /// End of the last step that it judged.
    #[schema(value_type = String, format = DateTime)]
    ts: Timestamp,
    /// `learning`, `healthy` or `degraded`.
    state: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes; Params reads")]
pub(crate) struct ResourcesQuery {
    /// Only the resource of this name.
    resource: Option<String>,
    /// Only resources that are one of these; separated by commas.
    #[param(value_type = Option<Vec<words::Kind>>, style = Form, explode = false, inline)]
    kind: Option<Vec<String>>,
    /// Only resources in one of these states; separated by commas.
    #[param(value_type = Option<Vec<words::ResourceState>>, style = Form, explode = false, inline)]
    state: Option<Vec<String>>,
    /// Whose resources; `default` unless tenants are configured.
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
pub(crate) struct TenantQuery {
    /// Whose it is; `default` unless tenants are configured.
    tenant: Option<String>,
}

const LIST: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT resource, tenant, kind, state, state_since_at, first_step_at, last_step_at, verdict, score, confidence,
            eta_seconds, open_predictions, breached_at, reached, silent_since_at, feature_sets, logged_at
        FROM resources
        WHERE tenant = $1
            AND ($2::text IS NULL OR resource = $2)
            AND ($3::text[] IS NULL OR kind = ANY ($3))
            AND ($4::text[] IS NULL OR state = ANY ($4))
            AND ($5::text IS NULL OR resource > $5)
        ORDER BY resource
        LIMIT $6
    ) r";

/// Lists resources
///
/// In the order of their names. What is in trouble comes first in `/api/v1/health`.
#[utoipa::path(get, path = "/api/v1/resources", tag = "resources", params(ResourcesQuery), responses(
    (status = 200, description = "A page of resources", body = Page<Resource>),
))]
pub(crate) async fn list_resources(
    State(app): State<Arc<App>>,
    uri: Uri,
) -> Result<Json<Page<Resource>>, Problem> {
    let mut query = Params::of::<ResourcesQuery>(&uri);
    let (tenant, resource) = (query.tenant(), query.name("resource"));
    let kind = query.words("kind", &words::kinds());
    let state = query.words("state", &words::resource_states());
    let (limit, after) = (query.limit(), query.cursor::<String>());
    let binding = query.finish()?;
    let found = app
        .ledger()
        .page(LIST, &[&tenant, &resource, &kind, &state, &after], limit)
        .await?;
    Ok(Json(found.into_page(binding, |last: &Resource| {
        last.resource.clone()
    })))
}

/// One resource
#[utoipa::path(get, path = "/api/v1/resources/{resource}", tag = "resources",
    params(("resource" = String, Path, description = "Its name; a slash in it is written %2F"), TenantQuery),
    responses((status = 200, description = "The resource", body = Resource)))]
pub(crate) async fn get_resource(
    State(app): State<Arc<App>>,
    Path(resource): Path<String>,
    uri: Uri,
) -> Result<Json<Resource>, Problem> {
    let mut query = Params::of::<TenantQuery>(&uri);
    let tenant = query.tenant();
    query.finish()?;
    let key = params::resource(tenant, resource)?;
    let none: Option<&str> = None;
    let words: Option<Vec<String>> = None;
    let found = app
        .ledger()
        .one(
            LIST,
            &[&key.tenant, &key.resource, &words, &words, &none, &1_i64],
        )
        .await?;
    found.map(Json).ok_or_else(|| {
        Problem::not_found(
            format!("no resource `{}` was ever judged", key.resource),
            "see /api/v1/resources for those that were; a new one appears with its first step",
        )
    })
}
