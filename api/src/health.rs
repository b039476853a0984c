//! How everything is doing, in one look: for monitors, and for the status page.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use forewarn_store::Timestamp;
use forewarn_store::postgres::Transaction;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::App;
use crate::ledger::{self, Rows};
use crate::params::Params;
use crate::problem::Problem;
use crate::words;

/// How everything is doing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// The worst of it in one word.
    status: Status,
    /// By the database's clock.
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
    /// Why what is said here may be out of date; null when it is current.
    stale: Option<String>,
    /// How many resources are in each state; states without any are left out.
    resources: BTreeMap<String, i64>,
    /// How many alerts need attention (predicted, open or acknowledged), by severity.
    active_alerts: BTreeMap<String, i64>,
    /// How many failures are expected.
    open_predictions: i64,
    /// The failure that is expected next.
    next_failure: Option<NextFailure>,
    /// The last step that was judged of any resource.
    #[schema(value_type = Option<String>, format = DateTime)]
    newest_step_at: Option<Timestamp>,
    /// How far the alerter is, in the log's time.
    #[schema(value_type = Option<String>, format = DateTime)]
    alerter_at: Option<Timestamp>,
    /// The resources, those in trouble first, as many as `limit`.
    lines: Vec<HealthLine>,
    /// How many resources are not among `lines`.
    lines_left_out: i64,
}

/// The worst that can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Nothing was ever judged.
    Empty,
    /// What is known is out of date: see `stale`.
    Stale,
    /// Something needs attention: an alert is active, a failure is expected, or a resource is critical or silent.
    Attention,
    /// Nothing needs attention, and something still learns what is normal.
    Learning,
    /// Nothing needs attention.
    Ok,
}

/// The failure that is expected next.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct NextFailure {
    /// The prediction.
    prediction_id: Uuid,
    /// Whose failure.
    resource: String,
    /// The prediction in one line.
    title: String,
    /// The limit is as likely reached before this moment as after.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) p50_at: Option<Timestamp>,
}

/// One resource in one line.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct HealthLine {
    /// Its name.
    pub(crate) resource: String,
    /// What it is.
    #[schema(value_type = words::Kind)]
    pub(crate) kind: String,
    /// How it is doing.
    #[schema(value_type = words::ResourceState)]
    pub(crate) state: String,
    /// For how long it has been in this state.
    pub(crate) state_for_seconds: f64,
    /// Score of the last step; above 1 is an anomaly.
    pub(crate) last_score: Option<f64>,
    /// The highest score of the last hour.
    pub(crate) max_score_1h: Option<f64>,
    /// Steps with an anomaly within the last hour.
    pub(crate) anomalous_steps_1h: i64,
    /// How many failures are predicted of it.
    pub(crate) open_predictions: i64,
    /// The failure that is expected next.
    pub(crate) next_failure: Option<String>,
    /// Limits that are reached and not left again, as `failure:subject`.
    pub(crate) reached: Vec<String>,
    /// Seconds until that failure is as likely to have come as not.
    pub(crate) seconds_to_failure: Option<f64>,
    /// Alerts that are predicted, open or acknowledged.
    pub(crate) open_alerts: i64,
    /// The worst of them.
    #[schema(value_type = Option<words::Severity>)]
    pub(crate) worst_severity: Option<String>,
    /// While learning: seconds of data still wanted.
    pub(crate) learning_for_another_seconds: Option<f64>,
    /// The last step that was judged.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) last_step_at: Timestamp,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes; Params reads")]
pub(crate) struct HealthQuery {
    /// How many resources at most, 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// Whose; `default` unless tenants are configured.
    tenant: Option<String>,
}

/// Numbers over everything, of one moment.
#[derive(Debug, Deserialize)]
pub(crate) struct Totals {
    pub(crate) now: Timestamp,
    pub(crate) resources: BTreeMap<String, i64>,
    pub(crate) active_alerts: BTreeMap<String, i64>,
    pub(crate) open_predictions: i64,
    pub(crate) next_failure: Option<NextFailure>,
    pub(crate) newest_step_at: Option<Timestamp>,
    pub(crate) alerter_at: Option<Timestamp>,
    pub(crate) alerter_is_behind: Option<bool>,
    pub(crate) projected_at: Option<Timestamp>,
}

