//! The day that lies behind the demonstration's fleet: what its hosts would have measured, and the features of it, in the
//! metric store, so that charts have something to show and models something to learn from.
//!
//! It is made by the generator that goes on live, and runs through the very stage that makes features. It does not pass the
//! log: a day of eight hosts is twenty million samples, and nobody has to be told of any of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use anyhow::Context as _;
use forewarn_bus::{Cause, Stage as _, StopFlag};
use forewarn_features::FeatureSets;
use forewarn_messages::{BatchSample, ProcessedMetric, SampleBatch, SystemMetric};
use forewarn_simulate::{DemoFleet, HostSeries};
use forewarn_store::embedded::EmbeddedMetrics;
use forewarn_store::metrics::{Lines, line, points};
use forewarn_stream_processor::{Processor, StepConfig};
use forewarn_types::{EventTime, LogId, LogTime, Src};
use uuid::Uuid;

/// Points of a series that are written in one go: an hour of them is one chunk of the store.
const HOUR_MS: i64 = 3_600_000;

/// What to make.
pub(super) struct Past<'a> {
    pub(super) fleet: &'a DemoFleet,
    pub(super) start: EventTime,
    pub(super) until: EventTime,
    pub(super) sets: Arc<FeatureSets>,
    pub(super) steps: StepConfig,
}

/// Makes it, on so many threads, and returns how many points it has. Ends early when `stop` is set.
///
/// # Errors
/// When the store does not take it.
pub(super) fn write(
    past: &Past<'_>,
    store: &EmbeddedMetrics,
    threads: usize,
    stop: &StopFlag,
) -> anyhow::Result<u64> {
    let mut running = past.fleet.start(past.start);
    let hosts: Vec<HostSeries> = running.series_mut().to_vec();
    let (next, written) = (AtomicUsize::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let work = || {
            while let Some(host) = hosts.get(next.fetch_add(1, Ordering::Relaxed)) {
                let points = one(past, host.clone(), store, stop)?;
                written.fetch_add(points, Ordering::Relaxed);
            }
            anyhow::Ok(())
        };
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let ended = thread.join();
            ended.ok().context("a thread panicked")??;
        }
        anyhow::Ok(())
    })?;
    store.sync()?;
    Ok(written.into_inner())
}

/// The past of one host.
fn one(
    past: &Past<'_>,
    mut host: HostSeries,
    store: &EmbeddedMetrics,
    stop: &StopFlag,
) -> anyhow::Result<u64> {
    let mut processor = Processor::new(Arc::clone(&past.sets), past.steps.clone());
    let (mut samples, mut features) = (Samples::default(), Columns::default());
    let (mut made, mut vectors, mut offset) = (0, Vec::new(), 0);
    while host.next_moment() < past.until && !stop.is_stopped() {
        let at = host.next_moment();
        let mut batch = host.measure(at);
        if batch.samples.is_empty() {
            continue;
        }
        batch.backfill = true;
        samples.add(&batch);
        offset += 1;
        let cause = Cause {
            src: Src {
                log: LogId(Uuid::nil()),
                partition: 0,
                offset,
                sub: 0,
            },
            log_time: LogTime(at.millis()),
        };
        processor.apply(SystemMetric::Samples(batch), &cause, &mut vectors);
        for vector in vectors.drain(..) {
            features.add(&vector, &past.sets)?;
        }
        if (at.millis() + 1_000) % HOUR_MS == 0 {
            made += samples.columns.write(store)? + features.write(store)?;
        }
    }
    made += samples.columns.write(store)? + features.write(store)?;
    Ok(made)
}

/// A series under its name in the store, and its points since the last writing.
struct Column {
    head: String,
    field: String,
    points: Vec<(i64, f64)>,
}

/// The series of a host.
#[derive(Default)]
struct Columns {
    places: BTreeMap<(String, String), usize>,
    series: Vec<Column>,
    /// Of features: where the values of a vector belong, for vectors like the one before.
    layout: Vec<Option<usize>>,
    layout_of: String,
}

impl Columns {
    fn place(&mut self, head: &str, field: &str) -> usize {
        let key = (head.to_owned(), field.to_owned());
        let fresh = self.series.len();
        let place = *self.places.entry(key).or_insert(fresh);
        if place == fresh {
            self.series.push(Column {
                head: head.to_owned(),
                field: field.to_owned(),
                points: Vec::new(),
            });
        }
        place
    }

    /// Adds the values that a store keeps of a vector.
    fn add(&mut self, record: &ProcessedMetric, sets: &FeatureSets) -> anyhow::Result<()> {
        let ProcessedMetric::Vector(vector) = record else {
            return Ok(());
        };
        let set = sets
            .by_id(&vector.feature_set)
            .context("a vector of an unknown feature set")?;
        let key = format!("{} {}", vector.feature_set, vector.step.millis());
        if self.layout_of != key {
            // The names that a vector with all its values has in the store.
            let mut full = vector.clone();
            full.values.fill(Some(0.0));
            let mut lines = Lines::default();
            points::of_processed_metric(&ProcessedMetric::Vector(full), sets, &mut lines)
                .map_err(|unstored| anyhow::anyhow!(unstored.detail))?;
            let text = lines.iter().next().context("a vector has a line")?;
            let (head, rest) = line::split_head(text).context("our own line")?;
            let mut fields = Vec::new();
            let _ = line::parse_fields(rest, &mut |field, _| fields.push(field));
            self.layout = fields
                .iter()
                .map(|field| Some(self.place(head, field)))
                .collect();
            self.layout_of = key;
        }
        for (metric, place) in set.metrics.iter().zip(&self.layout) {
            if let (Some(Some(value)), Some(place)) = (vector.values.get(metric.value_index), place)
            {
                let point = (vector.step_end.millis(), f64::from(*value));
                self.series[*place].points.push(point);
            }
        }
        Ok(())
    }

    /// Writes what there is, and returns how many points that were.
    fn write(&mut self, store: &EmbeddedMetrics) -> anyhow::Result<u64> {
        let mut written = 0;
        for column in &mut self.series {
            store.import(&column.head, &column.field, &column.points)?;
            written += column.points.len() as u64;
            column.points.clear();
        }
        Ok(written)
    }
}

/// The same of samples, whose names stand beside each value.
#[derive(Default)]
struct Samples {
    columns: Columns,
    /// The samples of the last batch, and where their values belong: the next is usually like it.
    known: Vec<(BatchSample, usize)>,
}

impl Samples {
    fn add(&mut self, batch: &SampleBatch) {
        for (i, sample) in batch.samples.iter().enumerate() {
            let is_known = |(known, _): &&(BatchSample, usize)| {
                known.metric == sample.metric && known.tags == sample.tags
            };
            let place = match self.known.get(i).filter(is_known) {
                Some((_, place)) => *place,
                None => {
                    let Some(place) = self.name(batch, sample) else {
                        continue;
                    };
                    self.known.truncate(i);
                    self.known.push((sample.clone(), place));
                    place
                }
            };
            let point = (batch.time_of(sample).millis(), sample.value);
            self.columns.series[place].points.push(point);
        }
    }

    /// Where a sample belongs, by the name that the recorder gives it.
    fn name(&mut self, batch: &SampleBatch, sample: &BatchSample) -> Option<usize> {
        let mut alone = batch.clone();
        alone.samples = vec![sample.clone()];
        let mut lines = Lines::default();
        points::of_system_metric(&SystemMetric::Samples(alone), &mut lines);
        let (head, _) = line::split_head(lines.iter().next()?)?;
        Some(self.columns.place(head, "value"))
    }
}
