//! What looks like a fault and is none: a good predictor stays quiet, or takes its word back.

use super::host::Profile;
use super::load::Load;
use super::noise::Draw;

/// A harmless change that resembles the beginning of a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decoy {
    /// The first filesystem grows as if it would fill up, then levels off half way and stays there.
    Plateau {
        /// When the growth begins, in seconds from the start.
        onset_seconds: u64,
        /// How long it grows.
        seconds: u64,
    },
    /// Work that is done at the same time every day: CPU and disk are busy, and that is normal.
    NightlyBatch {
        /// When it begins, in seconds of the day (UTC).
        second_of_day: u64,
        /// How long it takes.
        seconds: u64,
    },
    /// A large file lands on the first filesystem at once, and nothing follows.
    Jump {
        /// When, in seconds from the start.
        onset_seconds: u64,
        /// How much of the filesystem it takes.
        share: f64,
    },
    /// The first filesystem fills again and again, and is cleaned at `at_share` each time: a cache, a rotated log.
    CleanUp {
        /// When the growth begins, in seconds from the start.
        onset_seconds: u64,
        /// How long it takes from the first level to the clean-up.
        seconds: u64,
        /// At which share in use (0.6 to 0.9) it is cleaned.
        at_share: f64,
    },
    /// Memory grows as caches warm up, ever more slowly, and stays where it has come to.
    WarmUp {
        /// When it begins, in seconds from the start.
        onset_seconds: u64,
        /// After how long nearly all of it (95 %) is there.
        seconds: u64,
        /// Which share of the free memory it takes in the end.
        share: f64,
    },
    /// More visitors than usual, whom somebody has invited: they come and go slowly.
    TrafficCampaign {
        /// When it begins, in seconds from the start.
        onset_seconds: u64,
        /// How long it takes; they come in the first quarter and go in the last.
        seconds: u64,
        /// How many times the usual visitors there are at its height.
        factor: f64,
    },
    /// The collector starts anew, and its counters begin at zero while the host goes on.
    SensorReset {
        /// When, in seconds from the start.
        at_seconds: u64,
    },
    /// Another machine on the same hardware takes CPU time away (steal time).
    NoisyNeighbour {
        /// When it begins, in seconds from the start.
        onset_seconds: u64,
        /// How long it takes; it comes and goes within a tenth of that.
        seconds: u64,
        /// Which share of the CPU time it takes at its height.
        share: f64,
    },
}

/// A decoy at work.
#[derive(Clone, Debug)]
pub(super) struct DecoyRun {
    decoy: Decoy,
    draw: Draw,
    /// What happens only once has happened.
    done: bool,
}

const DAY_MS: i64 = 86_400_000;

impl DecoyRun {
    pub(super) fn new(decoy: Decoy, seed: u64, index: usize) -> Self {
        Self {
            decoy,
            draw: Draw::new(seed, &format!("decoy {index}")),
            done: false,
        }
    }

    /// Adds the decoy's doing to what the host does at the moment `millis`, `seconds` into the recording.
    pub(super) fn step(&mut self, millis: i64, seconds: f64, profile: &Profile, load: &mut Load) {
        let size = profile.filesystems[0].bytes;
        let free = size - load.filesystems[0];
        match self.decoy {
            Decoy::Plateau {
                onset_seconds,
                seconds: length,
            } => {
                let grown = ((seconds - onset_seconds as f64) / length as f64).clamp(0.0, 1.0);
                // The last quarter flattens out: half a sine wave has no kink where it ends.
                let share = 0.5 * (grown * std::f64::consts::FRAC_PI_2).sin();
                load.filesystems[0] += share * free;
                if grown > 0.0 && grown < 1.0 {
                    load.written += 0.5 * free / length as f64;
                }
            }
            Decoy::NightlyBatch {
                second_of_day,
                seconds: length,
            } => {
                let second = millis.rem_euclid(DAY_MS) / 1000;
                let since = (second - second_of_day as i64).rem_euclid(DAY_MS / 1000);
                if since < length as i64 {
                    load.busy = load.busy.max(0.7 + 0.03 * self.draw.normal());
                    load.runnable += 2.0;
                    load.read += 60e6;
                    load.written += 30e6;
                }
            }
            Decoy::Jump {
                onset_seconds,
                share,
            } => {
                if seconds >= onset_seconds as f64 {
                    load.filesystems[0] = (load.filesystems[0] + share * size).min(size);
                }
            }
            Decoy::CleanUp {
                onset_seconds,
                seconds: length,
                at_share,
            } => {
                let since = seconds - onset_seconds as f64;
                if since >= 0.0 {
                    let way = (since / length as f64).fract();
                    let top = (at_share * size - load.filesystems[0]).max(0.0);
                    load.filesystems[0] += way * top;
                    load.written += top / length as f64;
                }
            }
            Decoy::WarmUp {
                onset_seconds,
                seconds: length,
                share,
            } => {
                let since = seconds - onset_seconds as f64;
                if since >= 0.0 {
                    let cold = (-3.0 * since / length.max(1) as f64).exp();
                    let free = profile.memory_bytes - load.memory;
                    load.memory += share * free * (1.0 - cold);
                    load.read += 8e6 * cold;
                }
            }
            Decoy::TrafficCampaign {
                onset_seconds,
                seconds: length,
                factor,
            } => {
                let height = trapezium(seconds - onset_seconds as f64, length as f64, 0.25);
                if height > 0.0 {
                    load.multiply(1.0 + (factor - 1.0) * height, profile);
                }
            }
            Decoy::SensorReset { at_seconds } => {
                if !self.done && seconds >= at_seconds as f64 {
                    self.done = true;
                    load.reset = true;
                }
            }
            Decoy::NoisyNeighbour {
                onset_seconds,
                seconds: length,
                share,
            } => {
                let height = trapezium(seconds - onset_seconds as f64, length as f64, 0.1);
                if height > 0.0 {
                    let taken = (share * height * (1.0 + 0.1 * self.draw.normal())).max(0.0);
                    let taken = taken.min((0.98 - load.busy).max(0.0));
                    load.busy += taken;
                    load.stolen += taken;
                    load.pressure[0] += 0.2 * taken;
                }
            }
        }
    }
}

/// 0 outside of `0..length`, 1 in its middle, with slopes of `edge` of its length at both ends.
fn trapezium(since: f64, length: f64, edge: f64) -> f64 {
    let way = since / length.max(1.0);
    (way.min(1.0 - way) / edge).clamp(0.0, 1.0)
}
