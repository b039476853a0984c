//! Medians of columns, which stand in for missing values.
//!
//! Some rows, spread evenly over all, are asked: a stand-in has to be an ordinary value, not the exact middle, and asking
//! every row would take longer than growing the trees.

/// Rows that are asked at most. The middle of so many is the 45th to 55th percentile of all, but for one time in a thousand.
const ASKED: usize = 1_024;

/// The median of the finite values of each column; 0 where there is none.
pub(super) fn of(rows: &[f32], columns: usize) -> Vec<f32> {
    let every = (rows.len() / columns).div_ceil(ASKED).max(1);
    let mut asked = vec![Vec::with_capacity(ASKED); columns];
    for row in rows.chunks_exact(columns).step_by(every) {
        for (values, value) in asked.iter_mut().zip(row) {
            if value.is_finite() {
                values.push(*value);
            }
        }
    }
    for (column, values) in asked.iter_mut().enumerate() {
        if values.is_empty() {
            // Hardly ever there: then all who have it are asked.
            let all = rows.iter().skip(column).step_by(columns);
            values.extend(all.filter(|value| value.is_finite()));
        }
    }
    asked.into_iter().map(median).collect()
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f32>) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let is_odd = values.len() % 2 == 1;
    let middle = values.len() / 2;
    let (less, upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    let upper = *upper;
    if is_odd {
        return upper;
    }
    let lower = less.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    f32::midpoint(lower, upper)
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
        assert_eq!(of(rows.as_flattened(), 4), [2.0, 0.0, 0.0, 6.0]);
        let far = of(&[f32::MAX, f32::MAX], 1);
        assert_eq!(far, [f32::MAX], "the mean of two does not overflow");
    }

    #[test]
    fn of_many_rows_some_are_asked_and_what_is_rare_is_found_all_the_same() {
        let count = 40 * ASKED + 1;
        let rows: Vec<[f32; 2]> = (0..count)
            .map(|i| {
                let rare = if i == 5 { 4.5 } else { f32::NAN };
                [((i * 7_919) % count) as f32 / count as f32, rare]
            })
            .collect();
        let found = of(rows.as_flattened(), 2);
        assert!((0.45..0.55).contains(&found[0]), "{found:?}");
        assert_eq!(found[1], 4.5);
    }
}
