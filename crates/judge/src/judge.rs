//! The stage: feature vectors in; condition changes, failure predictions and one verdict per step out.
//!
//! Each resource and feature set has a state of its own: a detector, the conditions of the rules, and a watch per
//! limited thing. The order of a step's records is fixed, the verdict last: who sees it knows the step whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use forewarn_bus::{Cause, RestoreError, Stage, decode_state, encode_state};
use forewarn_detect::{Detector, Ensemble, EnsembleState, Metric, Step};
use forewarn_features::{FeatureSet, FeatureSets};
use forewarn_forecast::{Claim, Reading, Watch};
use forewarn_messages::{
    ConditionChange, FailurePrediction, FeatureVector, LimitReading, Part, Prediction,
    ProcessedMetric, SeriesVerdict, Verdict,
};
use forewarn_rules::{ABSENT_STEPS, Conditions, RuleConfig, RuleSet};
use forewarn_store::activations::scope;
use forewarn_types::{EventTime, FailureKind, Kind, ResourceKey, StepLength, VerdictState};
use serde::{Deserialize, Serialize};

use crate::Config;
use crate::models::{Known, Models};

/// Raised when an older snapshot cannot be read any more.
const FORMAT: u16 = 2;

/// The share of a capacity at which something counts as failed, where no rule says.
const USUAL_LIMIT: f64 = 0.95;

/// A limited thing whose last reading is older is forgotten: it was unmounted, or its pool closed.
const FORGOTTEN: std::time::Duration = std::time::Duration::from_secs(3600);

/// Limited things per resource; beyond, the ones reported last are not watched (and counted).
const MAX_WATCHES: usize = 256;

/// Judges the steps of the resources of one partition.
#[derive(Debug)]
pub struct Judge {
    sets: Arc<FeatureSets>,
    rules: Arc<RuleSet>,
    config: Config,
    models: Arc<dyn Models>,
    model_set: String,
    /// Digest of what a state depends on: detectors and feature sets, but neither rules nor settings.
    state_set: String,
    /// Per feature set, what its detectors judge; built when a set is first met.
    metrics: BTreeMap<String, Arc<[Metric]>>,
    resources: BTreeMap<Key, Resource>,
    counters: Counters,
    /// What the metrics have been told of them.
    told: Counters,
}

/// What the stage has seen that has no record of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Vectors of a feature set that this program does not know; their verdict is `out_of_range`.
    pub unknown_sets: u64,
    /// Resources dropped to make room.
    pub evicted: u64,
    /// Limited things beyond the number that is watched.
    pub unwatched: u64,
    /// Times that another model than before, or none, began to judge a resource.
    pub swaps: u64,
}

/// A resource as judged by one feature set.
type Key = (ResourceKey, String);

#[derive(Debug)]
struct Resource {
    detector: Ensemble,
    /// Whom a model has to be for.
    scope: String,
    /// Digest of everything that judges it, its model included.
    model_set: String,
    step: StepLength,
    kind: Kind,
    step_end: EventTime,
    conditions: Conditions,
    watches: BTreeMap<(FailureKind, String), Watched>,
    /// Offset of the root record that was worked on last: who has been quiet for longest.
    last_offset: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Watched {
    watch: Watch,
    /// What was reported last, at which step, and the share of the capacity at which it counted as failed.
    last: LimitReading,
    at: EventTime,
    share: f64,
}

/// A resource in a snapshot.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: Key,
    detector: EnsembleState,
    step: StepLength,
    kind: Kind,
    step_end: EventTime,
    conditions: Conditions,
    watches: Vec<((FailureKind, String), Watched)>,
    last_offset: u64,
}

impl Judge {
    /// A judge that has seen nothing. `config` has no [`mistakes`](Config::mistakes); `models` says which trained model
    /// judges whom beside the online detector.
    #[must_use]
    pub fn new(
        sets: Arc<FeatureSets>,
        rules: Arc<RuleSet>,
        config: Config,
        models: Arc<dyn Models>,
    ) -> Self {
        let model_set = model_set(&sets, &rules, &config);
        let state_set = digest(&[
            &forewarn_detect::versions(),
            forewarn_forecast::VERSION,
            sets.digest(),
        ]);
        Self {
            sets,
            rules,
            config,
            models,
            model_set,
            state_set,
            metrics: BTreeMap::new(),
            resources: BTreeMap::new(),
            counters: Counters::default(),
            told: Counters::default(),
        }
    }

