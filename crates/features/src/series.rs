//! The series of one resource that a feature set reads: the latest points of each, and which are expected to come.
//!
//! Series have numbers, so that a step in the making is a plain list. Numbers are given in the order of arrival and
//! given again after a series is forgotten; nothing here depends on the order of a hash.

use std::collections::{HashMap, VecDeque};

use forewarn_types::Tags;
use serde::{Deserialize, Serialize};

use crate::definition::{FeatureSet, Operand, Reading};

/// Late samples of this many steps are worked in exactly as if they had come in time: as far as exact windows reach.
pub(crate) const LATE_STEPS: i64 = 60;

/// A series is expected as long as it was seen in one of so many closed steps.
pub(crate) const KNOWN_STEPS: u32 = 5;

/// Two samples further apart than this many intervals of their series give no rate: it would be about the gap.
const RATE_INTERVALS_MAX: i64 = 5;

/// A slower series' value is carried for this many of its own intervals.
const CARRY_INTERVALS: i64 = 2;

/// Points kept per series: the late steps, the newest, and the predecessors that rates over them may reach for.
const POINTS_MAX: usize = LATE_STEPS as usize + 4;

/// A number given to a series of a resource.
pub(crate) type SeriesNumber = u32;

/// One sample of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) time: i64,
    pub(crate) value: f64,
}

/// One series.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Series {
    metric: String,
    tags: Tags,
    /// How often its source measures, in milliseconds: as its latest batch said.
    pub(crate) interval: i64,
    /// Whether its source is another machine, whose samples may take longer.
    pub(crate) remote: bool,
    /// Bit i: seen in the i-th last closed step.
    pub(crate) seen: u8,
    /// Number of the batch that brought its latest sample.
    pub(crate) arrival: u64,
    /// At most one point per step, the last of it, from old to new.
    pub(crate) points: VecDeque<Point>,
    /// The operands that read it.
    pub(crate) uses: Vec<u16>,
}

/// What a series says at a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum At {
    /// It has no sample for this step, nor one to be carried.
    Absent,
    /// It has a sample, but nothing to compare it with.
    NoRate,
    /// A value and its age in milliseconds.
    Value(f64, i64),
}

impl Series {
    /// Reads the series at the step that ends at `end`.
    pub(crate) fn at(&self, end: i64, step: i64, reading: Reading) -> At {
        let after = match self.points.back() {
            Some(newest) if newest.time < end => self.points.len(),
            _ => self.points.partition_point(|point| point.time < end),
        };
        let Some(index) = after.checked_sub(1) else {
            return At::Absent;
        };
        let point = self.points[index];
        let oldest = if self.interval > step {
            end - CARRY_INTERVALS * self.interval
        } else {
            end - step
        };
        if point.time < oldest {
            return At::Absent;
        }
        let age = end - point.time;
        if reading == Reading::Gauge {
            return At::Value(point.value, age);
        }
        let Some(before) = index.checked_sub(1).map(|index| self.points[index]) else {
            return At::NoRate;
        };
        let passed = point.time - before.time;
        if passed > RATE_INTERVALS_MAX * self.interval.max(step) {
            return At::NoRate;
        }
        let grown = match reading {
            // After a restart the counter began at zero.
            Reading::Rate if point.value < before.value => point.value,
            _ => point.value - before.value,
        };
        At::Value(grown / (passed as f64 / 1_000.0), age)
    }

    /// Whether it had samples both up to and from the step that ends at `end`, so that one was due in it.
    pub(crate) fn lived_at(&self, end: i64, step: i64) -> bool {
        self.points.front().is_some_and(|first| first.time < end)
            && self
                .points
                .back()
                .is_some_and(|last| last.time >= end - step)
    }

