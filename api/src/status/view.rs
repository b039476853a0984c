//! From rows to the sentences of the status page. Pure: the moment is the database's, and comes with the rows.

use forewarn_store::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sentences::{countdown, further, headline, seconds};
use super::words::{clock, count, escaped, instant, percent, plain, span};
use crate::health::{HealthLine, Totals};
use crate::quality::Quality;

/// What the database says.
pub(crate) struct Found {
    pub(crate) totals: Totals,
    pub(crate) lines: Vec<HealthLine>,
    pub(crate) alerts: Vec<AlertRow>,
    pub(crate) predictions: Vec<PredictionRow>,
    pub(crate) models: Vec<ModelRow>,
    pub(crate) quality: Vec<Quality>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AlertRow {
    pub(crate) alert_id: Uuid,
    pub(crate) severity: String,
    pub(crate) state: String,
    pub(crate) resource: String,
    pub(crate) title: String,
    pub(crate) summary: String,
    pub(crate) since_at: Timestamp,
    pub(crate) changed_at: Timestamp,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PredictionRow {
    pub(crate) prediction_id: Uuid,
    pub(crate) resource: String,
    pub(crate) title: String,
    pub(crate) why: String,
    pub(crate) first_action: String,
    pub(crate) probability: f64,
    pub(crate) ts: Timestamp,
    pub(crate) p10_at: Option<Timestamp>,
    pub(crate) p50_at: Option<Timestamp>,
    pub(crate) p90_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ModelRow {
    pub(crate) resource: String,
    pub(crate) feature_set: String,
    pub(crate) model: String,
    pub(crate) auroc: Option<f64>,
    pub(crate) steps: i64,
    pub(crate) judges_since: Option<Timestamp>,
    pub(crate) trained_at: Option<Timestamp>,
}

/// What the template places. Every text is shown as it is, escaped.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    /// `bad`, `wait`, `ok`: how the headline looks, beside what it says.
    tone: &'static str,
    headline: String,
    /// What the headline does not say.
    further: Vec<String>,
    /// Why all this may be out of date.
    stale: Option<String>,
    /// Whether there is anything to list.
    known: bool,
    as_of: Option<String>,
    newest: Option<String>,
    refresh: Option<u32>,
    alerts: Vec<AlertLine>,
    alerts_more: i64,
    predictions: Vec<PredictionLine>,
    predictions_more: i64,
    resources: Vec<ResourceLine>,
    resources_more: i64,
    models: Vec<ModelLine>,
    quality: Vec<QualityLine>,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct AlertLine {
    id: String,
    severity: String,
    resource: String,
    title: String,
    /// What was said last, where it is not the title again.
    summary: Option<String>,
    /// Its state, and since when.
    standing: String,
}

#[derive(Debug, Serialize)]
struct PredictionLine {
    id: String,
    resource: String,
    title: String,
    /// The countdown.
    due: String,
    /// How sure that is.
    range: String,
    probability: String,
    /// How old what is said is.
    said: String,
    why: String,
    first_action: String,
}

#[derive(Debug, Serialize)]
struct ResourceLine {
    name: String,
    /// The name as part of an address.
    path: String,
    kind: String,
    state: String,
    /// The state as the style sheet knows it.
    class: String,
    lasting: String,
    score: Option<String>,
    note: String,
    last_step: String,
}

#[derive(Debug, Serialize)]
struct ModelLine {
    resource: String,
    feature_set: String,
    model: String,
    auroc: Option<String>,
    steps: i64,
    since: Option<String>,
    trained: Option<String>,
}

#[derive(Debug, Serialize)]
struct QualityLine {
    failure: String,
    span: String,
    opened: i64,
    outcome: String,
    precision: Option<String>,
    lead: Option<String>,
}

impl Page {
    /// The page of what was found.
    pub(crate) fn of(found: Found, refresh: Option<u32>) -> Self {
        let totals = &found.totals;
        let now = totals.now;
        let due = found
            .predictions
            .first()
            .map(|row| countdown(row.p10_at, row.p50_at, row.p90_at, now).0);
        let (tone, headline) = headline(totals, due.as_deref());
        let learning: Vec<f64> = found
            .lines
            .iter()
            .filter(|line| line.state == "learning")
            .filter_map(|line| line.learning_for_another_seconds)
            .collect();
        Self {
            tone,
            headline,
            further: further(totals, &learning),
            stale: totals.stale(),
            known: totals.resources() > 0,
            as_of: Some(instant(now)),
            newest: totals
                .newest_step_at
                .map(|at| format!("{} ago", span(seconds(at, now)))),
            refresh,
            alerts_more: more(totals.alerts(), found.alerts.len()),
            predictions_more: more(totals.open_predictions, found.predictions.len()),
            resources_more: more(totals.resources(), found.lines.len()),
            alerts: found
                .alerts
                .into_iter()
                .map(|row| alert(row, now))
                .collect(),
            predictions: found
                .predictions
                .into_iter()
                .map(|row| prediction(row, now))
                .collect(),
            resources: found
                .lines
                .into_iter()
                .map(|line| resource(line, now))
                .collect(),
            models: found
                .models
                .into_iter()
                .map(|row| model(row, now))
                .collect(),
            quality: found
                .quality
                .into_iter()
                .filter(|line| line.opened > 0)
                // In all, the sum is enough.
                .filter(|line| line.span != "ever" || line.failure == "all")
                .map(quality)
                .collect(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// The page while PostgreSQL cannot be read.
    pub(crate) fn away(refresh: Option<u32>) -> Self {
        Self {
            tone: "bad",
            headline: "The ledger cannot be read now.".to_owned(),
            further: vec![
                "PostgreSQL does not answer this page, or has no tables of ours yet; /ready says which. Measuring, judging \
                 and alerting go on without this page as far as they can."
                    .to_owned(),
            ],
            stale: None,
            known: false,
            as_of: None,
            newest: None,
            refresh,
            alerts: Vec::new(),
            alerts_more: 0,
            predictions: Vec::new(),
            predictions_more: 0,
            resources: Vec::new(),
            resources_more: 0,
            models: Vec::new(),
            quality: Vec::new(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

fn alert(row: AlertRow, now: Timestamp) -> AlertLine {
    AlertLine {
        id: row.alert_id.to_string(),
        summary: (row.summary != row.title).then_some(row.summary),
        standing: if row.state == "predicted" {
            // Its title counts from then, not from now.
            format!(
                "as predicted {} ago, at {}",
                span(seconds(row.changed_at, now)),
                clock(row.changed_at, now)
            )
        } else {
            format!(
                "{} for {}, since {}",
                plain(&row.state),
                span(seconds(row.since_at, now)),
                clock(row.since_at, now)
            )
        },
        severity: row.severity,
        resource: row.resource,
        title: row.title,
    }
}

fn prediction(row: PredictionRow, now: Timestamp) -> PredictionLine {
    let (due, range) = countdown(row.p10_at, row.p50_at, row.p90_at, now);
    PredictionLine {
        id: row.prediction_id.to_string(),
        due,
        range,
        probability: percent(row.probability),
        said: span(seconds(row.ts, now)),
        resource: row.resource,
        title: row.title,
        why: row.why,
        first_action: row.first_action,
    }
}

fn resource(line: HealthLine, now: Timestamp) -> ResourceLine {
    let mut notes = Vec::new();
    for limit in &line.reached {
        // `disk_full:/data`; what is no such pair is shown as it is.
        notes.push(match limit.split_once(':') {
            Some((failure, subject)) => format!("at its limit: {subject} ({})", plain(failure)),
            None => format!("at its limit: {limit}"),
        });
    }
    if let Some(failure) = &line.next_failure {
        notes.push(failure.clone());
    }
    if line.open_alerts > 0 {
        let worst = line.worst_severity.as_deref().unwrap_or("info");
        notes.push(format!(
            "{}, {worst} at worst",
            count(line.open_alerts, "alert", "alerts")
        ));
    }
    if line.anomalous_steps_1h > 0 {
        notes.push(format!(
            "{} within the last hour",
            count(line.anomalous_steps_1h, "unusual step", "unusual steps")
        ));
    }
    if line.state == "learning"
        && let Some(wanted) = line.learning_for_another_seconds
    {
        notes.push(format!("wants another {} of data", span(wanted)));
    }
    ResourceLine {
        path: escaped(&line.resource),
        kind: plain(&line.kind),
        state: plain(&line.state),
        class: line.state,
        lasting: span(line.state_for_seconds),
        score: line.last_score.map(|score| format!("{score:.2}")),
        note: notes.join("; "),
        last_step: format!("{} ago", span(seconds(line.last_step_at, now))),
        name: line.resource,
    }
}

fn model(row: ModelRow, now: Timestamp) -> ModelLine {
    ModelLine {
        resource: row.resource,
        feature_set: row.feature_set,
        model: row.model,
        auroc: row.auroc.map(|auroc| format!("{auroc:.3}")),
        steps: row.steps,
        since: row.judges_since.map(|at| clock(at, now)),
        trained: row.trained_at.map(|at| clock(at, now)),
    }
}

fn quality(line: Quality) -> QualityLine {
    let outcomes = [
        (line.confirmed, "came true"),
        (line.averted, "averted"),
        (line.expired, "false"),
        (line.withdrawn, "taken back"),
        (line.open, "open"),
    ];
    let outcome: Vec<String> = outcomes
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    QualityLine {
        failure: match line.failure.as_str() {
            "all" => "every kind".to_owned(),
            failure => plain(failure),
        },
        span: match line.span.as_str() {
            "ever" => "ever".to_owned(),
            span => format!("the last {span}"),
        },
        opened: line.opened,
        outcome: outcome.join(", "),
        precision: line.precision.map(percent),
        lead: line.lead_p50_seconds.map(span),
    }
}

fn more(all: i64, shown: usize) -> i64 {
    (all - i64::try_from(shown).unwrap_or(i64::MAX)).max(0)
}
