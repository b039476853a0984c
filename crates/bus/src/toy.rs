//! A stage small enough to see through, for the tests of what surrounds stages. Shared with `tests/it`.

use std::collections::BTreeMap;

use forewarn_bus::{
    Applied, Cause, Derived, Partition, Record, RestoreError, Stage, decode_state, encode_state,
};
use forewarn_messages::{FeatureVector, ProcessedMetric, SampleBatch, SystemMetric};
use forewarn_types::{EventTime, Kind, LogId, MetricType, ResourceKey, Sample, StepLength, Tags};

/// Adds up the values of each resource, and tells count and sum with each batch. A sample of the metric `panic` makes
/// it panic, one of `large` makes it tell a vector that no log takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Toy {
    totals: BTreeMap<String, (u32, f64)>,
}

impl Stage for Toy {
    type Input = SystemMetric;
    type Output = ProcessedMetric;

    const NAME: &'static str = "toy";

    fn apply(&mut self, input: SystemMetric, cause: &Cause, out: &mut Vec<ProcessedMetric>) {
        let SystemMetric::Samples(batch) = input else {
            return;
        };
        let total = self
            .totals
            .entry(batch.resource.resource.clone())
            .or_default();
        for sample in &batch.samples {
            total.0 += 1;
            total.1 += sample.value;
            assert!(sample.metric != "panic", "told to panic");
            let values = vec![
                Some(total.0 as f32),
                Some(total.1 as f32),
                Some((cause.log_time.millis() % 1_000) as f32),
            ];
            let length = if sample.metric == "large" {
                1 << 20
            } else {
                values.len()
            };
            out.push(ProcessedMetric::Vector(FeatureVector {
                resource: batch.resource.clone(),
                kind: batch.kind,
                feature_set: "toy/1".into(),
                step: batch.interval,
                step_end: batch.time,
                incomplete: false,
                values: values.into_iter().cycle().take(length).collect(),
                limits: Vec::new(),
                late: 0,
                backfill: false,
            }));
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        encode_state(&self.totals)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        self.totals = decode_state(snapshot)?;
        Ok(())
    }
}

/// A batch of `values` of one metric.
pub(crate) fn batch(resource: &str, metric: &str, values: &[f64]) -> SystemMetric {
    let sample = |value: &f64| Sample {
        metric: metric.into(),
        tags: Tags::new(),
        metric_type: MetricType::default(),
        time: EventTime(1_000),
        value: *value,
    };
    let samples = values.iter().map(sample).collect();
    SystemMetric::Samples(SampleBatch::new(
        ResourceKey::new(resource),
        Kind::Server,
        "test",
        StepLength::SECOND,
        samples,
    ))
}

/// What a toy makes of a partition, in one go.
pub(crate) fn reference(number: u32, log: Option<LogId>, records: &[Record]) -> Vec<Derived> {
    let mut partition = Partition::new(Toy::default(), number, log);
    let mut all = Vec::new();
    for record in records {
        if let Applied::Outputs(outputs) = partition
            .apply(record)
            .expect("the records are of this program")
        {
            all.extend(outputs);
        }
    }
    all
}
