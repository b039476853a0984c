//! Reading the series of one resource, for charts: bounded in points, in series and in time.
//!
//! What is asked for comes from outside, so every name goes into Flux through [`quote`], and names are those that people
//! know: this is the way back of what [`points`] and [`line`](super::line) do on the way in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forewarn_types::{DEFAULT_TENANT, ResourceKey};

use super::line::{decode, encode};
use super::setup::quote;
use super::{Error, Field, InfluxDb, Level, Point, Span, points};
use crate::Timestamp;

/// Which of a resource's numbers are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// What was measured or pushed, under the metric's full name.
    Samples,
    /// What the detectors are given, under the feature set's name of the metric.
    Features,
    /// The score of the resource as a whole; its only metric is `score`.
    Scores,
}

/// Which series are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// Whose.
    pub resource: &'a ResourceKey,
    /// Which of its numbers.
    pub data: Data,
    /// Which metric; all if none.
    pub metric: Option<&'a str>,
    /// Tags that a series has to have, with these values.
    pub tags: &'a [(String, String)],
}

/// What stands for the values within a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the words themselves")]
pub enum Aggregate {
    Mean,
    Min,
    Max,
}

impl Aggregate {
    /// Flux's name of the function, and the tag's value at downsampled points.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

/// How fine the points are.
#[derive(Clone, Copy, Debug)]
pub struct Resolution {
    /// From which level they are read; none for points as they came.
    pub level: Option<&'static Level>,
    /// Length of a step in milliseconds, whose values become one point at its start; none for every point that is kept.
    pub step: Option<i64>,
    /// What stands for the values within a step.
    pub aggregate: Aggregate,
}

/// How much one answer may hold.
#[derive(Clone, Copy, Debug)]
pub struct SeriesLimits {
    /// Series at most.
    pub series: usize,
    /// Points of all series together at most.
    pub points: usize,
    /// How long the server may take.
    pub time: Duration,
}

/// One series and its points.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The metric's name.
    pub metric: String,
    /// The tags that tell it from others of the metric.
    pub tags: BTreeMap<String, String>,
    /// Milliseconds since the epoch and value, in the order of time.
    pub points: Vec<(i64, f64)>,
}

/// Why there are no series to return.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// The selection has more series or points than an answer may hold.
    #[error("the selection has more series or points than one answer holds")]
    TooMuch,
    /// The server is away or refuses.
    #[error(transparent)]
    Influx(#[from] Error),
}

impl InfluxDb {
    /// The points of the selected series within `span`, by metric and tags.
    ///
    /// # Errors
    /// [`SeriesError`] when they are too many, or the server is away or refuses.
    pub async fn series(
        &self,
        selection: &Selection<'_>,
        span: Span,
        resolution: Resolution,
        limits: &SeriesLimits,
    ) -> Result<Vec<Series>, SeriesError> {
        let mut steps = filter(selection);
        if resolution.level.is_some() {
            steps.push_str(&format!(
                " |> filter(fn: (r) => r.{} == {})",
                points::AGGREGATE,
                quote(resolution.aggregate.as_str())
            ));
        }
        if let Some(step) = resolution.step {
            steps.push_str(&format!(
                " |> aggregateWindow(every: {}ms, fn: {}, createEmpty: false, timeSrc: \"_start\")",
                step.max(1),
                resolution.aggregate.as_str()
            ));
        }
        // One more than may be returned, so that too many are noticed.
        steps.push_str(&format!(" |> limit(n: {})", limits.points + 1));
        let bucket = resolution
            .level
            .map_or_else(|| self.raw_bucket(), |level| self.level_bucket(level));
        self.collect(&bucket, span, &steps, limits).await
    }

    /// The selected series that have a point within `span`, each with the last one, as it came.
    ///
    /// # Errors
    /// As [`series`](Self::series).
    pub async fn latest(
        &self,
        selection: &Selection<'_>,
        span: Span,
        limits: &SeriesLimits,
    ) -> Result<Vec<Series>, SeriesError> {
        let steps = format!("{} |> last()", filter(selection));
        self.collect(&self.raw_bucket(), span, &steps, limits).await
    }

