//! The stage: which resources there are, which are silent, and what their steps give.
//!
//! Silence is a matter of log time and is looked at when the log ticks, so a replay finds the same silences at the
//! same places, and a partition without data still notices them.

use std::collections::BTreeMap;
use std::sync::Arc;

use forewarn_bus::{Cause, RestoreError, Stage, decode_state, encode_state};
use forewarn_features::{Counts, Engine, FeatureSets, Steps};
use forewarn_messages::{ProcessedMetric, ResourceChange, SampleBatch, SystemMetric};
use forewarn_types::{EventTime, Kind, LogTime, ResourceKey, ResourceState, StepLength};
use serde::{Deserialize, Serialize};

use crate::StepConfig;

/// Raised when the state of an older program cannot be read any more; the partition is then replayed.
const FORMAT: u16 = 1;

/// A resource that closed fewer steps is still learning when it comes back from silence: what a detector needs before
/// it says anything.
const LEARNED_STEPS: u64 = 900;

/// Turns `system_metrics` into `processed_metrics`.
#[derive(Debug)]
pub struct Processor {
    config: StepConfig,
    engine: Engine,
    /// Of the sets and settings that the state depends on.
    made_for: String,
    /// In the order of their names: what a tick says about several comes in this order.
    resources: BTreeMap<ResourceKey, Resource>,
    /// Counts batches, to tell which resource has been quiet for longest.
    arrival: u64,
    evicted: u64,
    told: Told,
}

/// What is known about one resource.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Resource {
    kind: Kind,
    /// Interval of the source that sent last; three of them are silence.
    interval: StepLength,
    /// When it was last heard of. Imported history is no sign of life, so one that has no other is never silent.
    heard: Option<LogTime>,
    silent: bool,
    /// End of the step of its newest sample.
    newest: EventTime,
    arrival: u64,
    /// Per feature set, by its place among all.
    steps: Vec<(u16, Steps)>,
}

impl Resource {
    fn new(batch: &SampleBatch) -> Self {
        Self {
            kind: batch.kind,
            interval: batch.interval,
            heard: None,
            silent: false,
            newest: EventTime(0),
            arrival: 0,
            steps: Vec::new(),
        }
    }

    fn change(
        &self,
        resource: &ResourceKey,
        state: ResourceState,
        log_time: LogTime,
    ) -> ProcessedMetric {
        let closed = self
            .steps
            .iter()
            .filter_map(|(_, steps)| steps.closed())
            .max();
        ProcessedMetric::Resource(ResourceChange {
            resource: resource.clone(),
            kind: self.kind,
            state,
            log_time,
            step_end: closed.unwrap_or(self.newest),
        })
    }

    /// The state to which it returns from silence.
    fn returned(&self) -> ResourceState {
        let learned = self
            .steps
            .iter()
            .any(|(_, steps)| steps.count() >= LEARNED_STEPS);
        if learned {
            ResourceState::Healthy
        } else {
            ResourceState::Learning
        }
    }
}

/// What was told to the metrics so far.
#[derive(Debug, Default)]
struct Told {
    counts: Counts,
    evicted: u64,
}

impl Processor {
    /// A processor for one partition.
    #[must_use]
    pub fn new(sets: Arc<FeatureSets>, config: StepConfig) -> Self {
        let made_for = format!("{} {config:?}", sets.digest());
        Self {
            engine: Engine::new(sets, config.rules()),
            config,
            made_for,
            resources: BTreeMap::new(),
            arrival: 0,
            evicted: 0,
            told: Told::default(),
        }
    }

