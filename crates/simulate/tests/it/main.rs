//! What the generator promises to those who use it.

mod demo;
mod faults;
mod quiet;
mod unchanged;

use forewarn_messages::SampleBatch;

/// The value of the series of `metric` that has this value among its tags, or has none if `tag` is empty.
fn value(batch: &SampleBatch, metric: &str, tag: &str) -> Option<f64> {
    let is_it = |sample: &&forewarn_messages::BatchSample| {
        sample.metric == metric
            && (tag.is_empty() || sample.tags.values().any(|value| value == tag))
    };
    batch.samples.iter().find(is_it).map(|sample| sample.value)
}
