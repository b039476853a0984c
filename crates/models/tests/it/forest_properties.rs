//! What holds for every forest: parts that add up, bulk that equals single, the same bits again, and no input that
//! makes it panic.

use forewarn_models::forest::{FitError, Forest, Settings};
use proptest::prelude::*;

use crate::world::ordinary;

/// Rows of anything, with the missing, the infinite, the equal and the enormous among them.
fn tables() -> impl Strategy<Value = (usize, Vec<f32>)> {
    let value = prop_oneof![
        4 => -10.0_f32..10.0,
        2 => (0_u8..3).prop_map(f32::from),
        1 => any::<f32>(),
        1 => Just(f32::NAN),
    ];
    (1_usize..9, 2_usize..80).prop_flat_map(move |(columns, rows)| {
        let values = prop::collection::vec(value.clone(), columns * rows);
        (Just(columns), values)
    })
}

fn settings(extension: u32, seed: u64) -> Settings {
    Settings {
        trees: 12,
        sample: 32,
        extension,
        seed,
    }
}

fn bits(scores: &[f64]) -> Vec<u64> {
    scores.iter().map(|score| score.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_rows_make_a_forest_that_keeps_its_word(
        (columns, rows) in tables(),
        extension in 0_u32..10,
        seed in any::<u64>(),
        threads in 2_usize..6,
    ) {
        let forest = Forest::fit(&rows, columns, settings(extension, seed)).expect("two rows at least");
        prop_assert_eq!(forest.check(), Ok(()));
        prop_assert_eq!(forest.columns(), columns);

        let again = Forest::fit_on(&rows, columns, settings(extension, seed), threads).expect("as before");
        prop_assert!(again == forest, "{} threads grew another forest", threads);

        let scores = forest.scores(&rows);
        prop_assert_eq!(bits(&forest.scores_on(&rows, threads)), bits(&scores));
        let base = forest.base();
        for (row, score) in rows.chunks_exact(columns).zip(&scores) {
            prop_assert!((0.0..=1.0).contains(score), "{}", score);
            prop_assert_eq!(forest.score(row).to_bits(), score.to_bits());
            let parts = forest.explain(row);
            let found = parts.iter().sum::<f64>();
            let wanted = score.log2() - base.log2();
            prop_assert!((found - wanted).abs() < 1e-9, "{} is not {}", found, wanted);
        }

        // Rows do not know one another: in another order each has the score that it had.
        let turned: Vec<f32> = rows.chunks_exact(columns).rev().flatten().copied().collect();
        let mut back = forest.scores(&turned);
        back.reverse();
        prop_assert_eq!(bits(&back), bits(&scores));

        let bytes = postcard::to_stdvec(&forest).expect("plain data");
        let read: Forest = postcard::from_bytes(&bytes).expect("what was written");
        prop_assert!(read == forest, "reading gives back another forest");
    }
}

#[test]
fn another_seed_grows_another_forest() {
    let rows = ordinary(500, 5, 1);
    let [a, b] = [1, 2].map(|seed| Forest::fit(&rows, 5, settings(0, seed)).expect("rows"));
    assert_ne!(a, b);
}

#[test]
fn the_missing_stand_at_the_median() {
    let rows = ordinary(501, 3, 2);
    for extension in [0, 2] {
        let forest = Forest::fit(&rows, 3, settings(extension, 1)).expect("rows");
        let mut second: Vec<f32> = rows.iter().skip(1).step_by(3).copied().collect();
        second.sort_by(f32::total_cmp);
        let full = forest.score(&[0.03, second[250], 3.0]);
        for missing in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let row = [0.03, missing, 3.0];
            assert_eq!(forest.score(&row), full);
            assert_eq!(forest.scores(&row), [full]);
        }
    }
}

#[test]
fn columns_that_say_nothing_change_nothing() {
    // Constant, and missing throughout.
    let rows: Vec<f32> = ordinary(300, 1, 3)
        .into_iter()
        .flat_map(|value| [7.0, value, f32::NAN])
        .collect();
    for extension in [0, 2] {
        let forest = Forest::fit(&rows, 3, settings(extension, 1)).expect("rows");
        let row = [7.0, 0.03, f32::NAN];
        assert_eq!(forest.score(&row), forest.score(&[1e9, 0.03, -4.0]));
        let parts = forest.explain(&row);
        assert!(
            parts[0] == 0.0 && parts[1] != 0.0 && parts[2] == 0.0,
            "{parts:?}"
        );
    }
}

