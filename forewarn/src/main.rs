//! `forewarn`: every service in one process, and the one place that knows what they stand on; and the command line (`cli`).
//!
//! The services are the very same as in processes of their own. They meet on the log and in the stores, so it makes no
//! difference to them who else is in the process; here it is decided which log that is.

mod cli;
mod config;
mod demo;
mod front;
mod postgres;
mod roles;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forewarn_bus::embedded::{Config as EmbeddedConfig, EmbeddedLog};
use forewarn_bus::{Config as KafkaConfig, KafkaLog, LogAccess};
use forewarn_config::{Environment, Origin, Settings};
use forewarn_features::FeatureSets;
use forewarn_ingestion::sources::simulated::Config as SimulatorConfig;
use forewarn_service::{Args, Context, EXIT_INTERNAL, Service};
use forewarn_store::embedded::{Config as MetricsConfig, EmbeddedMetrics};
use forewarn_store::influxdb::Config as InfluxConfig;
use forewarn_store::metrics::MetricAccess;
use forewarn_store::postgres::{Config as PostgresConfig, Postgres};
use forewarn_stream_processor::StepConfig;

use crate::cli::{Serve, Task};
use crate::config::{Config, Ledger, Log, Metrics};
use crate::demo::{Demo, Script};
use crate::front::{Happening, Show, Voice, Watch};
use crate::postgres::Place;
use crate::roles::{Parts, Role, Start};

/// The port of the health pages, which tell of all roles.
const PORT: u16 = 8000;

/// How often it is looked whether PostgreSQL still runs.
const LOOK: Duration = Duration::from_millis(200);

/// How long the front waits for something to happen before it looks whether something else is due.
const GLANCE: Duration = Duration::from_millis(100);

const ABOUT: &str = "Predicts what will fail, when and why. All services in one process.";

fn main() -> ExitCode {
    let mut serve = match cli::task() {
        Task::Serve(serve) => serve,
        Task::Done(code) => return code,
    };
    // In the order in which samples pass them, each once.
    serve.roles.sort_unstable();
    serve.roles.dedup();
    let place = match prepare(&mut serve) {
        Ok(place) => place,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(EXIT_INTERNAL);
        }
    };
    Service::new("forewarn", PORT, ABOUT).main_with(
        &serve.args,
        |settings| configure(settings, &serve.roles, serve.front),
        async |cx, everything| run(cx, everything, place, serve.may_demo).await,
    )
}

/// What has to be known before the settings are read for good.
fn prepare(serve: &mut Serve) -> anyhow::Result<Option<Place>> {
    let environment = Environment::of_process();
    let args = &mut serve.args;
    // What is wrong with the settings is told when they are read for good.
    let Ok(mut settings) = Settings::load(args.config.as_deref(), &environment, &args.overrides)
    else {
        return Ok(None);
    };
    // Who looks on is told what happens; what the parts say about themselves would hide it.
    if serve.front == Some(Voice::Words) && settings.origin("service.log_level") == Origin::Default
    {
        args.overrides
            .push(("service.log_level".to_owned(), "warn".to_owned()));
    }
    if !serve.roles.iter().any(|role| role.has_ledger()) {
        return Ok(None);
    }
    own_postgres(args, &mut settings)
}

/// Where this process has a PostgreSQL of its own, if it is to; the services are told its address as if by a flag.
fn own_postgres(args: &mut Args, settings: &mut Settings) -> anyhow::Result<Option<Place>> {
    let config: Config = settings.section("forewarn");
    if args.check || settings.finish().is_err() || config.postgres == Ledger::Server {
        return Ok(None);
    }
    let place = Place::find(&config)?;
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
    front: Option<FrontSettings>,
}

/// What it reads for whoever looks on.
struct FrontSettings {
    form: Voice,
    demo: demo::Config,
    simulator: SimulatorConfig,
    sets: FeatureSets,
    steps: StepConfig,
    postgres: PostgresConfig,
    dashboard: String,
    ingestion: String,
}

fn configure(settings: &mut Settings, roles: &[Role], front: Option<Voice>) -> Everything {
    let front = front.map(|form| FrontSettings {
        form,
        demo: settings.section("demo"),
        simulator: settings.checked("simulator", SimulatorConfig::mistakes),
        sets: settings.made("feature_sets", FeatureSets::extended),
        steps: settings.checked("stream_processor", StepConfig::mistakes),
        postgres: settings.checked("postgres", PostgresConfig::mistakes),
        dashboard: format!(
            "http://{}",
            settings.section::<forewarn_api::Config>("api").listen
        ),
        ingestion: format!(
            "http://{}",
            settings
                .section::<forewarn_ingestion::Config>("ingestion")
                .listen
        ),
    });
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
        front,
    }
}