const TOTALS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT
            now() AS now,
            (
                SELECT coalesce(json_object_agg(state, n), '{}')
                FROM (SELECT state, count(*) AS n FROM resources WHERE tenant = $1 GROUP BY state) s
            ) AS resources,
            (
                SELECT coalesce(json_object_agg(severity, n), '{}')
                FROM (
                    SELECT severity, count(*) AS n
                    FROM alerts
                    WHERE tenant = $1 AND state IN ('predicted', 'open', 'acknowledged')
                    GROUP BY severity
                ) s
            ) AS active_alerts,
            (SELECT count(*) FROM predictions WHERE tenant = $1 AND state = 'open') AS open_predictions,
            (
                SELECT row_to_json(p)
                FROM (
                    SELECT prediction_id, resource, title, p50_at
                    FROM predictions
                    WHERE tenant = $1 AND state = 'open'
                    ORDER BY p50_at NULLS LAST, prediction_id
                    LIMIT 1
                ) p
            ) AS next_failure,
            (SELECT max(last_step_at) FROM resources WHERE tenant = $1) AS newest_step_at,
            (SELECT max(logged_at) FROM alerter_state) AS alerter_at,
            (SELECT bool_or(is_behind) FROM alerter_state) AS alerter_is_behind,
            (SELECT max(updated_at) FROM consumer_offsets WHERE consumer_group = 'projector') AS projected_at
    ) r";

const LINES: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT resource, kind, state,
            extract(epoch FROM state_for) AS state_for_seconds,
            last_score, max_score_1h, anomalous_steps_1h, open_predictions, next_failure,
            extract(epoch FROM time_to_failure) AS seconds_to_failure,
            open_alerts, worst_severity,
            extract(epoch FROM learning_for_another) AS learning_for_another_seconds,
            last_step_at,
            (SELECT reached FROM resources r WHERE r.tenant = s.tenant AND r.resource = s.resource) AS reached
        FROM system_health_summary s
        WHERE tenant = $1
        LIMIT $2
    ) r";

/// Counts everything.
pub(crate) async fn totals(transaction: &Transaction<'_>, tenant: &str) -> Result<Totals, Problem> {
    let found: Rows<Totals> = ledger::rows(transaction, TOTALS, &[&tenant], 1).await?;
    found
        .rows
        .into_iter()
        .next()
        .ok_or_else(|| Problem::internal("the totals are no row"))
}

/// The resources, those in trouble first.
pub(crate) async fn lines(
    transaction: &Transaction<'_>,
    tenant: &str,
    limit: i64,
) -> Result<Vec<HealthLine>, Problem> {
    let found = ledger::rows(transaction, LINES, &[&tenant, &limit], limit).await?;
    Ok(found.rows)
}

/// Ticks come every second and the alerter notes them at least every few; after so long something stands still.
const ALERTER_QUIET_SECONDS: i64 = 60;

/// The projector notes its place with every step, or after a thousand ticks when there are none: seventeen minutes.
const PROJECTOR_QUIET_SECONDS: i64 = 20 * 60;

impl Totals {
    /// How many resources there are.
    pub(crate) fn resources(&self) -> i64 {
        self.resources.values().sum()
    }

    /// How many resources are in a state.
    pub(crate) fn in_state(&self, state: &str) -> i64 {
        self.resources.get(state).copied().unwrap_or(0)
    }

    /// How many alerts need attention.
    pub(crate) fn alerts(&self) -> i64 {
        self.active_alerts.values().sum()
    }

    /// Why what is known may be out of date, or none.
    pub(crate) fn stale(&self) -> Option<String> {
        if self.resources() == 0 {
            return None;
        }
        let Some(alerter_at) = self.alerter_at else {
            return Some(
                "No alerter has worked on this ledger yet, so alerts are not known.".to_owned(),
            );
        };
        let seconds = |at: Timestamp| (self.now.micros() - at.micros()) / 1_000_000;
        let age = seconds(alerter_at);
        if age > ALERTER_QUIET_SECONDS {
            return Some(format!(
                "Nothing newer than {} has been judged. One of ingestion, stream-processor, predictor and alerter stands \
                 still or catches up: their /ready pages (ports 8001 to 8004) say which.",
                words_for_age(age)
            ));
        }
        if self.alerter_is_behind == Some(true) {
            return Some(
                "The alerter catches up: alerts of the last minutes are not here yet.".to_owned(),
            );
        }
        let projected = self.projected_at.map(seconds);
        if projected.is_none_or(|age| age > PROJECTOR_QUIET_SECONDS) {
            return Some(
                "Resources, anomalies and predictions are not brought up to date: the projector, a part of the predictor, \
                 stands still. Its /ready page (port 8003) says why."
                    .to_owned(),
            );
        }
        None
    }

