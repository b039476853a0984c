//! Medians of columns, which stand in for missing values. Exact, and yet a small part of the time that growing takes.
//!
//! Some rows say between which two values the median of a column almost certainly lies (after R. Floyd and R. Rivest,
//! *Expected time bounds for selection*, 1975); then one pass over all rows counts what is less, and keeps what is in
//! between. Where that does not hold the median, the column is picked out as a whole.

use std::ops::Range;

use pulp::{Arch, NullaryFnOnce};

/// Columns that are gone through together: one cache line of each row serves all of them.
const TOGETHER: usize = 16;

/// Rows that are asked where the medians lie. Of fewer than four times as many, columns are picked out at once.
const ASKED: usize = 1_024;

/// How far beyond the middle of those asked the bounds are: three deviations of the rank that the median has there.
const BEYOND: usize = 48;

/// The median of the finite values of each of these columns; 0 where there is none.
pub(super) fn of(rows: &[f32], columns: usize, part: Range<usize>) -> Vec<f32> {
    let alone = |column| {
        let values = rows.iter().skip(column).step_by(columns).copied();
        let mut values: Vec<f32> = values.filter(|value| value.is_finite()).collect();
        let finite = values.len();
        median(&mut values, 0, finite)
    };
    if rows.len() / columns < 4 * ASKED {
        return part.map(alone).collect();
    }
    // The last ones go with some that were there before, so that a row has as many values for each tally.
    let last = columns.saturating_sub(TOGETHER);
    let groups = part.clone().step_by(TOGETHER);
    let mut tallies: Vec<Tally> = groups
        .clone()
        .map(|group| Tally::new(rows, columns, group.min(last)))
        .collect();
    Arch::new().dispatch(Pass {
        rows,
        columns,
        tallies: &mut tallies,
    });
    let found = tallies
        .iter()
        .zip(groups)
        .flat_map(|(tally, group)| tally.medians().into_iter().skip(group - tally.first));
    part.zip(found)
        .map(|(column, found)| found.unwrap_or_else(|| alone(column)))
        .collect()
}

/// The pass over the rows, for [`Arch`] to compile once per vector unit. A closure would not be inlined.
struct Pass<'a> {
    rows: &'a [f32],
    columns: usize,
    tallies: &'a mut [Tally],
}

impl NullaryFnOnce for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for row in self.rows.chunks_exact(self.columns) {
            for tally in self.tallies.iter_mut() {
                tally.take(row);
            }
        }
    }
}

/// What one pass over the rows finds out about neighbouring columns.
struct Tally {
    /// The first of the columns. If a row has fewer than there is room for, the others are missing.
    first: usize,
    low: [f32; TOGETHER],
    high: [f32; TOGETHER],
    /// Finite values.
    finite: [u32; TOGETHER],
    /// Those of them that are less than the lower bound.
    below: [u32; TOGETHER],
    /// The values between the bounds, both included, side by side, and room for more.
    kept: Vec<[f32; TOGETHER]>,
    /// How many of them there are.
    lengths: [usize; TOGETHER],
}

impl Tally {
    /// Asks some rows for the bounds.
    fn new(rows: &[f32], columns: usize, first: usize) -> Self {
        let count = rows.len() / columns;
        let bounds: [(f32, f32); TOGETHER] = std::array::from_fn(|i| {
            let asked = rows.chunks_exact(columns).step_by(count / ASKED);
            let asked = asked.filter_map(|row| row.get(first + i)).copied();
            bounds(&mut asked.filter(|value| value.is_finite()).collect::<Vec<_>>())
        });
        // A third more than are expected.
        let room = count * (2 * BEYOND) / ASKED * 4 / 3;
        Self {
            first,
            low: bounds.map(|(low, _)| low),
            high: bounds.map(|(_, high)| high),
            finite: [0; TOGETHER],
            below: [0; TOGETHER],
            kept: vec![[0.0; TOGETHER]; room],
            lengths: [0; TOGETHER],
        }
    }

    #[inline(always)]
    fn take(&mut self, row: &[f32]) {
        let row = &row[self.first..];
        let values = row.first_chunk().copied();
        let values: [f32; TOGETHER] = values
            .unwrap_or_else(|| std::array::from_fn(|i| row.get(i).copied().unwrap_or(f32::NAN)));
        let mut inside = [0_usize; TOGETHER];
        for i in 0..TOGETHER {
            let value = values[i];
            let finite = value.is_finite();
            self.finite[i] += u32::from(finite);
            self.below[i] += u32::from(finite & (value < self.low[i]));
            inside[i] = usize::from((value >= self.low[i]) & (value <= self.high[i]));
        }
        // Written in any case, and kept if it is to be: nothing to guess for the branch predictor.
        for i in 0..TOGETHER {
            if let Some(place) = self.kept.get_mut(self.lengths[i]) {
                place[i] = values[i];
                self.lengths[i] += inside[i];
            }
        }
    }

