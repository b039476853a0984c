//! A feature set on a grid: which windows are needed, over which metrics, and where each feature is found.
//!
//! Metrics are columns, in blocks of eight, and what is computed goes into one table of numbers, the statistics. What
//! several features share is computed once: `mean_10`, `std_10` and `zscore_10` of eight neighbouring metrics are one
//! pass. A feature is then nothing but a place in that table.

use forewarn_types::StepLength;

use crate::definition::{FeatureSet, FeatureSource};
use crate::kernels::{LANES, Lanes, network};
use crate::transform::{Extent, Temporal, Transform, WINDOW_STEPS_MAX, Window};

/// Rows that are kept on a coarse grid: the longest exact window, and the row before it.
const ROWS: usize = 64;
/// Rows that are kept where minutes are aggregated: the current minute and the one before it are always whole.
const ROWS_WITH_MINUTES: usize = 128;

const _: () = assert!(ROWS > WINDOW_STEPS_MAX as usize);

/// A place in the table of statistics.
pub(crate) type Place = usize;

/// What to compute at each step.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) step: StepLength,
    pub(crate) blocks: Vec<Block>,
    /// Rows to keep.
    pub(crate) rows: usize,
    /// Whole rows that are wanted: how many steps back, and where they go. The first is the newest row.
    pub(crate) lags: Vec<(usize, Place)>,
    pub(crate) minute_windows: Vec<MinuteWindow>,
    pub(crate) minute_zscores: Vec<MinuteZScore>,
    pub(crate) times: Vec<(Temporal, Place)>,
    /// Where the ages of all columns go, if any is wanted.
    pub(crate) ages: Option<Place>,
    /// Where each feature is found, in the order of the set.
    pub(crate) features: Vec<Place>,
    /// Numbers in the table.
    pub(crate) stats: usize,
}

/// What is wanted of eight neighbouring columns; a place holds eight numbers.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The smallest deviations that matter.
    pub(crate) floor: Lanes,
    pub(crate) diff: Option<Place>,
    pub(crate) rate_of_change: Option<Place>,
    pub(crate) ewmas: Vec<Ewma>,
    pub(crate) windows: Vec<StepWindow>,
}

/// An exponentially weighted mean.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ewma {
    /// What remains of a weight after one step: 1 − α.
    pub(crate) keep: f64,
    pub(crate) place: Place,
}

/// A window of single steps.
#[derive(Clone, Debug)]
pub(crate) struct StepWindow {
    pub(crate) steps: usize,
    /// Of mean, std, min and max, eight numbers each.
    pub(crate) moments: Option<Place>,
    /// Needs the moments.
    pub(crate) zscore: Option<Place>,
    pub(crate) median: Option<Place>,
    /// For the median: what to compare.
    pub(crate) network: Vec<(usize, usize)>,
    pub(crate) slope: Option<Place>,
}

/// A window of minutes.
#[derive(Clone, Debug)]
pub(crate) struct MinuteWindow {
    pub(crate) minutes: i64,
    /// Steps that a full window holds.
    pub(crate) nominal: usize,
    pub(crate) columns: Vec<ColumnNeeds>,
}

/// What is wanted of one column over minutes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnNeeds {
    pub(crate) column: usize,
    /// Of mean, std, min and max.
    pub(crate) moments: Place,
    pub(crate) median: Option<Place>,
    pub(crate) slope: Option<Place>,
}

/// A z-score over minutes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MinuteZScore {
    pub(crate) place: Place,
    pub(crate) value: Place,
    pub(crate) mean: Place,
    pub(crate) std: Place,
    pub(crate) floor: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Stat {
    Mean,
    Std,
    Min,
    Max,
    Median,
    Slope,
    ZScore,
}

impl Plan {
    pub(crate) fn new(set: &FeatureSet, step: StepLength) -> Self {
        let blocks = set.metrics.chunks(LANES).map(|metrics| Block {
            floor: std::array::from_fn(|lane| metrics.get(lane).map_or(1.0, |metric| metric.floor)),
            diff: None,
            rate_of_change: None,
            ewmas: Vec::new(),
            windows: Vec::new(),
        });
        let mut plan = Self {
            step,
            blocks: blocks.collect(),
            rows: ROWS,
            lags: Vec::new(),
            minute_windows: Vec::new(),
            minute_zscores: Vec::new(),
            times: Vec::new(),
            ages: None,
            features: Vec::with_capacity(set.features.len()),
            stats: 0,
        };
        // Every metric has its value, and much is computed from it.
        plan.lag(0, 0);
        for feature in &set.features {
            let place = match feature.source {
                FeatureSource::Metric { metric, transform } => plan.feature(metric, transform),
                FeatureSource::Time(temporal) => {
                    let place = reserve(&mut plan.stats, 1);
                    plan.times.push((temporal, place));
                    place
                }
            };
            plan.features.push(place);
        }
        if !plan.minute_windows.is_empty() {
            plan.rows = ROWS_WITH_MINUTES;
        }
        plan
    }

    /// Columns that the minute aggregates cover: all up to the last that has a long window.
    pub(crate) fn minute_columns(&self) -> usize {
        let needs = self
            .minute_windows
            .iter()
            .flat_map(|window| &window.columns);
        needs.map(|needs| needs.column + 1).max().unwrap_or(0)
    }

