//! Deploys: a new version of the application takes the place of the old one, and all of it is ordinary.
//!
//! For a few seconds nobody is served, then caches fill, and in the end memory settles near where it was, though not
//! quite: a new version needs a little more or less.

use super::host::Profile;
use super::load::Load;
use super::noise::Draw;

/// The deploys of one host, in the order of their times.
#[derive(Clone, Debug)]
pub(super) struct Deploys(Vec<Deploy>);

#[derive(Clone, Copy, Debug)]
struct Deploy {
    at_seconds: f64,
    /// How much more memory the version needs than the first one, as a share of all memory.
    level: f64,
}

/// Nobody is served for so long.
const RESTART_SECONDS: f64 = 8.0;
/// Two thirds of the caches are warm after so long.
const WARM_SECONDS: f64 = 150.0;
/// The share of all memory that the application had in its caches.
const CACHES: f64 = 0.12;
/// A version needs this share of all memory more or less than the first one, at most. Not added up from deploy to deploy:
/// with a hundred of them nothing may run full.
const LEVEL_MOST: f64 = 0.03;

impl Deploys {
    pub(super) fn new(at_seconds: &[u64], seed: u64) -> Self {
        let deploy = |at: &u64| Deploy {
            at_seconds: *at as f64,
            level: Draw::new(seed, &format!("deploy {at}")).uniform(-LEVEL_MOST, LEVEL_MOST),
        };
        Self(at_seconds.iter().map(deploy).collect())
    }

    /// Adds the doing of the last deploy to what the host does `seconds` into the recording.
    pub(super) fn step(&self, seconds: f64, profile: &Profile, load: &mut Load) {
        let Some(deploy) = self.0.iter().rev().find(|d| d.at_seconds <= seconds) else {
            return;
        };
        let since = seconds - deploy.at_seconds;
        let cold = (-since / WARM_SECONDS).exp();
        let memory = load.memory + (deploy.level - CACHES * cold) * profile.memory_bytes;
        load.memory = memory.clamp(0.05 * profile.memory_bytes, 0.95 * profile.memory_bytes);
        load.read += 4e6 * cold;
        load.response *= 1.0 + 0.6 * cold;
        if since < RESTART_SECONDS {
            load.starve(0.1);
            load.busy *= 0.5;
            load.established *= 0.3;
            load.spawned += 20.0;
            load.response = 0.0;
        }
    }
}
