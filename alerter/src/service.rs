//! The service as its settings describe it.

use forewarn_bus::LogAccess;
use forewarn_config::Settings;
use forewarn_features::FeatureSets;
use forewarn_rules::RuleSet;
use forewarn_service::Context;
use forewarn_store::postgres::{Config as PostgresConfig, Postgres};

use crate::{Config, Receiver, ReceiverConfig};

/// The sections that this service reads.
#[derive(Debug)]
pub struct Sections {
    postgres: PostgresConfig,
    alerter: Config,
    rules: RuleSet,
    receivers: Vec<Receiver>,
}

/// Reads them; what is wrong is remembered by `settings`.
pub fn configure(settings: &mut Settings) -> Sections {
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
        postgres: settings.checked("postgres", PostgresConfig::mistakes),
        alerter: settings.checked("alerter", Config::mistakes),
        rules,
        receivers,
    }
}

/// Starts everything and returns; the parts end when the service is asked to stop.
///
/// # Errors
/// When a store or the log cannot be used as it is configured.
pub async fn start(cx: Context, sections: Sections, log: LogAccess) -> anyhow::Result<()> {
    let postgres = Postgres::start(&sections.postgres, "forewarn-alerter").await?;
    let log = log.connect().await?;
    crate::run(
        &cx,
        sections.alerter,
        sections.rules,
        sections.receivers,
        log,
        postgres,
    )
    .await
}
