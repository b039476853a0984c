//! A feature set on a grid: which windows are needed, over which metrics, and where each feature is found.
//!
//! Metrics are columns, in blocks of eight. What several features share is computed once: `mean_10`, `std_10` and
//! `zscore_10` of eight neighbouring metrics are one pass.

use forewarn_types::StepLength;

use crate::definition::{FeatureSet, FeatureSource};
use crate::kernels::{LANES, network};
use crate::transform::{Extent, Temporal, Transform, WINDOW_STEPS_MAX, Window};

/// Rows that are kept on a coarse grid: the longest exact window, rounded up. A power of two, as the next is.
const ROWS: usize = 64;
/// Rows that are kept where minutes are aggregated: the current minute and the one before it are always whole.
const ROWS_WITH_MINUTES: usize = 128;

const _: () = assert!(ROWS > WINDOW_STEPS_MAX as usize);
const _: () = assert!(ROWS.is_power_of_two() && ROWS_WITH_MINUTES.is_power_of_two());

/// What to compute at each step, and in which order.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) step: StepLength,
    /// Columns by eight.
    pub(crate) blocks: Vec<Block>,
    pub(crate) rows: usize,
    pub(crate) minute_windows: Vec<MinuteWindow>,
    pub(crate) ewmas: Vec<Ewma>,
    /// The rows of which single values are wanted: how many steps back, and where in the table the whole row goes.
    pub(crate) lags: Vec<(i64, usize)>,
    pub(crate) outputs: Vec<Output>,
    /// Numbers in the table of statistics.
    pub(crate) stats: usize,
    pub(crate) temporal: bool,
}

/// The windows of single steps that are wanted of one block of columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    /// Rows of the longest window.
    pub(crate) longest: usize,
    pub(crate) windows: Vec<StepWindow>,
}

/// A window of single steps: the places of eight numbers each in the table of statistics.
#[derive(Clone, Debug)]
pub(crate) struct StepWindow {
    pub(crate) steps: usize,
    /// Of mean, std, min and max.
    pub(crate) moments: Option<usize>,
    pub(crate) median: Option<usize>,
    pub(crate) slope: Option<usize>,
    /// For the median.
    pub(crate) network: Vec<(usize, usize)>,
}

/// A window of minutes.
#[derive(Clone, Debug)]
pub(crate) struct MinuteWindow {
    pub(crate) minutes: i64,
    /// Steps that a full window holds.
    pub(crate) nominal: usize,
    pub(crate) columns: Vec<ColumnNeeds>,
}

/// What is wanted of one column over minutes: places in the table of statistics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnNeeds {
    pub(crate) column: usize,
    /// Of mean, std, min and max.
    pub(crate) moments: usize,
    pub(crate) median: Option<usize>,
    pub(crate) slope: Option<usize>,
}

/// An exponentially weighted mean of one column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ewma {
    pub(crate) column: usize,
    /// What remains of a weight after one step: 1 − α.
    pub(crate) keep: f64,
}

/// Where a feature is found: places in the table of statistics, unless it says otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Output {
    Stat(usize),
    /// One minus another.
    Difference {
        value: usize,
        before: usize,
    },
    /// The difference in relation to the size of the earlier.
    RateOfChange {
        value: usize,
        before: usize,
        floor: f64,
    },
    /// A statistic per row, told per second.
    PerSecond {
        stat: usize,
        seconds: f64,
    },
    ZScore {
        value: usize,
        mean: usize,
        std: usize,
        floor: f64,
    },
    /// A column of the ages.
    Age(usize),
    /// One of [`Plan::ewmas`].
    Ewma(usize),
    Time(Temporal),
}

#[derive(Clone, Copy, PartialEq)]
enum Stat {
    Mean,
    Std,
    Min,
    Max,
    Median,
    Slope,
}

impl Plan {
    pub(crate) fn new(set: &FeatureSet, step: StepLength) -> Self {
        let columns = set.metrics.len();
        let mut plan = Self {
            step,
            blocks: vec![Block::default(); columns.div_ceil(LANES)],
            rows: ROWS,
            minute_windows: Vec::new(),
            ewmas: Vec::new(),
            lags: Vec::new(),
            outputs: Vec::with_capacity(set.features.len()),
            stats: 0,
            temporal: false,
        };
        for feature in &set.features {
            let output = match feature.source {
                FeatureSource::Metric { metric, transform } => {
                    plan.output(metric, transform, set.metrics[metric].floor)
                }
                FeatureSource::Time(temporal) => {
                    plan.temporal = true;
                    Output::Time(temporal)
                }
            };
            plan.outputs.push(output);
        }
        if !plan.minute_windows.is_empty() {
            plan.rows = ROWS_WITH_MINUTES;
        }
        plan
    }

    /// Columns that the minute aggregates cover: all up to the last that has a long window.
    pub(crate) fn minute_columns(&self) -> usize {
        self.minute_windows
            .iter()
            .flat_map(|window| &window.columns)
            .map(|needs| needs.column + 1)
            .max()
            .unwrap_or(0)
    }

    /// Whether the median of each minute is wanted.
    pub(crate) fn minute_medians(&self) -> bool {
        self.minute_windows
            .iter()
            .flat_map(|window| &window.columns)
            .any(|needs| needs.median.is_some())
    }