    /// Digest of everything that judges.
    #[must_use]
    pub fn model_set(&self) -> &str {
        &self.model_set
    }

    /// What has no record of its own.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Hands what was counted since the last tick to the metrics, and says what somebody should do about it.
    fn tell(&mut self) {
        let (now, was) = (
            self.counters,
            std::mem::replace(&mut self.told, self.counters),
        );
        if now == was {
            return;
        }
        for (name, now, was) in [
            (
                "forewarn_predictor_unknown_sets_total",
                now.unknown_sets,
                was.unknown_sets,
            ),
            (
                "forewarn_predictor_evicted_resources_total",
                now.evicted,
                was.evicted,
            ),
            (
                "forewarn_predictor_unwatched_limits_total",
                now.unwatched,
                was.unwatched,
            ),
            ("forewarn_predictor_model_swaps_total", now.swaps, was.swaps),
        ] {
            metrics::counter!(name).increment(now - was);
        }
        if now.evicted > was.evicted {
            tracing::warn!(
                resources = now.evicted - was.evicted,
                "resources were dropped to make room and will learn anew; raise predictor.max_resources"
            );
        }
    }

    fn vector(&mut self, vector: &FeatureVector, cause: &Cause, out: &mut Vec<Prediction>) {
        let models = Arc::clone(&self.models);
        let sets = Arc::clone(&self.sets);
        let Some(set) = sets
            .by_id(&vector.feature_set)
            .filter(|set| set.features.len() == vector.values.len())
        else {
            self.counters.unknown_sets += 1;
            out.push(Prediction::Verdict(Verdict {
                state: VerdictState::OutOfRange,
                ..self.blank(vector)
            }));
            return;
        };
        let key = (vector.resource.clone(), vector.feature_set.clone());
        self.make_room(&key, vector, out);
        let metrics = self.metrics_of(set);
        let (rules, config, blank) = (
            Arc::clone(&self.rules),
            self.config.clone(),
            self.blank(vector),
        );
        let base = self.model_set.clone();
        let fresh = || {
            let detector = Ensemble::new(
                config.detector(vector.step),
                Arc::clone(&metrics),
                vector.step,
            );
            let scope = scope(&vector.resource, &vector.feature_set);
            Resource::new(detector, vector.step, scope, base.clone())
        };
        let resource = self.resources.entry(key).or_insert_with(fresh);
        if resource.step != vector.step {
            // The source measures at another pace: what is usual has to be learned anew. What holds still holds.
            resource.withdraw(vector, &config, out);
            let conditions = std::mem::take(&mut resource.conditions);
            *resource = Resource {
                conditions,
                ..fresh()
            };
        }
        resource.last_offset = cause.src.offset;
        (resource.kind, resource.step_end) = (vector.kind, vector.step_end);
        // The caller has made sure that this is known.
        if let Known::Model(model) = models.at(&resource.scope, &vector.feature_set, cause.log_time)
            && resource.detector.serve(model)
        {
            self.counters.swaps += 1;
            resource.model_set = with_model(&self.model_set, resource.detector.model());
        }

        let changes = resource.conditions.observe(&rules, set, vector);
        out.extend(
            changes
                .into_iter()
                .map(|change: ConditionChange| Prediction::Condition(change)),
        );
        self.counters.unwatched += resource.watch(&rules, &config, vector, out);
        let values: Vec<Option<f64>> = set
            .metrics
            .iter()
            .map(|metric| vector.values[metric.value_index].map(f64::from))
            .collect();
        let judged = resource.detector.observe(&Step {
            end: vector.step_end,
            values: &values,
        });
        let blank = Verdict {
            model_set: resource.model_set.clone(),
            ..blank
        };
        out.push(Prediction::Verdict(verdict(blank, judged, &metrics)));
    }

