//! What the records of the log look like as points: pure, and so shared by the recorder and by the judge.
//!
//! | measurement | tags | fields | time | identity |
//! |---|---|---|---|---|
//! | the metric's name | `resource`, `tenant` unless it is `default`, the sample's own tags | `value` | the sample's | the sample's id |
//! | `features` | `resource`, `tenant`, `feature_set`, `step_ms` | one per metric of the set: `cpu.utilization.value` … | the step's end | the vector's id |
//! | `scores` | `resource`, `tenant`, `feature_set`, `step_ms`, `model_set` | `score`, `p`, `p0`, `confidence`, `eta_seconds`, and `state` as text | the step's end | the verdict's id |
//!
//! What does not belong to the identity is no tag: a sample that comes again from another source, or under another
//! kind, is the same point, and the later record wins. A sample's own tag that bears a name of ours is stored as
//! `tag.resource`, a metric that bears one as `%66eatures`; names that line protocol cannot carry are encoded as
//! [`encode`](super::line::encode) says.

use std::borrow::Cow;

use forewarn_features::FeatureSets;
use forewarn_messages::{
    FeatureVector, Prediction, ProcessedMetric, SampleBatch, SystemMetric, Verdict,
};
use forewarn_types::{DEFAULT_TENANT, ResourceKey};

use super::line::{Lines, encode};

/// Measurement of feature vectors.
pub const FEATURES: &str = "features";
/// Measurement of verdicts.
pub const SCORES: &str = "scores";
/// Tag of downsampled points: which aggregate they are.
pub const AGGREGATE: &str = "aggregate";

/// Tag keys that a sample's own tags may not have, since they are ours or InfluxDB's.
const RESERVED_TAGS: &[&str] = &["resource", "tenant", AGGREGATE, "time"];
/// What a sample's own tag gets in front when its key is reserved.
const TAG_PREFIX: &str = "tag.";

/// Something that could not be stored, counted by the caller under this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unstored {
    /// Why: a bounded set of words.
    pub reason: &'static str,
    /// What exactly.
    pub detail: String,
}

/// Appends the points of a record of `system_metrics`. Values that are not finite are passed over: the door lets none in.
pub fn of_system_metric(record: &SystemMetric, lines: &mut Lines) {
    if let SystemMetric::Samples(batch) = record {
        samples(batch, lines);
    }
}

/// Appends the point of a record of `processed_metrics`.
///
/// # Errors
/// [`Unstored`] when the feature set is not known here, and so its numbers have no names.
pub fn of_processed_metric(
    record: &ProcessedMetric,
    sets: &FeatureSets,
    lines: &mut Lines,
) -> Result<(), Unstored> {
    match record {
        ProcessedMetric::Vector(vector) => features(vector, sets, lines),
        ProcessedMetric::Resource(_) | ProcessedMetric::Tick(_) => Ok(()),
    }
}

/// Appends the point of a record of `anomaly_predictions`; what PostgreSQL holds in full is not repeated here.
pub fn of_prediction(record: &Prediction, lines: &mut Lines) {
    if let Prediction::Verdict(verdict) = record {
        score(verdict, lines);
    }
}

fn samples(batch: &SampleBatch, lines: &mut Lines) {
    for sample in &batch.samples {
        lines.begin(&measurement(&sample.metric));
        resource_tags(&batch.resource, lines);
        for (key, value) in &sample.tags {
            lines.tag(&tag_key(key), &encode(value));
        }
        lines.float("value", sample.value);
        lines.end(batch.time_of(sample).millis());
    }
}

fn features(vector: &FeatureVector, sets: &FeatureSets, lines: &mut Lines) -> Result<(), Unstored> {
    let Some(set) = sets.by_id(&vector.feature_set) else {
        return Err(Unstored {
            reason: "unknown_feature_set",
            detail: format!(
                "feature set `{}` of {}: give this service the same `[[feature_sets]]` as the stream-processor",
                vector.feature_set, vector.resource.resource
            ),
        });
    };
    lines.begin(FEATURES);
    resource_tags(&vector.resource, lines);
    lines.tag("feature_set", &encode(&vector.feature_set));
    lines.tag("step_ms", &vector.step.millis().to_string());
    // What a chart shows is what was measured; windows over it can be computed from the points, and are in the log.
    for metric in &set.metrics {
        if let Some(Some(value)) = vector.values.get(metric.value_index) {
            lines.float32(&encode(&set.features[metric.value_index].name), *value);
        }
    }
    lines.end(vector.step_end.millis());
    Ok(())
}

fn score(verdict: &Verdict, lines: &mut Lines) {
    lines.begin(SCORES);
    resource_tags(&verdict.resource, lines);
    lines.tag("feature_set", &encode(&verdict.feature_set));
    lines.tag("step_ms", &verdict.step.millis().to_string());
    lines.tag("model_set", &encode(&verdict.model_set));
    if let Some(score) = verdict.score {
        lines.float32("score", score);
    }
    for (name, value) in [
        ("p", verdict.p),
        ("p0", verdict.p0),
        ("eta_seconds", verdict.eta_seconds),
    ] {
        if let Some(value) = value {
            lines.float(name, value);
        }
    }
    if let Some(confidence) = verdict.confidence {
        lines.float32("confidence", confidence);
    }
    lines.text("state", verdict.state.as_str());
    lines.end(verdict.step_end.millis());
}

fn resource_tags(resource: &ResourceKey, lines: &mut Lines) {
    lines.tag("resource", &encode(&resource.resource));
    if resource.tenant != DEFAULT_TENANT {
        lines.tag("tenant", &encode(&resource.tenant));
    }
}

