//! Folds records of `anomaly_predictions` into rows.

use std::collections::BTreeSet;

use forewarn_messages::{
    Body, ConditionChange, FailurePrediction, Part, Prediction, ResourceChange, Verdict,
    parse_breach_subject,
};
use forewarn_types::{
    EventTime, Kind, LogTime, PredictionState, ResourceKey, ResourceState, Severity, Src,
    VerdictState, id,
};

use super::rows::{
    AnomalyRow, ConditionRow, PredictionRow, ResourceChangeRow, ResourceMinuteRow, ResourceRow,
    SetRow,
};
use super::{Ledger, ResourceId, Touched, words};
use crate::Timestamp;

/// For how long a resource counts as critical after a predicted limit was reached, in its own event time, where no rule
/// tells when it is left again.
const BREACH_HOLD_SECONDS: f64 = 900.0;
/// A feature set that has judged nothing for this long has no say in a resource's state.
const SET_HOLD_SECONDS: f64 = 300.0;
/// Feature sets that one resource's row remembers; a resource has one or two.
const SETS_MAX: usize = 16;

/// What a record is caused by, and when.
#[derive(Clone, Copy)]
struct Cause {
    src: Src,
    logged_at: Timestamp,
}

impl Ledger {
    /// Takes in one record. `log_time` is the maximum so far in its partition; repetitions must have been dropped.
    pub fn apply(&mut self, src: Src, log_time: LogTime, record: &Prediction) {
        let cause = Cause {
            src,
            logged_at: log_time.into(),
        };
        match record {
            Prediction::Verdict(verdict) => self.verdict(cause, verdict),
            Prediction::Condition(change) => self.condition(cause, change, record),
            Prediction::Failure(prediction) => self.failure(cause, prediction),
            Prediction::Resource(change) => self.resource(cause, change),
            Prediction::Tick(_) => {}
        }
    }

    /// Adds the keys of the rows that `record` changes.
    pub fn touched(record: &Prediction, touched: &mut Touched) {
        let resource = match record {
            Prediction::Verdict(verdict) => {
                let minute = minute_of(verdict);
                touched
                    .resource_minutes
                    .insert((key(&verdict.resource), minute));
                &verdict.resource
            }
            Prediction::Failure(prediction) => {
                touched.predictions.insert(prediction.prediction_id());
                &prediction.resource
            }
            Prediction::Resource(change) => &change.resource,
            Prediction::Condition(change) if parse_breach_subject(&change.subject).is_some() => {
                &change.resource
            }
            Prediction::Condition(_) | Prediction::Tick(_) => return,
        };
        touched.resources.insert(key(resource));
    }

    fn verdict(&mut self, cause: Cause, verdict: &Verdict) {
        let ts = Timestamp::from(verdict.step_end);
        if verdict.is_anomaly() {
            let row = resource_anomaly(cause, verdict);
            self.anomalies.entry(row.anomaly_id).or_insert(row);
        }
        for row in series_anomalies(cause, verdict) {
            self.anomalies.entry(row.anomaly_id).or_insert(row);
        }
        self.minute(verdict);

        let row = self.resource_row(cause, &verdict.resource, verdict.kind, verdict.step_end);
        row.silent_since_at = None;
        row.last_step_at = row.last_step_at.max(ts);
        row.verdict = Some(verdict.state.as_str().to_owned());
        row.score = verdict.score;
        row.confidence = verdict.confidence;
        row.eta_seconds = verdict.eta_seconds;
        let state = match verdict.state {
            VerdictState::Scored if is_unusual(verdict) => Some(ResourceState::Degraded),
            VerdictState::Scored => Some(ResourceState::Healthy),
            // Outside what the model knows: not known to be healthy, and worth a look.
            VerdictState::OutOfRange => Some(ResourceState::Degraded),
            VerdictState::Learning => Some(ResourceState::Learning),
            // Nothing was said about this step; what was said about the one before still stands.
            VerdictState::Gap => None,
        };
        let set = words::text(&verdict.feature_set);
        match (state, row.feature_sets.get_mut(&set)) {
            (Some(state), _) => {
                row.feature_sets.insert(
                    set,
                    SetRow {
                        ts,
                        state: state.as_str().to_owned(),
                    },
                );
            }
            (None, Some(known)) => known.ts = known.ts.max(ts),
            (None, None) => {}
        }
        forget_old_sets(row);
        self.settle(cause, &verdict.resource, ts);
    }

