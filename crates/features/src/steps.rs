//! Step closing (DESIGN.md §2.3): when a resource's samples are put together to one vector, and what comes too late.
//!
//! A batch arrives as a whole: its samples are taken step by step in the order of event time, and after each step the
//! open steps are looked at, oldest first.
//!
//! - A step closes as soon as every series of the *known set* is there: the series of the source's own pace that were
//!   seen, in time or late, in one of the last five closed steps. Else it closes at the first sample of the resource
//!   that is as late as its end plus the allowed delay. While nothing is known yet, only that deadline closes it.
//! - Steps close in order. A step that is missing altogether holds up the next until its own deadline, so samples that
//!   come in another order within the delay give the same vectors. Missing steps have no vector; windows see the gap.
//! - Of several samples of a series in one step the last in event time counts. A sample that comes again with another
//!   value replaces the first while its step is open.
//! - A late sample is counted. If it is at most 60 steps old it is worked in as if it had come in time: the metrics of
//!   its step are read anew (rates of the next sample too), and rows, minutes and weighted means of later vectors hold
//!   it. If it is older, the late samples of one step in one batch enter their minute's count, mean, spread, least
//!   and greatest (its median stays), provided they are all that a metric needs and that step had no value yet.
//! - Slower series, whose interval is longer than the step, are not waited for, and are late only beyond their own
//!   interval: their value is carried for two of their own intervals.
//! - The step is the set's own, or the shortest interval among the sources that are alive: a source with a shorter
//!   one changes it at once, and when none as short was seen in five closed steps, the next longer one takes over.
//!   Windows begin anew on the new grid.
//! - A clock that jumps ahead and comes back makes its resource's samples late until it has caught up, and harms nobody
//!   else. If that takes longer than five minutes of log time, the steps from before the jump go on, without a second
//!   vector for those that the jump had used up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use forewarn_messages::{FeatureVector, SampleBatch};
use forewarn_types::{EventTime, LogTime, StepLength};
use serde::{Deserialize, Serialize};

use crate::definition::{FeatureSet, Reading};
use crate::engine::Engine;
use crate::history::History;
use crate::plan::Plan;
use crate::reading::{self, StepAt};
use crate::series::{KNOWN_STEPS, LATE_STEPS, Late, Point, Series, SeriesNumber, SeriesTable};

/// One record makes at most so many vectors; its samples beyond are refused. A stage may not derive more than 65,536.
const VECTORS_MAX: usize = 50_000;

/// Times beyond are no measurement: the years 1970 to 9999. It also keeps all arithmetic on times far from overflow.
const TIMES: std::ops::RangeInclusive<i64> = 0..=253_402_300_799_999;

/// Stretches of steps that had their vector before the clock came back; beyond, they are seen as one.
const DONE_MAX: usize = 8;

/// In place of a series' number: no operand of the set reads it, or the sample is unusable.
const NOBODY: SeriesNumber = SeriesNumber::MAX;

/// A sample that is not there.
const NO_POINT: Point = Point {
    time: i64::MIN,
    value: 0.0,
};

/// The state of one resource under one feature set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Steps {
    /// Place of the set among all.
    set: usize,
    step: StepLength,
    /// End of the last step that closed.
    closed: Option<i64>,
    /// How many steps closed.
    count: u64,
    /// Latest event time.
    newest: i64,
    /// Ends of the last closed steps, newest first.
    recent: VecDeque<i64>,
    series: SeriesTable,
    /// Open steps by their ends.
    open: BTreeMap<i64, Open>,
    history: History,
    /// Late samples since the last vector.
    late: u32,
    /// Since when every batch has been late.
    late_since: Option<LogTime>,
    /// The last jump ahead.
    jump: Option<Jump>,
    /// Steps that ended after the first and up to the second moment have had their vector, before the clock came back.
    done: Vec<(i64, i64)>,
    /// Counts batches, to tell which series has been quiet for longest.
    arrival: u64,
    #[serde(skip)]
    plan: Option<Arc<Plan>>,
    /// The series of the last batch, sample by sample: only a hint where to look first.
    #[serde(skip)]
    layout: Vec<SeriesNumber>,
}

