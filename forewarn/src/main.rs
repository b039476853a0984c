//! `forewarn`: every service in one process, and the one place that knows what they stand on; and the command line (`cli`).
//!
//! The services are the very same as in processes of their own. They meet on the log and in the stores, so it makes no
//! difference to them who else is in the process; here it is decided which log that is.

mod cli;
mod config;
mod postgres;
mod roles;

use std::process::ExitCode;
use std::time::Duration;

use forewarn_bus::embedded::{Config as EmbeddedConfig, EmbeddedLog};
use forewarn_bus::{Config as KafkaConfig, KafkaLog, LogAccess};
use forewarn_config::{Environment, Settings};
use forewarn_service::{Args, Context, EXIT_INTERNAL, Service};
use forewarn_store::embedded::{Config as MetricsConfig, EmbeddedMetrics};
use forewarn_store::influxdb::Config as InfluxConfig;
use forewarn_store::metrics::MetricAccess;

use crate::cli::Task;
use crate::config::{Config, Ledger, Log, Metrics};
use crate::postgres::Place;
use crate::roles::{Parts, Role, Start};

/// The port of the health pages, which tell of all roles.
const PORT: u16 = 8000;

/// How often it is looked whether PostgreSQL still runs.
const LOOK: Duration = Duration::from_millis(200);

const ABOUT: &str = "Predicts what will fail, when and why. All services in one process.";

fn main() -> ExitCode {
    let (mut roles, mut args) = match cli::task() {
        Task::Serve(roles, args) => (roles, args),
        Task::Done(code) => return code,
    };
    // In the order in which samples pass them, each once.
    roles.sort_unstable();
    roles.dedup();
    let ledger = roles.iter().any(|role| role.has_ledger());
    let place = match ledger.then(|| own_postgres(&mut args)).transpose() {
        Ok(place) => place.flatten(),
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(EXIT_INTERNAL);
        }
    };
    Service::new("forewarn", PORT, ABOUT).main_with(
        &args,
        |settings| configure(settings, &roles),
        async |cx, everything| run(cx, everything, place).await,
    )
}

/// Where this process has a PostgreSQL of its own, if it is to; the services are told its address as if by a flag.
fn own_postgres(args: &mut Args) -> anyhow::Result<Option<Place>> {
    let environment = Environment::of_process();
    // What is wrong with the settings is told when they are read for good.
    let Ok(mut settings) = Settings::load(args.config.as_deref(), &environment, &args.overrides)
    else {
        return Ok(None);
    };
    let config: Config = settings.section("forewarn");
    if args.check || settings.finish().is_err() || config.postgres == Ledger::Server {
        return Ok(None);
    }
    let place = Place::find(&config.postgres_path, config.postgres_programs.as_deref())?;
    args.overrides
        .push(("postgres.url".to_owned(), place.url()));
    Ok(Some(place))
}

/// What the process reads of the settings.
struct Everything {
    config: Config,
    kafka: KafkaConfig,
    embedded: EmbeddedConfig,
    influxdb: InfluxConfig,
    metrics: MetricsConfig,
    roles: Vec<(Role, Start)>,
}

fn configure(settings: &mut Settings, roles: &[Role]) -> Everything {
    Everything {
        config: settings.section("forewarn"),
        kafka: settings.checked("log", KafkaConfig::mistakes),
        embedded: settings.checked("embedded", EmbeddedConfig::mistakes),
        influxdb: InfluxConfig::configure(settings),
        metrics: MetricsConfig::configure(settings),
        roles: roles
            .iter()
            .map(|role| (*role, role.configure(settings)))
            .collect(),
    }
}

async fn run(cx: Context, everything: Everything, place: Option<Place>) -> anyhow::Result<()> {
    let log = match everything.config.log {
        Log::Kafka => KafkaLog::access(everything.kafka),
        Log::Embedded => open(everything.embedded).await?,
    };
    let metrics = match everything.config.metrics {
        Metrics::Embedded if everything.roles.iter().any(|(role, _)| role.has_points()) => {
            open_metrics(everything.metrics).await?
        }
        _ => everything.influxdb.access(),
    };
    // After the log: whose folder it is, is told at once there.
    if let Some(place) = place {
        start_postgres(&cx, place).await?;
    }
    let parts = Parts { log, metrics };
    for (role, start) in everything.roles {
        tracing::info!(role = role.name(), "starting");
        start(cx.role(role.name()), &parts).await?;
    }
    Ok(())
}

/// Starts the PostgreSQL of this process, and watches it. It is not stopped: it goes when this process has gone, and so
/// outlives everybody who still has something to write.
async fn start_postgres(cx: &Context, place: Place) -> anyhow::Result<()> {
    let starting = place.clone();
    let mut server = tokio::task::spawn_blocking(move || starting.start()).await??;
    tracing::info!(
        process = server.id(),
        address = place.url(),
        "PostgreSQL runs beside"
    );
    let stop = cx.stop().clone();
    cx.spawn_thread("postgres", move || {
        while !stop.is_stopped() {
            if let Some(status) = server.try_wait()? {
                anyhow::bail!("PostgreSQL ended with {status}");
            }
            std::thread::sleep(LOOK);
        }
        // Its pipe stays open until the process ends.
        std::mem::forget(server);
        Ok(())
    })?;
    place.prepare().await
}

/// Opening reads the journal, which may take a while.
async fn open(config: EmbeddedConfig) -> anyhow::Result<LogAccess> {
    let path = config.path.display().to_string();
    let log = tokio::task::spawn_blocking(move || EmbeddedLog::open(&config)).await??;
    tracing::info!(path, "the log is in this process");
    Ok(log.access())
}

/// The same for points.
async fn open_metrics(config: MetricsConfig) -> anyhow::Result<MetricAccess> {
    let path = config.path.display().to_string();
    let store = tokio::task::spawn_blocking(move || EmbeddedMetrics::open(&config)).await??;
    tracing::info!(path, "points are in this process");
    Ok(MetricAccess::Embedded(store))
}
