//! Features equal pandas: a second implementation, from the definitions, in another language.
//!
//! The engine answers in f32, so the tolerance is relative: 1e-6 of the value, and of one deviation for z-scores, plus
//! 1e-13 of the metric's scale, the last digits of large numbers. Undefined has to be undefined on both sides, to the
//! step.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use forewarn_features::{FeatureSource, Transform};
use forewarn_testkit::servers;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::world::{World, sample};

const WINDOWS: [&str; 7] = ["3", "5", "10", "1m", "5m", "15m", "1h"];

/// A set with every transform over every window, for a gauge near zero, one far from it, and a counter.
fn set() -> String {
    let mut features: Vec<String> = [
        "diff",
        "rate_of_change",
        "lag_1",
        "lag_2",
        "lag_3",
        "ewma_3",
        "ewma_10",
        "median_30",
    ]
    .map(str::to_owned)
    .into();
    for statistic in ["mean", "std", "min", "max", "median", "slope", "zscore"] {
        features.extend(WINDOWS.map(|window| format!("{statistic}_{window}")));
    }
    let mut text = r#"
        name = "oracle"
        version = 1
        kinds = ["custom"]
        temporal = ["hour_sin", "hour_cos", "weekday_sin", "weekday_cos", "weekend", "business_hours", "holiday"]
        calendar = { time_zone = "America/New_York", business_from = 8, business_to = 18, holidays = ["2026-03-09"] }
    "#
    .to_owned();
    for (metric, reading, floor) in METRICS {
        text += &format!(
            "[[metrics]]\nname = {metric:?}\nfrom = {metric:?}\nas = {reading:?}\nunit = \"1\"\nfloor = {floor:?}\n\
             features = {features:?}\n"
        );
    }
    text
}

const METRICS: [(&str, &str, f64); 3] = [
    ("near", "gauge", 0.01),
    ("far", "gauge", 100.0),
    ("total", "rate", 0.5),
];

#[test]
fn features_equal_pandas() {
    let Some(python) = servers::python("features equal pandas") else {
        return;
    };
    // Seconds, a step that does not divide a minute, the storage granularity, minutes.
    for (step, steps, seed) in [
        (1_000, 2_700, 1),
        (7_000, 600, 2),
        (10_000, 400, 3),
        (60_000, 200, 4),
    ] {
        compare(&python, step, steps, seed);
    }
}

fn compare(python: &str, step: i64, steps: i64, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::new(&set());
    world.interval = u32::try_from(step).expect("small");
    // Around the change to summer time in New York, 2026-03-08 07:00 UTC.
    let begin = 1_772_953_200_000_i64 - steps / 2 * step;
    let begin = begin - begin.rem_euclid(step);
    let mut samples: BTreeMap<&str, Vec<(i64, f64)>> = BTreeMap::new();
    let mut vectors = Vec::new();
    let (mut total, mut gap) = (0.0, 0);
    for number in 0..steps {
        gap = if gap > 0 {
            gap - 1
        } else if rng.random_ratio(1, 60) {
            rng.random_range(1..90)
        } else {
            0
        };
        let level = if number > steps / 2 { 50.0 } else { 0.0 };
        total = if rng.random_ratio(1, 50) {
            rng.random_range(0.0..5.0)
        } else {
            total + rng.random_range(0.0..40.0)
        };
        let values = [
            ("near", rng.random_range(-1.0..1.0)),
            ("far", 1.6e10 + level * 1e6 + rng.random_range(-5e3..5e3)),
            ("total", total),
        ];
        if gap > 0 {
            continue;
        }
        let at = begin + number * step + rng.random_range(0..step);
        let mut batch = world.batch(&[]);
        for (name, value) in values {
            // A series that is missing now and then: its metric has no value, the others have.
            if number > 3 && rng.random_ratio(1, 40) {
                continue;
            }
            batch.samples.push(sample(name, at, value));
            samples.entry(name).or_default().push((at, value));
        }
        vectors.extend(world.apply(&batch));
    }
    assert!(
        vectors.len() as i64 > steps / 3,
        "{} vectors of {steps} steps",
        vectors.len()
    );

    let set = &world.engine.sets().all()[world.set];
    let names: Vec<&str> = set
        .features
        .iter()
        .map(|feature| feature.name.as_str())
        .collect();
    let metrics: serde_json::Map<String, Value> = METRICS
        .iter()
        .map(|(name, reading, floor)| {
            (
                (*name).to_owned(),
                json!({ "as": reading, "floor": floor, "exact": *name == "far", "samples": samples[name] }),
            )
        })
        .collect();
    let task = json!({
        "step": step,
        "ends": vectors.iter().map(|vector| vector.step_end.millis()).collect::<Vec<_>>(),
        "features": names,
        "metrics": metrics,
        "calendar": {
            "time_zone": "America/New_York", "business_from": 8, "business_to": 18, "holidays": ["2026-03-09"],
        },
    });
    let expected = ask(python, &task);
    let mut compared = 0_u64;
    for (i, feature) in set.features.iter().enumerate() {
        let scale = match feature.source {
            FeatureSource::Metric { metric, transform }
                if !matches!(transform, Transform::ZScore(_)) =>
            {
                samples[METRICS[metric].0]
                    .iter()
                    .map(|(_, value)| value.abs())
                    .fold(0.0, f64::max)
            }
            _ => 1e7,
        };
        for (row, vector) in vectors.iter().enumerate() {
            let found = vector.values[i].map(f64::from);
            let at = format!(
                "{} of step {} ms at {}",
                feature.name, step, vector.step_end
            );
            match (found, expected[i][row]) {
                (Some(found), Some(expected)) => {
                    let tolerance = 1e-6 * expected.abs() + 1e-13 * scale;
                    assert!(
                        (found - expected).abs() <= tolerance,
                        "{at}: {found} is not {expected}"
                    );
                    compared += 1;
                }
                (None, None) => {}
                (found, expected) => panic!("{at}: {found:?} is not {expected:?}"),
            }
        }
    }
    let all = (vectors.len() * names.len()) as u64;
    assert!(
        compared > all / 2,
        "only {compared} of {all} features were defined"
    );
}

fn ask(python: &str, task: &Value) -> Vec<Vec<Option<f64>>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/oracle.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("FOREWARN_TEST_PYTHON names a Python");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(task.to_string().as_bytes())
        .expect("the script reads all of it");
    let output = child.wait_with_output().expect("the script ends");
    assert!(
        output.status.success(),
        "the oracle failed; are the packages of scripts/requirements.txt installed?"
    );
    serde_json::from_slice(&output.stdout).expect("the script writes JSON")
}