    /// The medians, as far as they are between the bounds and there was room.
    fn medians(&self) -> [Option<f32>; TOGETHER] {
        std::array::from_fn(|i| {
            let (below, finite) = (self.below[i] as usize, self.finite[i] as usize);
            let ranks = [finite.saturating_sub(1) / 2, finite / 2];
            let kept = &self.kept[..self.lengths[i]];
            let room = kept.len() < self.kept.len();
            let inside = room && below <= ranks[0] && ranks[1] < below + kept.len();
            let mut kept: Vec<f32> = kept.iter().map(|values| values[i]).collect();
            inside.then(|| median(&mut kept, below, finite))
        })
    }
}

/// Between which values the median is to be looked for. Of too few, nothing is between them.
fn bounds(asked: &mut [f32]) -> (f32, f32) {
    let middle = asked.len() / 2;
    let mut rank = |rank: usize| *asked.select_nth_unstable_by(rank, f32::total_cmp).1;
    if middle <= BEYOND {
        (f32::NAN, f32::NAN)
    } else {
        (rank(middle - BEYOND), rank(middle + BEYOND))
    }
}

/// The middle value of `finite` ones, or the mean of the two in the middle. Of those, `below` are not among `values`, but
/// less than all of them.
fn median(values: &mut [f32], below: usize, finite: usize) -> f32 {
    if finite == 0 {
        return 0.0;
    }
    let middle = finite / 2 - below;
    let (less, upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    let upper = *upper;
    if finite % 2 == 1 {
        return upper;
    }
    let lower = less.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    ((f64::from(lower) + f64::from(upper)) / 2.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_what_is_there() {
        let nan = f32::NAN;
        let rows = [
            [3.0, nan, -0.0, 5.0],
            [1.0, nan, 0.0, f32::INFINITY],
            [2.0, nan, nan, 7.0],
        ];
        let found = of(rows.as_flattened(), 4, 0..4);
        assert_eq!(found, [2.0, 0.0, 0.0, 6.0]);
        assert_eq!(of(rows.as_flattened(), 4, 2..4), found[2..]);
        let far = of(&[f32::MAX, f32::MAX], 1, 0..1);
        assert_eq!(far, [f32::MAX], "the mean of two does not overflow");
    }

    #[test]
    fn columns_beyond_one_cache_line_are_found_too() {
        let columns = 2 * TOGETHER + 3;
        let rows: Vec<f32> = (0..5 * columns).map(|i| i as f32).collect();
        let wanted: Vec<f32> = (0..columns).map(|i| (2 * columns + i) as f32).collect();
        assert_eq!(of(&rows, columns, 0..columns), wanted);
    }

    #[test]
    fn the_bounds_make_no_difference() {
        let count = 40 * ASKED + 1;
        // A walk, a step after which nothing is as before, few values, many missing, hardly any, and a trap: the rows
        // that are asked all lie.
        let mut state = 1_u64;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        let mut walk = 0.0;
        let mut rows = Vec::new();
        for number in 0..count {
            walk += uniform() - 0.5;
            let late = number > 3 * count / 4;
            rows.push([
                walk,
                if late { 1e6 } else { 0.0 } + uniform(),
                (uniform() * 3.0).floor(),
                if uniform() < 0.7 { f32::NAN } else { uniform() },
                if number == 5 { 4.5 } else { f32::NEG_INFINITY },
                if number.is_multiple_of(count / ASKED) {
                    1e9
                } else {
                    uniform()
                },
                uniform(),
            ]);
        }
        for rows in [&rows[..], &rows[..count - 1]] {
            let found = of(rows.as_flattened(), 7, 0..7);
            assert_eq!(of(rows.as_flattened(), 7, 2..5), found[2..5]);
            for (column, found) in found.iter().enumerate() {
                let there = rows
                    .iter()
                    .map(|row| row[column])
                    .filter(|value| value.is_finite());
                let mut there: Vec<f32> = there.collect();
                let finite = there.len();
                let wanted = median(&mut there, 0, finite);
                assert_eq!(*found, wanted, "column {column} of {} rows", rows.len());
            }
        }
    }

    #[test]
    fn columns_in_several_groups_have_their_own_medians() {
        let columns = 2 * TOGETHER + 3;
        let count = 5 * ASKED;
        let rows: Vec<f32> = (0..count * columns)
            .map(|i| ((i / columns * 7_919) % count) as f32 + (i % columns) as f32 * 1e5)
            .collect();
        let middle = (count - 1) as f64 / 2.0;
        let wanted: Vec<f32> = (0..columns)
            .map(|i| (middle + i as f64 * 1e5) as f32)
            .collect();
        assert_eq!(of(&rows, columns, 0..columns), wanted);
        assert_eq!(of(&rows, columns, 9..30), wanted[9..30]);
    }
}
