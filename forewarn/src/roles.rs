//! The services as parts of one process.

use clap::ValueEnum;
use forewarn_bus::LogAccess;
use forewarn_config::Settings;
use forewarn_service::Context;

/// A service, under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Role {
    /// Takes samples in and measures this host; records into InfluxDB
    Ingestion,
    /// Puts samples together to steps, and steps to feature vectors
    StreamProcessor,
    /// Judges every step and predicts failures; writes both down in PostgreSQL
    Predictor,
    /// Turns predictions and conditions into alerts, and tells people
    Alerter,
    /// Makes models of stored history
    Trainer,
    /// Shows what the ledger holds
    Api,
}

impl Role {
    pub(crate) const ALL: [Self; 6] = [
        Self::Ingestion,
        Self::StreamProcessor,
        Self::Predictor,
        Self::Alerter,
        Self::Trainer,
        Self::Api,
    ];

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

    /// Whether it keeps or reads rows in PostgreSQL.
    pub(crate) const fn has_ledger(self) -> bool {
        !matches!(self, Self::Ingestion | Self::StreamProcessor)
    }

    /// Reads what the service needs; what is wrong is remembered by `settings`.
    pub(crate) fn configure(self, settings: &mut Settings) -> Sections {
        match self {
            Self::Ingestion => {
                Sections::Ingestion(forewarn_ingestion::service::configure(settings))
            }
            Self::StreamProcessor => {
                Sections::StreamProcessor(forewarn_stream_processor::service::configure(settings))
            }
            Self::Predictor => {
                Sections::Predictor(forewarn_predictor::service::configure(settings))
            }
            Self::Alerter => Sections::Alerter(forewarn_alerter::service::configure(settings)),
            Self::Trainer => Sections::Trainer(forewarn_trainer::service::configure(settings)),
            Self::Api => Sections::Api(forewarn_api::service::configure(settings)),
        }
    }
}

/// What a service has read of the settings.
#[derive(Debug)]
pub(crate) enum Sections {
    Ingestion(forewarn_ingestion::service::Sections),
    StreamProcessor(forewarn_stream_processor::service::Sections),
    Predictor(forewarn_predictor::service::Sections),
    Alerter(forewarn_alerter::service::Sections),
    Trainer(forewarn_trainer::service::Sections),
    Api(forewarn_api::service::Sections),
}

impl Sections {
    pub(crate) const fn role(&self) -> Role {
        match self {
            Self::Ingestion(_) => Role::Ingestion,
            Self::StreamProcessor(_) => Role::StreamProcessor,
            Self::Predictor(_) => Role::Predictor,
            Self::Alerter(_) => Role::Alerter,
            Self::Trainer(_) => Role::Trainer,
            Self::Api(_) => Role::Api,
        }
    }

    /// Starts the service and returns; its parts end when the process is asked to stop.
    pub(crate) async fn start(self, cx: Context, log: LogAccess) -> anyhow::Result<()> {
        match self {
            Self::Ingestion(sections) => {
                forewarn_ingestion::service::start(cx, sections, log).await
            }
            Self::StreamProcessor(sections) => {
                forewarn_stream_processor::service::start(cx, sections, log).await
            }
            Self::Predictor(sections) => {
                forewarn_predictor::service::start(cx, sections, log).await
            }
            Self::Alerter(sections) => forewarn_alerter::service::start(cx, sections, log).await,
            Self::Trainer(sections) => forewarn_trainer::service::start(cx, sections, log).await,
            Self::Api(sections) => forewarn_api::service::start(cx, sections).await,
        }
    }
}