async fn run(
    cx: Context,
    everything: Everything,
    place: Option<Place>,
    may_demo: bool,
) -> anyhow::Result<()> {
    let Everything {
        config,
        kafka,
        embedded,
        influxdb,
        metrics,
        roles,
        front,
    } = everything;
    let folder = embedded.path.clone();
    let is_embedded = config.log == Log::Embedded && config.metrics == Metrics::Embedded;
    let wanted = front
        .as_ref()
        .filter(|_| may_demo && is_embedded)
        .and_then(|front| demo::is_wanted(&front.demo, &folder));
    let log = match config.log {
        Log::Kafka => KafkaLog::access(kafka),
        Log::Embedded => open(embedded).await?,
    };
    let metrics = match config.metrics {
        Metrics::Embedded if roles.iter().any(|(role, _)| role.has_points()) => {
            open_metrics(metrics).await?
        }
        _ => influxdb.access(),
    };
    // After the log: whose folder it is, is told at once there.
    if let Some(place) = place {
        start_postgres(&cx, place).await?;
    }
    let demo = match (&front, wanted) {
        (Some(front), Some(is_new)) => {
            let (demo, simulator) = (front.demo.clone(), front.simulator.clone());
            let (log, folder) = (log.connect().await?, folder.clone());
            let preparing = tokio::task::spawn_blocking(move || {
                Demo::prepare(demo, &simulator, &folder, is_new, log.as_ref())
            });
            Some(Arc::new(preparing.await??))
        }
        _ => None,
    };
    let parts = Parts {
        simulator: demo.as_ref().map(|demo| demo.simulator.clone()),
        log,
        metrics,
    };
    // Before anybody writes.
    let watch = match front {
        Some(_) => Some(Watch::start(parts.log.connect().await?.as_ref())?),
        None => None,
    };
    for (role, start) in roles {
        tracing::info!(role = role.name(), "starting");
        start(cx.role(role.name()), &parts).await?;
    }
    if let (Some(front), Some(watch)) = (front, watch) {
        let data = folder.parent().unwrap_or(&folder).display().to_string();
        look_on(&cx, front, watch, &parts, demo, data).await?;
    }
    Ok(())
}

/// Tells whoever started the process what happens, and has the demonstration take its course.
async fn look_on(
    cx: &Context,
    front: FrontSettings,
    mut watch: Watch,
    parts: &Parts,
    demo: Option<Arc<Demo>>,
    data: String,
) -> anyhow::Result<()> {
    let show = Show(front.form);
    show.tell(&Happening::Started {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        dashboard: front.dashboard,
        ingestion: front.ingestion,
        demo: demo.is_some(),
        data,
    });
    let is_past_written = Arc::new(AtomicBool::new(false));
    let mut script = None;
    if let Some(demo) = &demo {
        let postgres = Postgres::open(&front.postgres, "forewarn-demo")?;
        let appender = parts.log.connect().await?.appender()?;
        let runtime = tokio::runtime::Handle::current();
        script = Some(Script::new(demo, appender, postgres, runtime));
        if let (true, MetricAccess::Embedded(store)) = (demo.is_new, &parts.metrics) {
            let (demo, store) = (Arc::clone(demo), store.clone());
            let (stop, written) = (cx.stop().clone(), Arc::clone(&is_past_written));
            let stopping = cx.clone();
            cx.spawn("demo-past", async move {
                let writing = tokio::task::spawn_blocking(move || {
                    demo.write_past(&store, Arc::new(front.sets), front.steps, &stop)
                });
                let (points, seconds) = writing.await??;
                show.tell(&Happening::History { points, seconds });
                written.store(true, Ordering::Release);
                stopping.stopped().await;
                Ok(())
            });
        }
    }
    let resources = demo.map_or(0, |demo| demo.simulator.resources().len());
    let stop = cx.stop().clone();
    cx.spawn_thread("front", move || {
        while !stop.is_stopped() {
            if let Some(happening) = watch.next(GLANCE)? {
                show.tell(&happening);
            }
            if let Some(script) = &mut script {
                let is_everybody_judged = watch.judged.len() >= resources;
                let is_past_written = is_past_written.load(Ordering::Acquire);
                script.turn(is_past_written, is_everybody_judged, &mut |happening| {
                    show.tell(&happening);
                })?;
            }
        }
        Ok(())
    })
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