    fn minute(&mut self, verdict: &Verdict) {
        let minute_at = minute_of(verdict);
        let (tenant, resource) = key(&verdict.resource);
        let row = self
            .resource_minutes
            .entry(((tenant.clone(), resource.clone()), minute_at))
            .or_insert_with(|| ResourceMinuteRow {
                tenant,
                resource,
                minute_at,
                max_score: None,
                max_score_at: None,
                max_metric: None,
                scored_steps: 0,
                anomalous_steps: 0,
                learning_steps: 0,
                other_steps: 0,
            });
        match verdict.state {
            VerdictState::Scored => row.scored_steps += 1,
            VerdictState::Learning => row.learning_steps += 1,
            VerdictState::Gap | VerdictState::OutOfRange => row.other_steps += 1,
        }
        row.anomalous_steps += i64::from(is_unusual(verdict));
        if let Some((score, metric)) = verdict.highest()
            && row.max_score.is_none_or(|max| score > max)
        {
            row.max_score = Some(score);
            row.max_score_at = Some(verdict.step_end.into());
            row.max_metric = metric.map(words::text);
        }
    }

    fn condition(&mut self, cause: Cause, change: &ConditionChange, record: &Prediction) {
        // The id of a condition change does not depend on its body.
        let change_id = record.id(&[]);
        let (tenant, resource) = key(&change.resource);
        self.condition_changes
            .entry(change_id)
            .or_insert_with(|| ConditionRow {
                change_id,
                tenant,
                resource,
                kind: change.kind.as_str().to_owned(),
                rule: words::text(&change.rule),
                rules_digest: words::text(&change.rules),
                subject: words::text(&change.subject),
                holds: change.holds,
                value: change.value,
                threshold: change.threshold,
                ts: change.step_end.into(),
                backfill: change.backfill,
                logged_at: cause.logged_at,
                src: cause.src.to_string(),
            });
        if parse_breach_subject(&change.subject).is_some() {
            self.reached(cause, change);
        }
    }

    /// A limit was reached, or left again.
    fn reached(&mut self, cause: Cause, change: &ConditionChange) {
        let row = self.resource_row(cause, &change.resource, change.kind, change.step_end);
        let subject = words::text(&change.subject);
        if change.holds {
            row.reached.insert(subject);
        } else {
            row.reached.remove(&subject);
            row.breached_at = None;
        }
        self.settle(cause, &change.resource, change.step_end.into());
    }

    fn failure(&mut self, cause: Cause, prediction: &FailurePrediction) {
        let id = prediction.prediction_id();
        let known = self.predictions.get(&id);
        let was_open = known.is_some_and(|row| row.state == PredictionState::Open.as_str());
        let row = prediction_row(cause, prediction, known);
        self.predictions.insert(id, row);

        let ts = Timestamp::from(prediction.step_end);
        let is_open = prediction.state == PredictionState::Open;
        let row = self.resource_row(
            cause,
            &prediction.resource,
            prediction.kind,
            prediction.step_end,
        );
        row.open_predictions =
            (row.open_predictions + i64::from(is_open) - i64::from(was_open)).max(0);
        if prediction.state == PredictionState::Confirmed {
            row.breached_at = Some(ts);
        }
        self.settle(cause, &prediction.resource, ts);
    }

    fn resource(&mut self, cause: Cause, change: &ResourceChange) {
        let silent = change.state == ResourceState::Silent;
        let row = self.resource_row(cause, &change.resource, change.kind, change.step_end);
        row.silent_since_at = silent.then_some(change.log_time.into());
        self.settle(cause, &change.resource, change.log_time.into());
    }

    /// The resource's row, made when it is met first; it also says what touched it last.
    fn resource_row(
        &mut self,
        cause: Cause,
        resource: &ResourceKey,
        kind: Kind,
        at: EventTime,
    ) -> &mut ResourceRow {
        let (tenant, name) = key(resource);
        let at = Timestamp::from(at);
        let row = self
            .resources
            .entry((tenant.clone(), name.clone()))
            .or_insert_with(|| ResourceRow {
                tenant,
                resource: name,
                kind: String::new(),
                // Not a state: the first settling below gives it one, and a change from nothing to it.
                state: String::new(),
                state_since_at: at,
                first_step_at: at,
                last_step_at: at,
                verdict: None,
                score: None,
                confidence: None,
                eta_seconds: None,
                open_predictions: 0,
                breached_at: None,
                reached: BTreeSet::new(),
                silent_since_at: None,
                feature_sets: Default::default(),
                logged_at: cause.logged_at,
                src: String::new(),
            });
        row.kind = kind.as_str().to_owned();
        row.logged_at = cause.logged_at;
        row.src = cause.src.to_string();
        row
    }

