//! The past of one resource's metrics: a row per step, a cell per minute, and what the weighted means remember.
//!
//! The grid has a row for every step, also for those that never came: a gap is a row of missing values, so a window
//! sees it. The work for a gap is bounded by the rows kept, however long it was.

use serde::{Deserialize, Serialize};

use crate::calendar::Moment;
use crate::kernels::{LANES, Lanes, MISSING, median, moments, slope};
use crate::minutes::Minutes;
use crate::plan::{Output, Plan};

/// The past of one resource under one plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct History {
    /// Number of the newest step: its end divided by the step length.
    newest: Option<i64>,
    /// `plan.rows` rows of `plan.blocks.len()` blocks; step n stands in row n mod `plan.rows`.
    rows: Vec<Lanes>,
    minutes: Minutes,
    /// Weighted sum and sum of weights of each weighted mean.
    ewmas: Vec<(f64, f64)>,
}

/// Below this sum of weights a weighted mean is about a past that is over.
const WEIGHT_MIN: f64 = 1e-9;

/// Room for what is computed on the way; may be shared by all histories.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    window: Vec<Lanes>,
    stats: Vec<f64>,
    values: Vec<f64>,
}

impl History {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            newest: None,
            rows: vec![MISSING; plan.rows * plan.blocks.len()],
            minutes: Minutes::new(plan),
            ewmas: vec![(0.0, 0.0); plan.ewmas.len()],
        }
    }

    /// Whether a restored state was made for this plan.
    pub(crate) fn fits(&self, plan: &Plan) -> bool {
        self.rows.len() == plan.rows * plan.blocks.len()
            && self.ewmas.len() == plan.ewmas.len()
            && self.minutes.fits(plan)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Lanes>()
            + self.minutes.bytes()
            + self.ewmas.capacity() * 16
    }

    /// Takes in the values of the next step, one per column; NaN is missing.
    pub(crate) fn push(&mut self, plan: &Plan, number: i64, row: &[f64]) {
        let gap = self.newest.map_or(0, |newest| number - newest - 1);
        let rows = plan.rows as i64;
        for missed in number - gap.min(rows)..number {
            let place = self.place(plan, missed);
            self.rows[place..place + plan.blocks.len()].fill(MISSING);
        }
        let place = self.place(plan, number);
        for (lanes, values) in self.rows[place..place + plan.blocks.len()]
            .iter_mut()
            .zip(row.chunks(LANES))
        {
            lanes[..values.len()].copy_from_slice(values);
        }
        let steps = i32::try_from(gap + 1).unwrap_or(i32::MAX);
        for (ewma, (sum, weight)) in plan.ewmas.iter().zip(&mut self.ewmas) {
            let keep = if steps == 1 {
                ewma.keep
            } else {
                ewma.keep.powi(steps)
            };
            (*sum, *weight) = (*sum * keep, *weight * keep);
            let value = row[ewma.column];
            if !value.is_nan() {
                (*sum, *weight) = (*sum + value, *weight + 1.0);
            }
            // A sum that overflowed would never come back by itself.
            if *weight < WEIGHT_MIN || !sum.is_finite() {
                (*sum, *weight) = (0.0, 0.0);
            }
        }
        self.newest = Some(number);
        if !self.minutes.is_empty() {
            let (minute, bit) = Minutes::place(plan, number * plan.step.millis());
            self.minutes.advance(minute);
            for (column, value) in row.iter().enumerate() {
                self.minutes.add(minute, bit, column, *value);
            }
        }
    }

    /// The value of a column at a step, if the step's row is still kept.
    pub(crate) fn get(&self, plan: &Plan, number: i64, column: usize) -> f64 {
        match self.newest {
            Some(newest) if number <= newest && newest - number < plan.rows as i64 => {
                self.rows[self.place(plan, number) + column / LANES][column % LANES]
            }
            _ => f64::NAN,
        }
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
        let Some(newest) = self
            .newest
            .filter(|newest| number <= *newest && newest - number < plan.rows as i64)
        else {
            return;
        };
        let place = self.place(plan, number) + column / LANES;
        let was = std::mem::replace(&mut self.rows[place][column % LANES], value);
        if was.to_bits() == value.to_bits() {
            return;
        }
        // The weighted mean is linear in its values, so a late one is worth what it would be worth by now.
        let age = i32::try_from(newest - number).expect("fewer than the rows kept");
        for (ewma, (sum, weight)) in plan
            .ewmas
            .iter()
            .zip(&mut self.ewmas)
            .filter(|(ewma, _)| ewma.column == column)
        {
            let worth = ewma.keep.powi(age);
            if !was.is_nan() {
                (*sum, *weight) = (*sum - was * worth, *weight - worth);
            }
            if !value.is_nan() {
                (*sum, *weight) = (*sum + value * worth, *weight + worth);
            }
            if *weight < WEIGHT_MIN || !sum.is_finite() {
                (*sum, *weight) = (0.0, 0.0);
            }
        }
        if !self.minutes.is_empty() {
            let (minute, _) = Minutes::place(plan, number * plan.step.millis());
            let values: Vec<(u32, f64)> = self
                .steps_of(plan, minute)
                .map(|step| {
                    (
                        Minutes::place(plan, step * plan.step.millis()).1,
                        self.get(plan, step, column),
                    )
                })
                .collect();
            self.minutes.rebuild(minute, column, &values);
            if plan.minute_medians() {
                self.median_of_minute(plan, minute, scratch);
            }
        }
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
        let Some(newest) = self.newest else { return };
        if newest - number < plan.rows as i64 {
            if self.get(plan, number, column).is_nan() {
                self.amend(plan, number, column, value, scratch);
            }
        } else if !self.minutes.is_empty() {
            let (minute, bit) = Minutes::place(plan, number * plan.step.millis());
            self.minutes.add_late(minute, bit, column, value);
        }
    }

    /// The features at the newest step, in the order of the set; NaN is undefined.
    pub(crate) fn features(
        &mut self,
        plan: &Plan,
        ages: &[f64],
        moment: Option<Moment>,
        scratch: &mut Scratch,
        out: &mut Vec<f64>,
    ) {
        out.clear();
        let Some(newest) = self.newest else { return };
        scratch.stats.resize(plan.stats, f64::NAN);
        for &(steps, place) in &plan.lags {
            let row = self.place(plan, newest - steps);
            let row = self.rows[row..row + plan.blocks.len()].as_flattened();
            scratch.stats[place..place + row.len()].copy_from_slice(row);
        }
        self.step_statistics(plan, newest, scratch);
        if !self.minutes.is_empty() {
            if plan.minute_medians() {
                let (minute, _) = Minutes::place(plan, newest * plan.step.millis());
                self.median_of_minute(plan, minute, scratch);
            }
            self.minutes.statistics(plan, &mut scratch.stats);
        }
        let stats = scratch.stats.as_slice();
        out.extend(plan.outputs.iter().map(|output| match *output {
            Output::Stat(stat) => stats[stat],
            Output::Difference { value, before } => stats[value] - stats[before],
            Output::RateOfChange {
                value,
                before,
                floor,
            } => {
                let before = stats[before];
                if before.abs() >= floor {
                    (stats[value] - before) / before.abs()
                } else {
                    f64::NAN
                }
            }
            Output::PerSecond { stat, seconds } => stats[stat] / seconds,
            // Against an undefined spread, `max` would answer with the floor.
            Output::ZScore { std, .. } if stats[std].is_nan() => f64::NAN,
            Output::ZScore {
                value,
                mean,
                std,
                floor,
            } => (stats[value] - stats[mean]) / stats[std].max(floor),
            Output::Age(column) => ages.get(column).copied().unwrap_or(f64::NAN),
            Output::Ewma(index) => {
                let (sum, weight) = self.ewmas[index];
                if weight > 0.0 { sum / weight } else { f64::NAN }
            }
            Output::Time(temporal) => moment.map_or(f64::NAN, |moment| moment.feature(temporal)),
        }));
    }

    fn step_statistics(&self, plan: &Plan, newest: i64, scratch: &mut Scratch) {
        let Scratch {
            window: rows,
            stats,
            ..
        } = scratch;
        for (index, block) in plan.blocks.iter().enumerate() {
            // Laid out from old to new once, every window is the end of the longest one.
            rows.clear();
            rows.extend(
                (0..block.longest as i64)
                    .rev()
                    .map(|back| self.rows[self.place(plan, newest - back) + index]),
            );
            let mut put =
                |place: usize, lanes: &Lanes| stats[place..place + LANES].copy_from_slice(lanes);
            for window in &block.windows {
                let rows = &rows[block.longest - window.steps..];
                if let Some(place) = window.moments {
                    let moments = moments(rows);
                    put(place, &moments.mean);
                    put(place + LANES, &moments.std);
                    put(place + 2 * LANES, &moments.min);
                    put(place + 3 * LANES, &moments.max);
                }
                if let Some(place) = window.median {
                    put(place, &median(rows, &window.network));
                }
                if let Some(place) = window.slope {
                    put(place, &slope(rows));
                }
            }
        }
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
        let mut columns: Vec<usize> = Vec::new();
        for needs in plan
            .minute_windows
            .iter()
            .flat_map(|window| &window.columns)
            .filter(|n| n.median.is_some())
        {
            if !columns.contains(&needs.column) {
                columns.push(needs.column);
            }
        }
        for column in columns {
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

    fn place(&self, plan: &Plan, number: i64) -> usize {
        // The number of rows is a power of two, so this is the remainder also of negative numbers.
        (number as usize & (plan.rows - 1)) * plan.blocks.len()
    }
}
