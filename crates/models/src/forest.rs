//! Isolation forest: what few random cuts set apart from the rest is unusual.
//!
//! F. T. Liu, K. M. Ting, Z.-H. Zhou, *Isolation Forest*, ICDM 2008. Every tree takes a sample of the rows and cuts it
//! at random (a random column, a random place between its least and greatest value) until each row is alone or the
//! tree is as high as a balanced one would be. An unusual row is alone early: its path is short.
//!
//! With [`Settings::extension`] a cut lies askew, along several columns at once (S. Hariri, M. Carrasco Kind,
//! R. J. Brunner, *Extended Isolation Forest*, TKDE 2019), which leaves no shadows along the axes.
//!
//! The score is that of the paper and of scikit-learn: `2^(-mean path / c(sample))`, 0.5 for the middling, towards 1
//! for the unusual. Its logarithm is a sum over the cuts on the way, which is what [`Forest::explain`] gives back.
//!
//! Rows are `f32`, one after the other. What is not finite counts as missing, and the median of its column stands in
//! for it. `tree` takes one row along, `bulk` many, `grow` cuts, `centres` finds the medians, `stored` is the form in which
//! a forest travels.

use std::borrow::Cow;
use std::ops::Range;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

mod bulk;
mod centres;
mod grow;
mod stored;
mod tree;

pub use tree::{Given, Tree};

use bulk::Bulk;
use stored::Stored;

/// From so many rows on it is worth while to lay out the trees for many rows at once.
const BULK: usize = 64;

/// More trees say nothing more (the paper sees no change beyond 100), and a damaged file must not ask for a billion.
const TREES_MAX: usize = 10_000;

/// Larger samples hide the unusual among the usual (the paper's "swamping and masking"); nodes have 16-bit numbers.
const SAMPLE_MAX: usize = 4_096;

/// Columns have 16-bit numbers.
const COLUMNS_MAX: usize = 1 << 16;

/// How a forest is grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How many trees, at most 10,000.
    pub trees: u32,
    /// Rows that each tree sees, at most 4,096. All of them if there are fewer.
    pub sample: u32,
    /// Columns beyond the first that take part in a cut: 0 cuts along the axes.
    pub extension: u32,
    /// From which everything random follows.
    pub seed: u64,
}

impl Default for Settings {
    /// The paper's: 100 trees of 256 rows, cut along the axes.
    fn default() -> Self {
        Self {
            trees: 100,
            sample: 256,
            extension: 0,
            seed: 0,
        }
    }
}

/// Why no forest can be grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// There is nothing to cut.
    #[error("{rows} rows of {columns} columns: a forest needs at least 2 rows and 1 column")]
    TooFew {
        /// Rows given.
        rows: usize,
        /// Columns given.
        columns: usize,
    },
    /// The values are no whole number of rows.
    #[error("{values} values are no whole number of rows of {columns} columns")]
    Ragged {
        /// Values given.
        values: usize,
        /// Columns given.
        columns: usize,
    },
    /// No tree, or a sample that cannot be cut.
    #[error("a forest needs at least 1 tree and a sample of at least 2 rows")]
    NoTrees,
    /// Beyond what a forest holds.
    #[error("a forest has at most 10000 trees, samples of 4096 rows and 65536 columns")]
    TooMany,
}

/// A grown forest: scores rows, and says which columns a score comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Forest {
    /// Stands in for a missing value, by column: the median of rows it was grown on.
    centres: Vec<f32>,
    /// Rows that each tree saw.
    sample: u16,
    trees: Vec<Tree>,
}

impl Forest {
    /// Grows a forest on `rows`, one after the other, each of `columns` values.
    ///
    /// # Errors
    /// [`FitError`] when there is nothing to grow on, or more is asked for than a forest holds.
    pub fn fit(rows: &[f32], columns: usize, settings: Settings) -> Result<Self, FitError> {
        Self::fit_on(rows, columns, settings, 1)
    }

