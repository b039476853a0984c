//! What all resources of a partition share: the sets, their plans, the rules of step closing, counters, scratch room.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use forewarn_types::StepLength;

use crate::definition::FeatureSet;
use crate::history::Scratch;
use crate::plan::Plan;
use crate::sets::FeatureSets;

/// When steps close, and how much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRules {
    /// How many steps a closed step's missing samples are waited for.
    pub delay_steps: u32,
    /// The least that samples from other machines (pushed, scraped) are waited for.
    pub remote_delay: Duration,
    /// A resource whose samples have all been late for this long, in log time, after its clock had jumped ahead by at
    /// least as much, is taken back to where the jump began.
    pub reanchor_after: Duration,
    /// Series of one resource that are followed; beyond, the quietest is forgotten.
    pub series_max: usize,
}

impl Default for StepRules {
    fn default() -> Self {
        Self {
            delay_steps: 1,
            remote_delay: Duration::from_secs(30),
            reanchor_after: Duration::from_secs(300),
            series_max: 2_000,
        }
    }
}

/// What happened to samples, since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples that arrived and are read by a set.
    pub samples: u64,
    /// Vectors that were made.
    pub vectors: u64,
    /// Vectors whose step was closed by its deadline, with known series missing.
    pub incomplete: u64,
    /// Samples that came after their step had closed.
    pub late: u64,
    /// Samples that came again with the same value.
    pub duplicates: u64,
    /// Samples that came again with another value: the last one wins while its step is open, the first one after.
    pub conflicting: u64,
    /// Samples that are not finite, are of no year that a calendar knows, or are beyond the steps of one record.
    pub unusable: u64,
    /// Series forgotten, or not taken in, because of [`StepRules::series_max`].
    pub evicted: u64,
    /// Times that a resource was taken back after a jump of its clock.
    pub reanchored: u64,
}

/// The shared side of step closing. The state of each resource and set is a [`Steps`](crate::Steps).
#[derive(Debug)]
pub struct Engine {
    pub(crate) sets: Arc<FeatureSets>,
    pub(crate) rules: StepRules,
    /// Counters, for metrics.
    pub counts: Counts,
    pub(crate) scratch: Scratch,
    pub(crate) row: Vec<f64>,
    pub(crate) ages: Vec<f64>,
    /// By set and step length.
    plans: BTreeMap<(usize, i64), Arc<Plan>>,
}

/// Plans that are kept. Steps are free between a second and an hour, but few of them are in use at once.
const PLANS_MAX: usize = 256;

impl Engine {
    /// An engine for these sets.
    #[must_use]
    pub fn new(sets: Arc<FeatureSets>, rules: StepRules) -> Self {
        Self {
            sets,
            rules,
            counts: Counts::default(),
            scratch: Scratch::default(),
            row: Vec::new(),
            ages: Vec::new(),
            plans: BTreeMap::new(),
        }
    }

    /// The sets.
    #[must_use]
    pub fn sets(&self) -> &Arc<FeatureSets> {
        &self.sets
    }

    pub(crate) fn set(&self, index: usize) -> Option<&FeatureSet> {
        self.sets.all().get(index)
    }

    pub(crate) fn plan(&mut self, set: usize, step: StepLength) -> Arc<Plan> {
        // Plans are derived and cheap to make, so forgetting all of them changes nothing.
        if self.plans.len() >= PLANS_MAX {
            self.plans.clear();
        }
        let sets = &self.sets;
        let plan = self
            .plans
            .entry((set, step.millis()))
            .or_insert_with(|| Arc::new(Plan::new(&sets.all()[set], step)));
        Arc::clone(plan)
    }
}
