//! What was trained, what judges, and since when.

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

/// A model that judges now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Model {
    /// Whose model it is.
    pub(crate) resource: String,
    /// The owner; `default` unless tenants are configured.
    tenant: String,
    /// Name and version of the features that it judges.
    pub(crate) feature_set: String,
    /// What kind of model: `isolation-forest`.
    pub(crate) model: String,
    /// Digest of the bundle, under which the object store keeps it.
    digest: String,
    /// Probability that a faulty step is more unusual to it than an ordinary one it has not seen; 0.5 is chance.
    pub(crate) auroc: Option<f64>,
    /// End of the first step of the history that it was trained on.
    #[schema(value_type = Option<String>, format = DateTime)]
    data_from: Option<Timestamp>,
    /// End of its last step.
    #[schema(value_type = Option<String>, format = DateTime)]
    data_to: Option<Timestamp>,
    /// Steps of history.
    pub(crate) steps: i64,
    /// Of these, left out because something was wrong then, or minutes before or after.
    quarantined_steps: i64,
    /// Since when it judges, in the log's time.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) judges_since: Option<Timestamp>,
    /// When its training was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) trained_at: Option<Timestamp>,
    /// The training that it comes from.
    run_id: Uuid,
}

/// A training: what it was made of, how good the model is, and what became of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ModelRun {
    /// Which training.
    run_id: Uuid,
    /// The owner; `default` unless tenants are configured.
    tenant: String,
    /// Whose model it is.
    resource: String,
    /// Name and version of the features that it judges.
    feature_set: String,
    /// What kind of model: `isolation-forest`.
    model: String,
    /// `candidate` (being made or proved), `validated` (proved, about to judge), `champion` (it judges), `retired` (it
    /// judged before), `rejected` (no better than the one that judges), `failed` (nothing came of it).
    #[schema(value_type = words::RunState)]
    state: String,
    /// Digest of the bundle, under which the object store keeps it; null without one.
    digest: Option<String>,
    /// Why it was rejected or failed.
    reason: Option<String>,
    /// When the training began.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// When it was over; null while it runs, or when the trainer died in it.
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// End of the first step of the history.
    #[schema(value_type = Option<String>, format = DateTime)]
    data_from: Option<Timestamp>,
    /// End of its last step.
    #[schema(value_type = Option<String>, format = DateTime)]
    data_to: Option<Timestamp>,
    /// Steps of history.
    steps: i64,
    /// Of these, left out because something was wrong then, or minutes before or after.
    quarantined_steps: i64,
    /// The metrics that it judges.
    features: serde_json::Value,
    /// The settings of the model and of its training.
    parameters: serde_json::Value,
    /// From which everything random in it follows.
    seed: i64,
    /// The version of the trainer.
    code_version: String,
    /// How well it tells injected faults from ordinary steps it has not seen.
    scores: serde_json::Value,
}

/// From when on which model judges whom.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Activation {
    /// Counts the rows in the order in which they were committed.
    activation_id: i64,
    /// Whom: tenant/resource/feature set.
    scope: String,
    /// Digest of the bundle that judges beside the online detector; null for none.
    digest: Option<String>,
    /// From this moment of the log on.
    #[schema(value_type = String, format = DateTime)]
    from_log_time: Timestamp,
    /// Why.
    reason: String,
    /// The training that it comes from; null for one by hand.
    run_id: Option<Uuid>,
    /// When it was written, by the database's clock.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// From this moment of the log on it counts as if it were not there; null if it was taken.
    #[schema(value_type = Option<String>, format = DateTime)]
    refused_from: Option<Timestamp>,
    /// Why the predictor refused it. The last good model goes on judging.
    refusal: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes; Params reads")]
pub(crate) struct ModelsQuery {
    /// Only of this resource.
    resource: Option<String>,
    /// Only of this feature set, with its version: `host/1`.
    feature_set: Option<String>,
    /// Whose models; `default` unless tenants are configured.
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
pub(crate) struct RunsQuery {
    /// Only of this resource.
    resource: Option<String>,
    /// Only of this feature set, with its version: `host/1`.
    feature_set: Option<String>,
    /// Only of this kind of model: `isolation-forest`.
    model: Option<String>,
    /// Only in one of these states; separated by commas.
    #[param(value_type = Option<Vec<words::RunState>>, style = Form, explode = false, inline)]
    state: Option<Vec<String>>,
    /// Only begun at this moment or later, as RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// Only begun before this moment, as RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<String>,
    /// Whose models; `default` unless tenants are configured.
    tenant: Option<String>,
    /// How many items at most, 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

const MODELS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT resource, tenant, feature_set, model, digest, auroc, data_from, data_to, steps, quarantined_steps,
            judges_since, trained_at, run_id
        FROM models
        WHERE tenant = $1 AND state = 'champion'
            AND ($2::text IS NULL OR resource = $2)
            AND ($3::text IS NULL OR feature_set = $3)
            AND ($4::text IS NULL OR (resource, feature_set, run_id) > ($4, $5, $6::uuid))
        ORDER BY resource, feature_set, run_id
        LIMIT $7
    ) r";

// What both statements read of a training.
macro_rules! run_columns {
    () => {
        "run_id, tenant, resource, feature_set, model, state, digest, reason, started_at, finished_at, data_from, data_to,
            steps, quarantined_steps, features, parameters, seed, code_version, scores"
    };
}

const RUNS: &str = concat!(
    "
    SELECT row_to_json(r)::text FROM (
        SELECT ",
    run_columns!(),
    "
        FROM model_runs
        WHERE tenant = $1
            AND ($2::text IS NULL OR resource = $2)
            AND ($3::text IS NULL OR feature_set = $3)
            AND ($4::text IS NULL OR model = $4)
            AND ($5::text[] IS NULL OR state = ANY ($5))
            AND ($6::text IS NULL OR started_at >= $6::text::timestamptz)
            AND ($7::text IS NULL OR started_at < $7::text::timestamptz)
            AND ($8::text IS NULL OR (started_at, run_id) < ($8::text::timestamptz, $9::uuid))
        ORDER BY started_at DESC, run_id DESC
        LIMIT $10
    ) r"
);

const RUN: ById = ById {
    kind: "training",
    parameter: "run_id",
    list: "/api/v1/models/runs",
    sql: concat!(
        "
    SELECT row_to_json(r)::text FROM (
        SELECT ",
        run_columns!(),
        "
        FROM model_runs
        WHERE run_id = $1
    ) r"
    ),
};

// A scope is tenant/resource/name/version: no tenant has a slash in it, a resource may.
const ACTIVATIONS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT activation_id, scope, digest, from_log_time, reason, run_id, created_at, refused_from, refusal
        FROM activations
        WHERE starts_with(scope, $1 || '/')
            AND ($2::text IS NULL OR regexp_replace(scope, '/[^/]+/[^/]+$', '') = $1 || '/' || $2)
            AND ($3::text IS NULL OR substring(scope FROM '[^/]+/[^/]+$') = $3)
            AND ($4::bigint IS NULL OR activation_id < $4)
        ORDER BY activation_id DESC
        LIMIT $5
    ) r";