    /// Works out the resource's state, and notes the change if it is another.
    fn settle(&mut self, cause: Cause, resource: &ResourceKey, ts: Timestamp) {
        let key = key(resource);
        let Some(row) = self.resources.get_mut(&key) else {
            return;
        };
        let state = state_of(row).as_str();
        if row.state == state {
            return;
        }
        let from_state = (!row.state.is_empty()).then(|| std::mem::take(&mut row.state));
        row.state = state.to_owned();
        row.state_since_at = ts;
        let words = format!("{} to {state}", from_state.as_deref().unwrap_or("nothing"));
        let change_id = id::change(resource, "state", &words, ts.micros());
        self.resource_changes
            .entry(change_id)
            .or_insert_with(|| ResourceChangeRow {
                change_id,
                tenant: key.0,
                resource: key.1,
                from_state,
                to_state: state.to_owned(),
                ts,
                logged_at: cause.logged_at,
                src: cause.src.to_string(),
            });
    }
}

/// The worst that is known, in the order of DESIGN.md §4.
fn state_of(row: &ResourceRow) -> ResourceState {
    let any = |state: ResourceState| {
        row.feature_sets
            .values()
            .any(|set| set.state == state.as_str())
    };
    if row.silent_since_at.is_some() {
        ResourceState::Silent
    } else if !row.reached.is_empty()
        || row
            .breached_at
            .is_some_and(|at| age_seconds(at, row.last_step_at) < BREACH_HOLD_SECONDS)
    {
        ResourceState::Critical
    } else if row.open_predictions > 0 {
        ResourceState::AtRisk
    } else if any(ResourceState::Degraded) {
        ResourceState::Degraded
    } else if any(ResourceState::Healthy) {
        ResourceState::Healthy
    } else {
        ResourceState::Learning
    }
}

/// Whether there is an anomaly at either level.
fn is_unusual(verdict: &Verdict) -> bool {
    verdict.highest().is_some_and(|(score, _)| score > 1.0)
}

fn forget_old_sets(row: &mut ResourceRow) {
    let newest = row.last_step_at;
    row.feature_sets
        .retain(|_, set| age_seconds(set.ts, newest) <= SET_HOLD_SECONDS);
    while row.feature_sets.len() > SETS_MAX {
        let oldest = row
            .feature_sets
            .iter()
            .min_by_key(|(name, set)| (set.ts, *name))
            .map(|(name, _)| name.clone());
        row.feature_sets
            .remove(&oldest.expect("there are more than none"));
    }
}

fn age_seconds(at: Timestamp, now: Timestamp) -> f64 {
    now.micros().saturating_sub(at.micros()) as f64 / 1e6
}

/// The minute that a step belongs to; a step that ends at a full minute belongs to the one before.
fn minute_of(verdict: &Verdict) -> Timestamp {
    Timestamp::from(EventTime(verdict.step_end.millis().saturating_sub(1))).minute()
}

fn key(resource: &ResourceKey) -> ResourceId {
    (
        words::text(&resource.tenant),
        words::text(&resource.resource),
    )
}

/// Severity comes from impact (DESIGN.md §3): an anomaly that several metrics share, or that is the square as rare,
/// is worth more than one strange number; high and critical need a predicted failure or a breached limit.
fn severity(verdict: &Verdict) -> Severity {
    let broad = verdict.series.len() >= 2;
    let rare = verdict.score.is_some_and(|score| score >= 2.0);
    if broad || rare {
        Severity::Medium
    } else {
        Severity::Low
    }
}

