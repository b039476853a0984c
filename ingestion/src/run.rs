//! The service as a whole: its pages, this host's collector, the log's clock, and their order of beginning and end.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use forewarn_bus::{Appender, LogAccess, Ticker, mint};
use forewarn_service::Context;
use forewarn_types::ResourceKey;

use crate::door::step_length;
use crate::sources::host::{self, HostCollector, HostConfig};
use crate::sources::simulated::{self, Simulator};
use crate::{
    App, Backlog, Config, Heartbeat, Listening, Recording, Status, collect, recording, simulate,
};

/// How often the log is looked at for the readiness page.
const LOOK: Duration = Duration::from_secs(1);

/// How long a stopping service goes on sending what this host measured: most of the time it has to end in order.
const FAREWELL: Duration = Duration::from_secs(5);

/// Starts everything and returns; the parts end when the service is asked to stop.
///
/// The pages answer and this host is measured from the first moment on, even while the log is not there yet: what is
/// pushed is answered with 503, what is measured waits in memory.
///
/// # Errors
/// When the address cannot be had, the log cannot be used as it is configured, or this host has the name of a simulated
/// resource.
pub async fn run(
    cx: &Context,
    config: Config,
    log: LogAccess,
    recording: Recording,
    simulator: Option<Simulator>,
) -> anyhow::Result<()> {
    let ready = cx.condition("log");
    let status = Arc::new(Status::default());
    let backlog = Arc::new(Backlog::new(batches(config.backlog, config.host.interval)));
    let collector = config
        .host
        .enabled
        .then(|| host_collector(&config.host))
        .transpose()?;
    let app = App::new(
        config.clone(),
        collector.clone(),
        Arc::clone(&backlog),
        Arc::clone(&status),
    );
    let simulated = simulator
        .map(|simulator| Simulated::new(simulator, &config))
        .transpose()?;
    let app = Arc::new(match &simulated {
        Some(simulated) => app.simulating(simulated.simulator.clone()),
        None => app,
    });

    let server = cx.listen("ingestion.listen", config.listen).await?;
    let port = server.address().port();
    tracing::info!(address = %server.address(), "taking samples in");
    cx.spawn(
        "http",
        server.run(Arc::clone(&app).router().merge(cx.pages())),
    );
    if let Some(collector) = collector {
        let (progress, stop) = (cx.progress("host-collector"), cx.stop().clone());
        let (backlog, status) = (Arc::clone(&backlog), Arc::clone(&status));
        cx.spawn_thread("host-collector", move || {
            collect(
                &collector,
                config.host.interval,
                &backlog,
                &status,
                &stop,
                || progress.beat(),
            );
            Ok(())
        })?;
    }

    if let Some(simulated) = &simulated {
        simulated.start(cx)?;
    }

    // Replicas on one host listen on different ports, and keep them over a restart.
    let instance = cx.instance_on(port);

    let (log, appender, ids) = {
        let opening = tokio::task::spawn_blocking(move || {
            let log = log.open()?;
            let appender = log.appender()?;
            let ids = mint(log.as_ref(), appender.as_ref())?;
            anyhow::Ok((log, appender, ids))
        });
        tokio::select! {
            opened = opening => opened.context("opening the log panicked")?.context("cannot open the log")?,
            () = cx.stopped() => return Ok(()),
        }
    };
    let heartbeat = Arc::new(Heartbeat::new(ids.len()));
    let listening = Listening::new(
        Arc::clone(&appender),
        Arc::clone(&heartbeat),
        tokio::runtime::Handle::current(),
    );
    let ticker = Ticker::new(Arc::new(listening), ids);
    let (progress, stop) = (cx.progress("log-clock"), cx.stop().clone());
    cx.spawn_thread("log-clock", move || {
        let mut due = Instant::now();
        while !stop.is_stopped() {
            progress.beat();
            let now = Instant::now();
            if now >= due {
                ticker.tick();
                // After a pause (a suspended machine) the missed ones are not made up for.
                due = (due + Ticker::EVERY).max(now);
            }
            std::thread::sleep(
                due.saturating_duration_since(now)
                    .min(Duration::from_millis(100)),
            );
        }
        Ok(())
    })?;
    app.connect(Arc::clone(&appender), heartbeat);
    recording::start(cx, recording, log, instance, Arc::clone(&status))?;

    let watcher = cx.clone();
    cx.spawn("log-watch", async move {
        loop {
            match app.lacks_log() {
                None => ready.met(),
                Some(why) => ready.not_met(why),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = watcher.stopped() => return Ok(()),
            }
        }
    });
    if let Some(simulated) = simulated {
        let (stopping, appender, status) = (cx.clone(), Arc::clone(&appender), Arc::clone(&status));
        cx.spawn("simulator-forward", async move {
            let backlog = &simulated.backlog;
            forward(&stopping, simulated::SOURCE, backlog, appender, &status).await
        });
    }
    let stopping = cx.clone();
    cx.spawn("host-forward", async move {
        forward(&stopping, host::SOURCE, &backlog, appender, &status).await
    });
    Ok(())
}