/// A step in the making.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Open {
    /// By the number of the series.
    points: Vec<Point>,
    backfill: bool,
}

impl Open {
    fn get(&self, number: SeriesNumber) -> Option<Point> {
        self.points
            .get(number as usize)
            .copied()
            .filter(|point| point.time != NO_POINT.time)
    }

    /// Takes in a point and returns the one that was there for the same moment.
    fn take(&mut self, number: SeriesNumber, point: Point) -> Option<Point> {
        let place = number as usize;
        if self.points.len() <= place {
            self.points.resize(place + 1, NO_POINT);
        }
        let known = self.points[place];
        if point.time >= known.time {
            self.points[place] = point;
        }
        (known.time == point.time).then_some(known)
    }

    fn iter(&self) -> impl Iterator<Item = (SeriesNumber, Point)> {
        (0..)
            .zip(&self.points)
            .filter(|(_, point)| point.time != NO_POINT.time)
            .map(|(number, point)| (number, *point))
    }
}

/// A stretch without steps that was jumped over.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Jump {
    /// End of the last step before.
    from: i64,
    /// Beginning of the first step after.
    to: i64,
}

impl Steps {
    /// Begins with a resource's first batch. `set` is the place of the set in [`FeatureSets::all`](crate::FeatureSets).
    ///
    /// # Panics
    /// When there is no such set.
    #[must_use]
    pub fn new(engine: &mut Engine, set: usize, batch: &SampleBatch) -> Self {
        let def = &engine.sets.all()[set];
        let step = def.step.unwrap_or(batch.interval);
        let series = SeriesTable::new(def);
        let plan = engine.plan(set, step);
        Self {
            set,
            step,
            closed: None,
            count: 0,
            newest: i64::MIN,
            recent: VecDeque::new(),
            series,
            open: BTreeMap::new(),
            history: History::new(&plan),
            late: 0,
            late_since: None,
            jump: None,
            done: Vec::new(),
            arrival: 0,
            plan: Some(plan),
            layout: Vec::new(),
        }
    }

    /// Makes what a snapshot leaves out. Says whether the state fits the engine's sets.
    #[must_use]
    pub fn relink(&mut self, engine: &mut Engine) -> bool {
        let Some(set) = engine.set(self.set) else {
            return false;
        };
        self.series.rebuild(set);
        let plan = engine.plan(self.set, self.step);
        let fits = self.history.fits(&plan);
        self.plan = Some(plan);
        fits
    }

    /// Length of the steps.
    #[must_use]
    pub fn step(&self) -> StepLength {
        self.step
    }

    /// End of the last step that closed.
    #[must_use]
    pub fn closed(&self) -> Option<EventTime> {
        self.closed.map(EventTime)
    }

    /// How many steps closed since the resource was met.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Series that are followed.
    #[must_use]
    pub fn series(&self) -> usize {
        self.series.len()
    }

