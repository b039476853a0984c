//! A forest that was stored comes back, or is refused; damaged bytes neither panic nor make scoring run for ever.

use forewarn_models::forest::{Forest, Given, Settings, Tree};
use proptest::prelude::*;

use crate::world::ordinary;

fn stored(extension: u32) -> Vec<u8> {
    let settings = Settings {
        trees: 5,
        sample: 32,
        extension,
        seed: 1,
    };
    let forest = Forest::fit(&ordinary(100, 4, 1), 4, settings).expect("rows");
    postcard::to_stdvec(&forest).expect("plain data")
}

/// Whatever was read is either refused or a forest that can be asked.
fn ask(bytes: &[u8]) {
    let Ok(forest) = postcard::from_bytes::<Forest>(bytes) else {
        return;
    };
    assert_eq!(forest.check(), Ok(()));
    let row = vec![1.0; forest.columns()];
    assert!(forest.score(&row).is_finite());
    assert_eq!(forest.scores(&row), [forest.score(&row)]);
    assert!(forest.explain(&row).iter().all(|part| part.is_finite()));
    assert!(forest.base().is_finite());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn damaged_bytes_do_no_harm(
        extension in 0_u32..4,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = stored(extension);
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        ask(&bytes);
    }

    #[test]
    fn noise_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        ask(&bytes);
    }

    /// Small numbers only, so that more of it looks like a forest.
    #[test]
    fn noise_that_looks_like_a_forest_does_no_harm(bytes in prop::collection::vec(0_u8..4, 0..200)) {
        ask(&bytes);
    }
}

/// The form is a promise to what was stored: this forest has to be read by every later version.
#[test]
fn the_stored_form_is_the_one_it_was() {
    let bytes = [
        2, // rows of the sample
        1, 0, 0, 0, 63, // one column, its centre 0.5
        1,  // one tree
        3,  // of three parts
        1, 0, 0, 0, 128, 62, // a cut of column 0 at 0.25
        0, 1, // a leaf of one row
        0, 1, // another
    ];
    let forest: Forest = postcard::from_bytes(&bytes).expect("a forest");
    assert_eq!(postcard::to_stdvec(&forest).expect("plain data"), bytes);
    assert_eq!(forest.scores(&[0.0, 1.0, f32::NAN]), [0.5; 3]);
}

#[test]
fn what_is_no_forest_is_refused_with_the_reason() {
    let leaf = |rows| Given::Leaf { rows };
    let cut = |column, threshold, left, right| Given::Cut {
        column,
        threshold,
        left,
        right,
    };
    let refused = |nodes: &[Given], sample| {
        Tree::from_nodes(nodes)
            .and_then(|tree| Forest::from_trees(vec![0.0; 2], sample, vec![tree]))
            .expect_err("no forest")
    };
    assert_eq!(refused(&[], 2), "there is no node 0");
    assert_eq!(
        refused(&[cut(0, 1.0, 1, 2), leaf(1)], 2),
        "there is no node 2"
    );
    assert_eq!(refused(&[cut(0, 1.0, 0, 0)], 2), "a node has two parents");
    assert_eq!(
        refused(&[cut(0, 1.0, 1, 1), leaf(1)], 2),
        "a node has two parents"
    );
    let pair = [leaf(1), leaf(1)];
    let with = |cut| [&[cut], &pair[..]].concat();
    assert_eq!(
        refused(&with(cut(0, f64::NAN, 1, 2)), 2),
        "a cut is not finite"
    );
    assert_eq!(
        refused(&with(cut(0, f64::NEG_INFINITY, 1, 2)), 2),
        "a cut is not finite"
    );
    assert_eq!(refused(&with(cut(1 << 20, 1.0, 1, 2)), 2), "column 1048576");
    assert_eq!(
        refused(&with(cut(2, 1.0, 1, 2)), 2),
        "tree 0: asks for column 2 of 2"
    );
    assert_eq!(
        refused(&with(cut(1, 1.0, 1, 2)), 3),
        "tree 0: saw 2 rows, not 3"
    );
    assert_eq!(refused(&[leaf(1)], 1), "a sample of 1 rows");
    assert_eq!(refused(&[leaf(1 << 20)], 2), "1048576 rows in a leaf");

    // A chain that is longer than any tree of a forest is high.
    let mut chain = Vec::new();
    for link in 0..40 {
        chain.extend([cut(0, 1.0, 2 * link + 1, 2 * link + 2), leaf(1)]);
    }
    chain.push(leaf(1));
    assert_eq!(refused(&chain, 41), "deeper than 32");

    let none = Forest::from_trees(vec![0.0], 2, Vec::new()).expect_err("no trees");
    assert_eq!(none, "a forest of 0 trees");
    let lost = Forest::from_trees(vec![f32::NAN], 2, Vec::new()).expect_err("no centre");
    assert_eq!(lost, "column 0 has no finite centre");
}