/// The simulator beside the host collector, with a backlog of its own: neither takes the other's room.
struct Simulated {
    simulator: Simulator,
    backlog: Arc<Backlog>,
}

impl Simulated {
    fn new(simulator: Simulator, config: &Config) -> anyhow::Result<Self> {
        let resources = simulator.resources();
        if config.host.enabled {
            let own = own_name(&config.host);
            // Their samples would become those of one resource, and nobody could tell what is real.
            anyhow::ensure!(
                own.is_none_or(|own| resources.iter().all(|resource| resource.name != own)),
                "this host has the name of a simulated resource: set ingestion.host.resource, \
                 or switch off simulator.enabled or ingestion.host.enabled"
            );
        }
        let each = batches(config.backlog, simulator.interval());
        let max = each.saturating_mul(resources.len());
        let backlog = Arc::new(Backlog::of(simulated::SOURCE, max));
        Ok(Self { simulator, backlog })
    }

    fn start(&self, cx: &Context) -> anyhow::Result<()> {
        tracing::info!(
            resources = self.simulator.resources().len(),
            "simulating a fleet: what is said of its resources is about nothing real"
        );
        let (progress, stop) = (cx.progress("simulator"), cx.stop().clone());
        let (simulator, backlog) = (self.simulator.clone(), Arc::clone(&self.backlog));
        cx.spawn_thread("simulator", move || {
            simulate(&simulator, &backlog, &stop, || progress.beat());
            Ok(())
        })
    }
}

/// Sends what a source measured; when the service stops, goes on for a moment with what is left.
async fn forward(
    cx: &Context,
    source: &'static str,
    backlog: &Backlog,
    appender: Arc<dyn Appender>,
    status: &Status,
) -> anyhow::Result<()> {
    let sending = backlog.forward(appender.as_ref(), |samples| {
        status.accepted(source, samples)
    });
    let farewell = async {
        cx.stopped().await;
        let deadline = Instant::now() + FAREWELL;
        while !backlog.is_empty() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = sending => {}
        () = farewell => {}
    }
    if !backlog.is_empty() {
        tracing::warn!(
            source,
            batches = backlog.len(),
            "measurements did not get into the log before the end"
        );
    }
    // What was taken last is on its way; a moment for its acknowledgement.
    let last = tokio::task::spawn_blocking(move || appender.flush(Duration::from_secs(1)));
    if let Ok(Err(error)) = last.await {
        tracing::warn!(%error, "the last records are not known to be in the log");
    }
    Ok(())
}

/// How many batches last for `span`.
fn batches(span: Duration, interval: Duration) -> usize {
    usize::try_from(span.as_millis() / interval.as_millis().max(1))
        .unwrap_or(usize::MAX)
        .clamp(1, 100_000)
}

/// How this host is known as a resource.
fn own_name(config: &HostConfig) -> Option<String> {
    if config.resource.is_empty() {
        host::host_name()
    } else {
        Some(config.resource.clone())
    }
}

fn host_collector(config: &HostConfig) -> anyhow::Result<Arc<Mutex<HostCollector>>> {
    let name =
        own_name(config).context("this host does not say its name: set ingestion.host.resource")?;
    let interval =
        step_length(config.interval).context("ingestion.host.interval must be from 1 s to 1 h")?;
    tracing::info!(resource = name, "measuring this host");
    Ok(Arc::new(Mutex::new(HostCollector::new(
        config,
        ResourceKey::new(name),
        interval,
    ))))
}
