//! Reading: rows and chunks together, and windows of the levels; those of hours that are still open are made on the way.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::PoisonError;
use std::time::Instant;

use forewarn_features::FeatureSet;
use forewarn_types::{ResourceKey, StepLength};

use super::catalogue::{Id, Known};
use super::chunk::{self, Points};
use super::close::{self, number_of};
use super::folder::{Fineness, HOUR, chunk_key, chunk_start, row_key, row_of};
use super::{Error, Shared};
use crate::metrics::line::encode;
use crate::metrics::{
    Aggregate, Field, LEVELS, Point, ReadError, Resolution, Rows, Selection, Series, SeriesLimits,
    Span, is_selected, known, points,
};

/// A series that was asked for: number, and names as people know them.
struct Found {
    id: Id,
    metric: String,
    tags: BTreeMap<String, String>,
}

/// What a feature set's metrics are called in the store.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    set: String,
    /// The place of each field in a row.
    fields: BTreeMap<String, usize>,
}

impl Wanted {
    pub(super) fn of(set: &FeatureSet) -> Self {
        let fields = set.metrics.iter().enumerate();
        Self {
            set: encode(set.id()).into_owned(),
            fields: fields
                .map(|(place, metric)| {
                    let name = encode(&set.features[metric.value_index].name).into_owned();
                    (name, place)
                })
                .collect(),
        }
    }
}

impl Shared {
    pub(super) fn series(
        &self,
        selection: &Selection,
        span: Span,
        resolution: Resolution,
        limits: &SeriesLimits,
    ) -> Result<Vec<Series>, ReadError> {
        let deadline = Instant::now() + limits.time;
        let mut series = Vec::new();
        let mut count = 0;
        for found in self.find(selection) {
            let points = match resolution.level {
                None => self.raw(found.id, span, deadline)?,
                Some(level) => {
                    self.windows(found.id, level.name, span, resolution.aggregate, deadline)?
                }
            };
            let points = match resolution.step {
                Some(step) => stepped(points, step.max(1), resolution.aggregate),
                None => points,
            };
            if points.is_empty() {
                continue;
            }
            count += points.len();
            if count > limits.points || series.len() >= limits.series {
                return Err(ReadError::TooMuch);
            }
            series.push(Series {
                metric: found.metric,
                tags: found.tags,
                points,
            });
        }
        series.sort_by(|a, b| (&a.metric, &a.tags).cmp(&(&b.metric, &b.tags)));
        Ok(series)
    }

    pub(super) fn latest(
        &self,
        selection: &Selection,
        span: Span,
        limits: &SeriesLimits,
    ) -> Result<Vec<Series>, ReadError> {
        let deadline = Instant::now() + limits.time;
        let mut series = Vec::new();
        for found in self.find(selection) {
            in_time(deadline)?;
            let Some(last) = self.last(found.id, span)? else {
                continue;
            };
            if series.len() >= limits.series.min(limits.points) {
                return Err(ReadError::TooMuch);
            }
            series.push(Series {
                metric: found.metric,
                tags: found.tags,
                points: vec![last],
            });
        }
        series.sort_by(|a, b| (&a.metric, &a.tags).cmp(&(&b.metric, &b.tags)));
        Ok(series)
    }

    pub(super) fn steps(
        &self,
        resource: &ResourceKey,
        wanted: &Wanted,
        span: Span,
        deadline: Instant,
    ) -> Result<BTreeMap<StepLength, Rows>, ReadError> {
        let mut columns: Vec<(Id, StepLength, usize)> = Vec::new();
        {
            let catalogue = self
                .catalogue
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            for (id, series) in catalogue.of(resource) {
                if series.measurement == points::FEATURES
                    && series.tags.get("feature_set") == Some(&wanted.set)
                    && let Some(place) = wanted.fields.get(&series.field)
                    && let Some(step) = series
                        .tags
                        .get("step_ms")
                        .and_then(|text| text.parse().ok())
                    && let Some(step) = StepLength::from_millis(step)
                {
                    columns.push((id, step, *place));
                }
            }
        }
        let mut found: BTreeMap<StepLength, Rows> = BTreeMap::new();
        for (id, step, place) in columns {
            let points = self.raw(id, span, deadline)?;
            if points.is_empty() {
                continue;
            }
            let rows = found.entry(step).or_default();
            for (at, value) in points {
                let row = rows
                    .entry(at)
                    .or_insert_with(|| vec![f32::NAN; wanted.fields.len()]);
                row[place] = value as f32;
            }
        }
        Ok(found)
    }

