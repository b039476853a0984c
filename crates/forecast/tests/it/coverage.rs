//! The interval is honest: the true moment lies between P10 and P90 in about eight of ten, and the first warning
//! comes well ahead. Tuned on seeds below 1,000; what is asserted uses others.

use crate::series::{breach, claims, filling, opened};

struct Tally {
    episodes: usize,
    predicted: usize,
    inside_at_first: usize,
    inside_half_way: usize,
    ahead: Vec<f64>,
    error: Vec<f64>,
    linear_error: Vec<f64>,
}

fn tally(seeds: std::ops::Range<u64>, rough: f64) -> Tally {
    let mut tally = Tally {
        episodes: 0,
        predicted: 0,
        inside_at_first: 0,
        inside_half_way: 0,
        ahead: Vec::new(),
        error: Vec::new(),
        linear_error: Vec::new(),
    };
    for seed in seeds {
        // Leads of two minutes to two hours, evenly on a logarithmic scale.
        let lead = (120.0 * 60f64.powf((seed % 20) as f64 / 19.0)) as usize;
        let levels = filling(seed, 300, lead, 0.2 + 0.02 * (seed % 13) as f64, rough);
        let Some(truth) = breach(&levels) else {
            continue;
        };
        tally.episodes += 1;
        let claims = claims(&levels);
        let inside = |(step, claim): &(usize, forewarn_forecast::Claim)| {
            let left = (truth - step) as f64;
            claim.p10.is_some_and(|p10| p10 <= left) && claim.p90.is_none_or(|p90| left <= p90)
        };
        let before: Vec<_> = opened(&claims)
            .filter(|(step, _)| *step < truth && *step >= 300)
            .collect();
        let Some(first) = before.first() else {
            continue;
        };
        tally.predicted += 1;
        tally.inside_at_first += usize::from(inside(first));
        tally
            .ahead
            .push((truth - first.0) as f64 / (truth - 300) as f64);
        // Half way: what was said last before half of the climb was over.
        let half = 300 + (truth - 300) / 2;
        let said = before
            .iter()
            .rev()
            .find(|(step, _)| *step <= half)
            .unwrap_or(first);
        tally.inside_half_way += usize::from(inside(said));
        let left = (truth - said.0) as f64;
        tally
            .error
            .push((said.1.p50.expect("open") - left).abs() / left);
        tally
            .linear_error
            .push((said.1.linear.unwrap_or(f64::INFINITY) - left).abs() / left);
    }
    tally
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn check(name: &str, seeds: std::ops::Range<u64>, rough: f64) {
    let mut tally = tally(seeds, rough);
    let n = tally.predicted;
    let share = |count: usize| count as f64 / n as f64;
    println!(
        "{name}: {n} of {} predicted; inside P10-P90 at first {:.2}, half way {:.2}; first warning at {:.2} of the \
         climb left; median error half way {:.2}, least squares {:.2}",
        tally.episodes,
        share(tally.inside_at_first),
        share(tally.inside_half_way),
        median(&mut tally.ahead),
        median(&mut tally.error),
        median(&mut tally.linear_error),
    );
    assert!(
        n as f64 >= 0.95 * tally.episodes as f64,
        "{name}: only {n} of {} predicted",
        tally.episodes
    );
    for (when, inside) in [
        ("at first", tally.inside_at_first),
        ("half way", tally.inside_half_way),
    ] {
        assert!(
            (0.65..=0.95).contains(&share(inside)),
            "{name}: {inside} of {n} inside {when}"
        );
    }
}

#[test]
fn the_interval_holds_the_truth_for_a_steady_rate() {
    check("steady", 1_000..1_200, 0.3);
}

#[test]
fn the_interval_holds_the_truth_for_a_rate_that_wanders() {
    check("wandering", 2_000..2_200, 0.6);
}