    /// [`Forest::fit`] on several threads: the same forest to the last bit, whatever their number.
    ///
    /// # Errors
    /// As [`Forest::fit`].
    pub fn fit_on(
        rows: &[f32],
        columns: usize,
        settings: Settings,
        threads: usize,
    ) -> Result<Self, FitError> {
        let count = rows.len().checked_div(columns).unwrap_or(0);
        if columns > 0 && count * columns != rows.len() {
            let values = rows.len();
            return Err(FitError::Ragged { values, columns });
        }
        if count < 2 {
            let rows = count;
            return Err(FitError::TooFew { rows, columns });
        }
        let (trees, sample) = (settings.trees as usize, settings.sample as usize);
        if trees == 0 || sample < 2 {
            return Err(FitError::NoTrees);
        }
        if trees > TREES_MAX || sample > SAMPLE_MAX || columns > COLUMNS_MAX {
            return Err(FitError::TooMany);
        }
        let sample = sample.min(count);
        let extension = (settings.extension as usize).min(columns - 1);
        let centres = centres::of(rows, columns);
        let trees = spread(trees, threads, |part| {
            part.map(|number| {
                // A stream of its own: trees do not depend on one another, nor on who grows them.
                let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
                rng.set_stream(number as u64);
                let taken = grow::sample(rows, &centres, sample, &mut rng);
                let parts = grow::grow(&taken, columns, extension, &mut rng);
                Tree::from_parts(parts).expect("what was grown from finite values is a tree")
            })
            .collect()
        });
        Ok(Self {
            centres,
            sample: sample as u16,
            trees,
        })
    }

    /// A forest of trees that were grown elsewhere on samples of `sample` rows, with what stands in for missing values.
    ///
    /// # Errors
    /// What [`Forest::check`] finds.
    pub fn from_trees(centres: Vec<f32>, sample: usize, trees: Vec<Tree>) -> Result<Self, String> {
        let sample = u16::try_from(sample).map_err(|_| format!("a sample of {sample} rows"))?;
        let forest = Self {
            centres,
            sample,
            trees,
        };
        forest.check().map(|()| forest)
    }