    /// What happened to samples, since this processor was made.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.engine.counts
    }

    /// Resources forgotten because of [`StepConfig::max_resources`].
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Resources that are followed, and the memory of their states in bytes.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let steps = self.resources.values().flat_map(|resource| &resource.steps);
        (
            self.resources.len(),
            steps.map(|(_, steps)| steps.bytes()).sum(),
        )
    }

    fn samples(&mut self, batch: &SampleBatch, log_time: LogTime, out: &mut Vec<ProcessedMetric>) {
        self.arrival += 1;
        if !self.resources.contains_key(&batch.resource) {
            self.make_room();
            self.resources
                .insert(batch.resource.clone(), Resource::new(batch));
        }
        let resource = self
            .resources
            .get_mut(&batch.resource)
            .expect("it is there by now");
        resource.kind = batch.kind;
        resource.interval = batch.interval;
        resource.arrival = self.arrival;
        if !batch.backfill {
            if resource.silent {
                resource.silent = false;
                out.push(resource.change(&batch.resource, resource.returned(), log_time));
            }
            resource.heard = Some(log_time);
        }
        if let Some(newest) = batch
            .samples
            .iter()
            .map(|sample| batch.time_of(sample))
            .max()
        {
            resource.newest = resource.newest.max(batch.interval.end_of(newest));
        }
        let sets = Arc::clone(self.engine.sets());
        let mut vectors = Vec::new();
        for (index, _) in (0_u16..)
            .zip(sets.all())
            .filter(|(_, set)| set.describes(batch.kind))
        {
            let place = resource.steps.iter().position(|(set, _)| *set == index);
            let place = place.unwrap_or_else(|| {
                resource.steps.push((
                    index,
                    Steps::new(&mut self.engine, usize::from(index), batch),
                ));
                resource.steps.len() - 1
            });
            resource.steps[place]
                .1
                .apply(&mut self.engine, batch, log_time, &mut vectors);
        }
        out.extend(vectors.into_iter().map(ProcessedMetric::Vector));
    }

    /// Forgets the resource that has been quiet for longest, if there are too many.
    fn make_room(&mut self) {
        while self.resources.len() >= self.config.max_resources {
            let quietest = self
                .resources
                .iter()
                .min_by_key(|(_, resource)| resource.arrival);
            let Some(key) = quietest.map(|(key, _)| key.clone()) else {
                return;
            };
            self.resources.remove(&key);
            self.evicted += 1;
        }
    }

    fn tick(&mut self, cause: &Cause, out: &mut Vec<ProcessedMetric>) {
        for (key, resource) in &mut self.resources {
            let Some(heard) = resource.heard.filter(|_| !resource.silent) else {
                continue;
            };
            if cause.log_time.since(heard) >= self.config.silence(resource.interval.duration()) {
                resource.silent = true;
                out.push(resource.change(key, ResourceState::Silent, cause.log_time));
            }
        }
        self.tell(cause.src.partition);
    }

    /// Hands what was counted since the last tick to the metrics.
    fn tell(&mut self, partition: u32) {
        let (now, was) = (self.engine.counts, self.told.counts);
        for (name, now, was) in [
            (
                "forewarn_stream_processor_samples_total",
                now.samples,
                was.samples,
            ),
            (
                "forewarn_stream_processor_vectors_total",
                now.vectors,
                was.vectors,
            ),
            (
                "forewarn_stream_processor_incomplete_vectors_total",
                now.incomplete,
                was.incomplete,
            ),
            (
                "forewarn_stream_processor_late_samples_total",
                now.late,
                was.late,
            ),
            (
                "forewarn_stream_processor_duplicate_samples_total",
                now.duplicates,
                was.duplicates,
            ),
            (
                "forewarn_stream_processor_conflicting_samples_total",
                now.conflicting,
                was.conflicting,
            ),
            (
                "forewarn_stream_processor_unusable_samples_total",
                now.unusable,
                was.unusable,
            ),
            (
                "forewarn_stream_processor_evicted_series_total",
                now.evicted,
                was.evicted,
            ),
            (
                "forewarn_stream_processor_evicted_resources_total",
                self.evicted,
                self.told.evicted,
            ),
            (
                "forewarn_stream_processor_reanchored_total",
                now.reanchored,
                was.reanchored,
            ),
        ] {
            metrics::counter!(name).increment(now - was);
        }
        metrics::gauge!("forewarn_stream_processor_resources", "partition" => partition.to_string())
            .set(self.resources.len() as f64);
        let (series, resources) = (now.evicted - was.evicted, self.evicted - self.told.evicted);
        if series + resources > 0 {
            tracing::warn!(
                partition,
                series,
                resources,
                "more is sent than is followed: raise stream_processor.max_series or max_resources, or send less"
            );
        }
        self.told = Told {
            counts: now,
            evicted: self.evicted,
        };
    }
}

impl Stage for Processor {
    type Input = SystemMetric;
    type Output = ProcessedMetric;

    const NAME: &'static str = "stream-processor";

    fn apply(&mut self, input: SystemMetric, cause: &Cause, out: &mut Vec<ProcessedMetric>) {
        match input {
            SystemMetric::Samples(batch) => self.samples(&batch, cause.log_time, out),
            SystemMetric::Tick(_) => self.tick(cause, out),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        encode_state(&(FORMAT, &self.made_for, self.arrival, &self.resources))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let (format, made_for, arrival, mut resources): (
            u16,
            String,
            u64,
            BTreeMap<ResourceKey, Resource>,
        ) = decode_state(snapshot)?;
        if format != FORMAT {
            return Err(RestoreError(format!(
                "format {format}, this program writes {FORMAT}"
            )));
        }
        if made_for != self.made_for {
            return Err(RestoreError(
                "it was made with other feature sets or settings".into(),
            ));
        }
        for resource in resources.values_mut() {
            for (set, steps) in &mut resource.steps {
                if usize::from(*set) >= self.engine.sets().all().len()
                    || !steps.relink(&mut self.engine)
                {
                    return Err(RestoreError("a state does not fit its feature set".into()));
                }
            }
        }
        self.resources = resources;
        self.arrival = arrival;
        Ok(())
    }
}
