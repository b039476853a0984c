//! The past of one resource's metrics: a row per step, a cell per minute, and what the weighted means remember.
//!
//! The grid has a row for every step, also for those that never came: a gap is a row of missing values, so a window
//! sees it. The work for a gap is bounded by the rows kept, however long it was.

use pulp::{Arch, NullaryFnOnce};
use serde::{Deserialize, Serialize};

use crate::calendar::Moment;
use crate::kernels::{LANES, Lanes, MISSING, diff, median, moments, rate_of_change, slope, zscore};
use crate::minutes::Minutes;
use crate::plan::{Block, Place, Plan};

/// Rows beyond those that are kept: when they are used up, all move back to the beginning at once.
const SLACK: usize = 32;

/// Below this sum of weights a weighted mean is about a past that is over.
const WEIGHT_MIN: f64 = 1e-9;

/// The past of one resource under one plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct History {
    /// Number of the newest step: its end divided by the step length.
    newest: Option<i64>,
    /// Block by block, `plan.rows` + [`SLACK`] rows each, from old to new, so that every window is one slice.
    rows: Vec<Lanes>,
    /// Rows of each block that are in use, the newest last.
    end: usize,
    /// Of each block, how many of the newest rows have all their values.
    whole: Vec<usize>,
    minutes: Minutes,
    /// Weighted sums and sums of weights, in the order of the plan's blocks and their weighted means.
    ewmas: Vec<(Lanes, Lanes)>,
}

/// Room for what is computed on the way; may be shared by all histories.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    arch: Arch,
    stats: Vec<f64>,
    values: Vec<f64>,
}

