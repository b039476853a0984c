//! One-minute aggregates: what is left of the steps beyond the rows, for windows up to an hour.
//!
//! A minute holds which of its steps had a value (a bit each), their mean, their squared deviations from it, the
//! least, the greatest and the median. The bits tell a late value from one that was counted already.

use serde::{Deserialize, Serialize};

use crate::kernels::{median_of, needed};
use crate::plan::{MinuteWindow, Plan};
use crate::transform::WINDOW_MINUTES_MAX;

/// Minutes that are kept.
const KEPT: usize = 64;
const _: () = assert!(KEPT >= WINDOW_MINUTES_MAX as usize);

const MINUTE_MS: i64 = 60_000;
const MINUTE_SECONDS: f64 = 60.0;

/// What is known about one column over one minute.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Cell {
    /// Bit i: the minute's step i had a value. A step is a second or longer, so 60 bits are enough.
    present: u64,
    mean: f64,
    /// Sum of the squared deviations from the mean. A plain sum of squares would lose all digits of large values.
    squares: f64,
    min: f64,
    max: f64,
    median: f64,
}

impl Cell {
    const EMPTY: Self = Self {
        present: 0,
        mean: 0.0,
        squares: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        median: f64::NAN,
    };

    fn add(&mut self, bit: u32, value: f64) {
        self.present |= 1 << bit;
        let off = value - self.mean;
        self.mean += off / f64::from(self.present.count_ones());
        self.squares += off * (value - self.mean);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }
}

/// Several cells seen as one.
#[derive(Clone, Copy, Debug)]
struct Merged {
    count: f64,
    mean: f64,
    squares: f64,
    min: f64,
    max: f64,
}

impl Merged {
    const EMPTY: Self = Self {
        count: 0.0,
        mean: 0.0,
        squares: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
    };

    /// Chan's update: exact, without a reference to the single values.
    fn merge(&mut self, cell: &Cell) {
        let count = f64::from(cell.present.count_ones());
        if count == 0.0 {
            return;
        }
        let total = self.count + count;
        let off = cell.mean - self.mean;
        self.mean += off * (count / total);
        self.squares += cell.squares + off * off * (self.count * count / total);
        self.count = total;
        self.min = self.min.min(cell.min);
        self.max = self.max.max(cell.max);
    }
}

/// The minutes of all columns of one resource that have long windows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Minutes {
    columns: usize,
    /// Number of the newest minute since the epoch.
    newest: Option<i64>,
    /// [`KEPT`] rows of `columns` cells; minute m stands in row m mod [`KEPT`].
    cells: Vec<Cell>,
    /// Whole minutes of a window, merged, until one of them changes: derived, so not part of the state.
    #[serde(skip)]
    merged: Vec<(i64, Merged)>,
}

impl Minutes {
    pub(crate) fn new(plan: &Plan) -> Self {
        let columns = plan.minute_columns();
        Self {
            columns,
            newest: None,
            cells: vec![Cell::EMPTY; columns * KEPT],
            merged: Vec::new(),
        }
    }

    /// Whether the state was made for this plan.
    pub(crate) fn fits(&self, plan: &Plan) -> bool {
        self.columns == plan.minute_columns() && self.cells.len() == self.columns * KEPT
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.columns == 0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<Cell>()
            + self.merged.capacity() * size_of::<(i64, Merged)>()
    }

    /// The minute that holds the last millisecond of the step that ends at `end`, and the step's bit in it.
    pub(crate) fn place(plan: &Plan, end: i64) -> (i64, u32) {
        let last = end - 1;
        let bit = last.rem_euclid(MINUTE_MS) / plan.step.millis();
        (
            last.div_euclid(MINUTE_MS),
            u32::try_from(bit).expect("a minute has at most 60 steps"),
        )
    }

    /// Moves on to a minute, and forgets what has become too old.
    pub(crate) fn advance(&mut self, minute: i64) {
        if self.newest == Some(minute) || self.columns == 0 {
            return;
        }
        let first = self
            .newest
            .map_or(minute, |newest| (newest + 1).max(minute - KEPT as i64 + 1));
        for skipped in first..=minute {
            let row = self.row(skipped);
            self.cells[row..row + self.columns].fill(Cell::EMPTY);
        }
        self.newest = Some(minute);
    }

    /// Takes in a value of the newest minute.
    pub(crate) fn add(&mut self, minute: i64, bit: u32, column: usize, value: f64) {
        if column < self.columns && !value.is_nan() {
            let row = self.row(minute);
            self.cells[row + column].add(bit, value);
        }
    }