    fn blank(&self, vector: &FeatureVector) -> Verdict {
        Verdict {
            resource: vector.resource.clone(),
            kind: vector.kind,
            feature_set: vector.feature_set.clone(),
            model_set: self.model_set.clone(),
            step: vector.step,
            step_end: vector.step_end,
            state: VerdictState::Gap,
            eta_seconds: None,
            score: None,
            p: None,
            p0: None,
            confidence: None,
            parts: Vec::new(),
            series: Vec::new(),
            backfill: vector.backfill,
        }
    }

    fn metrics_of(&mut self, set: &FeatureSet) -> Arc<[Metric]> {
        let metrics = self
            .metrics
            .entry(set.id().to_owned())
            .or_insert_with(|| metrics_of(set));
        Arc::clone(metrics)
    }

    /// Drops the resource that has been quiet for longest, in favour of a new one. What was said of it is taken back: it
    /// will not be seen to come true, or to cease.
    fn make_room(&mut self, key: &Key, vector: &FeatureVector, out: &mut Vec<Prediction>) {
        if self.resources.len() < self.config.max_resources || self.resources.contains_key(key) {
            return;
        }
        let quietest = self
            .resources
            .iter()
            .min_by_key(|(_, resource)| resource.last_offset);
        let Some(quietest) = quietest.map(|(key, _)| key.clone()) else {
            return;
        };
        let Some(mut dropped) = self.resources.remove(&quietest) else {
            return;
        };
        self.counters.evicted += 1;
        let last = FeatureVector {
            resource: quietest.0,
            kind: dropped.kind,
            feature_set: quietest.1,
            step: dropped.step,
            step_end: dropped.step_end,
            incomplete: true,
            values: Vec::new(),
            limits: Vec::new(),
            late: 0,
            backfill: vector.backfill,
        };
        dropped.withdraw(&last, &self.config, out);
        if let Some(set) = self.sets.by_id(&last.feature_set) {
            // Without rules, whatever holds ceases.
            let changes = dropped.conditions.observe(&RuleSet::default(), set, &last);
            out.extend(changes.into_iter().map(Prediction::Condition));
        }
    }
}

impl Stage for Judge {
    type Input = ProcessedMetric;
    type Output = Prediction;

    const NAME: &'static str = "predictor";

    fn is_ready_for(&self, input: &ProcessedMetric, cause: &Cause) -> bool {
        match input {
            ProcessedMetric::Vector(vector) => {
                let scope = scope(&vector.resource, &vector.feature_set);
                let known = self.models.at(&scope, &vector.feature_set, cause.log_time);
                !matches!(known, Known::NotYet)
            }
            ProcessedMetric::Resource(_) | ProcessedMetric::Tick(_) => true,
        }
    }

