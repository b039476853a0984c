//! The values of metrics and limits at one step, read from the series behind them.

use std::collections::BTreeMap;

use forewarn_messages::LimitReading;

use crate::definition::{Combine, FeatureSet, Operand, Reading};
use crate::series::{At, Series, SeriesTable};

/// The step at which is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepAt {
    /// Its end, exclusive, in milliseconds.
    pub(crate) end: i64,
    /// Its length in milliseconds.
    pub(crate) step: i64,
    /// Whether it is closing now. Then the series of the known set are due in it; in a step that closed before, those
    /// are due that had samples both before and after it.
    pub(crate) closing: bool,
}

impl StepAt {
    fn is_due(self, series: &Series) -> bool {
        let known = if self.closing {
            series.seen != 0
        } else {
            series.lived_at(self.end, self.step)
        };
        series.interval <= self.step && known
    }
}

/// Several series on their way to one value.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u32,
    sum: f64,
    max: f64,
    /// Age of the oldest part.
    age: i64,
    /// A series that is due is missing: without it the value would be wrong rather than incomplete.
    broken: bool,
}

impl Sum {
    fn take(&mut self, series: &Series, at: StepAt, reading: Reading) {
        match series.at(at.end, at.step, reading) {
            At::Value(value, age) => self.add(value, age),
            At::Absent if at.is_due(series) => self.broken = true,
            At::Absent | At::NoRate => {}
        }
    }

    fn add(&mut self, value: f64, age: i64) {
        self.max = if self.count == 0 {
            value
        } else {
            self.max.max(value)
        };
        self.count += 1;
        self.sum += value;
        self.age = self.age.max(age);
    }

    fn value(&self, combine: Combine) -> f64 {
        if self.broken || self.count == 0 {
            return f64::NAN;
        }
        let value = match combine {
            Combine::Sum => self.sum,
            Combine::Max => self.max,
            Combine::Mean => self.sum / f64::from(self.count),
        };
        if value.is_finite() { value } else { f64::NAN }
    }
}

fn operand(table: &SeriesTable, index: usize, operand: &Operand, at: StepAt) -> (f64, i64) {
    let mut sum = Sum::default();
    for series in table
        .members(index)
        .iter()
        .filter_map(|number| table.get(*number))
    {
        sum.take(series, at, operand.reading);
    }
    (sum.value(operand.combine), sum.age)
}

/// Value of a metric and age in seconds of its oldest part. `first` is the number of its first operand.
pub(crate) fn metric(
    set: &FeatureSet,
    table: &SeriesTable,
    metric: usize,
    first: usize,
    at: StepAt,
) -> (f64, f64) {
    let def = &set.metrics[metric];
    let (mut value, mut age) = operand(table, first, &def.operand, at);
    if let Some(over) = &def.over {
        let (divisor, over_age) = operand(table, first + 1, over, at);
        value /= divisor;
        age = age.max(over_age);
    }
    if value.is_finite() {
        (value, age as f64 / 1_000.0)
    } else {
        (f64::NAN, f64::NAN)
    }
}

/// Value of a metric from late samples alone, if they are all that is due for it; rates need a past and have none here.
pub(crate) fn metric_of_late(
    set: &FeatureSet,
    table: &SeriesTable,
    metric: usize,
    first: usize,
    step: i64,
    late: &BTreeMap<u32, f64>,
) -> f64 {
    let def = &set.metrics[metric];
    let part = |index: usize, operand: &Operand| {
        let mut sum = Sum {
            broken: operand.reading != Reading::Gauge,
            ..Sum::default()
        };
        for number in table.members(index) {
            match late.get(number) {
                Some(value) => sum.add(*value, 0),
                None => {
                    sum.broken |= table
                        .get(*number)
                        .is_some_and(|s| s.seen != 0 && s.interval <= step)
                }
            }
        }
        sum.value(operand.combine)
    };
    let value = match &def.over {
        Some(over) => part(first, &def.operand) / part(first + 1, over),
        None => part(first, &def.operand),
    };
    if value.is_finite() { value } else { f64::NAN }
}

/// Number of the first operand of each metric, and of the first limit.
pub(crate) fn first_operands(set: &FeatureSet) -> impl Iterator<Item = usize> {
    let widths = set
        .metrics
        .iter()
        .map(|metric| 1 + usize::from(metric.over.is_some()));
    std::iter::once(0).chain(widths.scan(0, |next, width| {
        *next += width;
        Some(*next)
    }))
}

/// How full the things are that can fill up, in the order of their definition and then of their names.
pub(crate) fn limits(
    set: &FeatureSet,
    table: &SeriesTable,
    first: usize,
    at: StepAt,
) -> Vec<LimitReading> {
    let mut readings = Vec::new();
    for (index, def) in set.limits.iter().enumerate() {
        let first = first + 2 * index;
        if table.members(first).is_empty() || table.members(first + 1).is_empty() {
            continue;
        }
        let mut subjects: BTreeMap<&str, [Sum; 2]> = BTreeMap::new();
        for (side, operand) in [&def.used, &def.limit].into_iter().enumerate() {
            for number in table.members(first + side) {
                let Some(series) = table.get(*number) else {
                    continue;
                };
                let tag = def.per.as_ref().and_then(|key| table.tag(*number, key));
                let sums = subjects.entry(tag.unwrap_or(&def.subject)).or_default();
                sums[side].take(series, at, operand.reading);
            }
        }
        for (subject, [used, limit]) in subjects {
            let (used, limit) = (used.value(def.used.combine), limit.value(def.limit.combine));
            if used.is_finite() && limit > 0.0 {
                readings.push(LimitReading {
                    kind: def.kind,
                    subject: subject.to_owned(),
                    used,
                    limit,
                });
            }
        }
    }
    readings
}