    /// Takes in a late value of a minute beyond the rows, unless its step had one. The minute's median stays.
    pub(crate) fn add_late(&mut self, minute: i64, bit: u32, column: usize, value: f64) {
        if column >= self.columns || value.is_nan() || !self.keeps(minute) {
            return;
        }
        let row = self.row(minute);
        let cell = &mut self.cells[row + column];
        if cell.present & (1 << bit) == 0 {
            cell.add(bit, value);
            self.merged.clear();
        }
    }

    /// Makes a cell anew from the values of its steps.
    pub(crate) fn rebuild(&mut self, minute: i64, column: usize, values: &[(u32, f64)]) {
        if column >= self.columns || !self.keeps(minute) {
            return;
        }
        let mut cell = Cell::EMPTY;
        for &(bit, value) in values.iter().filter(|(_, value)| !value.is_nan()) {
            cell.add(bit, value);
        }
        let row = self.row(minute);
        self.cells[row + column] = cell;
        self.merged.clear();
    }

    /// Sets the median of a column's minute.
    pub(crate) fn set_median(&mut self, minute: i64, column: usize, values: &mut [f64]) {
        if column < self.columns && self.keeps(minute) {
            let row = self.row(minute);
            self.cells[row + column].median = if values.is_empty() {
                f64::NAN
            } else {
                median_of(values)
            };
        }
    }

    /// Computes the statistics of the plan's minute windows that end with the newest minute.
    pub(crate) fn statistics(&mut self, plan: &Plan, stats: &mut [f64]) {
        let Some(newest) = self.newest else { return };
        let mut place = 0;
        let mut medians = Vec::new();
        for window in &plan.minute_windows {
            for needs in &window.columns {
                let mut merged = self.whole_minutes(place, newest, window, needs.column);
                place += 1;
                merged.merge(&self.cells[self.row(newest) + needs.column]);
                let enough = merged.count >= needed(window.nominal, 2);
                let moments = &mut stats[needs.moments..needs.moments + 4];
                if !enough {
                    moments.fill(f64::NAN);
                } else {
                    let std = (merged.squares.max(0.0) / (merged.count - 1.0)).sqrt();
                    moments.copy_from_slice(&[merged.mean, std, merged.min, merged.max]);
                }
                if let Some(median) = needs.median {
                    medians.clear();
                    medians.extend(
                        self.window(newest, window, needs.column)
                            .map(|(_, cell)| cell.median),
                    );
                    medians.retain(|median| !median.is_nan());
                    let known = enough && !medians.is_empty();
                    stats[median] = if known {
                        median_of(&mut medians)
                    } else {
                        f64::NAN
                    };
                }
                if let Some(slope) = needs.slope {
                    stats[slope] = if enough {
                        self.slope(newest, window, needs.column)
                    } else {
                        f64::NAN
                    };
                }
            }
        }
    }

    /// The window's minutes before the newest, merged; remembered while the minute lasts.
    fn whole_minutes(
        &mut self,
        place: usize,
        newest: i64,
        window: &MinuteWindow,
        column: usize,
    ) -> Merged {
        if let Some((minute, merged)) = self.merged.get(place)
            && *minute == newest
        {
            return *merged;
        }
        let mut merged = Merged::EMPTY;
        for minute in newest - window.minutes + 1..newest {
            merged.merge(&self.cells[self.row(minute) + column]);
        }
        match self.merged.get_mut(place) {
            Some(kept) => *kept = (newest, merged),
            None => self.merged.push((newest, merged)),
        }
        merged
    }

    fn window<'a>(
        &'a self,
        newest: i64,
        window: &MinuteWindow,
        column: usize,
    ) -> impl Iterator<Item = (f64, &'a Cell)> {
        let first = newest - window.minutes + 1;
        (first..=newest)
            .map(move |minute| {
                (
                    (minute - first) as f64,
                    &self.cells[self.row(minute) + column],
                )
            })
            .filter(|(_, cell)| cell.present != 0)
    }

    /// Least-squares slope through the means of the minutes, per second.
    fn slope(&self, newest: i64, window: &MinuteWindow, column: usize) -> f64 {
        let cells = || self.window(newest, window, column);
        let count = cells().count() as f64;
        if count < 2.0 {
            return f64::NAN;
        }
        let middle = cells().map(|(at, _)| at).sum::<f64>() / count;
        let mean = cells().map(|(_, cell)| cell.mean).sum::<f64>() / count;
        let together: f64 = cells()
            .map(|(at, cell)| (at - middle) * (cell.mean - mean))
            .sum();
        let spread: f64 = cells().map(|(at, _)| (at - middle) * (at - middle)).sum();
        together / spread / MINUTE_SECONDS
    }

    fn row(&self, minute: i64) -> usize {
        minute.rem_euclid(KEPT as i64) as usize * self.columns
    }

    fn keeps(&self, minute: i64) -> bool {
        self.newest.is_some_and(|newest| {
            minute <= newest && newest - minute < i64::from(WINDOW_MINUTES_MAX)
        })
    }
}
