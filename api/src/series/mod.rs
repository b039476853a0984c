//! Measurements of a resource out of the metric store, as fine as an answer can hold.
//!
//! Where points are read from follows from the span: short ones from what came in, longer ones from the aggregates that
//! it makes of it, so that a year costs no more than an hour. What was chosen is said in the answer.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use forewarn_config::nearest;
use forewarn_store::Timestamp;
use forewarn_store::metrics::{
    Aggregate, Data, ReadError, Resolution, Selection, Series, SeriesLimits, Span,
};
use forewarn_types::{ResourceKey, metric};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::page::Page;
use crate::params::{self, Params};
use crate::problem::Problem;

pub(crate) use plan::Levels;

/// Points of all series of one answer: about 3 MB of JSON.
const POINTS_ALL: usize = 50_000;
/// Series of one answer.
const SERIES_MOST: usize = 500;
/// Series of a resource that a list looks through.
const LISTED_MOST: usize = 20_000;
/// The span without `since`, in milliseconds.
pub(super) const HOUR: i64 = 3_600_000;
pub(super) const DAY: i64 = 24 * HOUR;

/// One series of a resource.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesInfo {
    /// The metric's name.
    metric: String,
    /// Its unit in the notation of UCUM (`By`, `s`, `1`, `{operation}`), where it is known.
    unit: Option<String>,
    /// The tags that tell it from other series of the metric.
    tags: BTreeMap<String, String>,
    /// When it was measured last.
    #[schema(value_type = String, format = DateTime)]
    last_ts: Timestamp,
    /// What was measured last.
    last_value: f64,
}

/// Points of the series of one metric.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesAnswer {
    /// Whose.
    resource: String,
    /// The metric's full name.
    metric: String,
    /// Its unit in the notation of UCUM, where it is known.
    unit: Option<String>,
    /// The first moment of the span; at or before the one that was asked for, where a step begins.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// The first moment after it.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    /// Length of a step, whose values became one point at its start; null if every point is as it came.
    step_seconds: Option<f64>,
    /// Where the points come from: `raw`, or the aggregates of `10s`, `1m`, `10m`, `1h`. Aggregates end up to one and a half
    /// of their intervals before now, and at least two minutes.
    source: String,
    /// The series by their tags.
    series: Vec<SeriesPoints>,
}

/// One series and its points.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesPoints {
    /// The tags that tell it from other series of the metric.
    tags: BTreeMap<String, String>,
    /// Its points in the order of time; steps without a measurement have none.
    points: Vec<SeriesPoint>,
}

/// A measurement, or what stands for those of a step.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesPoint {
    /// When it was measured, or when the step began.
    #[schema(value_type = String, format = DateTime)]
    ts: Timestamp,
    /// The value, in the metric's unit.
    value: f64,
}

const DATA: &[(&str, Data)] = &[
    ("samples", Data::Samples),
    ("features", Data::Features),
    ("scores", Data::Scores),
];
const AGGREGATES: &[(&str, Aggregate)] = &[
    ("mean", Aggregate::Mean),
    ("min", Aggregate::Min),
    ("max", Aggregate::Max),
];

/// Which numbers of a resource.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "it describes; Params reads")]
enum DataWord {
    Samples,
    Features,
    Scores,
}

/// What stands for the values of a step.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "it describes; Params reads")]
enum AggregateWord {
    Mean,
    Min,
    Max,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes; Params reads")]
pub(crate) struct SeriesListQuery {
    /// `samples` (what was measured or pushed), `features` (what the detectors are given) or `scores` (of the resource as a
    /// whole).
    #[param(inline, default = "samples")]
    data: Option<DataWord>,
    /// Only series with a point at this moment or later, as RFC 3339; a day ago unless given.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// Whose; `default` unless tenants are configured.
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
pub(crate) struct SeriesQuery {
    /// Whose measurements.
    resource: String,
    /// The metric: `system.cpu.utilization`, or a familiar name such as `cpu_usage`. Of `features` in the feature set's
    /// name: `cpu.utilization`. Of `scores` it is left out.
    metric: Option<String>,
    /// `samples` (what was measured or pushed), `features` (what the detectors are given) or `scores` (of the resource as a
    /// whole).
    #[param(inline, default = "samples")]
    data: Option<DataWord>,
    /// Only series with this tag, as `key=value`; may be repeated.
    tag: Option<String>,
    /// The first moment, as RFC 3339; an hour before `until` unless given.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// The first moment after, as RFC 3339; now unless given.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<String>,
    /// Length of a step, `1s` to `7d`; unless given, as fine as a chart can show. Longer where only coarser aggregates are
    /// left.
    step: Option<String>,
    /// What stands for the values of a step: `mean`, `min` or `max`.
    #[param(inline, default = "mean")]
    aggregate: Option<AggregateWord>,
    /// Whose; `default` unless tenants are configured.
    tenant: Option<String>,
}

/// Lists the series of a resource
///
/// By metric and tags, each with its last point.
#[utoipa::path(get, path = "/api/v1/resources/{resource}/series", tag = "resources",
    params(("resource" = String, Path, description = "Its name; a slash in it is written %2F"), SeriesListQuery),
    responses((status = 200, description = "A page of series", body = Page<SeriesInfo>)))]
