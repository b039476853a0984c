//! Seeded levels of a limited thing: a filling disk whose rate wanders, a leak, and what only looks like one.

use forewarn_forecast::{Claim, Reading, Settings, Watch};
use forewarn_types::{EventTime, PredictionState, StepLength};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The share of the capacity at which these count as failed.
pub(crate) const LIMIT: f64 = 0.95;

/// Uniform numbers from a seed.
pub(crate) fn source(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A standard normal deviate: the sum of twelve uniforms is near enough for noise.
pub(crate) fn gauss(source: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| source.random::<f64>()).sum::<f64>() - 6.0
}

/// A level that rests for `rest` steps and then climbs from about `from` to the limit in about `lead` steps; its rate
/// wanders (AR(1) around its mean, correlated over a twentieth of the lead) and readings are noisy.
pub(crate) fn filling(seed: u64, rest: usize, lead: usize, from: f64, rough: f64) -> Vec<f64> {
    let mut source = source(seed);
    let mean = (LIMIT - from) / lead as f64;
    let keep = (-20.0 / lead as f64).exp();
    let (mut level, mut swing) = (from, 0.0);
    let mut levels = Vec::new();
    for step in 0..rest + 3 * lead {
        swing = keep * swing + (1.0 - keep * keep).sqrt() * gauss(&mut source);
        if step >= rest {
            level += mean * (1.0 + rough * swing);
        }
        levels.push((level + 0.002 * gauss(&mut source)).clamp(0.0, 1.0));
        if level > 1.05 {
            break;
        }
    }
    levels
}

/// What a watch says about levels at one-second steps: (step number, claim).
pub(crate) fn claims(levels: &[f64]) -> Vec<(usize, Claim)> {
    let mut watch = Watch::default();
    let mut claims = Vec::new();
    for (step, level) in levels.iter().enumerate() {
        if let Some(claim) = watch.observe(&reading(step, *level), &Settings::default()) {
            claims.push((step, claim));
        }
    }
    claims
}

pub(crate) fn reading(step: usize, level: f64) -> Reading {
    let at = EventTime(1_700_000_000_000 + 1000 * step as i64);
    Reading {
        at,
        step: StepLength::SECOND,
        used: level * 1e9,
        capacity: 1e9,
        limit: LIMIT,
    }
}

/// The first step at which the level has reached the limit.
pub(crate) fn breach(levels: &[f64]) -> Option<usize> {
    levels.iter().position(|level| *level >= LIMIT)
}

pub(crate) fn opened(claims: &[(usize, Claim)]) -> impl Iterator<Item = &(usize, Claim)> {
    claims
        .iter()
        .filter(|(_, claim)| claim.state == PredictionState::Open)
}
