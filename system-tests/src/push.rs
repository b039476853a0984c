//! A batch as a sender posts it, and what the answer has to say.

use forewarn_messages::{BatchSample, SampleBatch};
use serde_json::{Value, json};

/// The body of `POST /api/v1/metrics` for one batch.
#[must_use]
pub fn request(batch: &SampleBatch) -> Value {
    let sample = |sample: &BatchSample| {
        json!({
            "metric": sample.metric,
            "tags": sample.tags,
            "type": sample.metric_type,
            "time": batch.time_of(sample),
            "value": sample.value,
        })
    };
    json!({
        "resource": batch.resource.resource,
        "kind": batch.kind,
        "interval": format!("{}ms", batch.interval.millis()),
        "samples": batch.samples.iter().map(sample).collect::<Vec<_>>(),
    })
}

/// Whether the answer says that every sample was taken.
///
/// # Errors
/// When samples were refused: the generator makes none that may be.
pub fn check(answer: &Value, batch: &SampleBatch) -> anyhow::Result<()> {
    let accepted = answer["accepted"].as_u64().unwrap_or(0);
    anyhow::ensure!(
        accepted == batch.samples.len() as u64,
        "not all samples were taken: {answer}"
    );
    Ok(())
}
