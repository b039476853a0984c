//! `forewarn-ingestion`: measures this host, takes samples in over HTTP, and acknowledges them by the log.

use std::process::ExitCode;
use std::sync::Arc;

use forewarn_bus::{Config as LogConfig, KafkaLog};
use forewarn_config::Settings;
use forewarn_features::FeatureSets;
use forewarn_ingestion::{Config, Recording};
use forewarn_service::{Context, Service};
use forewarn_store::influxdb::Config as InfluxConfig;

const ABOUT: &str =
    "Measures this host, takes samples in over HTTP, and acknowledges them by the log.";

fn main() -> ExitCode {
    Service::with_own_pages("ingestion", ABOUT).main(configure, run)
}

/// The sections that this service reads.
struct Sections {
    log: LogConfig,
    ingestion: Config,
    recording: Recording,
}

fn configure(settings: &mut Settings) -> Sections {
    let sets = settings.made("feature_sets", FeatureSets::extended);
    let influxdb = settings.checked("influxdb", InfluxConfig::mistakes);
    Sections {
        log: settings.checked("log", LogConfig::mistakes),
        ingestion: settings.checked("ingestion", Config::mistakes),
        recording: Recording {
            influxdb,
            sets: Arc::new(sets),
        },
    }
}

async fn run(cx: Context, sections: Sections) -> anyhow::Result<()> {
    let log = Arc::new(KafkaLog::connect(&sections.log)?);
    forewarn_ingestion::run(
        &cx,
        sections.ingestion,
        log,
        sections.log.partitions,
        sections.recording,
    )
    .await
}