    /// Takes in the point of a step that closes now.
    pub(crate) fn push(&mut self, point: Point, end: i64, step: i64) {
        let oldest = end - (LATE_STEPS + i64::from(KNOWN_STEPS)) * step;
        // Two stay whatever their age: slow series need them.
        while self.points.len() >= POINTS_MAX
            || (self.points.len() > 2 && self.points[0].time < oldest)
        {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// Works in a late point. Says whether it is now the point of its step, was one already, or contradicts one.
    pub(crate) fn insert_late(&mut self, point: Point, step: i64) -> Late {
        let index = self.points.partition_point(|known| known.time < point.time);
        if let Some(known) = self.points.get(index)
            && known.time == point.time
        {
            return if known.value.to_bits() == point.value.to_bits() {
                Late::Duplicate
            } else {
                Late::Conflicting
            };
        }
        let start = point.time.div_euclid(step) * step;
        if self
            .points
            .get(index)
            .is_some_and(|next| next.time < start + step)
        {
            return Late::Superseded;
        }
        match index
            .checked_sub(1)
            .and_then(|before| self.points.get_mut(before))
            .filter(|p| p.time >= start)
        {
            Some(earlier) => *earlier = point,
            None => {
                self.points.insert(index, point);
                if self.points.len() > POINTS_MAX {
                    self.points.pop_front();
                }
            }
        }
        Late::Taken
    }

    /// The sample after `time`, if there is one.
    pub(crate) fn next_after(&self, time: i64) -> Option<i64> {
        self.points
            .get(self.points.partition_point(|point| point.time <= time))
            .map(|point| point.time)
    }

    fn bytes(&self) -> usize {
        let tags: usize = self
            .tags
            .iter()
            .map(|(key, value)| key.capacity() + value.capacity() + 48)
            .sum();
        size_of::<Self>()
            + self.metric.capacity()
            + tags
            + self.points.capacity() * size_of::<Point>()
            + self.uses.capacity() * 2
    }
}

/// What became of a late sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// It is the point of its step now.
    Taken,
    /// Its step has a later sample.
    Superseded,
    /// It was there already.
    Duplicate,
    /// It was there already with another value, which stays.
    Conflicting,
}

/// All operands of a set, metrics first: a series is used by some of them.
pub(crate) fn operands(set: &FeatureSet) -> impl Iterator<Item = &Operand> {
    let metrics = set
        .metrics
        .iter()
        .flat_map(|metric| std::iter::once(&metric.operand).chain(&metric.over));
    metrics.chain(
        set.limits
            .iter()
            .flat_map(|limit| [&limit.used, &limit.limit]),
    )
}

/// The series of one resource.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SeriesTable {
    slots: Vec<Option<Series>>,
    used: usize,
    /// Of each operand, the series that it reads, in ascending order: derived.
    #[serde(skip)]
    members: Vec<Vec<SeriesNumber>>,
    /// Where to find a series by its metric and tags: derived, and never walked.
    #[serde(skip)]
    index: HashMap<String, Vec<SeriesNumber>>,
}

impl SeriesTable {
    pub(crate) fn new(set: &FeatureSet) -> Self {
        Self {
            members: vec![Vec::new(); operands(set).count()],
            ..Self::default()
        }
    }

