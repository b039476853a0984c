//! Seeded incident-free series of several kinds, in units of their own standard deviation.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How a metric behaves while nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Independent and normal.
    Normal,
    /// First-order autoregressive with this coefficient.
    Correlated(f64),
    /// Student t with five degrees of freedom.
    HeavyTailed,
    /// Normal around a daily wave of this amplitude.
    Daily(f64),
    /// Zero, with bursts of a few steps now and then.
    Bursts,
    /// One value, with rare flickers of the last digit.
    Quantised,
}

/// One metric's generator.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) kind: Kind,
    rng: ChaCha8Rng,
    state: f64,
    left: u32,
    step: u64,
    per_day: f64,
}

impl Series {
    pub(crate) fn new(kind: Kind, seed: u64, stream: u64, step_millis: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self {
            kind,
            rng,
            state: 0.0,
            left: 0,
            step: 0,
            per_day: 86_400_000.0 / f64::from(step_millis),
        }
    }

    pub(crate) fn normal(&mut self) -> f64 {
        let (u, v): (f64, f64) = (self.rng.random(), self.rng.random());
        (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// The next value; noise has a standard deviation of one (bursts and quantised: a floor of one is meant).
    pub(crate) fn next(&mut self) -> f64 {
        self.step += 1;
        match self.kind {
            Kind::Normal => self.normal(),
            Kind::Correlated(coefficient) => {
                let innovation = self.normal() * (1.0 - coefficient * coefficient).sqrt();
                self.state = coefficient * self.state + innovation;
                self.state
            }
            Kind::HeavyTailed => {
                let chi: f64 = (0..5).map(|_| self.normal().powi(2)).sum();
                self.normal() / (chi / 5.0).sqrt() / (5.0_f64 / 3.0).sqrt()
            }
            Kind::Daily(amplitude) => {
                amplitude * (std::f64::consts::TAU * self.step as f64 / self.per_day).sin()
                    + self.normal()
            }
            Kind::Bursts => {
                if self.left == 0 && self.rng.random_bool(0.002) {
                    self.left = self.rng.random_range(1..6);
                    self.state = 5.0 * (-self.rng.random::<f64>().ln());
                }
                self.left = self.left.saturating_sub(1);
                if self.left > 0 { self.state } else { 0.0 }
            }
            Kind::Quantised => {
                if self.rng.random_bool(0.001) {
                    1.0
                } else {
                    0.0
                }
            }
        }
    }
}