/// The measurement of a metric: never one of ours.
#[must_use]
pub fn measurement(metric: &str) -> Cow<'_, str> {
    if metric == FEATURES || metric == SCORES {
        return Cow::Owned(format!("%{:02X}{}", metric.as_bytes()[0], &metric[1..]));
    }
    encode(metric)
}

/// The key of a sample's own tag: never one of ours, and never the same for two keys.
#[must_use]
pub fn tag_key(key: &str) -> Cow<'_, str> {
    // InfluxDB keeps names with an underscore in front for itself.
    if RESERVED_TAGS.contains(&key) || key.starts_with(TAG_PREFIX) || key.starts_with('_') {
        return Cow::Owned(encode(&format!("{TAG_PREFIX}{key}")).into_owned());
    }
    encode(key)
}

/// The tag's own key that [`tag_key`] was given.
#[must_use]
pub fn tag_name(stored: &str) -> String {
    let name = super::line::decode(stored);
    match name.strip_prefix(TAG_PREFIX) {
        Some(own) => own.to_owned(),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::line::{Field, parse};
    use forewarn_types::{EventTime, Kind, Sample, StepLength, Tags, VerdictState};

    fn lines_of(tenant: &str, metric: &str, tags: &[(&str, &str)]) -> String {
        let resource = ResourceKey {
            tenant: tenant.to_owned(),
            resource: "web-01".to_owned(),
        };
        let tags: Tags = tags
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let sample = Sample {
            metric: metric.to_owned(),
            tags,
            metric_type: Default::default(),
            time: EventTime(7),
            value: 0.5,
        };
        let batch = SampleBatch::new(
            resource,
            Kind::Server,
            "push",
            StepLength::SECOND,
            vec![sample],
        );
        let mut lines = Lines::default();
        of_system_metric(&SystemMetric::Samples(batch), &mut lines);
        lines.slice(0..lines.len()).to_owned()
    }

    #[test]
    fn a_sample_is_the_point_that_one_expects() {
        assert_eq!(
            lines_of("default", "system.cpu.utilization", &[("cpu.mode", "user")]),
            "system.cpu.utilization,resource=web-01,cpu.mode=user value=0.5 7\n"
        );
        assert_eq!(
            lines_of("acme", "m", &[]),
            "m,resource=web-01,tenant=acme value=0.5 7\n"
        );
    }

    #[test]
    fn a_sample_with_our_names_keeps_its_own_identity() {
        let plain = lines_of("default", "m", &[]);
        for (metric, tags) in [
            ("m", [("resource", "web-01")]),
            ("m", [("tag.resource", "web-01")]),
            ("m", [("tenant", "default")]),
            ("m", [("_field", "x")]),
            ("m", [("time", "x")]),
            ("m", [("a", "")]),
            ("m", [("", "a")]),
        ] {
            let line = lines_of("default", metric, &tags);
            let point = parse(line.trim_end()).expect("our own line");
            assert_eq!(point.tags["resource"], "web-01", "{line}");
            assert_eq!(point.tags.len(), 2, "{line}");
            assert_ne!(line, plain);
        }
        assert_ne!(
            lines_of("default", "m", &[("resource", "x")]),
            lines_of("default", "m", &[("tag.resource", "x")])
        );
        assert!(lines_of("default", "features", &[]).starts_with("%66eatures,"));
    }

    #[test]
    fn a_vector_stores_the_values_and_not_the_windows() {
        let sets = FeatureSets::standard();
        let set = sets.all().first().expect("there is a standard set");
        let vector = FeatureVector {
            resource: ResourceKey::new("web-01"),
            kind: Kind::Server,
            feature_set: set.id().to_owned(),
            step: StepLength::SECOND,
            step_end: EventTime(1_000),
            incomplete: false,
            values: vec![Some(0.25); set.features.len()],
            limits: Vec::new(),
            late: 0,
            backfill: false,
        };
        let mut lines = Lines::default();
        of_processed_metric(&ProcessedMetric::Vector(vector.clone()), &sets, &mut lines)
            .expect("a known set");
        let point = parse(lines.iter().next().expect("a line")).expect("our own line");
        assert_eq!(point.fields.len(), set.metrics.len());
        assert!(
            point
                .fields
                .iter()
                .all(|(name, value)| name.ends_with(".value") && *value == Field::Float(0.25))
        );

        let unknown = FeatureVector {
            feature_set: "other/1".to_owned(),
            ..vector
        };
        let refused = of_processed_metric(&ProcessedMetric::Vector(unknown), &sets, &mut lines);
        assert_eq!(
            refused.expect_err("an unknown set").reason,
            "unknown_feature_set"
        );
    }

    #[test]
    fn a_verdict_without_a_score_still_says_its_state() {
        let verdict = Verdict {
            resource: ResourceKey::new("web-01"),
            kind: Kind::Server,
            feature_set: "host/1".to_owned(),
            model_set: "abc".to_owned(),
            step: StepLength::SECOND,
            step_end: EventTime(1_000),
            state: VerdictState::Learning,
            eta_seconds: Some(60.0),
            score: None,
            p: None,
            p0: None,
            confidence: None,
            parts: Vec::new(),
            series: Vec::new(),
            backfill: false,
        };
        let mut lines = Lines::default();
        of_prediction(&Prediction::Verdict(verdict), &mut lines);
        assert_eq!(
            lines.slice(0..1),
            "scores,resource=web-01,feature_set=host/1,step_ms=1000,model_set=abc eta_seconds=60.0,state=\"learning\" 1000\n"
        );
    }
}