    fn apply(&mut self, input: ProcessedMetric, cause: &Cause, out: &mut Vec<Prediction>) {
        match input {
            ProcessedMetric::Vector(vector) => self.vector(&vector, cause, out),
            ProcessedMetric::Resource(change) => out.push(Prediction::Resource(change)),
            ProcessedMetric::Tick(_) => self.tell(),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        let kept: Vec<Kept> = self
            .resources
            .iter()
            .map(|(key, resource)| Kept {
                key: key.clone(),
                detector: resource.detector.state(),
                step: resource.step,
                kind: resource.kind,
                step_end: resource.step_end,
                conditions: resource.conditions.clone(),
                watches: resource
                    .watches
                    .iter()
                    .map(|(key, watched)| (key.clone(), watched.clone()))
                    .collect(),
                last_offset: resource.last_offset,
            })
            .collect();
        encode_state(&(FORMAT, &self.state_set, kept))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let (format, state_set, kept): (u16, String, Vec<Kept>) = decode_state(snapshot)?;
        if format != FORMAT {
            return Err(RestoreError(format!(
                "format {format}, this program writes {FORMAT}"
            )));
        }
        // Other rules and settings hold from here on: with a state to go on from, what ceases under them is said so.
        if state_set != self.state_set {
            return Err(RestoreError(
                "it was made with other detectors or feature sets".into(),
            ));
        }
        let sets = Arc::clone(&self.sets);
        let mut resources = BTreeMap::new();
        for kept in kept {
            let Some(set) = sets.by_id(&kept.key.1) else {
                return Err(RestoreError(format!(
                    "feature set `{}` is not known",
                    kept.key.1
                )));
            };
            let detector = Ensemble::new(
                self.config.detector(kept.step),
                self.metrics_of(set),
                kept.step,
            )
            .with_state(kept.detector)
            .ok_or_else(|| {
                RestoreError(format!("feature set `{}` has other metrics", kept.key.1))
            })?;
            let resource = Resource {
                detector,
                scope: scope(&kept.key.0, &kept.key.1),
                model_set: self.model_set.clone(),
                step: kept.step,
                kind: kept.kind,
                step_end: kept.step_end,
                conditions: kept.conditions,
                watches: kept.watches.into_iter().collect(),
                last_offset: kept.last_offset,
            };
            resources.insert(kept.key, resource);
        }
        self.resources = resources;
        Ok(())
    }
}

impl Resource {
    fn new(detector: Ensemble, step: StepLength, scope: String, model_set: String) -> Self {
        Self {
            detector,
            scope,
            model_set,
            step,
            kind: Kind::default(),
            step_end: EventTime::default(),
            conditions: Conditions::default(),
            watches: BTreeMap::new(),
            last_offset: 0,
        }
    }

    /// Shows every limit's reading to its watch; returns how many there was no room for.
    fn watch(
        &mut self,
        rules: &RuleSet,
        config: &Config,
        vector: &FeatureVector,
        out: &mut Vec<Prediction>,
    ) -> u64 {
        let settings = config.watch();
        let mut unwatched = 0;
        for limit in &vector.limits {
            let key = (limit.kind, limit.subject.clone());
            if self.watches.len() >= MAX_WATCHES && !self.watches.contains_key(&key) {
                unwatched += 1;
                continue;
            }
            let share = limit_share(rules, vector, limit.kind);
            let reading = Reading {
                at: vector.step_end,
                step: vector.step,
                used: limit.used,
                capacity: limit.limit,
                limit: share,
            };
            let watched = self.watches.entry(key).or_insert_with(|| Watched {
                watch: Watch::default(),
                last: limit.clone(),
                at: vector.step_end,
                share,
            });
            (watched.at, watched.share) = (vector.step_end, share);
            watched.last.clone_from(limit);
            if let Some(claim) = watched.watch.observe(&reading, &settings) {
                out.push(failure(vector, watched, &settings, claim));
            }
        }
        let absent = vector.step.duration() * u32::from(ABSENT_STEPS);
        for watched in self.watches.values_mut() {
            if vector.step_end.since(watched.at) >= absent
                && let Some(claim) = watched.watch.gone()
            {
                out.push(failure(vector, watched, &settings, claim));
            }
        }
        self.watches
            .retain(|_, watched| vector.step_end.since(watched.at) <= FORGOTTEN);
        unwatched
    }

