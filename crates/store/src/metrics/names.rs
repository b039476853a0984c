//! The names that people know, and those under which points are stored: the way back of what [`points`] and [`line`](super::line)
//! do on the way in.

use std::collections::BTreeMap;

use super::line::decode;
#[cfg(feature = "embedded")]
use super::line::encode;
#[cfg(feature = "embedded")]
use super::{Data, Selection};
use super::{Field, Point, points};

/// What a feature that is the value itself ends in.
pub(crate) const FEATURE: &str = ".value";
/// The field of scores, and the metric they are known by.
pub(crate) const SCORE: &str = "score";

/// What tells series apart: metric and tags.
pub(crate) type Key = (String, BTreeMap<String, String>);

/// One value of a series, and its moment in milliseconds since the epoch.
pub(crate) type Known = (Key, i64, f64);

/// A point under the names that people know; none if it is no number.
pub(crate) fn known(point: Point) -> Option<Known> {
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

/// Whether a series under its stored names belongs to a selection; that the resource is the right one is known.
#[cfg(feature = "embedded")]
pub(crate) fn is_selected(
    selection: &Selection,
    measurement: &str,
    tags: &BTreeMap<String, String>,
    field: &str,
) -> bool {
    let metric = selection.metric.as_deref();
    let named = match selection.data {
        Data::Samples => {
            field == "value"
                && measurement != points::FEATURES
                && measurement != points::SCORES
                && metric.is_none_or(|metric| measurement == points::measurement(metric))
        }
        Data::Features => {
            measurement == points::FEATURES
                && metric.is_none_or(|metric| field == encode(&format!("{metric}{FEATURE}")))
        }
        Data::Scores => measurement == points::SCORES && field == SCORE,
    };
    named
        && selection.tags.iter().all(|(key, value)| {
            tags.get(&*points::tag_key(key)).map(String::as_str) == Some(&*encode(value))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_were_sent() {
        for key in ["cpu.mode", "tag.x", "resource", "_field", "a=,\n", ""] {
            let stored = points::tag_key(key).into_owned();
            assert_eq!(points::tag_name(&stored), key);
        }
    }
}
