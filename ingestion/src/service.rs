//! The service as its settings describe it.

use std::sync::Arc;

use forewarn_bus::LogAccess;
use forewarn_config::Settings;
use forewarn_features::FeatureSets;
use forewarn_service::Context;
use forewarn_store::metrics::MetricAccess;
use forewarn_types::EventTime;

use crate::sources::simulated::{self, Simulator};
use crate::{Config, Recording, http};

/// The sections that this service reads.
#[derive(Debug)]
pub struct Sections {
    ingestion: Config,
    sets: FeatureSets,
    simulator: Option<Simulator>,
}

impl Sections {
    /// The simulator that is going to run, to put faults into it and to hear of them; `None` unless the settings ask for
    /// one, or [`Sections::simulate`] brought one.
    #[must_use]
    pub fn simulator(&self) -> Option<Simulator> {
        self.simulator.clone()
    }

    /// The same with this simulator instead of the settings', such as one whose fleet has a past already.
    #[must_use]
    pub fn simulate(mut self, simulator: Simulator) -> Self {
        self.simulator = Some(simulator);
        self
    }
}

/// Reads them; what is wrong is remembered by `settings`.
pub fn configure(settings: &mut Settings) -> Sections {
    let simulated = settings.checked("simulator", simulated::Config::mistakes);
    Sections {
        ingestion: settings.checked("ingestion", Config::mistakes),
        sets: settings.made("feature_sets", FeatureSets::extended),
        // What cannot be has been refused above.
        simulator: Simulator::of(&simulated, EventTime(http::now()))
            .ok()
            .filter(|_| simulated.enabled),
    }
}

/// Starts everything and returns; the parts end when the service is asked to stop.
///
/// # Errors
/// When the address cannot be had, or the log cannot be used as it is configured.
pub async fn start(
    cx: Context,
    sections: Sections,
    log: LogAccess,
    metrics: MetricAccess,
) -> anyhow::Result<()> {
    let recording = Recording {
        metrics,
        sets: Arc::new(sections.sets),
    };
    crate::run(&cx, sections.ingestion, log, recording, sections.simulator).await
}