#[test]
fn where_nothing_differs_everything_is_middling() {
    let missing = [f32::NAN; 40];
    let equal = [3.5_f32; 40];
    for rows in [missing, equal] {
        for extension in [0, 1] {
            let forest = Forest::fit(&rows, 4, settings(extension, 1)).expect("rows");
            let scores = forest.scores(&rows);
            assert!(
                scores.iter().all(|score| (score - 0.5).abs() < 1e-7),
                "{scores:?}"
            );
            assert_eq!(forest.explain(&[1.0, 2.0, 3.0, 4.0]), [0.0; 4]);
            assert_eq!(forest.base(), scores[0]);
        }
    }
}

#[test]
fn two_rows_are_enough_and_duplicates_stay_together() {
    let forest = Forest::fit(&[0.0, 1.0], 1, settings(0, 1)).expect("two rows");
    assert_eq!(forest.scores(&[-5.0, 0.0, 1.0, 5.0]), [0.5; 4]);

    let mut rows = vec![1.0_f32; 31];
    rows.push(2.0);
    let forest = Forest::fit(&rows, 1, settings(0, 1)).expect("rows");
    let (many, one) = (forest.score(&[1.0]), forest.score(&[2.0]));
    assert!(one > 0.8 && many < 0.5, "{one} and {many}");
}

#[test]
fn what_is_no_table_is_refused() {
    let fit = |rows: &[f32], columns, settings| Forest::fit(rows, columns, settings).err();
    let good = Settings::default();
    let too_few = |rows, columns| Some(FitError::TooFew { rows, columns });
    assert_eq!(fit(&[], 3, good), too_few(0, 3));
    assert_eq!(fit(&[1.0; 3], 3, good), too_few(1, 3));
    assert_eq!(fit(&[1.0; 3], 0, good), too_few(0, 0));
    let ragged = FitError::Ragged {
        values: 7,
        columns: 3,
    };
    assert_eq!(fit(&[1.0; 7], 3, good), Some(ragged));
    let none = [
        Settings { trees: 0, ..good },
        Settings { sample: 1, ..good },
    ];
    let many = [
        Settings {
            trees: u32::MAX,
            ..good
        },
        Settings {
            sample: u32::MAX,
            ..good
        },
    ];
    for settings in none {
        assert_eq!(fit(&[1.0; 6], 3, settings), Some(FitError::NoTrees));
    }
    for settings in many {
        assert_eq!(fit(&[1.0; 6], 3, settings), Some(FitError::TooMany));
    }
}

#[test]
fn the_largest_forest_of_a_kind_still_grows() {
    let rows = ordinary(5_000, 6, 4);
    for extension in [0, 5] {
        let settings = Settings {
            trees: 2,
            sample: 4_096,
            extension,
            seed: 1,
        };
        let forest = Forest::fit(&rows, 6, settings).expect("within the limits");
        assert_eq!(forest.check(), Ok(()));
        assert_eq!(forest.scores(&rows).len(), 5_000);
    }
}

#[test]
fn many_rows_have_the_same_bits_as_each_alone() {
    // On either side of the width from which fewer rows are worked on together, and with blocks that are not full.
    for columns in [1, 43, 48, 49, 84] {
        let mut rows = ordinary(700, columns, 5);
        rows.iter_mut()
            .step_by(13)
            .for_each(|value| *value = f32::NAN);
        let forest = Forest::fit(&rows, columns, Settings::default()).expect("rows");
        let alone: Vec<f64> = rows
            .chunks_exact(columns)
            .map(|row| forest.score(row))
            .collect();
        for count in [63, 64, 127, 256, 700] {
            let found = forest.scores(&rows[..count * columns]);
            assert_eq!(
                bits(&found),
                bits(&alone[..count]),
                "{columns} columns, {count} rows"
            );
        }
    }
}