    pub(super) fn all_points(&self, each: &mut dyn FnMut(Point)) -> Result<(), ReadError> {
        let all = Span {
            start: i64::MIN / 2,
            stop: i64::MAX / 2,
        };
        let deadline = Instant::now() + std::time::Duration::from_secs(600);
        let catalogue = self
            .catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for (id, series) in catalogue.all() {
            for (at, value) in self.raw(id, all, deadline)? {
                let mut point = some_point(series);
                point.time = at;
                if let Some(field) = point.fields.values_mut().next() {
                    *field = Field::Float(value);
                }
                each(point);
            }
        }
        Ok(())
    }

    /// The series that were asked for.
    fn find(&self, selection: &Selection) -> Vec<Found> {
        let catalogue = self
            .catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let series = catalogue.of(&selection.resource).filter(|(_, series)| {
            is_selected(selection, &series.measurement, &series.tags, &series.field)
        });
        series
            .filter_map(|(id, series)| {
                let ((metric, tags), _, _) = known(some_point(series))?;
                Some(Found { id, metric, tags })
            })
            .collect()
    }

    /// The points of a series as they came, in the order of time.
    fn raw(&self, id: Id, span: Span, deadline: Instant) -> Result<Vec<(i64, f64)>, ReadError> {
        // First the rows: an hour that is closed meanwhile is read twice, never not at all.
        let rows = self.rows(id, span)?;
        let mut found = Vec::new();
        self.each_chunk(
            id,
            Fineness::Raw,
            span,
            deadline,
            &mut |at, [value]: [f64; 1]| {
                found.push((at, value));
            },
        )?;
        let is_doubled = match (found.last(), rows.first()) {
            (Some((last, _)), Some((first, _))) => first <= last,
            _ => false,
        };
        found.extend(rows);
        if is_doubled {
            // Stable: of two at one moment the one from the chunk came later, stands first, and stays.
            found.sort_by_key(|(at, _)| *at);
            found.dedup_by_key(|(at, _)| *at);
        }
        Ok(found)
    }

    /// The rows of a series in open hours.
    fn rows(&self, id: Id, span: Span) -> Result<Vec<(i64, f64)>, ReadError> {
        let mut found = Vec::new();
        for (hour, rows) in self.folder.open_hours() {
            let start = hour * HOUR;
            let Some(within) = within_hour(start, span) else {
                continue;
            };
            let keys = row_key(id, within.start)..row_key(id, within.end);
            for row in rows.range(keys) {
                let (key, value) = row
                    .into_inner()
                    .map_err(|error| self.folder.failed(error))?;
                let (_, at) = row_of(&key).ok_or_else(|| self.folder.foreign())?;
                let value = number_of(&value).ok_or_else(|| self.folder.foreign())?;
                found.push((start + i64::from(at), value));
            }
        }
        Ok(found)
    }

    /// Gives every point in the chunks of a series to `each`, in the order of time.
    fn each_chunk<const N: usize>(
        &self,
        id: Id,
        fineness: Fineness,
        span: Span,
        deadline: Instant,
        each: &mut dyn FnMut(i64, [f64; N]),
    ) -> Result<(), ReadError> {
        let range = span.start..span.stop;
        let keys = chunk_keys(id, fineness, &range);
        for chunks in self.folder.chunks_within(fineness, &range) {
            for chunk in chunks.range(keys.clone()) {
                in_time(deadline)?;
                let (key, value) = chunk
                    .into_inner()
                    .map_err(|error| self.folder.failed(error))?;
                let start = chunk_start(&key).ok_or_else(|| self.folder.foreign())?;
                let points: Points<N> =
                    chunk::unpack(&value).ok_or_else(|| self.folder.foreign())?;
                for (at, numbers) in points {
                    let at = start + i64::from(at);
                    if range.contains(&at) {
                        each(at, numbers);
                    }
                }
            }
        }
        Ok(())
    }

    /// The windows of a level that begin within `span`.
    fn windows(
        &self,
        id: Id,
        level: &str,
        span: Span,
        aggregate: Aggregate,
        deadline: Instant,
    ) -> Result<Vec<(i64, f64)>, ReadError> {
        let Some(level) = LEVELS.iter().position(|one| one.name == level) else {
            return Ok(Vec::new());
        };
        let place = match aggregate {
            Aggregate::Mean => 0,
            Aggregate::Min => 1,
            Aggregate::Max => 2,
        };
        // Of hours that still have rows, and before the chunks, as for points.
        let mut open = BTreeMap::new();
        for (hour, _) in self.folder.open_hours() {
            let hour = Span {
                start: hour * HOUR,
                stop: (hour + 1) * HOUR,
            };
            if hour.start >= span.stop || hour.stop <= span.start {
                continue;
            }
            let values = self.raw(id, hour, deadline)?;
            for (at, numbers) in &close::windows(values.into_iter())[level] {
                if (span.start..span.stop).contains(at) {
                    open.insert(*at, numbers[place]);
                }
            }
        }
        let mut windows = BTreeMap::new();
        self.each_chunk(
            id,
            Fineness::Level(level),
            span,
            deadline,
            &mut |at, numbers: [f64; 3]| {
                windows.insert(at, numbers[place]);
            },
        )?;
        windows.extend(open);
        Ok(windows.into_iter().collect())
    }

