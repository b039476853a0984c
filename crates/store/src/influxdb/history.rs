//! The measured values of one resource as rows, for training: what `features` holds, slice by slice.

use std::collections::BTreeMap;
use std::time::Duration;

use forewarn_features::FeatureSet;
use forewarn_types::{DEFAULT_TENANT, ResourceKey, StepLength};

use super::setup::quote;
use super::{Error, InfluxDb};
use crate::Timestamp;
use crate::metrics::line::{Field, encode};
use crate::metrics::points::FEATURES;
use crate::metrics::{Rows, Span};

/// A slice takes seconds; one that takes longer than this is not worth waiting for.
const SLICE_LIMIT: Duration = Duration::from_secs(120);

impl InfluxDb {
    /// The steps of `resource`, by their length.
    pub(super) async fn read_steps(
        &self,
        resource: &ResourceKey,
        set: &FeatureSet,
        span: Span,
    ) -> Result<BTreeMap<StepLength, Rows>, Error> {
        let fields: BTreeMap<String, usize> = set
            .metrics
            .iter()
            .enumerate()
            .map(|(place, metric)| {
                let name = encode(&set.features[metric.value_index].name).into_owned();
                (name, place)
            })
            .collect();
        let instant =
            |millis: i64| Timestamp::from_micros(millis.saturating_mul(1_000)).to_string();
        let tenant = if resource.tenant == DEFAULT_TENANT {
            "not exists r.tenant".to_owned()
        } else {
            format!("r.tenant == {}", quote(&encode(&resource.tenant)))
        };
        // A filter of its own: what storage does not understand, it hands back with everything that stands beside it.
        // Text and tags that every row repeats would be most of the answer.
        let query = format!(
            "from(bucket: {}) |> range(start: {}, stop: {}) \
             |> filter(fn: (r) => r._measurement == {} and r.resource == {} and r.feature_set == {}) \
             |> filter(fn: (r) => {tenant}) \
             |> keep(columns: [\"_time\", \"_value\", \"_field\", \"_measurement\", \"step_ms\"])",
            quote(&self.raw_bucket()),
            instant(span.start),
            instant(span.stop),
            quote(FEATURES),
            quote(&encode(&resource.resource)),
            quote(&encode(set.id())),
        );
        let mut found: BTreeMap<StepLength, Rows> = BTreeMap::new();
        let width = set.metrics.len();
        self.run(
            &query,
            SLICE_LIMIT,
            &mut |point| {
                let step = point.tags.get("step_ms").and_then(|text| text.parse().ok());
                let Some(step) = step.and_then(StepLength::from_millis) else {
                    return;
                };
                for (name, value) in &point.fields {
                    let (Some(place), Field::Float(value)) = (fields.get(name), value) else {
                        continue;
                    };
                    let rows = found.entry(step).or_default();
                    let row = rows
                        .entry(point.time)
                        .or_insert_with(|| vec![f32::NAN; width]);
                    row[*place] = *value as f32;
                }
            },
            &|| false,
        )
        .await?;
        Ok(found)
    }
}