impl History {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            newest: None,
            rows: vec![MISSING; plan.blocks.len() * (plan.rows + SLACK)],
            end: plan.rows,
            whole: vec![0; plan.blocks.len()],
            minutes: Minutes::new(plan),
            ewmas: vec![
                ([0.0; LANES], [0.0; LANES]);
                plan.blocks.iter().map(|block| block.ewmas.len()).sum()
            ],
        }
    }

    /// Whether a restored state was made for this plan.
    pub(crate) fn fits(&self, plan: &Plan) -> bool {
        let fresh = Self::new(plan);
        self.rows.len() == fresh.rows.len()
            && self.ewmas.len() == fresh.ewmas.len()
            && self.whole.len() == fresh.whole.len()
            && self.whole.iter().all(|whole| *whole <= plan.rows)
            && (plan.rows..=plan.rows + SLACK).contains(&self.end)
            && self.minutes.fits(plan)
    }

    pub(crate) fn bytes(&self) -> usize {
        let ewmas = self.ewmas.capacity() * size_of::<(Lanes, Lanes)>();
        self.rows.capacity() * size_of::<Lanes>() + self.minutes.bytes() + ewmas
    }

    /// Takes in the values of the next step, one per column; NaN is missing.
    pub(crate) fn push(&mut self, plan: &Plan, number: i64, row: &[f64]) {
        let gap = self.newest.map_or(0, |newest| number - newest - 1);
        for _ in 0..gap.min(plan.rows as i64) {
            self.extend(plan, &[]);
        }
        self.extend(plan, row);
        self.newest = Some(number);
        let steps = i32::try_from(gap + 1).unwrap_or(i32::MAX);
        let newest = self.end - 1;
        let mut ewmas = self.ewmas.iter_mut();
        for (index, block) in plan.blocks.iter().enumerate() {
            let values = self.rows[index * (plan.rows + SLACK) + newest];
            for (ewma, (sums, weights)) in block.ewmas.iter().zip(&mut ewmas) {
                let keep = if steps == 1 {
                    ewma.keep
                } else {
                    ewma.keep.powi(steps)
                };
                for i in 0..LANES {
                    let there = !values[i].is_nan();
                    let sum = sums[i] * keep + if there { values[i] } else { 0.0 };
                    let weight = weights[i] * keep + if there { 1.0 } else { 0.0 };
                    (sums[i], weights[i]) = remembered(sum, weight);
                }
            }
        }
        if !self.minutes.is_empty() {
            let (minute, bit) = Minutes::place(plan, number * plan.step.millis());
            self.minutes.advance(minute);
            for (column, value) in row.iter().enumerate() {
                self.minutes.add(minute, bit, column, *value);
            }
        }
    }

    /// Appends a row; what it lacks is missing.
    fn extend(&mut self, plan: &Plan, row: &[f64]) {
        let capacity = plan.rows + SLACK;
        if self.end == capacity {
            for rows in self.rows.chunks_exact_mut(capacity) {
                rows.copy_within(SLACK.., 0);
            }
            self.end = plan.rows;
        }
        let mut values = row.chunks(LANES);
        for (rows, whole) in self.rows.chunks_exact_mut(capacity).zip(&mut self.whole) {
            let mut lanes = MISSING;
            if let Some(values) = values.next() {
                // Lanes beyond the last column hold nothing, and nothing of them is missed.
                lanes = [0.0; LANES];
                lanes[..values.len()].copy_from_slice(values);
            }
            rows[self.end] = lanes;
            let all = lanes.iter().all(|value| !value.is_nan());
            *whole = if all { (*whole + 1).min(plan.rows) } else { 0 };
        }
        self.end += 1;
    }

    /// The value of a column at a step, if the step's row is still kept.
    pub(crate) fn get(&self, plan: &Plan, number: i64, column: usize) -> f64 {
        self.place(plan, number, column)
            .map_or(f64::NAN, |place| self.rows[place][column % LANES])
    }

    /// Where a column's value at a step stands among the rows.
    fn place(&self, plan: &Plan, number: i64, column: usize) -> Option<usize> {
        let back = usize::try_from(self.newest?.checked_sub(number)?)
            .ok()
            .filter(|back| *back < plan.rows)?;
        Some(column / LANES * (plan.rows + SLACK) + self.end - 1 - back)
    }

    /// Puts right what a late sample changed: the value of a column at a step whose row is kept.
    pub(crate) fn amend(
        &mut self,
        plan: &Plan,
        number: i64,
        column: usize,
        value: f64,
        scratch: &mut Scratch,
    ) {
        let (Some(newest), Some(place)) = (self.newest, self.place(plan, number, column)) else {
            return;
        };
        let lane = column % LANES;
        let was = std::mem::replace(&mut self.rows[place][lane], value);
        self.count_whole(plan, column / LANES);
        if was.to_bits() == value.to_bits() {
            return;
        }
        // The weighted mean is linear in its values, so a late one is worth what it would be worth by now.
        let age = i32::try_from(newest - number).expect("fewer than the rows kept");
        let before: usize = plan.blocks[..column / LANES]
            .iter()
            .map(|block| block.ewmas.len())
            .sum();
        for (ewma, (sums, weights)) in plan.blocks[column / LANES]
            .ewmas
            .iter()
            .zip(&mut self.ewmas[before..])
        {
            let worth = ewma.keep.powi(age);
            let (mut sum, mut weight) = (sums[lane], weights[lane]);
            if !was.is_nan() {
                (sum, weight) = (sum - was * worth, weight - worth);
            }
            if !value.is_nan() {
                (sum, weight) = (sum + value * worth, weight + worth);
            }
            (sums[lane], weights[lane]) = remembered(sum, weight);
        }
        if !self.minutes.is_empty() {
            let (minute, _) = Minutes::place(plan, number * plan.step.millis());
            let bit = |number: i64| Minutes::place(plan, number * plan.step.millis()).1;
            let steps = self.steps_of(plan, minute);
            let values: Vec<(u32, f64)> = steps
                .map(|step| (bit(step), self.get(plan, step, column)))
                .collect();
            self.minutes.rebuild(minute, column, &values);
            if plan.minute_medians() {
                self.median_of_minute(plan, minute, scratch);
            }
        }
    }

    fn count_whole(&mut self, plan: &Plan, block: usize) {
        let from = block * (plan.rows + SLACK);
        let rows = &self.rows[from + self.end - plan.rows..from + self.end];
        let all = |lanes: &&Lanes| lanes.iter().all(|value| !value.is_nan());
        self.whole[block] = rows.iter().rev().take_while(all).count();
    }

    /// Takes in a late value that is known for its step as a whole, unless that step had one.
    pub(crate) fn add_late(
        &mut self,
        plan: &Plan,
        number: i64,
        column: usize,
        value: f64,
        scratch: &mut Scratch,
    ) {
        if self.place(plan, number, column).is_some() {
            if self.get(plan, number, column).is_nan() {
                self.amend(plan, number, column, value, scratch);
            }
        } else if !self.minutes.is_empty() {
            let (minute, bit) = Minutes::place(plan, number * plan.step.millis());
            self.minutes.add_late(minute, bit, column, value);
        }
    }

    /// The features at the newest step, in the order of the set; NaN is undefined.
    pub(crate) fn features<'a>(
        &mut self,
        plan: &'a Plan,
        ages: &[f64],
        moment: Option<Moment>,
        scratch: &'a mut Scratch,
    ) -> impl ExactSizeIterator<Item = f64> + use<'a> {
        scratch.stats.resize(plan.stats, f64::NAN);
        let stats = &mut scratch.stats;
        scratch.arch.dispatch(OfSteps {
            history: self,
            plan,
            stats,
        });
        if let (Some(newest), false) = (self.newest, self.minutes.is_empty()) {
            if plan.minute_medians() {
                let (minute, _) = Minutes::place(plan, newest * plan.step.millis());
                self.median_of_minute(plan, minute, scratch);
            }
            self.minutes.statistics(plan, &mut scratch.stats);
        }
        let stats = &mut scratch.stats;
        for zscore in &plan.minute_zscores {
            let std = stats[zscore.std];
            let spread = if std < zscore.floor {
                zscore.floor
            } else {
                std
            };
            stats[zscore.place] = (stats[zscore.value] - stats[zscore.mean]) / spread;
        }
        for (temporal, place) in &plan.times {
            stats[*place] = moment.map_or(f64::NAN, |moment| moment.feature(*temporal));
        }
        if let Some(place) = plan.ages {
            stats[place..place + ages.len()].copy_from_slice(ages);
        }
        let stats = scratch.stats.as_slice();
        plan.features.iter().map(move |place| stats[*place])
    }

    /// The steps of a minute, from old to new, as far as their rows are kept.
    fn steps_of(&self, plan: &Plan, minute: i64) -> impl Iterator<Item = i64> + use<> {
        let step = plan.step.millis();
        // A step belongs to the minute of its last millisecond: end − 1 in [minute, minute + 1).
        let first = (minute * 60_000 + 1 + step - 1).div_euclid(step);
        let last = ((minute + 1) * 60_000).div_euclid(step);
        let newest = self.newest.unwrap_or(i64::MIN);
        first.max(newest.saturating_sub(plan.rows as i64 - 1))..=last.min(newest)
    }

    fn median_of_minute(&mut self, plan: &Plan, minute: i64, scratch: &mut Scratch) {
        for column in 0..plan.minute_columns() {
            let needs = plan
                .minute_windows
                .iter()
                .flat_map(|window| &window.columns);
            if !needs
                .into_iter()
                .any(|needs| needs.column == column && needs.median.is_some())
            {
                continue;
            }
            scratch.values.clear();
            let values = self
                .steps_of(plan, minute)
                .map(|number| self.get(plan, number, column));
            scratch
                .values
                .extend(values.filter(|value| !value.is_nan()));
            self.minutes.set_median(minute, column, &mut scratch.values);
        }
    }
}

