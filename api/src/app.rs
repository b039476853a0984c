//! The pages of port 3000 and what stands behind them.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware;
use axum::routing::get;
use forewarn_bus::LogAccess;
use forewarn_store::metrics::{MetricStore, Retention};
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::problem::Problem;
use crate::series::Levels;
use crate::{
    Config, Ledger, alerts, anomalies, commands, guard, health, models, openapi, predictions,
    quality, resources, series, status,
};

/// What answers are made of.
#[derive(Debug)]
pub struct App {
    config: Config,
    ledger: Ledger,
    metrics: Arc<dyn MetricStore>,
    levels: Levels,
    places: Semaphore,
    door: Arc<Door>,
}

impl App {
    /// The pages before PostgreSQL and the metric store, and the door to the log; none of them has to answer yet.
    #[must_use]
    pub fn new(
        config: Config,
        ledger: Ledger,
        metrics: Arc<dyn MetricStore>,
        retention: Retention,
        log: LogAccess,
    ) -> Self {
        Self {
            door: Door::new(log),
            places: Semaphore::new(config.requests_max.min(Semaphore::MAX_PERMITS)),
            levels: Levels::of(&retention),
            config,
            ledger,
            metrics,
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// PostgreSQL.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn metrics(&self) -> &dyn MetricStore {
        self.metrics.as_ref()
    }

    pub(crate) fn door(&self) -> &Arc<Door> {
        &self.door
    }

    pub(crate) fn levels(&self) -> &Levels {
        &self.levels
    }

    pub(crate) fn places(&self) -> &Semaphore {
        &self.places
    }

    /// All pages, `pages` (those that every service has) among them.
    pub fn router(self: Arc<Self>, pages: Router) -> Router {
        let (endpoints, document) = endpoints().split_for_parts();
        let looked = endpoints
            .route("/", get(status::page))
            .layer(DefaultBodyLimit::max(commands::BODY_BYTES_MAX))
            .layer(middleware::from_fn_with_state(
                Arc::clone(&self),
                guard::limits,
            ))
            .with_state(Arc::clone(&self));
        let fixed = openapi::router(document).merge(status::files());
        Router::new()
            .merge(looked)
            .merge(fixed)
            .merge(pages)
            .fallback(not_found)
            .method_not_allowed_fallback(not_allowed)
            .layer(middleware::from_fn_with_state(self, guard::host))
            .layer(middleware::from_fn(guard::headers))
    }
}

/// The endpoints of `/api/v1/`, each with its part of the OpenAPI document.
pub(crate) fn endpoints() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(health::health))
        .routes(routes!(resources::list_resources))
        .routes(routes!(resources::get_resource))
        .routes(routes!(series::list_series))
        .routes(routes!(series::read_series))
        .routes(routes!(anomalies::list_anomalies))
        .routes(routes!(anomalies::get_anomaly))
        .routes(routes!(predictions::list_predictions))
        .routes(routes!(predictions::get_prediction))
        .routes(routes!(quality::prediction_quality))
        .routes(routes!(alerts::list_alerts))
        .routes(routes!(alerts::get_alert))
        .routes(routes!(alerts::alert_history))
        .routes(routes!(alerts::alert_deliveries))
        .routes(routes!(commands::acknowledge_alert))
        .routes(routes!(commands::resolve_alert))
        .routes(routes!(commands::get_command))
        .routes(routes!(models::list_models))
        .routes(routes!(models::list_model_runs))
        .routes(routes!(models::get_model_run))
        .routes(routes!(models::list_activations))
}

async fn not_found(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::not_found(
        format!("nothing answers at {path}"),
        "see /api/docs for what there is",
    )
}

async fn not_allowed(method: Method) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "this page is asked for in another way",
    )
    .detail(format!("{method} is not understood here"))
    .remedy("use GET; only an alert's /acknowledge and /resolve take POST")
}
