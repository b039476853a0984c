//! The metric store against the reference: the same series, in each the same points, with the same values.

use std::collections::BTreeMap;

use forewarn_store::metrics::{Field, Lines, Point, line};

use super::Report;

/// Points by series (measurement, tags and field) and time. Where one point is written twice the later stays, as in
/// the store itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points(BTreeMap<String, BTreeMap<i64, Field>>);

impl Points {
    /// Adds a point as it was read.
    pub fn add(&mut self, point: Point) {
        let mut series = point.measurement;
        for (key, value) in &point.tags {
            series.push_str(&format!(",{key}={value}"));
        }
        for (field, value) in point.fields {
            self.0
                .entry(format!("{series} {field}"))
                .or_default()
                .insert(point.time, value);
        }
    }

    /// Adds lines as they would be written.
    ///
    /// # Panics
    /// When a line cannot be read back: the store's own tests forbid it.
    pub fn add_lines(&mut self, lines: &Lines) {
        for text in lines.iter() {
            self.add(line::parse(text).expect("lines that the store writes can be read back"));
        }
    }

    /// Leaves numbers only.
    pub fn drop_texts(&mut self) {
        for times in self.0.values_mut() {
            times.retain(|_, value| matches!(value, Field::Float(_)));
        }
        self.0.retain(|_, times| !times.is_empty());
    }

    /// How many points there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From the first to the last moment, both included.
    #[must_use]
    pub fn span(&self) -> Option<(i64, i64)> {
        let first = self
            .0
            .values()
            .filter_map(|times| times.keys().next())
            .min()?;
        let last = self
            .0
            .values()
            .filter_map(|times| times.keys().next_back())
            .max()?;
        Some((*first, *last))
    }
}

/// Compares what the metric store holds with what it must hold.
#[must_use]
pub fn points(expected: &Points, actual: &Points) -> Report {
    let mut report = Report::default();
    let nothing = BTreeMap::new();
    let mut agreed = 0;
    for (series, wanted) in &expected.0 {
        let found = actual.0.get(series).unwrap_or(&nothing);
        let same = wanted
            .iter()
            .filter(|(time, value)| found.get(time).is_some_and(|other| same_bits(value, other)));
        let same = same.count() as u64;
        agreed += same;
        if same as usize != wanted.len() || found.len() != wanted.len() {
            report.differ(|| {
                let differs = |(time, value): &(&i64, &Field)| {
                    found.get(time).is_none_or(|other| !same_bits(value, other))
                };
                let first = match wanted.iter().find(differs) {
                    Some((time, value)) => {
                        format!("at {time} {:?} instead of {value:?}", found.get(time))
                    }
                    None => match found.iter().find(|(time, _)| !wanted.contains_key(time)) {
                        Some((time, value)) => format!("at {time} {value:?} too many"),
                        None => String::new(),
                    },
                };
                format!(
                    "{series}: {} points instead of {}, {same} the same; {first}",
                    found.len(),
                    wanted.len()
                )
            });
        }
    }
    for (series, found) in actual
        .0
        .iter()
        .filter(|(series, _)| !expected.0.contains_key(*series))
    {
        report.differ(|| {
            format!(
                "{series}: {} points of a series that is not in the reference",
                found.len()
            )
        });
    }
    report.agree("points", agreed);
    report
}

fn same_bits(a: &Field, b: &Field) -> bool {
    match (a, b) {
        (Field::Float(a), Field::Float(b)) => a.to_bits() == b.to_bits(),
        (Field::Text(a), Field::Text(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(values: &[(&str, i64, f64)]) -> Points {
        let mut lines = Lines::default();
        for (resource, time, value) in values {
            lines.begin("m");
            lines.tag("resource", resource);
            lines.float("value", *value);
            lines.end(*time);
        }
        let mut points = Points::default();
        points.add_lines(&lines);
        points
    }

    #[test]
    fn a_point_written_twice_is_one_and_the_later_value_stays() {
        let once = some(&[("a", 1, 5.0), ("a", 2, 6.0)]);
        let twice = some(&[("a", 1, 4.0), ("a", 1, 5.0), ("a", 2, 6.0), ("a", 2, 6.0)]);
        let report = points(&once, &twice);
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.agreed("points"), once.span()), (2, Some((1, 2))));
    }

    #[test]
    fn missing_changed_and_surplus_points_are_named() {
        let expected = some(&[("a", 1, 5.0), ("a", 2, 6.0)]);
        for (found, words) in [
            (
                vec![("a", 1, 5.0)],
                "1 points instead of 2, 1 the same; at 2 None",
            ),
            (
                vec![("a", 1, 5.0), ("a", 2, 7.0)],
                "at 2 Some(Float(7.0)) instead of Float(6.0)",
            ),
            (
                vec![("a", 1, 5.0), ("a", 2, 6.0), ("a", 3, 6.0)],
                "at 3 Float(6.0) too many",
            ),
            (
                vec![("a", 1, 5.0), ("a", 2, 6.0), ("b", 1, 1.0)],
                "not in the reference",
            ),
        ] {
            let report = points(&expected, &some(&found)).to_string();
            assert!(
                report.contains("1 differences") && report.contains(words),
                "{report}"
            );
        }
    }
}