/// What is computed from the rows, for [`Arch`] to compile once per vector unit. A closure would not be inlined.
struct OfSteps<'a> {
    history: &'a History,
    plan: &'a Plan,
    stats: &'a mut [f64],
}

impl NullaryFnOnce for OfSteps<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            history,
            plan,
            stats,
        } = self;
        let seconds = plan.step.duration().as_secs_f64();
        let mut ewmas = history.ewmas.iter();
        let capacity = plan.rows + SLACK;
        for (index, block) in plan.blocks.iter().enumerate() {
            let rows = &history.rows[index * capacity..index * capacity + history.end];
            for &(back, place) in &plan.lags {
                put(stats, place + index * LANES, &rows[rows.len() - 1 - back]);
            }
            let (values, before) = (&rows[rows.len() - 1], &rows[rows.len() - 2]);
            if let Some(place) = block.diff {
                put(stats, place, &diff(values, before));
            }
            if let Some(place) = block.rate_of_change {
                put(stats, place, &rate_of_change(values, before, &block.floor));
            }
            for (ewma, (sums, weights)) in block.ewmas.iter().zip(&mut ewmas) {
                let mut means = MISSING;
                for i in 0..LANES {
                    means[i] = if weights[i] > 0.0 {
                        sums[i] / weights[i]
                    } else {
                        f64::NAN
                    };
                }
                put(stats, ewma.place, &means);
            }
            windows(block, rows, history.whole[index], seconds, stats);
        }
    }
}

/// The windows of one block that end with its newest row.
#[inline(always)]
fn windows(block: &Block, rows: &[Lanes], whole: usize, seconds: f64, stats: &mut [f64]) {
    for window in &block.windows {
        let values = &rows[rows.len() - 1];
        let rows = &rows[rows.len() - window.steps..];
        if let Some(place) = window.moments {
            let moments = if window.steps <= whole {
                moments::<true>(rows)
            } else {
                moments::<false>(rows)
            };
            put(stats, place, &moments.mean);
            put(stats, place + LANES, &moments.std);
            put(stats, place + 2 * LANES, &moments.min);
            put(stats, place + 3 * LANES, &moments.max);
            if let Some(place) = window.zscore {
                put(stats, place, &zscore(values, &moments, &block.floor));
            }
        }
        if let Some(place) = window.median {
            let network = &window.network;
            let median = if window.steps <= whole {
                median::<true>(rows, network)
            } else {
                median::<false>(rows, network)
            };
            put(stats, place, &median);
        }
        if let Some(place) = window.slope {
            let slope = if window.steps <= whole {
                slope::<true>(rows, seconds)
            } else {
                slope::<false>(rows, seconds)
            };
            put(stats, place, &slope);
        }
    }
}

#[inline(always)]
fn put(stats: &mut [f64], place: Place, lanes: &Lanes) {
    stats[place..place + LANES].copy_from_slice(lanes);
}

/// A weighted mean as it goes on: one about a past that is over, or whose sum overflowed, begins anew.
#[inline(always)]
fn remembered(sum: f64, weight: f64) -> (f64, f64) {
    if weight < WEIGHT_MIN || !sum.is_finite() {
        (0.0, 0.0)
    } else {
        (sum, weight)
    }
}