    /// Whether the median of each minute is wanted.
    pub(crate) fn minute_medians(&self) -> bool {
        self.minute_windows
            .iter()
            .flat_map(|window| &window.columns)
            .any(|needs| needs.median.is_some())
    }

    fn feature(&mut self, column: usize, transform: Transform) -> Place {
        let (block, lane) = (column / LANES, column % LANES);
        match transform {
            Transform::Value => self.lag(0, column),
            Transform::Lag(steps) => self.lag(steps as usize, column),
            Transform::Age => {
                let width = self.width();
                *self
                    .ages
                    .get_or_insert_with(|| reserve(&mut self.stats, width))
                    + column
            }
            Transform::Diff => {
                self.lag(1, column);
                *self.blocks[block]
                    .diff
                    .get_or_insert_with(|| reserve(&mut self.stats, LANES))
                    + lane
            }
            Transform::RateOfChange => {
                self.lag(1, column);
                *self.blocks[block]
                    .rate_of_change
                    .get_or_insert_with(|| reserve(&mut self.stats, LANES))
                    + lane
            }
            Transform::Ewma(span) => {
                let keep = 1.0 - 2.0 / (f64::from(span) + 1.0);
                let ewmas = &mut self.blocks[block].ewmas;
                let found = ewmas
                    .iter()
                    .find(|ewma| ewma.keep == keep)
                    .map(|ewma| ewma.place);
                let place = found.unwrap_or_else(|| {
                    let place = reserve(&mut self.stats, LANES);
                    ewmas.push(Ewma { keep, place });
                    place
                });
                place + lane
            }
            Transform::Mean(window) => self.stat(window, Stat::Mean, column),
            Transform::Std(window) => self.stat(window, Stat::Std, column),
            Transform::Min(window) => self.stat(window, Stat::Min, column),
            Transform::Max(window) => self.stat(window, Stat::Max, column),
            Transform::Median(window) => self.stat(window, Stat::Median, column),
            Transform::Slope(window) => self.stat(window, Stat::Slope, column),
            Transform::ZScore(window) => self.stat(window, Stat::ZScore, column),
        }
    }

    fn width(&self) -> usize {
        self.blocks.len() * LANES
    }

    /// The place of a column's value so many steps back.
    fn lag(&mut self, steps: usize, column: usize) -> Place {
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

    fn stat(&mut self, window: Window, stat: Stat, column: usize) -> Place {
        match window.on(self.step) {
            Extent::Steps(steps) => self.step_stat(steps as usize, stat, column),
            Extent::Minutes(minutes) => self.minute_stat(i64::from(minutes), stat, column),
        }
    }

    fn step_stat(&mut self, steps: usize, stat: Stat, column: usize) -> Place {
        let windows = &mut self.blocks[column / LANES].windows;
        let index = windows
            .iter()
            .position(|window| window.steps == steps)
            .unwrap_or_else(|| {
                let network = network(steps);
                windows.push(StepWindow {
                    steps,
                    moments: None,
                    zscore: None,
                    median: None,
                    network,
                    slope: None,
                });
                windows.len() - 1
            });
        let window = &mut windows[index];
        if matches!(stat, Stat::ZScore) {
            window
                .moments
                .get_or_insert_with(|| reserve(&mut self.stats, 4 * LANES));
        }
        let (kept, width, offset) = match stat {
            Stat::Mean => (&mut window.moments, 4, 0),
            Stat::Std => (&mut window.moments, 4, 1),
            Stat::Min => (&mut window.moments, 4, 2),
            Stat::Max => (&mut window.moments, 4, 3),
            Stat::ZScore => (&mut window.zscore, 1, 0),
            Stat::Median => (&mut window.median, 1, 0),
            Stat::Slope => (&mut window.slope, 1, 0),
        };
        let place = *kept.get_or_insert_with(|| reserve(&mut self.stats, width * LANES));
        place + offset * LANES + column % LANES
    }

    fn minute_stat(&mut self, minutes: i64, stat: Stat, column: usize) -> Place {
        if matches!(stat, Stat::ZScore) {
            let zscore = MinuteZScore {
                value: self.lag(0, column),
                mean: self.minute_stat(minutes, Stat::Mean, column),
                std: self.minute_stat(minutes, Stat::Std, column),
                floor: self.blocks[column / LANES].floor[column % LANES],
                place: reserve(&mut self.stats, 1),
            };
            self.minute_zscores.push(zscore);
            return zscore.place;
        }
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
        let columns = &mut self.minute_windows[index].columns;
        let index = columns
            .iter()
            .position(|needs| needs.column == column)
            .unwrap_or_else(|| {
                columns.push(ColumnNeeds {
                    column,
                    moments: reserve(&mut self.stats, 4),
                    median: None,
                    slope: None,
                });
                columns.len() - 1
            });
        let needs = &mut columns[index];
        match stat {
            Stat::Std => needs.moments + 1,
            Stat::Min => needs.moments + 2,
            Stat::Max => needs.moments + 3,
            Stat::Median => *needs
                .median
                .get_or_insert_with(|| reserve(&mut self.stats, 1)),
            Stat::Slope => *needs
                .slope
                .get_or_insert_with(|| reserve(&mut self.stats, 1)),
            Stat::Mean | Stat::ZScore => needs.moments,
        }
    }
}

fn reserve(stats: &mut usize, count: usize) -> Place {
    let place = *stats;
    *stats += count;
    place
}