    async fn collect(
        &self,
        bucket: &str,
        span: Span,
        steps: &str,
        limits: &SeriesLimits,
    ) -> Result<Vec<Series>, SeriesError> {
        let instant =
            |millis: i64| Timestamp::from_micros(millis.saturating_mul(1_000)).to_string();
        let query = format!(
            "from(bucket: {}) |> range(start: {}, stop: {}){steps} |> drop(columns: [\"_start\", \"_stop\"])",
            quote(bucket),
            instant(span.start),
            instant(span.stop),
        );
        let mut found: BTreeMap<Key, Vec<(i64, f64)>> = BTreeMap::new();
        let mut count = 0;
        let full = AtomicBool::new(false);
        let mut each = |point: Point| {
            let Some((key, at, value)) = known(point) else {
                return;
            };
            count += 1;
            found.entry(key).or_default().push((at, value));
            if count > limits.points || found.len() > limits.series {
                full.store(true, Ordering::Relaxed);
            }
        };
        self.run(&query, limits.time, &mut each, &|| {
            full.load(Ordering::Relaxed)
        })
        .await?;
        if full.into_inner() {
            return Err(SeriesError::TooMuch);
        }
        let series = found.into_iter().map(|((metric, tags), mut points)| {
            points.sort_by_key(|(at, _)| *at);
            Series {
                metric,
                tags,
                points,
            }
        });
        Ok(series.collect())
    }
}

/// The Flux filters of a selection.
fn filter(selection: &Selection<'_>) -> String {
    let mut conditions = vec![format!(
        "r.resource == {}",
        quote(&encode(&selection.resource.resource))
    )];
    conditions.push(if selection.resource.tenant == DEFAULT_TENANT {
        "not exists r.tenant".to_owned()
    } else {
        format!("r.tenant == {}", quote(&encode(&selection.resource.tenant)))
    });
    match selection.data {
        Data::Samples => {
            conditions.push("r._field == \"value\"".to_owned());
            conditions.push(match selection.metric {
                Some(metric) => {
                    format!("r._measurement == {}", quote(&points::measurement(metric)))
                }
                None => format!(
                    "r._measurement != {} and r._measurement != {}",
                    quote(points::FEATURES),
                    quote(points::SCORES)
                ),
            });
        }
        Data::Features => {
            conditions.push(format!("r._measurement == {}", quote(points::FEATURES)));
            if let Some(metric) = selection.metric {
                let field = format!("{metric}{FEATURE}");
                conditions.push(format!("r._field == {}", quote(&encode(&field))));
            }
        }
        Data::Scores => {
            conditions.push(format!("r._measurement == {}", quote(points::SCORES)));
            conditions.push(format!("r._field == {}", quote(SCORE)));
        }
    }
    for (key, value) in selection.tags {
        conditions.push(format!(
            "r[{}] == {}",
            quote(&points::tag_key(key)),
            quote(&encode(value))
        ));
    }
    format!(" |> filter(fn: (r) => {})", conditions.join(" and "))
}

/// What a feature that is the value itself ends in.
const FEATURE: &str = ".value";
/// The field of scores, and the metric they are known by.
const SCORE: &str = "score";

/// What tells series apart: metric and tags.
type Key = (String, BTreeMap<String, String>);

/// One value of a series, and its moment in milliseconds since the epoch.
type Known = (Key, i64, f64);

/// A point under the names that people know; none if it is no number.
fn known(point: Point) -> Option<Known> {
    let (field, Field::Float(value)) = point.fields.into_iter().next()? else {
        return None;
    };
    let metric = match point.measurement.as_str() {
        points::FEATURES => {
            let field = decode(&field);
            field.strip_suffix(FEATURE).unwrap_or(&field).to_owned()
        }
        points::SCORES => SCORE.to_owned(),
        measurement => decode(measurement),
    };
    // Ours tell whose the series is, which the caller knows.
    let tags = point
        .tags
        .into_iter()
        .filter(|(key, _)| !matches!(key.as_str(), "resource" | "tenant" | points::AGGREGATE))
        .map(|(key, value)| (points::tag_name(&key), decode(&value)));
    Some(((metric, tags.collect()), point.time, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        let resource = ResourceKey {
            tenant: "a\" or true".into(),
            resource: "x\") |> drop(columns: [\"_value\"]) //".into(),
        };
        let text = filter(&Selection {
            resource: &resource,
            data: Data::Samples,
            metric: Some("${m}\\"),
            tags: &[("k\"]".into(), "v\n".into())],
        });
        for (raw, quoted) in [
            ("tenant", r#"r.tenant == "a\" or true""#),
            (
                "resource",
                r#"r.resource == "x\") |> drop(columns: [\"_value\"]) //""#,
            ),
            ("metric", r#"r._measurement == "\u{24}{m}%5C""#),
            ("tag", r#"r["k\"]"] == "v%0A""#),
        ] {
            assert!(text.contains(quoted), "{raw}: {text}");
        }
    }

    #[test]
    fn names_come_back_as_they_were_sent() {
        for key in ["cpu.mode", "tag.x", "resource", "_field", "a=,\n", ""] {
            let stored = points::tag_key(key).into_owned();
            assert_eq!(points::tag_name(&stored), key);
        }
    }
}
