//! Seeded chance: every series draws from a stream of its own, so that its values are a function of
//! (seed, series, step) whatever else a host reports.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A source of chance that depends on a seed and a name, and on nothing else.
#[derive(Clone, Debug)]
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// The stream `name` under `seed`.
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Self {
        // FNV-1a: all that is asked of it is that different names get different streams.
        let stream = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Evenly from `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    /// Evenly from `low..high`; `low` when that is empty.
    pub fn index(&mut self, low: u64, high: u64) -> u64 {
        if high <= low {
            low
        } else {
            self.0.random_range(low..high)
        }
    }

    /// Whether a thing of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    /// From the standard normal distribution (Box and Muller's transform).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.0.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.0.random::<f64>()).cos()
    }

    /// A seed for something that draws on its own.
    pub fn seed(&mut self) -> u64 {
        self.0.random()
    }
}

/// Noise that remembers: first-order autoregressive, with mean 0 and a stated stationary deviation.
#[derive(Clone, Debug)]
pub struct Ar1 {
    draw: Draw,
    deviation: f64,
    memory_seconds: f64,
    now: f64,
}

impl Ar1 {
    /// Noise of `deviation` whose correlation falls to 1/e after `memory_seconds`.
    #[must_use]
    pub fn new(seed: u64, name: &str, deviation: f64, memory_seconds: f64) -> Self {
        let mut draw = Draw::new(seed, name);
        let now = deviation * draw.normal();
        Self {
            draw,
            deviation,
            memory_seconds,
            now,
        }
    }

    /// The noise `seconds` after the last call.
    pub fn next(&mut self, seconds: f64) -> f64 {
        let phi = (-seconds / self.memory_seconds).exp();
        self.now = phi * self.now + (1.0 - phi * phi).sqrt() * self.deviation * self.draw.normal();
        self.now
    }
}

/// Small bursts of work: they begin at random, jump up, and die away.
#[derive(Clone, Debug)]
pub struct Bursts {
    draw: Draw,
    per_hour: f64,
    height: f64,
    now: f64,
}

/// A burst has lost two thirds of its height after this many seconds.
const BURST_SECONDS: f64 = 6.0;

impl Bursts {
    /// Bursts up to `height` high, `per_hour` of them on average.
    #[must_use]
    pub fn new(seed: u64, name: &str, per_hour: f64, height: f64) -> Self {
        Self {
            draw: Draw::new(seed, name),
            per_hour,
            height,
            now: 0.0,
        }
    }

    /// What the bursts add `seconds` after the last call.
    pub fn next(&mut self, seconds: f64) -> f64 {
        self.now *= (-seconds / BURST_SECONDS).exp();
        let height = self.height * self.draw.uniform(0.2, 1.0);
        if self.draw.chance(self.per_hour * seconds / 3600.0) {
            self.now = self.now.max(height);
        }
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_and_name_alone() {
        let take = |seed, name| {
            (0..8)
                .scan(Draw::new(seed, name), |draw, _| Some(draw.seed()))
                .collect::<Vec<_>>()
        };
        assert_eq!(take(1, "a"), take(1, "a"));
        assert_ne!(take(1, "a"), take(2, "a"));
        assert_ne!(take(1, "a"), take(1, "b"));
    }

    #[test]
    fn noise_has_the_deviation_and_the_memory_it_was_given() {
        let mut noise = Ar1::new(7, "noise", 2.0, 10.0);
        let values: Vec<f64> = (0..200_000).map(|_| noise.next(1.0)).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let lagged = values
            .windows(11)
            .map(|w| (w[0] - mean) * (w[10] - mean))
            .sum::<f64>()
            / n;
        assert!(mean.abs() < 0.1, "mean {mean}");
        assert!(
            (variance.sqrt() - 2.0).abs() < 0.1,
            "deviation {}",
            variance.sqrt()
        );
        assert!(
            (lagged / variance - (-1.0_f64).exp()).abs() < 0.05,
            "correlation {}",
            lagged / variance
        );
    }
}