    /// The worst of it.
    pub(crate) fn status(&self) -> Status {
        if self.resources() == 0 {
            return Status::Empty;
        }
        if self.stale().is_some() {
            return Status::Stale;
        }
        let bad = self.in_state("critical") + self.in_state("at_risk") + self.in_state("silent");
        if self.alerts() + self.open_predictions + bad > 0 {
            return Status::Attention;
        }
        if self.in_state("learning") > 0 {
            return Status::Learning;
        }
        Status::Ok
    }
}

fn words_for_age(seconds: i64) -> String {
    format!("{} ago", crate::status::span(seconds as f64))
}

/// How everything is doing
///
/// Numbers over everything, and the resources in trouble first. A monitor that wants one word takes `status`.
#[utoipa::path(get, path = "/api/v1/health", tag = "health", params(HealthQuery), responses(
    (status = 200, description = "How everything is doing", body = Health),
))]
pub(crate) async fn health(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Health>, Problem> {
    let mut query = Params::of::<HealthQuery>(&uri);
    let (tenant, limit) = (query.tenant(), query.limit());
    query.finish()?;
    let mut session = app.ledger().session().await?;
    let transaction = ledger::look(&mut session).await?;
    let totals = totals(&transaction, &tenant).await?;
    let lines = lines(&transaction, &tenant, limit).await?;
    ledger::end(transaction).await?;
    session.give_back();
    let shown = i64::try_from(lines.len()).unwrap_or(i64::MAX);
    Ok(Json(Health {
        status: totals.status(),
        now: totals.now,
        stale: totals.stale(),
        lines_left_out: (totals.resources() - shown).max(0),
        resources: totals.resources,
        active_alerts: totals.active_alerts,
        open_predictions: totals.open_predictions,
        next_failure: totals.next_failure,
        newest_step_at: totals.newest_step_at,
        alerter_at: totals.alerter_at,
        lines,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(resources: &[(&str, i64)]) -> Totals {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        Totals {
            now,
            resources: resources
                .iter()
                .map(|(state, count)| ((*state).to_owned(), *count))
                .collect(),
            active_alerts: BTreeMap::new(),
            open_predictions: 0,
            next_failure: None,
            newest_step_at: Some(now),
            alerter_at: Some(now),
            alerter_is_behind: Some(false),
            projected_at: Some(now),
        }
    }

    #[test]
    fn the_word_is_the_worst_that_can_be_said() {
        assert_eq!(totals(&[]).status(), Status::Empty);
        assert_eq!(totals(&[("healthy", 3)]).status(), Status::Ok);
        assert_eq!(
            totals(&[("healthy", 3), ("learning", 1)]).status(),
            Status::Learning
        );
        for state in ["critical", "at_risk", "silent"] {
            assert_eq!(
                totals(&[("learning", 1), (state, 1)]).status(),
                Status::Attention
            );
        }
        let mut alerted = totals(&[("healthy", 1)]);
        alerted.active_alerts.insert("low".into(), 1);
        assert_eq!(alerted.status(), Status::Attention);
    }

    #[test]
    fn what_stands_still_is_named() {
        let later = |micros: i64| Timestamp::from_micros(1_800_000_000_000_000 + micros);
        let check = |change: &dyn Fn(&mut Totals), expected: Option<&str>| {
            let mut totals = totals(&[("healthy", 1)]);
            change(&mut totals);
            let stale = totals.stale();
            match expected {
                None => assert_eq!(stale, None),
                Some(words) => {
                    assert!(
                        stale.as_ref().is_some_and(|stale| stale.contains(words)),
                        "{stale:?}"
                    );
                    assert_eq!(totals.status(), Status::Stale);
                }
            }
        };
        check(&|totals| totals.now = later(59_000_000), None);
        check(
            &|totals| totals.now = later(840_000_000),
            Some("14 min ago"),
        );
        check(&|totals| totals.alerter_at = None, Some("No alerter"));
        check(
            &|totals| totals.alerter_is_behind = Some(true),
            Some("catches up"),
        );
        check(&|totals| totals.projected_at = None, Some("projector"));
    }
}