    /// The last point of a series within `span`.
    fn last(&self, id: Id, span: Span) -> Result<Option<(i64, f64)>, ReadError> {
        let mut last = None;
        for (hour, rows) in self.folder.open_hours().into_iter().rev() {
            let start = hour * HOUR;
            let Some(within) = within_hour(start, span) else {
                continue;
            };
            let keys = row_key(id, within.start)..row_key(id, within.end);
            if let Some(row) = rows.range(keys).next_back() {
                let (key, value) = row
                    .into_inner()
                    .map_err(|error| self.folder.failed(error))?;
                let (_, at) = row_of(&key).ok_or_else(|| self.folder.foreign())?;
                let value = number_of(&value).ok_or_else(|| self.folder.foreign())?;
                last = Some((start + i64::from(at), value));
                break;
            }
        }
        let range = span.start..span.stop;
        let keys = chunk_keys(id, Fineness::Raw, &range);
        for chunks in self
            .folder
            .chunks_within(Fineness::Raw, &range)
            .into_iter()
            .rev()
        {
            for chunk in chunks.range(keys.clone()).rev() {
                let (key, value) = chunk
                    .into_inner()
                    .map_err(|error| self.folder.failed(error))?;
                let start = chunk_start(&key).ok_or_else(|| self.folder.foreign())?;
                if last.is_some_and(|(at, _)| at >= start + HOUR) {
                    return Ok(last);
                }
                let points: Points<1> =
                    chunk::unpack(&value).ok_or_else(|| self.folder.foreign())?;
                let newest = points
                    .iter()
                    .rev()
                    .map(|(at, [value])| (start + i64::from(*at), *value))
                    .find(|(at, _)| range.contains(at));
                if let Some((at, value)) = newest {
                    // Of the same moment the chunk's came later.
                    return Ok(match last {
                        Some((row, _)) if row > at => last,
                        _ => Some((at, value)),
                    });
                }
            }
        }
        Ok(last)
    }
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Milliseconds of an hour that begins at `start` which lie within `span`.
fn within_hour(start: i64, span: Span) -> Option<Range<u32>> {
    let part = |at: i64| u32::try_from(at.saturating_sub(start).clamp(0, HOUR)).ok();
    let within = part(span.start)?..part(span.stop)?;
    (!within.is_empty()).then_some(within)
}

/// Keys of the chunks that have points within `range`.
fn chunk_keys(id: Id, fineness: Fineness, range: &Range<i64>) -> Range<[u8; 12]> {
    let first = range
        .start
        .div_euclid(fineness.chunk())
        .saturating_mul(fineness.chunk());
    chunk_key(id, first)..chunk_key(id, range.end.max(first))
}

/// One point for each step that has any, at its beginning.
fn stepped(points: Vec<(i64, f64)>, step: i64, aggregate: Aggregate) -> Vec<(i64, f64)> {
    let mut steps: Vec<(i64, f64, f64)> = Vec::new();
    for (at, value) in points {
        let start = at.div_euclid(step) * step;
        match steps.last_mut() {
            Some((last, sum, count)) if *last == start => {
                *sum = match aggregate {
                    Aggregate::Mean => *sum + value,
                    Aggregate::Min => sum.min(value),
                    Aggregate::Max => sum.max(value),
                };
                *count += 1.0;
            }
            _ => steps.push((start, value, 1.0)),
        }
    }
    let steps = steps.into_iter();
    steps
        .map(|(at, sum, count)| match aggregate {
            Aggregate::Mean => (at, sum / count),
            Aggregate::Min | Aggregate::Max => (at, sum),
        })
        .collect()
}

/// A series as one of its points, for whoever reads names off points.
fn some_point(series: &Known) -> Point {
    Point {
        measurement: series.measurement.clone(),
        tags: series.tags.clone(),
        fields: BTreeMap::from([(series.field.clone(), Field::Float(0.0))]),
        time: 0,
    }
}

fn in_time(deadline: Instant) -> Result<(), ReadError> {
    if Instant::now() < deadline {
        return Ok(());
    }
    Err(ReadError::Away(
        "the metric store takes too long; ask for less".to_owned(),
    ))
}