    /// Takes back what is predicted, since nobody will watch it any more.
    fn withdraw(&mut self, vector: &FeatureVector, config: &Config, out: &mut Vec<Prediction>) {
        for watched in self.watches.values_mut() {
            if let Some(claim) = watched.watch.gone() {
                out.push(failure(vector, watched, &config.watch(), claim));
            }
        }
    }
}

/// What a detector has to know of the metrics of a feature set, in its order.
#[must_use]
pub fn metrics_of(set: &FeatureSet) -> Arc<[Metric]> {
    let direction = |direction| match direction {
        forewarn_features::Direction::Up => forewarn_detect::Direction::Up,
        forewarn_features::Direction::Down => forewarn_detect::Direction::Down,
        forewarn_features::Direction::Both => forewarn_detect::Direction::Both,
    };
    set.metrics
        .iter()
        .map(|metric| Metric {
            direction: direction(metric.direction),
            ..Metric::new(metric.name.clone(), metric.floor)
        })
        .collect()
}

/// The share of a capacity at which this kind of failure counts as come: the least that a matching rule says, so that
/// what is predicted and what the rule calls reached are the same moment.
fn limit_share(rules: &RuleSet, vector: &FeatureVector, failure: FailureKind) -> f64 {
    let said = rules
        .rules()
        .iter()
        .filter(|rule| rule.matches(&vector.resource, vector.kind))
        .filter_map(|rule| match rule.config() {
            RuleConfig::FailurePrediction(config) if config.covers(failure) => Some(config.reached),
            _ => None,
        });
    said.reduce(f64::min).unwrap_or(USUAL_LIMIT)
}

fn failure(
    vector: &FeatureVector,
    watched: &Watched,
    settings: &forewarn_forecast::Settings,
    claim: Claim,
) -> Prediction {
    let limit = &watched.last;
    Prediction::Failure(FailurePrediction {
        resource: vector.resource.clone(),
        kind: vector.kind,
        failure: limit.kind,
        subject: limit.subject.clone(),
        first_step: claim.first_step,
        step_end: vector.step_end,
        state: claim.state,
        used: limit.used,
        limit: watched.share * limit.limit,
        slope: claim.slope * limit.limit,
        p10_seconds: claim.p10,
        p50_seconds: claim.p50,
        p90_seconds: claim.p90,
        probability: claim.probability,
        horizon_seconds: settings.horizon,
        baseline_seconds: claim.linear,
        reason: claim.reason.map(str::to_owned),
        lead_seconds: claim.lead,
        backfill: vector.backfill,
    })
}

fn verdict(blank: Verdict, judged: forewarn_detect::Verdict, metrics: &[Metric]) -> Verdict {
    use forewarn_detect::Verdict as Judged;
    let name = |metric: usize| metrics[metric].name.clone();
    match judged {
        Judged::Scored(score) => Verdict {
            state: VerdictState::Scored,
            score: Some(score.score as f32),
            p: Some(score.p),
            p0: Some(score.p0),
            confidence: Some(score.confidence as f32),
            parts: score
                .parts
                .iter()
                .map(|part| Part {
                    metric: name(part.metric),
                    part: part.part as f32,
                    value: part.value as f32,
                    expected: part.expected as f32,
                })
                .collect(),
            series: score
                .metrics
                .iter()
                .map(|metric| SeriesVerdict {
                    metric: name(metric.metric),
                    score: metric.score as f32,
                    p: metric.p,
                    p0: metric.p0,
                    value: metric.value as f32,
                    expected: metric.expected as f32,
                    lower: edge(metric.lower),
                    upper: edge(metric.upper),
                })
                .collect(),
            ..blank
        },
        Judged::Learning { eta } => Verdict {
            state: VerdictState::Learning,
            eta_seconds: Some(eta.as_secs_f64()),
            ..blank
        },
        Judged::Gap => Verdict {
            state: VerdictState::Gap,
            ..blank
        },
        Judged::OutOfRange { .. } => Verdict {
            state: VerdictState::OutOfRange,
            ..blank
        },
    }
}

/// An edge that people can read; `None` where there is none. JSON has no infinity.
fn edge(value: f64) -> Option<f32> {
    let edge = value as f32;
    (edge.is_finite() && edge > f32::MIN && edge < f32::MAX).then_some(edge)
}

/// Digest of the detector and its settings, the rules and the feature sets: two verdicts with equal digests were made
/// in the same way.
fn model_set(sets: &FeatureSets, rules: &RuleSet, config: &Config) -> String {
    let config = serde_json::to_string(config).expect("settings are plain data");
    digest(&[
        &forewarn_detect::versions(),
        forewarn_forecast::VERSION,
        sets.digest(),
        rules.digest(),
        &config,
    ])
}

/// The same with a trained model beside.
fn with_model(model_set: &str, model: Option<&str>) -> String {
    model.map_or_else(|| model_set.to_owned(), |model| digest(&[model_set, model]))
}

fn digest(parts: &[&str]) -> String {
    forewarn_types::id::message(parts.join("\n").as_bytes())
        .simple()
        .to_string()
}
