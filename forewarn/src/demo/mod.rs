//! The demonstration: a simulated fleet with a past, models of its own, and something that goes wrong with it.
//!
//! Nothing in it is staged: samples, features, verdicts, predictions and alerts come about as they do for real resources,
//! and the services do not know that the fleet does not exist. Only its past is put in at once ([`past`]), since nobody
//! wants to wait for a day.

mod config;
mod past;
mod script;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use forewarn_bus::{Appender, Log, mint};
use forewarn_features::FeatureSets;
use forewarn_ingestion::sources::simulated::{Config as SimulatorConfig, Simulator};
use forewarn_messages::{Body as _, SYSTEM_METRICS, SystemMetric};
use forewarn_simulate::DemoFleet;
use forewarn_store::embedded::EmbeddedMetrics;
use forewarn_stream_processor::StepConfig;
use forewarn_types::EventTime;

pub(crate) use self::config::{Config, Enabled};
pub(crate) use self::script::Script;

/// How much of the past there is.
const PAST: Duration = Duration::from_secs(24 * 3_600);

/// How much of it passes the log, so that who judges has seen enough to speak: a detector learns for a quarter of an hour.
const RECENT: Duration = Duration::from_secs(1_080);

/// How long the log may take to acknowledge it.
const FLUSH: Duration = Duration::from_secs(60);

/// Says that a folder belongs to a demonstration.
const MARK: &str = "demo";

/// A demonstration that is prepared.
pub(crate) struct Demo {
    pub(crate) config: Config,
    pub(crate) simulator: Simulator,
    /// Whether the folder is new, and nothing of a past is there yet.
    pub(crate) is_new: bool,
    fleet: DemoFleet,
    start: EventTime,
    /// What lies before goes to the store at once, what lies behind has passed the log.
    until: EventTime,
}

/// Whether there is to be one, and whether its folder is new; none if not. `folder` is that of the log, which
/// may not be there yet.
pub(crate) fn is_wanted(config: &Config, folder: &Path) -> Option<bool> {
    let is_new = !folder.exists();
    let wanted = match config.enabled {
        Enabled::On => true,
        Enabled::Off => false,
        Enabled::Auto => is_new || mark(folder).exists(),
    };
    wanted.then_some(is_new)
}

fn mark(folder: &Path) -> PathBuf {
    folder.with_extension(MARK)
}

impl Demo {
    /// Brings the fleet to life, with the last minutes of its past in the log if the folder is new. Blocks; before
    /// anybody else writes to the log.
    ///
    /// # Errors
    /// When the log does not take it.
    pub(crate) fn prepare(
        config: Config,
        simulator: &SimulatorConfig,
        folder: &Path,
        is_new: bool,
        log: &dyn Log,
    ) -> anyhow::Result<Self> {
        let second = 1_000;
        let now = crate::cli::times::now().micros() / 1_000 / second * second;
        let now = EventTime(now);
        let start = now.minus(PAST);
        let until = now.minus(RECENT);
        let fleet = DemoFleet::new(config.seed);
        let mut running = fleet.start(start);
        let mut values = Vec::new();
        for host in running.series_mut() {
            while host.next_moment() < until {
                let at = host.next_moment();
                host.measure_values(at, &mut values);
            }
        }
        if is_new {
            let appender = log.appender()?;
            mint(log, appender.as_ref())?;
            for batch in running.history(now).flatten() {
                append(appender.as_ref(), batch)?;
            }
            appender.flush(FLUSH)?;
            std::fs::write(mark(folder), "This folder belongs to a demonstration.\n")
                .with_context(|| format!("mark {} as a demonstration's", folder.display()))?;
        } else {
            // What passed while nobody looked on.
            running.history(now).for_each(drop);
        }
        Ok(Self {
            simulator: Simulator::new(running, simulator),
            config,
            is_new,
            fleet,
            start,
            until,
        })
    }

    /// The beginning of its past, in milliseconds since the epoch.
    pub(crate) fn since(&self) -> i64 {
        self.start.millis()
    }

    /// Puts the day that lies behind into the store; returns how many points that were, and the seconds it took. Blocks.
    ///
    /// # Errors
    /// When the store does not take it.
    pub(crate) fn write_past(
        &self,
        store: &EmbeddedMetrics,
        sets: Arc<FeatureSets>,
        steps: StepConfig,
        stop: &forewarn_bus::StopFlag,
    ) -> anyhow::Result<(u64, f64)> {
        let begun = Instant::now();
        let past = past::Past {
            fleet: &self.fleet,
            start: self.start,
            until: self.until,
            sets,
            steps,
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let points = past::write(&past, store, threads.min(4), stop)?;
        Ok((points, begun.elapsed().as_secs_f64()))
    }
}

fn append(appender: &dyn Appender, batch: forewarn_messages::SampleBatch) -> anyhow::Result<()> {
    let envelope = SystemMetric::Samples(batch).seal(None, None);
    loop {
        match appender.append(&SYSTEM_METRICS, None, None, envelope.clone()) {
            Ok(_) => return Ok(()),
            Err(forewarn_bus::AppendError::Full) => appender.flush(FLUSH)?,
            Err(error) => return Err(error.into()),
        }
    }
}
