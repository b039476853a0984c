//! The forest equals scikit-learn: its trees, walked by us, give its scores; and our own trees find what its trees find.

use std::io::Write;
use std::process::{Command, Stdio};

use forewarn_models::forest::{Forest, Given, Settings, Tree};
use forewarn_testkit::servers;
use serde::Deserialize;

use crate::world::{auroc, ordinary};

/// What the oracle answers.
#[derive(Deserialize)]
struct Answer {
    trees: Vec<Nodes>,
    probes: Vec<Vec<f32>>,
    scores: Vec<f64>,
    planted: Vec<f64>,
}

/// A tree of scikit-learn. Children of a leaf are -1.
#[derive(Deserialize)]
struct Nodes {
    left: Vec<i64>,
    right: Vec<i64>,
    column: Vec<i64>,
    threshold: Vec<f64>,
    rows: Vec<usize>,
}

impl Nodes {
    fn tree(&self) -> Tree {
        let number = |value: i64| usize::try_from(value).expect("not of a leaf");
        let given: Vec<Given> = (0..self.left.len())
            .map(|at| match self.left[at] {
                -1 => Given::Leaf {
                    rows: self.rows[at],
                },
                left => Given::Cut {
                    column: number(self.column[at]),
                    threshold: self.threshold[at],
                    left: number(left),
                    right: number(self.right[at]),
                },
            })
            .collect();
        Tree::from_nodes(&given).expect("scikit-learn grows trees")
    }
}

#[test]
fn the_forest_equals_scikit_learn() {
    let Some(python) = servers::python("the forest equals scikit-learn") else {
        return;
    };
    // Values with all their digits; whole numbers, many of them equal; fewer rows than a sample; columns far from zero.
    compare(&python, &ordinary(2_000, 12, 1), 12);
    let whole: Vec<f32> = ordinary(1_000, 6, 2).iter().map(|v| v.round()).collect();
    compare(&python, &whole, 6);
    compare(&python, &ordinary(100, 3, 3), 3);
    let far: Vec<f32> = ordinary(600, 4, 4).iter().map(|v| v + 1.6e7).collect();
    compare(&python, &far, 4);
}

fn compare(python: &str, rows: &[f32], columns: usize) {
    // Every twentieth row is moved in a third of its columns.
    let mut planted = rows.to_vec();
    for row in planted.chunks_exact_mut(columns).step_by(20) {
        for value in row.iter_mut().step_by(3) {
            *value = *value * 1.9 + 1.0;
        }
    }
    let table = |rows: &[f32]| -> Vec<Vec<f32>> {
        rows.chunks_exact(columns).map(<[f32]>::to_vec).collect()
    };
    let task = serde_json::json!({ "rows": table(rows), "planted": table(&planted) });
    let answer: Answer = serde_json::from_slice(&ask(python, &task.to_string())).expect("JSON");

    let sample = 256.min(rows.len() / columns);
    let trees = answer.trees.iter().map(Nodes::tree).collect();
    let theirs = Forest::from_trees(vec![0.0; columns], sample, trees).expect("a forest");
    for (probe, score) in answer.probes.iter().zip(&answer.scores) {
        let found = theirs.score(probe);
        assert!(
            (found - score).abs() <= 1e-8,
            "{probe:?}: {found}, not {score}"
        );
    }
    let all = theirs.scores(&planted);
    for (found, score) in all.iter().zip(&answer.planted) {
        assert!((found - score).abs() <= 1e-8, "{found}, not {score}");
    }

    // Other trees from other random numbers, but the same rows stand out, by as much.
    let settings = Settings {
        seed: 11,
        ..Settings::default()
    };
    let ours = Forest::fit(rows, columns, settings).expect("rows to grow on");
    let scores = ours.scores(&planted);
    let unusual = |row: usize| row.is_multiple_of(20);
    let [a, b] = [&scores, &answer.planted].map(|scores| auroc(scores, unusual));
    assert!((a - b).abs() < 0.03, "AUROC {a:.3}, scikit-learn's {b:.3}");
    let [a, b] =
        [&scores, &answer.planted].map(|scores| scores.iter().sum::<f64>() / scores.len() as f64);
    assert!(
        (a - b).abs() < 0.01,
        "mean score {a:.4}, scikit-learn's {b:.4}"
    );
}

fn ask(python: &str, task: &str) -> Vec<u8> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/forest_oracle.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("FOREWARN_TEST_PYTHON names a Python");
    let mut input = child.stdin.take().expect("piped");
    input
        .write_all(task.as_bytes())
        .expect("the script reads all of it");
    drop(input);
    let output = child.wait_with_output().expect("the script ends");
    assert!(
        output.status.success(),
        "the oracle failed; are the packages of scripts/requirements.txt installed?"
    );
    output.stdout
}