    /// Makes what is derived anew after a restart.
    pub(crate) fn rebuild(&mut self, set: &FeatureSet) {
        self.members = vec![Vec::new(); operands(set).count()];
        self.index.clear();
        for number in 0..self.slots.len() {
            if let Some(series) = &self.slots[number] {
                let number = number as SeriesNumber;
                for operand in &series.uses {
                    if let Some(members) = self.members.get_mut(usize::from(*operand)) {
                        members.push(number);
                    }
                }
                self.index
                    .entry(series.metric.clone())
                    .or_default()
                    .push(number);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    pub(crate) fn get(&self, number: SeriesNumber) -> Option<&Series> {
        self.slots.get(number as usize).and_then(Option::as_ref)
    }

    pub(crate) fn get_mut(&mut self, number: SeriesNumber) -> Option<&mut Series> {
        self.slots.get_mut(number as usize).and_then(Option::as_mut)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SeriesNumber, &Series)> {
        (0..)
            .zip(&self.slots)
            .filter_map(|(number, slot)| slot.as_ref().map(|series| (number, series)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (SeriesNumber, &mut Series)> {
        (0..)
            .zip(&mut self.slots)
            .filter_map(|(number, slot)| slot.as_mut().map(|series| (number, series)))
    }

    pub(crate) fn members(&self, operand: usize) -> &[SeriesNumber] {
        &self.members[operand]
    }

    /// Whether this number is the series' own: the quick answer for batches that look like the one before.
    pub(crate) fn is(&self, number: SeriesNumber, metric: &str, tags: &Tags) -> bool {
        self.get(number)
            .is_some_and(|series| series.metric == metric && series.tags == *tags)
    }

    pub(crate) fn find(&self, metric: &str, tags: &Tags) -> Option<SeriesNumber> {
        let numbers = self.index.get(metric)?;
        numbers
            .iter()
            .copied()
            .find(|number| self.is(*number, metric, tags))
    }

    /// Takes in a series that operands of the set read; `None` if none does.
    pub(crate) fn insert(
        &mut self,
        set: &FeatureSet,
        metric: &str,
        tags: &Tags,
    ) -> Option<SeriesNumber> {
        let uses: Vec<u16> = (0..)
            .zip(operands(set))
            .filter(|(_, o)| o.takes(metric, tags))
            .map(|(i, _)| i)
            .collect();
        if uses.is_empty() {
            return None;
        }
        let free = self
            .slots
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.slots.push(None);
                self.slots.len() - 1
            });
        let number = free as SeriesNumber;
        for operand in &uses {
            let members = &mut self.members[usize::from(*operand)];
            members.insert(members.partition_point(|member| *member < number), number);
        }
        self.index
            .entry(metric.to_owned())
            .or_default()
            .push(number);
        self.slots[free] = Some(Series {
            metric: metric.to_owned(),
            tags: tags.clone(),
            interval: 0,
            remote: false,
            seen: 0,
            arrival: 0,
            points: VecDeque::new(),
            uses,
        });
        self.used += 1;
        Some(number)
    }

    /// Forgets a series.
    pub(crate) fn remove(&mut self, number: SeriesNumber) {
        let Some(series) = self.slots.get_mut(number as usize).and_then(Option::take) else {
            return;
        };
        for operand in &series.uses {
            self.members[usize::from(*operand)].retain(|member| *member != number);
        }
        if let Some(numbers) = self.index.get_mut(&series.metric) {
            numbers.retain(|known| *known != number);
            if numbers.is_empty() {
                self.index.remove(&series.metric);
            }
        }
        self.used -= 1;
        while self.slots.last().is_some_and(Option::is_none) {
            self.slots.pop();
        }
    }

    /// The series that has been quiet for longest, unless this very batch brought all of them.
    pub(crate) fn quietest(&self, arrival: u64) -> Option<SeriesNumber> {
        let others = self.iter().filter(|(_, series)| series.arrival != arrival);
        others
            .min_by_key(|(number, series)| (series.arrival, *number))
            .map(|(number, _)| number)
    }

    /// The value of a tag of a series.
    pub(crate) fn tag(&self, number: SeriesNumber, key: &str) -> Option<&str> {
        self.get(number)
            .and_then(|series| series.tags.get(key))
            .map(String::as_str)
    }

    pub(crate) fn bytes(&self) -> usize {
        let series: usize = self.iter().map(|(_, series)| series.bytes()).sum();
        let members: usize = self
            .members
            .iter()
            .map(|members| members.capacity() * 4 + 24)
            .sum();
        let index: usize = self
            .index
            .iter()
            .map(|(key, numbers)| key.capacity() + numbers.capacity() * 4 + 64)
            .sum();
        series + members + index
    }
}