fn resource_anomaly(cause: Cause, verdict: &Verdict) -> AnomalyRow {
    let top = verdict.parts.first();
    AnomalyRow {
        metric: top.map(|part| words::text(&part.metric)),
        severity: severity(verdict).as_str().to_owned(),
        score: verdict.score.unwrap_or_default(),
        p: verdict.p,
        p0: verdict.p0,
        value: top.map(|part| part.value),
        expected: top.map(|part| part.expected),
        summary: words::resource_anomaly(&verdict.parts),
        parts: verdict.parts.iter().map(storable).collect(),
        ..blank_anomaly(cause, verdict, "resource")
    }
}

fn series_anomalies(cause: Cause, verdict: &Verdict) -> impl Iterator<Item = AnomalyRow> + '_ {
    verdict.series.iter().map(move |series| AnomalyRow {
        anomaly_id: verdict.level_id(&series.metric),
        level: "series".to_owned(),
        metric: Some(words::text(&series.metric)),
        score: series.score,
        p: Some(series.p),
        p0: Some(series.p0),
        value: Some(series.value),
        expected: Some(series.expected),
        lower: series.lower,
        upper: series.upper,
        summary: words::series_anomaly(series),
        ..blank_anomaly(cause, verdict, &series.metric)
    })
}

/// What all anomalies of a verdict have in common.
fn blank_anomaly(cause: Cause, verdict: &Verdict, level: &str) -> AnomalyRow {
    let (tenant, resource) = key(&verdict.resource);
    AnomalyRow {
        anomaly_id: verdict.level_id(level),
        tenant,
        resource,
        kind: verdict.kind.as_str().to_owned(),
        level: "resource".to_owned(),
        metric: None,
        severity: Severity::Low.as_str().to_owned(),
        ts: verdict.step_end.into(),
        score: 0.0,
        p: None,
        p0: None,
        confidence: verdict.confidence,
        value: None,
        expected: None,
        lower: None,
        upper: None,
        summary: String::new(),
        parts: Vec::new(),
        feature_set: words::text(&verdict.feature_set),
        model_set: words::text(&verdict.model_set),
        step_ms: verdict.step.millis(),
        backfill: verdict.backfill,
        logged_at: cause.logged_at,
        src: cause.src.to_string(),
    }
}

/// Newer words replace older ones, but an end keeps the estimates that stood last.
fn prediction_row(
    cause: Cause,
    prediction: &FailurePrediction,
    known: Option<&PredictionRow>,
) -> PredictionRow {
    let (tenant, resource) = key(&prediction.resource);
    let ts = Timestamp::from(prediction.step_end);
    let ended = prediction.state != PredictionState::Open;
    let at = |seconds: Option<f64>, before: Option<Timestamp>| match seconds {
        Some(seconds) => ts.plus_seconds(seconds),
        None if ended => before,
        None => None,
    };
    PredictionRow {
        prediction_id: prediction.prediction_id(),
        tenant,
        resource,
        kind: prediction.kind.as_str().to_owned(),
        failure: prediction.failure.as_str().to_owned(),
        subject: words::text(&prediction.subject),
        state: prediction.state.as_str().to_owned(),
        title: words::prediction_title(prediction),
        why: words::prediction_why(prediction),
        first_action: words::first_action(prediction),
        opened_at: prediction.first_step.into(),
        ts,
        p10_at: at(prediction.p10_seconds, known.and_then(|row| row.p10_at)),
        p50_at: at(prediction.p50_seconds, known.and_then(|row| row.p50_at)),
        p90_at: at(prediction.p90_seconds, known.and_then(|row| row.p90_at)),
        baseline_at: at(
            prediction.baseline_seconds,
            known.and_then(|row| row.baseline_at),
        ),
        probability: prediction.probability,
        horizon_seconds: prediction.horizon_seconds,
        used: prediction.used,
        limit_value: prediction.limit,
        slope_per_second: prediction.slope,
        ended_at: ended.then_some(ts),
        reason: prediction.reason.as_deref().map(words::text),
        lead_seconds: prediction.lead_seconds,
        updates: known.map_or(0, |row| row.updates) + 1,
        backfill: prediction.backfill,
        logged_at: cause.logged_at,
        src: cause.src.to_string(),
    }
}

/// A part as `jsonb` can hold it: no NUL, and zero without a sign.
fn storable(part: &Part) -> Part {
    Part {
        metric: words::text(&part.metric),
        part: part.part + 0.0,
        value: part.value + 0.0,
        expected: part.expected + 0.0,
    }
}
