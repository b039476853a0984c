//! One page for people, at `/`: what is wrong now, what will fail, how the rest is doing. Plain HTML, no scripts.
//!
//! [`view`] turns rows into the sentences that the page shows; the template only places them, and escapes all of them:
//! names of resources and titles come from whoever sends metrics.

mod sentences;
mod view;
mod words;

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use forewarn_types::DEFAULT_TENANT;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use crate::guard::CSP_PAGE;
use crate::ledger::{self, Rows};
use crate::problem::Problem;
use crate::{App, health, quality};

use view::{Found, Page};
pub(crate) use words::span;

const TEMPLATE: &str = "status.html";
const STYLE: &str = include_str!("status.css");

/// More would not be read; the page says how many there are.
const ALERTS_MOST: i64 = 50;
const PREDICTIONS_MOST: i64 = 50;
const RESOURCES_MOST: i64 = 200;
const MODELS_MOST: i64 = 50;

/// How often the page may ask its reader's browser to load it again.
const REFRESH_SECONDS: std::ops::RangeInclusive<u32> = 5..=3_600;

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Its name ends in html, which is what switches escaping on; a test sees to it.
    environment
        .add_template(TEMPLATE, include_str!("status.html"))
        .expect("the template is compiled in, and tested");
    environment
});

/// The style sheet, which a policy without inline styles needs as a file of its own.
pub(crate) fn files() -> Router {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    Router::new().route("/status.css", get(async move || (headers, STYLE)))
}

/// The page. Without a database it is a page too, which says so.
pub(crate) async fn page(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let refresh = query
        .as_deref()
        .and_then(|query| query.strip_prefix("refresh=")?.parse().ok())
        .filter(|seconds| REFRESH_SECONDS.contains(seconds));
    let (status, page) = match look(&app).await {
        Ok(found) => (StatusCode::OK, Page::of(found, refresh)),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, Page::away(refresh)),
    };
    match render(&page) {
        Ok(text) => {
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CONTENT_SECURITY_POLICY, CSP_PAGE),
            ];
            (status, headers, text).into_response()
        }
        Err(error) => Problem::internal(&format!("the status page: {error}")).into_response(),
    }
}

fn render(page: &impl Serialize) -> Result<String, minijinja::Error> {
    TEMPLATES.get_template(TEMPLATE)?.render(Serde(page))
}

const ALERTS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT alert_id, severity, state, resource, title, summary, coalesce(opened_at, began_at) AS since_at,
            changed_at
        FROM alerts
        WHERE tenant = $1 AND state IN ('predicted', 'open', 'acknowledged')
        ORDER BY array_position(ARRAY['critical', 'high', 'medium', 'low', 'info'], severity),
            coalesce(opened_at, began_at) DESC, alert_id
        LIMIT $2
    ) r";

const PREDICTIONS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT prediction_id, resource, title, why, first_action, probability, ts, p10_at, p50_at, p90_at
        FROM predictions
        WHERE tenant = $1 AND state = 'open'
        ORDER BY p50_at NULLS LAST, prediction_id
        LIMIT $2
    ) r";

const MODELS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT resource, feature_set, model, auroc, steps, judges_since, trained_at
        FROM models
        WHERE tenant = $1 AND state = 'champion'
        ORDER BY resource, feature_set
        LIMIT $2
    ) r";

/// Everything that the page shows, of one moment.
async fn look(app: &App) -> Result<Found, Problem> {
    let tenant = DEFAULT_TENANT;
    let mut session = app.ledger().session().await?;
    let transaction = ledger::look(&mut session).await?;
    let totals = health::totals(&transaction, tenant).await?;
    let lines = health::lines(&transaction, tenant, RESOURCES_MOST).await?;
    let alerts: Rows<view::AlertRow> =
        ledger::rows(&transaction, ALERTS, &[&tenant, &ALERTS_MOST], ALERTS_MOST).await?;
    let predictions: Rows<view::PredictionRow> = ledger::rows(
        &transaction,
        PREDICTIONS,
        &[&tenant, &PREDICTIONS_MOST],
        PREDICTIONS_MOST,
    )
    .await?;
    let models: Rows<view::ModelRow> =
        ledger::rows(&transaction, MODELS, &[&tenant, &MODELS_MOST], MODELS_MOST).await?;
    let quality: Rows<quality::Quality> = ledger::rows(
        &transaction,
        quality::LIST,
        &[&tenant, &quality::LINES_MAX],
        quality::LINES_MAX,
    )
    .await?;
    ledger::end(transaction).await?;
    session.give_back();
    Ok(Found {
        totals,
        lines,
        alerts: alerts.rows,
        predictions: predictions.rows,
        models: models.rows,
        quality: quality.rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_a_database_says_so() {
        let text = render(&Page::away(None)).expect("a page");
        assert!(text.contains("cannot be read"), "{text}");
        assert!(!text.contains("http-equiv"), "{text}");
        let text = render(&Page::away(Some(30))).expect("a page");
        assert!(
            text.contains("http-equiv=\"refresh\" content=\"30\""),
            "{text}"
        );
    }
}
