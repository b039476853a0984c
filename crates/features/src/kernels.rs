//! Statistics of a window, for eight metrics at a time: plain loops over lanes that the compiler turns into vectors.
//!
//! Every window is computed afresh from its rows, in two passes, so nothing drifts however long the process runs.
//! A missing value is NaN, and comparisons with NaN are false: that is what the selections below live on.
//!
//! Windows without a missing value are the rule, and for them (`WHOLE`) the selections fall away; the bits are the same.
//!
//! The functions are inlined into whatever vector unit their caller was compiled for. Lanes never meet and nothing is
//! reordered or fused, so each unit gives the same bits.

/// Metrics that are computed together. Eight doubles are one cache line.
pub(crate) const LANES: usize = 8;

/// One row of eight neighbouring metrics.
pub(crate) type Lanes = [f64; LANES];

pub(crate) const MISSING: Lanes = [f64::NAN; LANES];

/// Count, mean, standard deviation, least and greatest of each lane.
pub(crate) struct Moments {
    pub(crate) mean: Lanes,
    pub(crate) std: Lanes,
    pub(crate) min: Lanes,
    pub(crate) max: Lanes,
}

/// How many values a window of `length` needs before it says anything: half of them, and enough for the statistic.
#[inline(always)]
pub(crate) fn needed(length: usize, least: usize) -> f64 {
    length.div_ceil(2).max(least) as f64
}

/// Two rows side by side. Even and odd rows are summed up apart: additions that wait for each other are slow.
type Pair = [f64; 2 * LANES];

/// What is summed up over pairs of rows.
struct Tally {
    count: Pair,
    sum: Pair,
    min: Pair,
    max: Pair,
}

impl Tally {
    #[inline(always)]
    fn add<const WHOLE: bool>(&mut self, pair: &Pair) {
        for (i, &x) in pair.iter().enumerate() {
            if WHOLE {
                self.sum[i] += x;
            } else {
                let there = !x.is_nan();
                self.count[i] += if there { 1.0 } else { 0.0 };
                self.sum[i] += if there { x } else { 0.0 };
            }
            self.min[i] = if x < self.min[i] { x } else { self.min[i] };
            self.max[i] = if x > self.max[i] { x } else { self.max[i] };
        }
    }
}

/// Moments of the rows.
#[inline(always)]
pub(crate) fn moments<const WHOLE: bool>(rows: &[Lanes]) -> Moments {
    let (pairs, last) = rows.as_flattened().as_chunks::<{ 2 * LANES }>();
    let mut tally = Tally {
        count: [0.0; 2 * LANES],
        sum: [0.0; 2 * LANES],
        min: [f64::INFINITY; 2 * LANES],
        max: [f64::NEG_INFINITY; 2 * LANES],
    };
    for pair in pairs {
        tally.add::<WHOLE>(pair);
    }
    let (mut count, mut sum, mut min, mut max) = ([0.0; LANES], [0.0; LANES], MISSING, MISSING);
    for i in 0..LANES {
        let odd = i + LANES;
        count[i] = if WHOLE {
            rows.len() as f64
        } else {
            tally.count[i] + tally.count[odd]
        };
        sum[i] = tally.sum[i] + tally.sum[odd];
        min[i] = if tally.min[odd] < tally.min[i] {
            tally.min[odd]
        } else {
            tally.min[i]
        };
        max[i] = if tally.max[odd] > tally.max[i] {
            tally.max[odd]
        } else {
            tally.max[i]
        };
    }
    if let Ok(last) = <&Lanes>::try_from(last) {
        for i in 0..LANES {
            let x = last[i];
            let there = WHOLE || !x.is_nan();
            count[i] += if there && !WHOLE { 1.0 } else { 0.0 };
            sum[i] += if there { x } else { 0.0 };
            min[i] = if x < min[i] { x } else { min[i] };
            max[i] = if x > max[i] { x } else { max[i] };
        }
    }
    let mut means = [0.0; 2 * LANES];
    for i in 0..LANES {
        means[i] = sum[i] / count[i];
        means[i + LANES] = means[i];
    }
    let mut squares = [0.0; 2 * LANES];
    for pair in pairs {
        for i in 0..2 * LANES {
            let off = pair[i] - means[i];
            squares[i] += if WHOLE || !off.is_nan() {
                off * off
            } else {
                0.0
            };
        }
    }
    if let Ok(last) = <&Lanes>::try_from(last) {
        for i in 0..LANES {
            let off = last[i] - means[i];
            squares[i] += if WHOLE || !off.is_nan() {
                off * off
            } else {
                0.0
            };
        }
    }
    let (one, two) = (needed(rows.len(), 1), needed(rows.len(), 2));
    let mut moments = Moments {
        mean: MISSING,
        std: MISSING,
        min: MISSING,
        max: MISSING,
    };
    for i in 0..LANES {
        let std = ((squares[i] + squares[i + LANES]) / (count[i] - 1.0)).sqrt();
        moments.std[i] = if count[i] >= two { std } else { f64::NAN };
        let enough = count[i] >= one;
        moments.mean[i] = if enough { means[i] } else { f64::NAN };
        moments.min[i] = if enough { min[i] } else { f64::NAN };
        moments.max[i] = if enough { max[i] } else { f64::NAN };
    }
    moments
}

