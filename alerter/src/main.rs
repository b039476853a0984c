//! `forewarn-alerter`: turns predictions and conditions into alerts, and alerts into calm, useful messages.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use forewarn_alerter::{Config, Receiver, ReceiverConfig};
use forewarn_bus::{Config as LogConfig, KafkaLog};
use forewarn_config::Settings;
use forewarn_features::FeatureSets;
use forewarn_rules::RuleSet;
use forewarn_service::{Context, Service};
use forewarn_store::postgres::{Config as PostgresConfig, Postgres};

/// The port of the health pages.
const PORT: u16 = 8004;

const ABOUT: &str = "Turns predictions and conditions into alerts, and tells people about them.";

fn main() -> ExitCode {
    Service::new("alerter", PORT, ABOUT).main(configure, run)
}

/// The sections that this service reads.
struct Sections {
    log: LogConfig,
    postgres: PostgresConfig,
    alerter: Config,
    rules: RuleSet,
    receivers: Vec<Receiver>,
}

fn configure(settings: &mut Settings) -> Sections {
    let sets = settings.made("feature_sets", FeatureSets::extended);
    let rules = settings.made("rules", |rules| RuleSet::for_sets(rules, &sets));
    let mut receivers: Vec<Receiver> = Vec::new();
    for config in settings.section::<Vec<ReceiverConfig>>("receivers") {
        let path = format!("receivers.{}", config.name());
        match config.build() {
            Ok(receiver) if receivers.iter().any(|other| other.name == receiver.name) => {
                settings.refuse(
                    &format!("{path}.name"),
                    "is used by an earlier receiver too; names are unique",
                );
            }
            Ok(receiver) => receivers.push(receiver),
            Err((field, problem)) => settings.refuse(&format!("{path}.{field}"), problem),
        }
    }
    Sections {
        log: settings.checked("log", LogConfig::mistakes),
        postgres: settings.checked("postgres", PostgresConfig::mistakes),
        alerter: settings.checked("alerter", Config::mistakes),
        rules,
        receivers,
    }
}

async fn run(cx: Context, sections: Sections) -> anyhow::Result<()> {
    let postgres = Postgres::start(&sections.postgres, "forewarn-alerter").await?;
    let log_config = sections.log;
    let log = tokio::task::spawn_blocking(move || {
        let log = KafkaLog::connect(&log_config)?;
        forewarn_bus::Log::ensure_topics(&log, log_config.partitions)?;
        Ok::<_, forewarn_bus::BusError>(log)
    });
    let log = Arc::new(log.await.context("cannot connect to the log")??);
    forewarn_alerter::run(
        &cx,
        sections.alerter,
        sections.rules,
        sections.receivers,
        log,
        postgres,
    )
    .await
}