    /// Whether scoring is safe: every number is finite, every index inside, every walk ends, nothing is absurdly large.
    ///
    /// A forest that was read is checked as it is read; this looks again.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn check(&self) -> Result<(), String> {
        let (columns, trees) = (self.columns(), self.trees.len());
        if columns == 0 || columns > COLUMNS_MAX {
            return Err(format!("a forest of {columns} columns"));
        }
        if let Some(column) = self.centres.iter().position(|centre| !centre.is_finite()) {
            return Err(format!("column {column} has no finite centre"));
        }
        if trees == 0 || trees > TREES_MAX {
            return Err(format!("a forest of {trees} trees"));
        }
        if self.sample < 2 {
            return Err(format!("a sample of {} rows", self.sample));
        }
        for (number, tree) in self.trees.iter().enumerate() {
            tree.check(columns, self.sample)
                .map_err(|problem| format!("tree {number}: {problem}"))?;
        }
        Ok(())
    }

    /// Values that a row has.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.centres.len()
    }

    /// The memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.centres)
            + self.trees.iter().map(Tree::bytes).sum::<usize>()
    }

    /// The score of one row: near 0.5 for the middling, towards 1 for the unusual. Allocates only if a value is missing.
    ///
    /// # Panics
    /// If the row has another number of columns.
    #[must_use]
    pub fn score(&self, row: &[f32]) -> f64 {
        let row = self.filled(row);
        self.score_of(self.trees.iter().map(|tree| tree.path(&row)).sum())
    }

    /// The scores of many rows, which are given one after the other: the same bits as row by row, several times as fast.
    ///
    /// # Panics
    /// If the values are no whole number of rows.
    #[must_use]
    pub fn scores(&self, rows: &[f32]) -> Vec<f64> {
        self.scores_on(rows, 1)
    }

    /// [`Forest::scores`] on several threads.
    ///
    /// # Panics
    /// If the values are no whole number of rows.
    #[must_use]
    pub fn scores_on(&self, rows: &[f32], threads: usize) -> Vec<f64> {
        let columns = self.columns();
        assert!(rows.len().is_multiple_of(columns), "whole rows");
        spread(rows.len() / columns, threads, |part| {
            self.scores_of(&rows[part.start * columns..part.end * columns])
        })
    }

    fn scores_of(&self, rows: &[f32]) -> Vec<f64> {
        let columns = self.columns();
        let each = rows.chunks_exact(columns);
        if each.len() < BULK || self.trees.iter().any(Tree::is_askew) {
            return each.map(|row| self.score(row)).collect();
        }
        if columns <= 48 {
            self.scores_by::<256>(rows)
        } else {
            self.scores_by::<128>(rows)
        }
    }

    fn scores_by<const ROWS: usize>(&self, rows: &[f32]) -> Vec<f64> {
        let columns = self.columns();
        let mut bulk = Bulk::<ROWS>::new(&self.trees, columns);
        let mut scores = Vec::with_capacity(rows.len() / columns);
        for rows in rows.chunks(ROWS * columns) {
            for (number, row) in rows.chunks_exact(columns).enumerate() {
                let pairs = row.iter().zip(&self.centres);
                bulk.put(number, pairs.map(|(value, centre)| filled(*value, *centre)));
            }
            let sums = &bulk.sums()[..rows.len() / columns];
            scores.extend(sums.iter().map(|sum| self.score_of(*sum)));
        }
        scores
    }

    /// How much each column has to do with a row's score: the parts of `log2(score)` beyond that of a row about which
    /// nothing is known ([`Forest::base`]). Positive parts make the row more unusual; together they are the whole
    /// difference, `log2(score) - log2(base)`.
    ///
    /// On its way a row meets cuts; each changes the path that has to be expected, and the change belongs to the
    /// columns of the cut. (The decomposition of tree predictions along the path, A. Saabas 2014, applied to path
    /// lengths.) Where a cut lies askew, its change is shared by the columns that moved the row to its side.
    ///
    /// # Panics
    /// If the row has another number of columns.
    #[must_use]
    pub fn explain(&self, row: &[f32]) -> Vec<f64> {
        let row = self.filled(row);
        let mut parts = vec![0.0; self.columns()];
        for tree in &self.trees {
            tree.add_changes(&row, &mut parts);
        }
        for part in &mut parts {
            *part = -*part / self.longest();
        }
        parts
    }

    /// The score of a row about which nothing is known: what [`Forest::explain`] starts from.
    #[must_use]
    pub fn base(&self) -> f64 {
        self.score_of(self.trees.iter().map(Tree::expected).sum())
    }

    /// Of the sum of a row's paths. They are `f32` between 1 and a few dozen, so their sum in `f64` is exact, and comes
    /// out the same in any order.
    fn score_of(&self, paths: f64) -> f64 {
        (-paths / self.longest()).exp2()
    }

    /// The sum of paths at which the score is 0.5.
    fn longest(&self) -> f64 {
        tree::mean_path(usize::from(self.sample)) * self.trees.len() as f64
    }

    fn filled<'a>(&self, row: &'a [f32]) -> Cow<'a, [f32]> {
        assert_eq!(row.len(), self.columns(), "columns of the row");
        if row.iter().all(|value| value.is_finite()) {
            return Cow::Borrowed(row);
        }
        let pairs = row.iter().zip(&self.centres);
        pairs
            .map(|(value, centre)| filled(*value, *centre))
            .collect()
    }
}

fn filled(value: f32, centre: f32) -> f32 {
    if value.is_finite() { value } else { centre }
}

/// Does `0..count` in as many parts as there are threads, and puts the results one after the other.
fn spread<T: Send>(
    count: usize,
    threads: usize,
    work: impl Fn(Range<usize>) -> Vec<T> + Sync,
) -> Vec<T> {
    let share = count.div_ceil(threads.max(1)).max(1);
    if share >= count {
        return work(0..count);
    }
    let work = &work;
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..count)
            .step_by(share)
            .map(|from| scope.spawn(move || work(from..count.min(from + share))))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| {
                part.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}