/// Lists the models that judge now
///
/// By resource and feature set. Resources without one are judged by the online detector alone.
#[utoipa::path(get, path = "/api/v1/models", tag = "models", params(ModelsQuery), responses(
    (status = 200, description = "A page of models", body = Page<Model>),
))]
pub(crate) async fn list_models(
    State(app): State<Arc<App>>,
    uri: Uri,
) -> Result<Json<Page<Model>>, Problem> {
    let mut query = Params::of::<ModelsQuery>(&uri);
    let (tenant, resource) = (query.tenant(), query.name("resource"));
    let feature_set = query.name("feature_set");
    let (limit, after) = (query.limit(), query.cursor::<(String, String, Uuid)>());
    let binding = query.finish()?;
    let (name, set, id) = match after {
        Some((name, set, id)) => (Some(name), Some(set), Some(id)),
        None => (None, None, None),
    };
    let found = app
        .ledger()
        .page(
            MODELS,
            &[&tenant, &resource, &feature_set, &name, &set, &id],
            limit,
        )
        .await?;
    Ok(Json(found.into_page(binding, |last: &Model| {
        (last.resource.clone(), last.feature_set.clone(), last.run_id)
    })))
}

/// Lists trainings
///
/// The one that began last first.
#[utoipa::path(get, path = "/api/v1/models/runs", tag = "models", params(RunsQuery), responses(
    (status = 200, description = "A page of trainings", body = Page<ModelRun>),
))]
pub(crate) async fn list_model_runs(
    State(app): State<Arc<App>>,
    uri: Uri,
) -> Result<Json<Page<ModelRun>>, Problem> {
    let mut query = Params::of::<RunsQuery>(&uri);
    let (tenant, resource) = (query.tenant(), query.name("resource"));
    let (feature_set, model) = (query.name("feature_set"), query.name("model"));
    let state = query.words("state", &words::run_states());
    let (since, until) = texts(query.span());
    let (limit, after) = (query.limit(), query.cursor::<(i64, Uuid)>());
    let binding = query.finish()?;
    let (at, id) = place(after);
    let found = app
        .ledger()
        .page(
            RUNS,
            &[
                &tenant,
                &resource,
                &feature_set,
                &model,
                &state,
                &since,
                &until,
                &at,
                &id,
            ],
            limit,
        )
        .await?;
    Ok(Json(found.into_page(binding, |last: &ModelRun| {
        (last.started_at.micros(), last.run_id)
    })))
}

/// One training
#[utoipa::path(get, path = "/api/v1/models/runs/{run_id}", tag = "models",
    params(("run_id" = Uuid, Path, description = "Its id"), NoQuery),
    responses((status = 200, description = "The training", body = ModelRun)))]
pub(crate) async fn get_model_run(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<ModelRun>, Problem> {
    RUN.answer(&app, &uri, &id).await
}

/// Lists activations
///
/// From when on which model judges whom; the one that was written last first.
#[utoipa::path(get, path = "/api/v1/models/activations", tag = "models", params(ModelsQuery), responses(
    (status = 200, description = "A page of activations", body = Page<Activation>),
))]
pub(crate) async fn list_activations(
    State(app): State<Arc<App>>,
    uri: Uri,
) -> Result<Json<Page<Activation>>, Problem> {
    let mut query = Params::of::<ModelsQuery>(&uri);
    let (tenant, resource) = (query.tenant(), query.name("resource"));
    let feature_set = query.name("feature_set");
    let (limit, after) = (query.limit(), query.cursor::<i64>());
    let binding = query.finish()?;
    let found = app
        .ledger()
        .page(
            ACTIVATIONS,
            &[&tenant, &resource, &feature_set, &after],
            limit,
        )
        .await?;
    Ok(Json(found.into_page(binding, |last: &Activation| {
        last.activation_id
    })))
}
