//! Reading the series of one resource, for charts: bounded in points, in series and in time.
//!
//! What is asked for comes from outside, so every name goes into Flux through [`quote`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use forewarn_types::DEFAULT_TENANT;

use super::InfluxDb;
use super::setup::quote;
use crate::Timestamp;
use crate::metrics::line::encode;
use crate::metrics::{
    Data, FEATURE, Key, Point, ReadError, Resolution, SCORE, Selection, Series, SeriesLimits, Span,
    known, points,
};

impl InfluxDb {
    /// The points of the selected series.
    pub(super) async fn read_series(
        &self,
        selection: &Selection,
        span: Span,
        resolution: Resolution,
        limits: &SeriesLimits,
    ) -> Result<Vec<Series>, ReadError> {
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

    /// Each selected series with its last point.
    pub(super) async fn read_latest(
        &self,
        selection: &Selection,
        span: Span,
        limits: &SeriesLimits,
    ) -> Result<Vec<Series>, ReadError> {
        let steps = format!("{} |> last()", filter(selection));
        self.collect(&self.raw_bucket(), span, &steps, limits).await
    }

    async fn collect(
        &self,
        bucket: &str,
        span: Span,
        steps: &str,
        limits: &SeriesLimits,
    ) -> Result<Vec<Series>, ReadError> {
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
            return Err(ReadError::TooMuch);
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
fn filter(selection: &Selection) -> String {
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
            conditions.push(match &selection.metric {
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
            if let Some(metric) = &selection.metric {
                let field = format!("{metric}{FEATURE}");
                conditions.push(format!("r._field == {}", quote(&encode(&field))));
            }
        }
        Data::Scores => {
            conditions.push(format!("r._measurement == {}", quote(points::SCORES)));
            conditions.push(format!("r._field == {}", quote(SCORE)));
        }
    }
    for (key, value) in &selection.tags {
        conditions.push(format!(
            "r[{}] == {}",
            quote(&points::tag_key(key)),
            quote(&encode(value))
        ));
    }
    format!(" |> filter(fn: (r) => {})", conditions.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use forewarn_types::ResourceKey;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        let resource = ResourceKey {
            tenant: "a\" or true".into(),
            resource: "x\") |> drop(columns: [\"_value\"]) //".into(),
        };
        let text = filter(&Selection {
            resource: resource.clone(),
            data: Data::Samples,
            metric: Some("${m}\\".into()),
            tags: vec![("k\"]".into(), "v\n".into())],
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
}