/// Least-squares slope of each lane, per second.
#[inline(always)]
pub(crate) fn slope<const WHOLE: bool>(rows: &[Lanes], step_seconds: f64) -> Lanes {
    let (mut count, mut sum_at, mut sum) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for (at, row) in rows.iter().enumerate() {
        let at = at as f64;
        for i in 0..LANES {
            let there = WHOLE || !row[i].is_nan();
            count[i] += if there { 1.0 } else { 0.0 };
            sum_at[i] += if there { at } else { 0.0 };
            sum[i] += if there { row[i] } else { 0.0 };
        }
    }
    let (mut together, mut spread) = ([0.0; LANES], [0.0; LANES]);
    for (at, row) in rows.iter().enumerate() {
        let at = at as f64;
        for i in 0..LANES {
            let there = WHOLE || !row[i].is_nan();
            let off_at = at - sum_at[i] / count[i];
            let off = row[i] - sum[i] / count[i];
            together[i] += if there { off_at * off } else { 0.0 };
            spread[i] += if there { off_at * off_at } else { 0.0 };
        }
    }
    let two = needed(rows.len(), 2);
    let mut slope = MISSING;
    for i in 0..LANES {
        slope[i] = if count[i] >= two {
            together[i] / spread[i] / step_seconds
        } else {
            f64::NAN
        };
    }
    slope
}

/// How far values lie from the mean, in standard deviations of at least `floor`.
#[inline(always)]
pub(crate) fn zscore(values: &Lanes, moments: &Moments, floor: &Lanes) -> Lanes {
    let mut score = MISSING;
    for i in 0..LANES {
        // Against an undefined spread nothing is near or far; the comparison keeps it undefined.
        let spread = if moments.std[i] < floor[i] {
            floor[i]
        } else {
            moments.std[i]
        };
        score[i] = (values[i] - moments.mean[i]) / spread;
    }
    score
}

/// Differences of two rows.
#[inline(always)]
pub(crate) fn diff(values: &Lanes, before: &Lanes) -> Lanes {
    let mut diff = MISSING;
    for i in 0..LANES {
        diff[i] = values[i] - before[i];
    }
    diff
}

/// Differences of two rows in relation to the size of the earlier, where that is at least `floor`.
#[inline(always)]
pub(crate) fn rate_of_change(values: &Lanes, before: &Lanes, floor: &Lanes) -> Lanes {
    let mut rate = MISSING;
    for i in 0..LANES {
        let size = before[i].abs();
        rate[i] = if size >= floor[i] {
            (values[i] - before[i]) / size
        } else {
            f64::NAN
        };
    }
    rate
}

/// Windows up to this length are sorted by a network, eight lanes at once; longer ones lane by lane.
const NETWORK_MAX: usize = 16;

/// Comparisons that sort a window of this length: Batcher's odd-even merge sort. They do not depend on the values, so
/// all lanes take the same path. Empty for windows that are too long for a network.
pub(crate) fn network(length: usize) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let mut p = 1;
    while p < length && length <= NETWORK_MAX {
        let mut k = p;
        while k >= 1 {
            for j in (k % p..length - k).step_by(2 * k) {
                for i in 0..k.min(length - j - k) {
                    if (i + j) / (2 * p) == (i + j + k) / (2 * p) {
                        pairs.push((i + j, i + j + k));
                    }
                }
            }
            k /= 2;
        }
        p *= 2;
    }
    pairs
}

