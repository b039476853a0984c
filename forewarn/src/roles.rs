//! The services as parts of one process.

use std::pin::Pin;

use clap::ValueEnum;
use forewarn_bus::LogAccess;
use forewarn_config::Settings;
use forewarn_ingestion::sources::simulated::Simulator;
use forewarn_service::Context;
use forewarn_store::metrics::MetricAccess;

/// A service, under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Role {
    /// Takes samples in and measures this host; writes points down
    Ingestion,
    /// Puts samples together to steps, and steps to feature vectors
    StreamProcessor,
    /// Judges every step and predicts failures; writes both down in PostgreSQL
    Predictor,
    /// Turns predictions and conditions into alerts, and tells people
    Alerter,
    /// Makes models of stored history
    Trainer,
    /// Shows what the ledger holds, and takes commands about alerts
    Api,
}

/// Starts a service and resolves; its parts end when the process is asked to stop.
pub(crate) type Start = Box<dyn FnOnce(Context, &Parts) -> Starting>;

/// What the services stand on.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) log: LogAccess,
    pub(crate) metrics: MetricAccess,
    /// A fleet that is measured beside this host.
    pub(crate) simulator: Option<Simulator>,
}

type Starting = Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ingestion => "ingestion",
            Self::StreamProcessor => "stream-processor",
            Self::Predictor => "predictor",
            Self::Alerter => "alerter",
            Self::Trainer => "trainer",
            Self::Api => "api",
        }
    }

    /// Whether it writes or reads points.
    pub(crate) const fn has_points(self) -> bool {
        matches!(self, Self::Ingestion | Self::Trainer | Self::Api)
    }

    /// Whether it keeps or reads rows in PostgreSQL.
    pub(crate) const fn has_ledger(self) -> bool {
        !matches!(self, Self::Ingestion | Self::StreamProcessor)
    }

    /// Reads what the service needs to start; what is wrong is remembered by `settings`.
    pub(crate) fn configure(self, settings: &mut Settings) -> Start {
        match self {
            Self::Ingestion => {
                use forewarn_ingestion::service::{configure, start};
                let sections = configure(settings);
                Box::new(|cx, parts| {
                    let parts = parts.clone();
                    let sections = match parts.simulator {
                        Some(simulator) => sections.simulate(simulator),
                        None => sections,
                    };
                    Box::pin(start(cx, sections, parts.log, parts.metrics))
                })
            }
            Self::StreamProcessor => {
                use forewarn_stream_processor::service::{configure, start};
                let sections = configure(settings);
                Box::new(|cx, parts| Box::pin(start(cx, sections, parts.log.clone())))
            }
            Self::Predictor => {
                use forewarn_predictor::service::{configure, start};
                let sections = configure(settings);
                Box::new(|cx, parts| Box::pin(start(cx, sections, parts.log.clone())))
            }
            Self::Alerter => {
                use forewarn_alerter::service::{configure, start};
                let sections = configure(settings);
                Box::new(|cx, parts| Box::pin(start(cx, sections, parts.log.clone())))
            }
            Self::Trainer => {
                use forewarn_trainer::service::{configure, start};
                let sections = configure(settings);
                Box::new(|cx, parts| {
                    let parts = parts.clone();
                    Box::pin(start(cx, sections, parts.log, parts.metrics))
                })
            }
            Self::Api => {
                use forewarn_api::service::{configure, start};
                let sections = configure(settings);
                Box::new(|cx, parts| {
                    let parts = parts.clone();
                    Box::pin(start(cx, sections, parts.log, parts.metrics))
                })
            }
        }
    }
}