    /// Memory of this state in bytes, without the allocator's own.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let open: usize = self
            .open
            .values()
            .map(|open| open.points.capacity() * size_of::<Point>() + 64)
            .sum();
        size_of::<Self>()
            + self.series.bytes()
            + self.history.bytes()
            + open
            + self.layout.capacity() * 4
    }

    /// Takes in a batch, and pushes the vectors of the steps that it closes. `log_time` is that of its record.
    pub fn apply(
        &mut self,
        engine: &mut Engine,
        batch: &SampleBatch,
        log_time: LogTime,
        out: &mut Vec<FeatureVector>,
    ) {
        let sets = Arc::clone(&engine.sets);
        let Some(set) = sets.all().get(self.set) else {
            return;
        };
        self.arrival += 1;
        let (mut samples, read) = self.resolve(engine, set, batch);
        let Some(newest) = samples.iter().map(|sample| sample.point.time).max() else {
            return;
        };
        if read && set.step.is_none() && batch.interval.millis() < self.step.millis() {
            self.change_step(engine, batch.interval);
        }
        if read {
            self.come_back_from_jump(engine, newest, log_time);
        }
        let first = self.step.end_of(EventTime(samples[0].point.time)).millis();
        let first = first - self.step.millis()..first;
        if !samples
            .iter()
            .all(|sample| first.contains(&sample.point.time))
        {
            // Stable: of samples with the same time the last to come stays the last.
            samples.sort_by_key(|sample| sample.point.time);
        }
        let mut rest = samples.as_slice();
        while let Some(sample) = rest.first() {
            // The step may have changed to a longer one meanwhile.
            let end = self.step.end_of(EventTime(sample.point.time)).millis();
            let (group, others) =
                rest.split_at(rest.partition_point(|sample| sample.point.time < end));
            rest = others;
            if out.len() + self.open.len() >= VECTORS_MAX {
                engine.counts.unusable += group
                    .iter()
                    .filter(|sample| sample.number != NOBODY)
                    .count() as u64;
                continue;
            }
            self.take(engine, set, batch, end, group);
            self.close_ready(engine, set, batch, out);
        }
    }

    /// Finds the series of each sample, and whether any is read by the set.
    fn resolve(
        &mut self,
        engine: &mut Engine,
        set: &FeatureSet,
        batch: &SampleBatch,
    ) -> (Vec<Arrived>, bool) {
        let mut arrived = Vec::with_capacity(batch.samples.len());
        let mut layout = std::mem::take(&mut self.layout);
        layout.resize(batch.samples.len(), NOBODY);
        let mut read = false;
        for (sample, hint) in batch.samples.iter().zip(&mut layout) {
            let time = batch.time_of(sample).millis();
            if !sample.value.is_finite() || !TIMES.contains(&time) {
                engine.counts.unusable += 1;
                continue;
            }
            let known = self.series.is(*hint, &sample.metric, &sample.tags);
            let number = if known {
                *hint
            } else {
                let found = self.series.find(&sample.metric, &sample.tags);
                found
                    .or_else(|| self.meet(engine, set, &sample.metric, &sample.tags))
                    .unwrap_or(NOBODY)
            };
            *hint = number;
            if let Some(series) = self.series.get_mut(number) {
                series.arrival = self.arrival;
                series.interval = batch.interval.millis();
                series.remote = batch.source != "host";
                engine.counts.samples += 1;
                read = true;
            }
            arrived.push(Arrived {
                number,
                point: Point {
                    time,
                    value: sample.value,
                },
            });
        }
        self.layout = layout;
        (arrived, read)
    }

    /// Takes in a series that was not there yet, in place of the quietest one if there are too many.
    fn meet(
        &mut self,
        engine: &mut Engine,
        set: &FeatureSet,
        metric: &str,
        tags: &forewarn_types::Tags,
    ) -> Option<SeriesNumber> {
        let number = self.series.insert(set, metric, tags)?;
        if self.series.len() > engine.rules.series_max {
            engine.counts.evicted += 1;
            // The new one has not arrived yet in the table's eyes, and would be the quietest itself.
            if let Some(series) = self.series.get_mut(number) {
                series.arrival = self.arrival;
            }
            let Some(quietest) = self.series.quietest(self.arrival) else {
                self.series.remove(number);
                return None;
            };
            self.forget(quietest);
        }
        Some(number)
    }

    fn forget(&mut self, number: SeriesNumber) {
        self.series.remove(number);
        for open in self.open.values_mut() {
            if let Some(point) = open.points.get_mut(number as usize) {
                *point = NO_POINT;
            }
        }
    }

    /// Puts the samples of the step that ends at `end` where they belong.
    fn take(
        &mut self,
        engine: &mut Engine,
        set: &FeatureSet,
        batch: &SampleBatch,
        end: i64,
        samples: &[Arrived],
    ) {
        let mut late = Vec::new();
        for sample in samples {
            self.newest = self.newest.max(sample.point.time);
            if sample.number == NOBODY {
                continue;
            }
            if self.closed.is_some_and(|closed| sample.point.time < closed) {
                late.push(*sample);
                continue;
            }
            let open = self.open.entry(end).or_default();
            open.backfill |= batch.backfill;
            match open.take(sample.number, sample.point) {
                Some(known) if known.value.to_bits() == sample.point.value.to_bits() => {
                    engine.counts.duplicates += 1
                }
                Some(_) => engine.counts.conflicting += 1,
                None => {}
            }
        }
        if !late.is_empty() {
            let count = self.work_in(engine, set, &late);
            self.count_late(engine, count);
        }
    }

    /// Whether a sample of a closed step counts as late. Nobody waited for a slower series, so it is not late as long
    /// as it lies within its own interval.
    fn is_late(&self, sample: &Arrived) -> bool {
        let (Some(closed), Some(series)) = (self.closed, self.series.get(sample.number)) else {
            return true;
        };
        series.interval <= self.step.millis() || sample.point.time < closed - series.interval
    }

    fn count_late(&mut self, engine: &mut Engine, count: usize) {
        engine.counts.late += count as u64;
        self.late = self
            .late
            .saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Closes the open steps that are due, oldest first.
    fn close_ready(
        &mut self,
        engine: &mut Engine,
        set: &FeatureSet,
        batch: &SampleBatch,
        out: &mut Vec<FeatureVector>,
    ) {
        while let Some((&end, open)) = self.open.first_key_value() {
            let step = self.step.millis();
            let own = step * i64::from(engine.rules.delay_steps);
            let remote =
                i64::try_from(engine.rules.remote_delay.as_millis()).unwrap_or(i64::MAX / 4);
            let delay = |series: &Series| if series.remote { own.max(remote) } else { own };
            let (mut known, mut missing) = (None, None);
            for (number, series) in self.series.iter() {
                if series.seen != 0 && series.interval <= step {
                    known = known.max(Some(delay(series)));
                    if open.get(number).is_none() {
                        missing = missing.max(Some(delay(series)));
                    }
                }
            }
            // The last of the missing steps ends where this one begins.
            let gap = self.closed.is_some_and(|closed| end - step > closed);
            if gap && self.newest < end - step + known.unwrap_or(own) {
                return;
            }
            if missing.is_some() || known.is_none() {
                let present = || {
                    open.iter()
                        .filter_map(|(number, _)| self.series.get(number))
                };
                let delay = missing
                    .or_else(|| present().map(delay).max())
                    .unwrap_or(own);
                if self.newest < end + delay {
                    return;
                }
            }
            let vector = self.close(engine, set, batch, end, missing.is_some());
            out.extend(vector);
        }
    }

    /// Closes the step that ends at `end`. No vector comes of it if it had one before the clock came back.
    fn close(
        &mut self,
        engine: &mut Engine,
        set: &FeatureSet,
        batch: &SampleBatch,
        end: i64,
        incomplete: bool,
    ) -> Option<FeatureVector> {
        let open = self.open.remove(&end)?;
        let plan = self.plan(engine);
        let step = self.step.millis();
        for (number, point) in open.iter() {
            if let Some(series) = self.series.get_mut(number) {
                series.push(point, end, step);
            }
        }
        let at = StepAt {
            end,
            step,
            closing: true,
        };
        let mut first_limit = 0;
        engine.row.clear();
        engine.ages.clear();
        for (index, first) in reading::first_operands(set).enumerate() {
            if index == set.metrics.len() {
                first_limit = first;
                break;
            }
            let (value, age) = reading::metric(set, &self.series, index, first, at);
            engine.row.push(value);
            engine.ages.push(age);
        }
        self.history.push(&plan, end / step, &engine.row);
        let moment = if plan.times.is_empty() {
            None
        } else {
            set.calendar.at(EventTime(end - step))
        };
        let values = self
            .history
            .features(&plan, &engine.ages, moment, &mut engine.scratch);
        let values: Vec<Option<f32>> = values.map(rounded).collect();
        let limits = reading::limits(set, &self.series, first_limit, at);

        if let Some(from) = self.closed {
            let reanchor =
                i64::try_from(engine.rules.reanchor_after.as_millis()).unwrap_or(i64::MAX);
            if end - step - from >= reanchor {
                self.jump = Some(Jump {
                    from,
                    to: end - step,
                });
            }
        }
        self.closed = Some(end);
        self.count += 1;
        self.recent.push_front(end);
        self.recent.truncate(KNOWN_STEPS as usize);
        let mut forgotten = Vec::new();
        for (number, series) in self.series.iter_mut() {
            let seen = u8::from(open.get(number).is_some());
            series.seen = (series.seen << 1 | seen) & ((1 << KNOWN_STEPS) - 1);
            let kept = (LATE_STEPS * step).max(i64::from(KNOWN_STEPS) * series.interval);
            if series.seen == 0
                && series
                    .points
                    .back()
                    .is_none_or(|last| last.time < end - kept)
            {
                forgotten.push(number);
            }
        }
        for number in forgotten {
            // One that has a sample in an open step is about to be seen again.
            if self.open.values().all(|open| open.get(number).is_none()) {
                self.forget(number);
            }
        }

        let had_one = self.done.iter().any(|(from, to)| end > *from && end <= *to);
        // What lies before the place to which the clock can still come back is over.
        let over = self.jump.map_or(end, |jump| jump.from.min(end));
        self.done.retain(|(_, to)| *to > over);
        let vector = if had_one {
            self.count_late(engine, open.iter().count());
            None
        } else {
            engine.counts.vectors += 1;
            engine.counts.incomplete += u64::from(incomplete);
            Some(FeatureVector {
                resource: batch.resource.clone(),
                kind: batch.kind,
                feature_set: set.id.clone(),
                step: self.step,
                step_end: EventTime(end),
                incomplete,
                values,
                limits,
                late: std::mem::take(&mut self.late),
                backfill: open.backfill,
            })
        };
        self.follow_slower(engine, set);
        vector
    }

    /// Works in late samples of one step; gives how many of them count as late, which is once each: what had come
    /// before, in time or not, is a repetition.
    fn work_in(&mut self, engine: &mut Engine, set: &FeatureSet, late: &[Arrived]) -> usize {
        let Some(closed) = self.closed else { return 0 };
        let mut count = 0;
        let plan = self.plan(engine);
        let step = self.step.millis();
        let mut stale: BTreeSet<(usize, i64)> = BTreeSet::new();
        let mut old: BTreeMap<SeriesNumber, f64> = BTreeMap::new();
        let firsts: Vec<usize> = reading::first_operands(set).collect();
        let mut step_end = 0;
        for arrived in late {
            let Arrived { number, point } = arrived;
            let is_late = usize::from(self.is_late(arrived));
            let end = self.step.end_of(EventTime(point.time)).millis();
            step_end = end;
            let place = self.recent.iter().position(|recent| *recent == end);
            let Some(series) = self.series.get_mut(*number) else {
                count += is_late;
                continue;
            };
            if let Some(place) = place {
                // Else a series that always comes second would never be waited for.
                series.seen |= 1 << place;
            }
            if end <= closed - LATE_STEPS * step {
                old.insert(*number, point.value);
                count += is_late;
                continue;
            }
            match series.insert_late(*point, step) {
                Late::Taken => count += is_late,
                Late::Superseded => {
                    count += is_late;
                    continue;
                }
                Late::Duplicate => {
                    engine.counts.duplicates += 1;
                    continue;
                }
                Late::Conflicting => {
                    engine.counts.conflicting += 1;
                    continue;
                }
            }
            let next = series
                .next_after(point.time)
                .map(|time| self.step.end_of(EventTime(time)).millis());
            for operand in &series.uses {
                let metric = firsts.partition_point(|first| first <= &usize::from(*operand)) - 1;
                let Some(def) = set.metrics.get(metric) else {
                    continue;
                };
                if series.interval > step {
                    // Its value was, or should have been, carried up to its next one.
                    let last = next.unwrap_or(closed).min(closed);
                    stale.extend(
                        (0..=(last - end) / step).map(|ahead| (metric, end + ahead * step)),
                    );
                } else {
                    stale.insert((metric, end));
                    let readings = std::iter::once(&def.operand)
                        .chain(&def.over)
                        .map(|operand| operand.reading);
                    if let Some(next) =
                        next.filter(|_| readings.into_iter().any(|r| r != Reading::Gauge))
                    {
                        stale.insert((metric, next));
                    }
                }
            }
        }
        for (metric, end) in stale.into_iter().filter(|(_, end)| *end <= closed) {
            let at = StepAt {
                end,
                step,
                closing: false,
            };
            let (value, _) = reading::metric(set, &self.series, metric, firsts[metric], at);
            self.history
                .amend(&plan, end / step, metric, value, &mut engine.scratch);
        }
        if !old.is_empty() {
            for (metric, first) in firsts.iter().enumerate().take(set.metrics.len()) {
                let value = reading::metric_of_late(set, &self.series, metric, *first, step, &old);
                if !value.is_nan() {
                    self.history.add_late(
                        &plan,
                        step_end / step,
                        metric,
                        value,
                        &mut engine.scratch,
                    );
                }
            }
        }
        count
    }

    /// Goes over to another step. Open steps are put together anew, and windows begin anew.
    fn change_step(&mut self, engine: &mut Engine, step: StepLength) {
        self.step = step;
        let plan = engine.plan(self.set, step);
        self.history = History::new(&plan);
        self.plan = Some(plan);
        for open in std::mem::take(&mut self.open).into_values() {
            for (number, point) in open.iter() {
                let end = step.end_of(EventTime(point.time)).millis();
                let anew = self.open.entry(end).or_default();
                anew.backfill |= open.backfill;
                anew.take(number, point);
            }
        }
    }

    /// Goes over to the pace of the sources that are left, when none is as fast as the step any more.
    fn follow_slower(&mut self, engine: &mut Engine, set: &FeatureSet) {
        if set.step.is_some() {
            return;
        }
        let alive = self
            .series
            .iter()
            .filter(|(_, series)| series.seen != 0)
            .map(|(_, series)| series.interval);
        let Some(fastest) = alive.min().filter(|fastest| *fastest > self.step.millis()) else {
            return;
        };
        if let Some(step) = u32::try_from(fastest)
            .ok()
            .and_then(StepLength::from_millis)
        {
            self.change_step(engine, step);
        }
    }

    /// Notices that a clock came back after a jump, and goes on where the jump began if that lasts too long.
    fn come_back_from_jump(&mut self, engine: &mut Engine, newest: i64, log_time: LogTime) {
        let Some(closed) = self.closed.filter(|closed| newest < *closed) else {
            self.late_since = None;
            return;
        };
        let since = *self.late_since.get_or_insert(log_time);
        let Some(jump) = self.jump.filter(|jump| newest >= jump.from) else {
            return;
        };
        if log_time.since(since) < engine.rules.reanchor_after {
            return;
        }
        if self.done.len() == DONE_MAX {
            // A resource whose clock does nothing but jump loses vectors rather than getting some twice.
            let to = self.done.iter().map(|(_, to)| *to).max().unwrap_or(closed);
            let from = self
                .done
                .iter()
                .map(|(from, _)| *from)
                .min()
                .unwrap_or(jump.to);
            self.done = vec![(from, to)];
        }
        self.done.push((jump.to, closed));
        self.closed = Some(jump.from);
        self.newest = jump.from;
        self.jump = None;
        self.late_since = None;
        self.recent.clear();
        let dropped = std::mem::take(&mut self.open)
            .values()
            .map(|open| open.iter().count())
            .sum();
        self.count_late(engine, dropped);
        for (_, series) in self.series.iter_mut() {
            series.seen = 0;
            series.points.retain(|point| point.time < jump.from);
        }
        let plan = self.plan(engine);
        self.history = History::new(&plan);
        engine.counts.reanchored += 1;
    }

    fn plan(&mut self, engine: &mut Engine) -> Arc<Plan> {
        Arc::clone(
            self.plan
                .get_or_insert_with(|| engine.plan(self.set, self.step)),
        )
    }
}

/// A sample of a batch and its series' number.
#[derive(Clone, Copy, Debug)]
struct Arrived {
    number: SeriesNumber,
    point: Point,
}

/// A feature as vectors carry it.
fn rounded(value: f64) -> Option<f32> {
    let rounded = value as f32;
    rounded.is_finite().then_some(rounded)
}
