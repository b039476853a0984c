//! Settings for commands that work beside the services: the same layers, from the same places.

use std::path::PathBuf;

use forewarn_bus::Config as KafkaConfig;
use forewarn_bus::embedded::Config as EmbeddedConfig;
use forewarn_config::{ConfigErrors, Environment, Secret, Settings};
use forewarn_service::Args;
use forewarn_store::postgres::{Config as PostgresConfig, Postgres};

use super::outcome::{Code, Failure};
use crate::config::{Config, Ledger};
use crate::postgres::socket_url;

/// Where settings come from, as for the services.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct SettingsArgs {
    /// The settings file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Override a setting, such as --set postgres.url=postgres://…; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = forewarn_service::assignment)]
    pub(crate) overrides: Vec<(String, String)>,
}

/// The arguments of a command, those before it being the weaker ones.
pub(super) fn over(before: Args, own: Args) -> Args {
    let mut overrides = before.overrides;
    overrides.extend(own.overrides);
    Args {
        config: own.config.or(before.config),
        check: own.check || before.check,
        overrides,
    }
}

pub(super) fn load(
    before: &Args,
    own: &SettingsArgs,
    environment: &Environment,
) -> Result<Settings, Failure> {
    let path = own.config.as_deref().or(before.config.as_deref());
    let overrides: Vec<_> = before
        .overrides
        .iter()
        .chain(&own.overrides)
        .cloned()
        .collect();
    if before.check {
        return Err(Failure::usage(
            "--check says whether services could run",
            "leave it out, or use `forewarn config check`",
        ));
    }
    Settings::load(path, environment, &overrides).map_err(|errors| wrong(&errors))
}

/// Mistakes in the settings.
pub(super) fn wrong(errors: &ConfigErrors) -> Failure {
    Failure::usage(
        errors.to_string(),
        "`forewarn config check` shows all of them",
    )
}

/// Which log there is.
#[derive(Debug)]
pub(super) struct LogSettings {
    pub(super) config: Config,
    pub(super) kafka: KafkaConfig,
    pub(super) embedded: EmbeddedConfig,
}

/// Reads which log there is.
pub(super) fn log(settings: &mut Settings) -> LogSettings {
    LogSettings {
        config: settings.section("forewarn"),
        kafka: settings.checked("log", KafkaConfig::mistakes),
        embedded: settings.checked("embedded", EmbeddedConfig::mistakes),
    }
}

/// Where the ledger is: a server's, or that of the one process, through the socket in its folder.
pub(super) fn ledger(settings: &mut Settings) -> PostgresConfig {
    let own: Config = settings.section("forewarn");
    let mut config: PostgresConfig = settings.checked("postgres", PostgresConfig::mistakes);
    // An address that somebody gave is meant, whatever the one process would do.
    let given = settings.origin("postgres.url") != forewarn_config::Origin::Default;
    if own.postgres == Ledger::Embedded
        && !given
        && let Ok(home) = own.postgres_path.canonicalize()
    {
        config.url = Secret::new(socket_url(&home));
    }
    config.pool_size = 1;
    config
}

/// Connects to the ledger, without changing its schema.
pub(super) fn open(config: &PostgresConfig) -> Result<Postgres, Failure> {
    Postgres::open(config, "forewarn-cli")
        .map_err(|error| Failure::usage(error.to_string(), "set [postgres] url"))
}

/// The ledger does not answer.
pub(super) fn away(error: impl std::fmt::Display) -> Failure {
    Failure::new(
        Code::Unreachable,
        error.to_string(),
        "start it, or say where it is: DATABASE_URL for a server, --set forewarn.postgres_path=… for the one that `forewarn` runs",
    )
}