/// Median of each lane. `network` is that of the window's length.
#[inline(always)]
pub(crate) fn median<const WHOLE: bool>(rows: &[Lanes], network: &[(usize, usize)]) -> Lanes {
    let needed = needed(rows.len(), 1);
    let mut medians = MISSING;
    if rows.len() > NETWORK_MAX {
        return median_by_lane(rows, needed);
    }
    let mut sorted = [MISSING; NETWORK_MAX];
    let mut count = [0.0; LANES];
    for (place, row) in sorted.iter_mut().zip(rows) {
        for i in 0..LANES {
            // The missing go to the end, so that the values stand in front of them.
            let there = WHOLE || !row[i].is_nan();
            place[i] = if there { row[i] } else { f64::INFINITY };
            count[i] += if there { 1.0 } else { 0.0 };
        }
    }
    for &(low, high) in network {
        let (a, b) = (sorted[low], sorted[high]);
        let (mut least, mut most) = ([0.0; LANES], [0.0; LANES]);
        for i in 0..LANES {
            least[i] = a[i].min(b[i]);
            most[i] = a[i].max(b[i]);
        }
        (sorted[low], sorted[high]) = (least, most);
    }
    if WHOLE {
        let (lower, upper) = (&sorted[(rows.len() - 1) / 2], &sorted[rows.len() / 2]);
        for i in 0..LANES {
            medians[i] = middle(lower[i], upper[i]);
        }
        return medians;
    }
    for i in 0..LANES {
        if count[i] >= needed {
            let count = count[i] as usize;
            medians[i] = middle(sorted[(count - 1) / 2][i], sorted[count / 2][i]);
        }
    }
    medians
}

fn median_by_lane(rows: &[Lanes], needed: f64) -> Lanes {
    let mut medians = MISSING;
    let mut values = Vec::with_capacity(rows.len());
    for (i, median) in medians.iter_mut().enumerate() {
        values.clear();
        values.extend(rows.iter().map(|row| row[i]).filter(|x| !x.is_nan()));
        if values.len() as f64 >= needed {
            *median = median_of(&mut values);
        }
    }
    medians
}

/// Median of at least one number.
pub(crate) fn median_of(values: &mut [f64]) -> f64 {
    let half = values.len() / 2;
    let odd = values.len() % 2 == 1;
    let (below, &mut upper, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    let lower = if odd {
        upper
    } else {
        below.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    };
    middle(lower, upper)
}

#[inline(always)]
fn middle(a: f64, b: f64) -> f64 {
    // Halved first: the sum of two finite numbers may not be finite.
    if a == b { a } else { 0.5 * a + 0.5 * b }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[f64]) -> Vec<Lanes> {
        values.iter().map(|value| [*value; LANES]).collect()
    }

    #[test]
    fn a_window_that_is_less_than_half_filled_is_undefined() {
        let nan = f64::NAN;
        assert!(moments::<false>(&rows(&[nan, nan, nan, 1.0])).mean[0].is_nan());
        assert_eq!(moments::<false>(&rows(&[nan, nan, 3.0, 1.0])).mean[7], 2.0);
        assert!(
            median::<false>(&rows(&[nan, nan, 3.0]), &network(3))
                .iter()
                .all(|x| x.is_nan())
        );
    }

    #[test]
    fn the_network_sorts_every_length() {
        for length in 1..=NETWORK_MAX {
            let values: Vec<f64> = (0..length).map(|i| ((i * 7 + 3) % length) as f64).collect();
            let network = network(length);
            assert_eq!(
                median::<true>(&rows(&values), &network)[3],
                median_of(&mut values.clone()),
                "{length}"
            );
        }
    }

    #[test]
    fn slope_passes_over_what_is_missing() {
        let line = slope::<false>(&rows(&[1.0, 3.0, f64::NAN, 7.0, 9.0]), 1.0);
        assert!((line[2] - 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_constant_far_from_zero_has_no_spread() {
        assert_eq!(moments::<false>(&rows(&[1.6e10; 10])).std[0], 0.0);
    }
}