pub(crate) async fn list_series(
    State(app): State<Arc<App>>,
    Path(resource): Path<String>,
    uri: Uri,
) -> Result<Json<Page<SeriesInfo>>, Problem> {
    let mut query = Params::of::<SeriesListQuery>(&uri);
    let tenant = query.tenant();
    let data = query.word("data", DATA, Data::Samples);
    let now = now();
    let since = query.instant("since").map_or(now - DAY, millis);
    let (limit, after) = (
        query.limit(),
        query.cursor::<(String, BTreeMap<String, String>)>(),
    );
    let binding = query.finish()?;
    let key = params::resource(tenant, resource)?;
    let found = latest(&app, &key, data, since, now).await?;
    if found.is_empty() && !is_known(&app, &key).await? {
        return Err(unknown_resource(&key));
    }
    let mut items: Vec<SeriesInfo> = found
        .into_iter()
        .filter(|one| {
            after
                .as_ref()
                .is_none_or(|(metric, tags)| (&one.metric, &one.tags) > (metric, tags))
        })
        .filter_map(|one| {
            let (at, value) = *one.points.last()?;
            Some(SeriesInfo {
                unit: metric::unit(&one.metric).map(str::to_owned),
                metric: one.metric,
                tags: one.tags,
                last_ts: instant(at),
                last_value: value,
            })
        })
        .collect();
    let limit = usize::try_from(limit).unwrap_or(1);
    let more = items.len() > limit;
    items.truncate(limit);
    Ok(Json(Page::new(items, more, binding, |last| {
        (last.metric.clone(), last.tags.clone())
    })))
}

/// Reads the points of a metric
///
/// At most 2000 points of a series and 50000 in all; what is more is refused, with how to ask for less.
#[utoipa::path(get, path = "/api/v1/series", tag = "resources", params(SeriesQuery), responses(
    (status = 200, description = "The series of the metric, by their tags", body = SeriesAnswer),
    (status = 404, description = "The resource has no such metric.", body = crate::problem::Document,
        content_type = "application/problem+json"),
))]
pub(crate) async fn read_series(
    State(app): State<Arc<App>>,
    uri: Uri,
) -> Result<Json<SeriesAnswer>, Problem> {
    let mut query = Params::of::<SeriesQuery>(&uri);
    let resource = ResourceKey {
        tenant: query.tenant(),
        resource: query.required_name("resource"),
    };
    let data = query.word("data", DATA, Data::Samples);
    let metric = match data {
        Data::Samples => metric::canonical(&query.required_name("metric")).to_owned(),
        Data::Features => query.required_name("metric"),
        Data::Scores => {
            if query.name("metric").is_some_and(|metric| metric != "score") {
                query.refuse("metric", "scores have no metric", "leave it out");
            }
            "score".to_owned()
        }
    };
    let aggregate = query.word("aggregate", AGGREGATES, Aggregate::Mean);
    let tags = query.tags();
    let (since, until) = query.span();
    let until = until.map_or_else(now, millis);
    let since = since.map_or(until - HOUR, millis);
    let step = query.duration(
        "step",
        Duration::from_secs(1)..=Duration::from_secs(7 * 86_400),
    );
    let plan = if since >= until {
        query.refuse(
            "since",
            "it is not before `until`, which is now unless given",
            "give an earlier one",
        );
        None
    } else {
        match app.levels().plan(since, until, now(), step) {
            Ok(plan) => Some(plan),
            Err((name, detail, remedy)) => {
                query.refuse(name, &detail, &remedy);
                None
            }
        }
    };
    query.finish()?;
    let plan = plan.ok_or_else(|| Problem::internal("a span without a plan"))?;

    let selection = Selection {
        resource: resource.clone(),
        data,
        metric: Some(metric.clone()),
        tags,
    };
    let resolution = Resolution {
        level: plan.level,
        step: plan.step,
        aggregate,
    };
    let limits = SeriesLimits {
        series: SERIES_MOST,
        points: POINTS_ALL,
        time: app.config().query_timeout,
    };
    let found = app
        .metrics()
        .series(&selection, plan.span, resolution, &limits)
        .await
        .map_err(|error| refused(&error))?;
    if found.is_empty() {
        ensure_metric(&app, &resource, data, &metric).await?;
    }
    let series = found.into_iter().map(|one| SeriesPoints {
        tags: one.tags,
        points: one
            .points
            .into_iter()
            .map(|(at, value)| SeriesPoint {
                ts: instant(at),
                value,
            })
            .collect(),
    });
    Ok(Json(SeriesAnswer {
        resource: resource.resource,
        unit: metric::unit(&metric).map(str::to_owned),
        metric,
        since: instant(plan.span.start),
        until: instant(plan.span.stop),
        step_seconds: plan.step.map(|step| step as f64 / 1e3),
        source: plan.level.map_or("raw", |level| level.name).to_owned(),
        series: series.collect(),
    }))
}

