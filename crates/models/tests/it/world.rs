//! Rows that the tests share, and how well scores tell the unusual from the usual.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// From the standard normal distribution.
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// Rows of independent normal columns, each with a scale of its own.
pub(crate) fn ordinary(rows: usize, columns: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut out = Vec::with_capacity(rows * columns);
    for _ in 0..rows {
        for column in 0..columns {
            let scale = 10.0_f64.powi(column as i32 % 5 - 2);
            out.push((scale * (3.0 + normal(&mut rng))) as f32);
        }
    }
    out
}

/// The area under the curve of the receiver: how often a planted row scores higher than an ordinary one.
pub(crate) fn auroc(scores: &[f64], planted: impl Fn(usize) -> bool) -> f64 {
    let (mut sum, mut pairs) = (0.0, 0.0);
    for (_, high) in scores.iter().enumerate().filter(|(row, _)| planted(*row)) {
        for (_, low) in scores.iter().enumerate().filter(|(row, _)| !planted(*row)) {
            sum += if high > low { 1.0 } else { 0.0 } + if high == low { 0.5 } else { 0.0 };
            pairs += 1.0;
        }
    }
    sum / pairs
}
