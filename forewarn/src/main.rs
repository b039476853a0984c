//! `forewarn`: every service in one process, and the one place that knows what they stand on.
//!
//! The services are the very same as in processes of their own. They meet on the log and in the stores, so it makes no
//! difference to them who else is in the process; here it is decided which log that is.

mod config;
mod roles;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use forewarn_bus::embedded::{Config as EmbeddedConfig, EmbeddedLog};
use forewarn_bus::{Config as KafkaConfig, KafkaLog, LogAccess};
use forewarn_config::Settings;
use forewarn_service::{Args, Context, Service};

use crate::config::{Config, Kind};
use crate::roles::{Role, Sections};

/// The port of the health pages, which tell of all roles.
const PORT: u16 = 8000;

const ABOUT: &str = "Predicts what will fail, when and why. All services in one process.";

/// Predicts what will fail, when and why. All services in one process.
#[derive(Debug, Parser)]
#[command(name = "forewarn", version, after_help = forewarn_service::AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    args: Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run some of the services, or all of them; without any command, all of them run
    Run {
        /// Which ones, separated by commas
        #[arg(long = "role", value_delimiter = ',', value_enum, default_values_t = Role::ALL)]
        roles: Vec<Role>,
        #[command(flatten)]
        args: Args,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (mut roles, args) = match cli.command {
        None => (Role::ALL.to_vec(), cli.args),
        Some(Command::Run { roles, args }) => (roles, args),
    };
    // In the order in which samples pass them, each once.
    roles.sort_unstable();
    roles.dedup();
    Service::new("forewarn", PORT, ABOUT).main_with(
        &args,
        |settings| configure(settings, &roles),
        run,
    )
}

/// What the process reads of the settings.
struct Everything {
    config: Config,
    kafka: KafkaConfig,
    embedded: EmbeddedConfig,
    roles: Vec<Sections>,
}

fn configure(settings: &mut Settings, roles: &[Role]) -> Everything {
    Everything {
        config: settings.section("forewarn"),
        kafka: settings.checked("log", KafkaConfig::mistakes),
        embedded: settings.checked("embedded", EmbeddedConfig::mistakes),
        roles: roles.iter().map(|role| role.configure(settings)).collect(),
    }
}

async fn run(cx: Context, everything: Everything) -> anyhow::Result<()> {
    let log = match everything.config.log {
        Kind::Kafka => KafkaLog::access(everything.kafka),
        Kind::Embedded => open(everything.embedded).await?,
    };
    for sections in everything.roles {
        let role = sections.role();
        tracing::info!(role = role.name(), "starting");
        sections.start(cx.role(role.name()), log.clone()).await?;
    }
    Ok(())
}

/// Opening reads the journal, which may take a while.
async fn open(config: EmbeddedConfig) -> anyhow::Result<LogAccess> {
    let path = config.path.display().to_string();
    let log = tokio::task::spawn_blocking(move || EmbeddedLog::open(&config)).await??;
    tracing::info!(path, "the log is in this process");
    Ok(log.access())
}
