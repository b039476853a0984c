//! The stage: sample batches in; feature vectors out, and word of resources that fall silent or come back.
//!
//! Silence is a matter of log time, which ticks move when nothing else does; all the rest is event time.

use std::collections::BTreeMap;
use std::sync::Arc;

use forewarn_bus::{Cause, RestoreError, Stage, decode_state, encode_state};
use forewarn_features::{Counts, Engine, FeatureSets, Steps};
use forewarn_messages::{ProcessedMetric, ResourceChange, SampleBatch, SystemMetric};
use forewarn_types::{EventTime, Kind, LogTime, ResourceKey, ResourceState, StepLength};
use serde::{Deserialize, Serialize};

use crate::Config;

/// Raised when an older snapshot cannot be read any more.
const FORMAT: u16 = 1;

/// A resource is silent after at least so many of its own steps.
const SILENT_STEPS: u32 = 3;

/// Closes steps and computes features for the resources of one partition.
#[derive(Debug)]
pub struct Processor {
    engine: Engine,
    config: Config,
    resources: BTreeMap<ResourceKey, Resource>,
    evicted: u64,
    /// What was told to metrics last.
    told: (Counts, u64),
}

#[derive(Debug, Serialize, Deserialize)]
struct Resource {
    kind: Kind,
    /// The shortest interval among its last batches' sources.
    interval: StepLength,
    /// Log time of its last batch.
    heard: LogTime,
    is_silent: bool,
    /// One state per feature set that describes its kind, by the set's place.
    steps: Vec<(usize, Steps)>,
}

impl Processor {
    /// A processor that has seen nothing. `config` has no [`mistakes`](Config::mistakes).
    #[must_use]
    pub fn new(sets: Arc<FeatureSets>, config: Config) -> Self {
        Self {
            engine: Engine::new(sets, config.rules()),
            config,
            resources: BTreeMap::new(),
            evicted: 0,
            told: (Counts::default(), 0),
        }
    }

    /// What happened to samples since the process started.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.engine.counts
    }

    /// Resources forgotten to make room.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn batch(&mut self, batch: &SampleBatch, log_time: LogTime, out: &mut Vec<ProcessedMetric>) {
        self.make_room(&batch.resource);
        let engine = &mut self.engine;
        let fresh = || Resource {
            kind: batch.kind,
            interval: batch.interval,
            heard: log_time,
            is_silent: false,
            steps: Vec::new(),
        };
        let resource = self
            .resources
            .entry(batch.resource.clone())
            .or_insert_with(fresh);
        if resource.kind != batch.kind {
            // It was taken for something else, and is judged by other features from now on.
            *resource = fresh();
        }
        resource.heard = log_time;
        resource.interval = resource.interval.min(batch.interval);
        if std::mem::take(&mut resource.is_silent) {
            let state = if resource.closed().is_some() {
                ResourceState::Healthy
            } else {
                ResourceState::Learning
            };
            out.push(resource.change(&batch.resource, state, log_time));
        }
        if resource.steps.is_empty() {
            let sets = Arc::clone(engine.sets());
            let described = sets.all().iter().enumerate();
            resource.steps = described
                .filter(|(_, set)| set.describes(batch.kind))
                .map(|(place, _)| (place, Steps::new(engine, place, batch)))
                .collect();
        }
        let mut vectors = Vec::new();
        for (_, steps) in &mut resource.steps {
            steps.apply(engine, batch, log_time, &mut vectors);
        }
        out.extend(vectors.into_iter().map(ProcessedMetric::Vector));
    }

    fn tick(&mut self, log_time: LogTime, out: &mut Vec<ProcessedMetric>) {
        for (key, resource) in &mut self.resources {
            let patience = self
                .config
                .silent_after
                .max(SILENT_STEPS * resource.interval.duration());
            if !resource.is_silent && log_time.since(resource.heard) >= patience {
                resource.is_silent = true;
                out.push(resource.change(key, ResourceState::Silent, log_time));
            }
        }
        self.tell();
    }

    /// Adds to the process's metrics what has happened since the last tick.
    fn tell(&mut self) {
        let (now, before) = (self.engine.counts, &self.told.0);
        for (outcome, total, told) in [
            ("used", now.samples, before.samples),
            ("late", now.late, before.late),
            ("duplicate", now.duplicates, before.duplicates),
            ("conflicting", now.conflicting, before.conflicting),
            ("unusable", now.unusable, before.unusable),
        ] {
            metrics::counter!("forewarn_stream_processor_samples_total", "outcome" => outcome)
                .increment(total - told);
        }
        metrics::counter!("forewarn_stream_processor_vectors_total")
            .increment(now.vectors - before.vectors);
        metrics::counter!("forewarn_stream_processor_incomplete_steps_total")
            .increment(now.incomplete - before.incomplete);
        metrics::counter!("forewarn_stream_processor_series_evicted_total")
            .increment(now.evicted - before.evicted);
        metrics::counter!("forewarn_stream_processor_resources_evicted_total")
            .increment(self.evicted - self.told.1);
        self.told = (now, self.evicted);
    }

    fn make_room(&mut self, key: &ResourceKey) {
        if self.resources.len() < self.config.max_resources || self.resources.contains_key(key) {
            return;
        }
        let quietest = self
            .resources
            .iter()
            .min_by_key(|(_, resource)| resource.heard);
        if let Some(quietest) = quietest.map(|(key, _)| key.clone()) {
            self.resources.remove(&quietest);
            self.evicted += 1;
        }
    }
}

impl Resource {
    /// End of the last step that closed under any set.
    fn closed(&self) -> Option<EventTime> {
        self.steps
            .iter()
            .filter_map(|(_, steps)| steps.closed())
            .max()
    }

    fn change(
        &self,
        key: &ResourceKey,
        state: ResourceState,
        log_time: LogTime,
    ) -> ProcessedMetric {
        ProcessedMetric::Resource(ResourceChange {
            resource: key.clone(),
            kind: self.kind,
            state,
            log_time,
            step_end: self.closed().unwrap_or_default(),
        })
    }
}

impl Stage for Processor {
    type Input = SystemMetric;
    type Output = ProcessedMetric;

    const NAME: &'static str = "stream-processor";

    fn apply(&mut self, input: SystemMetric, cause: &Cause, out: &mut Vec<ProcessedMetric>) {
        match input {
            SystemMetric::Samples(batch) => self.batch(&batch, cause.log_time, out),
            SystemMetric::Tick(_) => self.tick(cause.log_time, out),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        encode_state(&(FORMAT, self.engine.sets().digest(), &self.resources))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let (format, digest, mut resources): (u16, String, BTreeMap<ResourceKey, Resource>) =
            decode_state(snapshot)?;
        if format != FORMAT {
            return Err(RestoreError(format!(
                "format {format}, this program writes {FORMAT}"
            )));
        }
        if digest != self.engine.sets().digest() {
            return Err(RestoreError(
                "it was made with other feature sets".to_owned(),
            ));
        }
        for resource in resources.values_mut() {
            for (_, steps) in &mut resource.steps {
                if !steps.relink(&mut self.engine) {
                    return Err(RestoreError(
                        "it does not fit the feature sets".to_owned(),
                    ));
                }
            }
        }
        self.resources = resources;
        Ok(())
    }
}
