//! Whether the forest finds what was planted, and what askew cuts are for.

use forewarn_models::forest::{Forest, Settings};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::world::{auroc, normal, ordinary};

fn forest(rows: &[f32], columns: usize, extension: u32, seed: u64) -> Forest {
    let settings = Settings {
        extension,
        seed,
        ..Settings::default()
    };
    Forest::fit(rows, columns, settings).expect("rows to grow on")
}

#[test]
fn planted_rows_stand_out() {
    let columns = 20;
    let mut rows = ordinary(2_000, columns, 1);
    for row in rows.chunks_exact_mut(columns).step_by(50) {
        for value in &mut row[3..8] {
            *value *= 2.5;
        }
    }
    for extension in [0, 4] {
        let scores = forest(&rows, columns, extension, 1).scores(&rows);
        let found = auroc(&scores, |row| row.is_multiple_of(50));
        assert!(found > 0.97, "extension {extension}: AUROC {found:.3}");
    }
}

#[test]
fn what_was_moved_explains_the_score() {
    let columns = 12;
    let rows = ordinary(2_000, columns, 2);
    for extension in [0, 3] {
        let forest = forest(&rows, columns, extension, 2);
        for moved in [0, 5, 11] {
            let mut row: Vec<f32> = (0..columns)
                .map(|column| 3.0 * 10.0_f32.powi(column as i32 % 5 - 2))
                .collect();
            row[moved] *= 3.5;
            let parts = forest.explain(&row);
            let most = (0..columns).max_by(|a, b| parts[*a].total_cmp(&parts[*b]));
            assert_eq!(most, Some(moved), "extension {extension}: {parts:.3?}");
        }
    }
}

/// Two clouds, one high on the left and one low on the right. Cuts along the axes leave shadows where the high and the
/// right cross: rows there, far from either cloud, pass for ordinary. (The example of Hariri and others.)
#[test]
fn askew_cuts_leave_no_shadows_along_the_axes() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut rows = Vec::new();
    for number in 0..2_000 {
        let (x, y) = if number % 2 == 0 {
            (0.0, 10.0)
        } else {
            (10.0, 0.0)
        };
        rows.extend([x + normal(&mut rng), y + normal(&mut rng)].map(|v| v as f32));
    }
    let mut asked = rows[..800].to_vec();
    for number in 0..100 {
        let corner = if number % 2 == 0 { 0.0 } else { 10.0 };
        asked.extend([(); 2].map(|()| (corner + rng.random_range(-1.0..1.0)) as f32));
    }
    let [along, askew] = [0, 1].map(|extension| {
        let found = (0..5).map(|seed| {
            let scores = forest(&rows, 2, extension, seed).scores(&asked);
            auroc(&scores, |row| row >= 400)
        });
        found.sum::<f64>() / 5.0
    });
    assert!(
        askew > 0.95 && askew > along + 0.03,
        "AUROC {askew:.3} askew, {along:.3} along the axes"
    );
}

#[test]
fn the_order_of_the_training_rows_matters_no_more_than_the_seed() {
    let columns = 8;
    let rows = ordinary(1_000, columns, 4);
    let mut turned: Vec<f32> = Vec::new();
    for row in rows.chunks_exact(columns).rev() {
        turned.extend(row);
    }
    let scores = forest(&rows, columns, 0, 4).scores(&rows);
    let differ = |other: Vec<f64>| -> f64 {
        let apart = scores.iter().zip(other).map(|(a, b)| (a - b).abs());
        apart.sum::<f64>() / scores.len() as f64
    };
    let by_order = differ(forest(&turned, columns, 0, 4).scores(&rows));
    let by_seed = differ(forest(&rows, columns, 0, 5).scores(&rows));
    assert!(
        by_order < 0.01 && by_order < 1.5 * by_seed,
        "{by_order:.4} by order, {by_seed:.4} by seed"
    );
}
