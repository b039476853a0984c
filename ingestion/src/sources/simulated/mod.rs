//! `simulator`: a fleet that does not exist, measured every second like this host.
//!
//! Its samples take the same way into the log as the host's, so that everything behind can be tried without anything
//! being at stake. What really goes wrong in it is written to a file of its own ([`truth`]), which nothing but evaluation
//! reads: no sample, no tag and no metric of ours tells a simulated fault from a real one.

mod config;
#[cfg(test)]
mod tests;
mod truth;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forewarn_messages::SampleBatch;
use forewarn_simulate::{DemoFleet, InjectError, Injected, Label, Order, RunningFleet};
use forewarn_types::{EventTime, Kind, StepLength};
use tokio::sync::broadcast;

pub use self::config::{Config, Planned};
use self::truth::TruthFile;

/// Name of this source in batches and counters.
pub use forewarn_simulate::demo::SOURCE;

/// Labels that somebody who listens may be behind; whoever is further behind is told how many he missed.
const LABELS_KEPT: usize = 64;

/// A running simulator. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Simulator(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    fleet: Mutex<RunningFleet>,
    truth: Mutex<TruthFile>,
    labels: broadcast::Sender<Label>,
}

/// One of the resources that are simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

impl Simulator {
    /// The fleet of the demonstration from `start` on, with the faults that the settings plan.
    ///
    /// # Errors
    /// Which of the planned faults cannot be, and why.
    pub fn of(config: &Config, start: EventTime) -> Result<Self, (usize, InjectError)> {
        let second = StepLength::SECOND.millis();
        // Whole seconds, as they are measured.
        let start = EventTime(start.millis().div_euclid(second) * second);
        let mut fleet = DemoFleet::new(config.seed).start(start);
        for (i, planned) in config.faults.iter().enumerate() {
            fleet.inject(&planned.order()).map_err(|error| (i, error))?;
        }
        Ok(Self::new(fleet, config))
    }

    /// A fleet that may have a past already; it goes on from there. Of `config` only the place of the truth counts.
    #[must_use]
    pub fn new(fleet: RunningFleet, config: &Config) -> Self {
        Self(Arc::new(Shared {
            fleet: Mutex::new(fleet),
            truth: Mutex::new(TruthFile::new(config.truth.clone())),
            labels: broadcast::Sender::new(LABELS_KEPT),
        }))
    }

    /// Puts a fault into one of its resources.
    ///
    /// # Errors
    /// When there is no such resource, the fault cannot be seen there, lasts too long or too short, or enough goes wrong.
    pub fn inject(&self, order: &Order) -> Result<Injected, InjectError> {
        self.fleet().inject(order)
    }

    /// Its resources, in an order that stays.
    #[must_use]
    pub fn resources(&self) -> Vec<Resource> {
        let fleet = self.fleet();
        let resource = |host: &forewarn_simulate::Host| Resource {
            name: host.resource.resource.clone(),
            kind: host.kind,
        };
        fleet.hosts().map(resource).collect()
    }

    /// What becomes of faults from now on, as it happens: that one began (neither breach nor end), reached its limit,
    /// ended. For a demonstration to show; what judges must not listen.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Label> {
        self.0.labels.subscribe()
    }

    /// How often it wants to be measured.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.fleet().interval().duration()
    }

    /// Measures all resources at `at`, and writes down what became of their faults.
    #[must_use]
    pub fn measure(&self, at: EventTime) -> Vec<SampleBatch> {
        let (batches, news) = {
            let mut fleet = self.fleet();
            (fleet.measure(at), fleet.take_news())
        };
        if !news.is_empty() {
            let mut truth = self.0.truth.lock().unwrap_or_else(PoisonError::into_inner);
            truth.write(&news);
        }
        for label in news {
            // That nobody listens is the usual case.
            let _ = self.0.labels.send(label);
        }
        batches
    }

    fn fleet(&self) -> MutexGuard<'_, RunningFleet> {
        self.0.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
