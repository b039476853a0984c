//! The life of a prediction as a timeline.

use std::fmt::Write;

use expect_test::{Expect, expect};

use crate::series::{claims, filling};

fn check(levels: &[f64], expected: &Expect) {
    let mut told = String::new();
    for (step, claim) in claims(levels) {
        let reason = claim
            .reason
            .map(|reason| format!(" ({reason})"))
            .unwrap_or_default();
        let left = claim
            .p50
            .map(|p50| format!(" in {p50:.0} s"))
            .unwrap_or_default();
        let lead = claim
            .lead
            .map(|lead| format!(" after {lead:.0} s"))
            .unwrap_or_default();
        writeln!(told, "{step:04} {}{left}{lead}{reason}", claim.state)
            .expect("a String takes every write");
    }
    expected.assert_eq(&told);
}

#[test]
fn a_disk_that_fills_is_predicted_and_confirmed_once() {
    check(
        &filling(7, 120, 300, 0.2, 0.2),
        &expect![[r#"
        0244 open in 179 s
        0341 open in 99 s
        0382 open in 46 s
        0412 open in 13 s
        0423 confirmed after 179 s (the limit is reached)
    "#]],
    );
}

#[test]
fn a_climb_that_stops_is_withdrawn() {
    let mut levels = filling(8, 60, 600, 0.2, 0.2);
    levels.truncate(360);
    let stopped = *levels.last().expect("levels");
    levels.extend(std::iter::repeat_n(stopped, 900));
    check(
        &levels,
        &expect![[r#"
        0244 open in 490 s
        0482 withdrawn (the level does not climb any more)
    "#]],
    );
}

#[test]
fn the_growth_reaches_the_limit_when_the_crossing_is_told() {
    use forewarn_forecast::history::Point;
    let levels = filling(7, 0, 300, 0.2, 0.2);
    let points: Vec<Point> = (0..120)
        .map(|k| Point {
            at: f64::from(k),
            level: levels[k as usize],
        })
        .collect();
    let outlook = forewarn_forecast::outlook(&points, 0.95).expect("it climbs");
    let [_, middle, _] = outlook.growth(outlook.p50);
    assert!((middle - outlook.distance()).abs() < 1e-9);
    // What one in ten exceeds has reached the limit when one in ten has.
    let [_, _, high] = outlook.growth(outlook.p10);
    assert!((high - outlook.distance()).abs() < 1e-6, "{high}");
    let [low, ..] = outlook.growth(outlook.p90.expect("the trend is clear"));
    assert!((low - outlook.distance()).abs() < 1e-6, "{low}");
}