async fn latest(
    app: &App,
    resource: &ResourceKey,
    data: Data,
    since: i64,
    now: i64,
) -> Result<Vec<Series>, Problem> {
    let selection = Selection {
        resource: resource.clone(),
        data,
        metric: None,
        tags: Vec::new(),
    };
    // What is stamped ahead of this machine's clock is there too.
    let span = Span {
        start: since.min(now),
        stop: now + DAY,
    };
    let limits = SeriesLimits {
        series: LISTED_MOST,
        points: LISTED_MOST,
        time: app.config().query_timeout,
    };
    app.metrics()
        .latest(&selection, span, &limits)
        .await
        .map_err(|error| refused(&error))
}

async fn is_known(app: &App, key: &ResourceKey) -> Result<bool, Problem> {
    const SQL: &str =
        "SELECT to_json(true)::text FROM resources WHERE tenant = $1 AND resource = $2";
    let found: Option<bool> = app.ledger().one(SQL, &[&key.tenant, &key.resource]).await?;
    Ok(found.is_some())
}

/// An empty chart of something that does not exist would look like silence.
async fn ensure_metric(
    app: &App,
    resource: &ResourceKey,
    data: Data,
    metric: &str,
) -> Result<(), Problem> {
    let now = now();
    let known = latest(app, resource, data, now - app.levels().raw_millis(), now).await?;
    if known.iter().any(|one| one.metric == metric) {
        return Ok(());
    }
    if known.is_empty() {
        return match is_known(app, resource).await? {
            true => Ok(()),
            false => Err(unknown_resource(resource)),
        };
    }
    let guess = match nearest(metric, known.iter().map(|one| one.metric.as_str())) {
        Some(name) => format!("did you mean `{name}`? "),
        None => String::new(),
    };
    Err(Problem::not_found(
        format!("`{}` has no metric `{metric}`", resource.resource),
        format!("{guess}see /api/v1/resources/{{resource}}/series for those it has"),
    ))
}

fn unknown_resource(key: &ResourceKey) -> Problem {
    Problem::not_found(
        format!("nothing is known of a resource `{}`", key.resource),
        "see /api/v1/resources for those that are",
    )
}

fn refused(error: &ReadError) -> Problem {
    match error {
        ReadError::TooMuch => Problem::new(
            axum::http::StatusCode::UNPROCESSABLE_ENTITY,
            "too-much",
            "the selection is more than one answer holds",
        )
        .detail(format!(
            "it has more than {SERIES_MOST} series or {POINTS_ALL} points"
        ))
        .remedy("choose series with `tag`, a shorter span, or a longer `step`"),
        error => {
            tracing::warn!(%error, "series cannot be read");
            let detail = match error {
                ReadError::Away(_) => "the metric store does not answer, or not in time",
                ReadError::Missing(_) => {
                    "the metric store has nothing of ours yet: ingestion sets it up when it starts"
                }
                _ => "the metric store does not answer as it should; this service's log says more",
            };
            Problem::later("metrics-away", "the measurements cannot be read now")
                .detail(detail)
                .remedy("ask again in a moment, or for less; everything but series works without the metric store")
        }
    }
}

fn millis(at: Timestamp) -> i64 {
    at.micros().div_euclid(1_000)
}

fn instant(millis: i64) -> Timestamp {
    Timestamp::from_micros(millis.saturating_mul(1_000))
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