    fn output(&mut self, column: usize, transform: Transform, floor: f64) -> Output {
        match transform {
            Transform::Value => Output::Stat(self.lag(0, column)),
            Transform::Age => Output::Age(column),
            Transform::Diff => Output::Difference {
                value: self.lag(0, column),
                before: self.lag(1, column),
            },
            Transform::RateOfChange => Output::RateOfChange {
                value: self.lag(0, column),
                before: self.lag(1, column),
                floor,
            },
            Transform::Lag(steps) => Output::Stat(self.lag(i64::from(steps), column)),
            Transform::Mean(window) => Output::Stat(self.stat(window, Stat::Mean, column)),
            Transform::Std(window) => Output::Stat(self.stat(window, Stat::Std, column)),
            Transform::Min(window) => Output::Stat(self.stat(window, Stat::Min, column)),
            Transform::Max(window) => Output::Stat(self.stat(window, Stat::Max, column)),
            Transform::Median(window) => Output::Stat(self.stat(window, Stat::Median, column)),
            Transform::Slope(window) => {
                let seconds = match window.on(self.step) {
                    Extent::Steps(_) => self.step.duration().as_secs_f64(),
                    Extent::Minutes(_) => 60.0,
                };
                Output::PerSecond {
                    stat: self.stat(window, Stat::Slope, column),
                    seconds,
                }
            }
            Transform::ZScore(window) => Output::ZScore {
                value: self.lag(0, column),
                mean: self.stat(window, Stat::Mean, column),
                std: self.stat(window, Stat::Std, column),
                floor,
            },
            Transform::Ewma(span) => {
                let alpha = 2.0 / (f64::from(span) + 1.0);
                self.ewmas.push(Ewma {
                    column,
                    keep: 1.0 - alpha,
                });
                Output::Ewma(self.ewmas.len() - 1)
            }
        }
    }

    /// The place of a column's value so many steps back.
    fn lag(&mut self, steps: i64, column: usize) -> usize {
        let found = self
            .lags
            .iter()
            .find(|(known, _)| *known == steps)
            .map(|(_, place)| *place);
        let place = found.unwrap_or_else(|| {
            let place = reserve(&mut self.stats, self.blocks.len() * LANES);
            self.lags.push((steps, place));
            place
        });
        place + column
    }

    /// The place of a statistic in the table, where it is put if it is not there yet.
    fn stat(&mut self, window: Window, stat: Stat, column: usize) -> usize {
        match window.on(self.step) {
            Extent::Steps(steps) => self.step_stat(steps as usize, stat, column),
            Extent::Minutes(minutes) => self.minute_stat(i64::from(minutes), stat, column),
        }
    }

    fn step_stat(&mut self, steps: usize, stat: Stat, column: usize) -> usize {
        let (block, lane) = (&mut self.blocks[column / LANES], column % LANES);
        block.longest = block.longest.max(steps);
        let found = block
            .windows
            .iter()
            .position(|window| window.steps == steps);
        let index = found.unwrap_or_else(|| {
            block.windows.push(StepWindow {
                steps,
                moments: None,
                median: None,
                slope: None,
                network: network(steps),
            });
            block.windows.len() - 1
        });
        let needs = &mut block.windows[index];
        let (kept, count, offset) = match stat {
            Stat::Mean => (&mut needs.moments, 4, 0),
            Stat::Std => (&mut needs.moments, 4, 1),
            Stat::Min => (&mut needs.moments, 4, 2),
            Stat::Max => (&mut needs.moments, 4, 3),
            Stat::Median => (&mut needs.median, 1, 0),
            Stat::Slope => (&mut needs.slope, 1, 0),
        };
        let base = *kept.get_or_insert_with(|| reserve(&mut self.stats, count * LANES));
        base + offset * LANES + lane
    }

    fn minute_stat(&mut self, minutes: i64, stat: Stat, column: usize) -> usize {
        let found = self
            .minute_windows
            .iter()
            .position(|window| window.minutes == minutes);
        let index = found.unwrap_or_else(|| {
            let nominal = usize::try_from(minutes * 60_000 / self.step.millis())
                .expect("a window is an hour at most");
            self.minute_windows.push(MinuteWindow {
                minutes,
                nominal,
                columns: Vec::new(),
            });
            self.minute_windows.len() - 1
        });
        let window = &mut self.minute_windows[index];
        let found = window
            .columns
            .iter()
            .position(|needs| needs.column == column);
        let place = found.unwrap_or_else(|| {
            let moments = reserve(&mut self.stats, 4);
            window.columns.push(ColumnNeeds {
                column,
                moments,
                median: None,
                slope: None,
            });
            window.columns.len() - 1
        });
        let needs = &mut window.columns[place];
        match stat {
            Stat::Mean => needs.moments,
            Stat::Std => needs.moments + 1,
            Stat::Min => needs.moments + 2,
            Stat::Max => needs.moments + 3,
            Stat::Median => *needs
                .median
                .get_or_insert_with(|| reserve(&mut self.stats, 1)),
            Stat::Slope => *needs
                .slope
                .get_or_insert_with(|| reserve(&mut self.stats, 1)),
        }
    }
}

fn reserve(stats: &mut usize, count: usize) -> usize {
    let place = *stats;
    *stats += count;
    place
}
