//! A batch as records of bounded size: small enough for the log, and so many samples each that a record is worth it.

use forewarn_messages::{BatchSample, SampleBatch};

/// No record's body is larger than this, unless a single sample is: half of what Kafka takes by default.
pub const RECORD_BYTES_MAX: usize = 500_000;

/// Splits a batch whose samples are in the order of their times; resource, kind, source and interval are repeated.
#[must_use]
pub fn split(batch: SampleBatch) -> Vec<SampleBatch> {
    let head = SampleBatch {
        samples: Vec::new(),
        ..batch.clone_head()
    };
    let head_bytes = 256
        + json_bytes(&head.resource.resource)
        + json_bytes(&head.resource.tenant)
        + head.source.len();
    let mut records = Vec::new();
    let mut bytes = head_bytes;
    let mut samples = Vec::new();
    for sample in batch.samples {
        let size = sample_bytes(&sample);
        if !samples.is_empty() && bytes + size > RECORD_BYTES_MAX {
            records.push(SampleBatch {
                samples: std::mem::take(&mut samples),
                ..head.clone_head()
            });
            bytes = head_bytes;
        }
        bytes += size;
        samples.push(sample);
    }
    if !samples.is_empty() {
        records.push(SampleBatch { samples, ..head });
    }
    records
}

trait CloneHead {
    /// All but the samples.
    fn clone_head(&self) -> Self;
}

impl CloneHead for SampleBatch {
    fn clone_head(&self) -> Self {
        Self {
            resource: self.resource.clone(),
            kind: self.kind,
            source: self.source.clone(),
            interval: self.interval,
            backfill: self.backfill,
            time: self.time,
            samples: Vec::new(),
        }
    }
}

/// No fewer bytes than the sample has as JSON.
fn sample_bytes(sample: &BatchSample) -> usize {
    // Braces, field names, the type, a time and the longest number that an f64 is written as.
    const FIXED: usize = 120;
    let tags: usize = sample
        .tags
        .iter()
        .map(|(key, value)| json_bytes(key) + json_bytes(value) + 6)
        .sum();
    FIXED + json_bytes(&sample.metric) + tags
}

/// Bytes of a text in JSON without its quotes. Control characters, which need six, do not pass the door.
fn json_bytes(text: &str) -> usize {
    text.bytes()
        .map(|byte| if matches!(byte, b'"' | b'\\') { 2 } else { 1 })
        .sum()
}

#[cfg(test)]
mod tests {
    use forewarn_messages::{Body, SystemMetric};
    use forewarn_types::{EventTime, Kind, MetricType, ResourceKey, StepLength};
    use proptest::prelude::*;

    use super::*;

    fn batch(samples: Vec<BatchSample>) -> SampleBatch {
        SampleBatch {
            resource: ResourceKey::new("web \"01\""),
            kind: Kind::LoadBalancer,
            source: "push".into(),
            interval: StepLength::SECOND,
            backfill: false,
            time: EventTime(1_700_000_000_000),
            samples,
        }
    }

    fn sample() -> impl Strategy<Value = BatchSample> {
        ("[a-z.]{1,200}", "[ -~]{1,200}", any::<f64>(), any::<bool>()).prop_map(
            |(metric, tag, value, counter)| BatchSample {
                metric,
                tags: [("quoted \\ tag".to_owned(), tag)].into(),
                metric_type: if counter {
                    MetricType::Counter
                } else {
                    MetricType::Gauge
                },
                time: Some(EventTime(i64::MIN)),
                value: if value.is_finite() {
                    value
                } else {
                    f64::MIN_POSITIVE
                },
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn records_hold_all_samples_in_order_and_none_is_too_large(samples in prop::collection::vec(sample(), 1..4_000)) {
            let whole = batch(samples);
            let records = split(batch(whole.samples.clone()));
            let together: Vec<BatchSample> = records.iter().flat_map(|record| record.samples.clone()).collect();
            prop_assert_eq!(&together, &whole.samples);
            for record in records {
                prop_assert!(SystemMetric::Samples(record).to_json().len() <= RECORD_BYTES_MAX);
            }
        }
    }

    #[test]
    fn a_small_batch_stays_one_record() {
        let sample = BatchSample {
            metric: "a".into(),
            tags: Default::default(),
            metric_type: MetricType::Gauge,
            time: None,
            value: 1.0,
        };
        assert_eq!(split(batch(vec![sample; 100])).len(), 1);
        assert!(split(batch(Vec::new())).is_empty());
    }
}
