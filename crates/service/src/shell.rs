//! From arguments to exit code: the course that every service takes.

use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use forewarn_bus::{Config as LogConfig, KafkaLog, LogAccess};
use forewarn_config::{Environment, Settings};
use futures::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::Args;
use crate::components::{Components, Ending};
use crate::config::ServiceConfig;
use crate::context::{Context, Shared};
use crate::progress::Loops;
use crate::ready::Conditions;
use crate::stop::Stop;
use crate::{telemetry, watchdog};

/// A mistake in arguments or settings.
pub const EXIT_CONFIG: u8 = 2;
/// A part failed, stalled, or did not end in time.
pub const EXIT_INTERNAL: u8 = 70;
/// Interrupted a second time.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Under this name the service's own function is known among the components.
const BODY: &str = "service";

/// A service, by name.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    name: &'static str,
    port: Option<u16>,
    about: &'static str,
}

impl Service {
    /// A service whose health pages answer on `port` of their own, unless the settings choose another.
    #[must_use]
    pub const fn new(name: &'static str, port: u16, about: &'static str) -> Self {
        Self {
            name,
            port: Some(port),
            about,
        }
    }

    /// A service that answers HTTP anyway: it has to merge [`Context::pages`] into its own.
    #[must_use]
    pub const fn with_own_pages(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            port: None,
            about,
        }
    }

    /// Runs the service, and returns what `main` returns.
    ///
    /// `configure` reads the service's sections; what it finds wrong is remembered by the settings and told here, all
    /// at once. `body` builds the service, spawns its components and returns; if the process is asked to end before
    /// that, it is dropped where it waits. The process ends when it is asked to, or when a component fails.
    pub fn main<C>(
        self,
        configure: impl FnOnce(&mut Settings) -> C,
        body: impl AsyncFnOnce(Context, C) -> anyhow::Result<()>,
    ) -> ExitCode {
        self.main_with(&Args::of_process(self.name, self.about), configure, body)
    }

    /// The same for a service on the log, which is Kafka as `[log]` says.
    pub fn main_on_kafka<C>(
        self,
        configure: impl FnOnce(&mut Settings) -> C,
        body: impl AsyncFnOnce(Context, C, LogAccess) -> anyhow::Result<()>,
    ) -> ExitCode {
        self.main(
            |settings| {
                let log = settings.checked("log", LogConfig::mistakes);
                (configure(settings), log)
            },
            async |cx, (config, log)| body(cx, config, KafkaLog::access(log)).await,
        )
    }

    /// The same with arguments that were read before, by a program that takes more of them.
    pub fn main_with<C>(
        self,
        args: &Args,
        configure: impl FnOnce(&mut Settings) -> C,
        body: impl AsyncFnOnce(Context, C) -> anyhow::Result<()>,
    ) -> ExitCode {
        // Settings come before logging: a mistake in them has to be readable on a bare terminal.
        let read = Settings::load(
            args.config.as_deref(),
            &Environment::of_process(),
            &args.overrides,
        );
        let read = read.and_then(|mut settings| {
            let shell = ServiceConfig::read(&mut settings);
            let config = configure(&mut settings);
            settings.finish().map(|()| (settings, shell, config))
        });
        let (settings, shell, config) = match read {
            Ok(read) => read,
            Err(errors) => {
                say(&format!("{errors}\n"));
                return ExitCode::from(EXIT_CONFIG);
            }
        };
        if args.check {
            let file = settings
                .file()
                .map_or("no file, defaults only".to_owned(), |file| {
                    file.display().to_string()
                });
            say(&format!("the settings are valid ({file})\n"));
            return ExitCode::SUCCESS;
        }
        match self.run(&settings, shell, config, body) {
            Ok(code) => code,
            Err(error) => {
                say(&format!("{error:#}\n"));
                ExitCode::from(EXIT_INTERNAL)
            }
        }
    }

    fn run<C>(
        self,
        settings: &Settings,
        shell: ServiceConfig,
        config: C,
        body: impl AsyncFnOnce(Context, C) -> anyhow::Result<()>,
    ) -> anyhow::Result<ExitCode> {
        let log_level = telemetry::log(&shell.log_level, shell.log_format)?;
        let metrics = telemetry::record(self.name)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name(self.name)
            .build()
            .context("cannot start the runtime")?;
        let shared = Arc::new(Shared {
            name: self.name,
            port: self.port,
            config: shell,
            stop: Stop::new(),
            loops: Loops::new(),
            conditions: Conditions::default(),
            components: Components::default(),
            metrics,
            log_level,
            runtime: runtime.handle().clone(),
        });
        watchdog::start(Arc::clone(&shared)).context("cannot start the watchdog")?;
        let file = settings.file().map(|file| file.display().to_string());
        tracing::info!(
            service = self.name,
            version = env!("CARGO_PKG_VERSION"),
            settings = file,
            "starting"
        );
        let code = runtime.block_on(self.live(Context::new(shared), config, body));
        // Whatever still runs has had its time to drain.
        runtime.shutdown_background();
        Ok(ExitCode::from(code))
    }

    /// The life of the process inside the runtime; returns its exit code.
    async fn live<C>(
        self,
        cx: Context,
        config: C,
        body: impl AsyncFnOnce(Context, C) -> anyhow::Result<()>,
    ) -> u8 {
        let shared = Arc::clone(&cx.shared);
        let guards = async {
            let signals = Signals::new()?;
            tokio::spawn(signals.obey(cx.clone()));
            if let Some(port) = self.port {
                let server = cx
                    .listen("service.port", shared.config.listen(port))
                    .await?;
                tracing::info!(address = %server.address(), "health pages");
                // Not a component: it answers until the very end, also while the others drain.
                tokio::spawn(server.run_until(cx.pages(), std::future::pending()));
            }
            anyhow::Ok(())
        };
        if let Err(error) = guards.await {
            shared
                .components
                .fail(BODY, &format!("{error:#}"), &shared.stop);
            return EXIT_INTERNAL;
        }
        let whole = async {
            let built = AssertUnwindSafe(body(cx.clone(), config)).catch_unwind();
            let ending = tokio::select! {
                ending = built => Some(Ending::of(ending)),
                () = shared.stop.asked() => None,
            };
            match ending {
                None => tracing::info!("asked to end before the service was complete"),
                // It has left components behind that live on; without any it is done.
                Some(Ending::Returned(Ok(()))) if shared.components.running().is_empty() => {
                    _ = shared.stop.ask();
                }
                Some(Ending::Returned(Ok(()))) => tracing::info!("running"),
                Some(other) => shared.components.ended(BODY, other, &shared.stop),
            }
            shared.components.all_ended().await;
        };
        let patience = async {
            shared.stop.asked().await;
            tokio::time::sleep(shared.config.drain).await;
        };
        let drained = tokio::select! {
            () = whole => true,
            () = patience => false,
        };
        let took = shared
            .stop
            .since()
            .map_or(0.0, |since: Instant| since.elapsed().as_secs_f64());
        if drained {
            tracing::info!(seconds = took, "drained");
        } else {
            let running = shared.components.running().join(", ");
            tracing::error!(
                seconds = took,
                running,
                "not drained in time; what was begun is done again after the start"
            );
        }
        if drained && !shared.components.failed() {
            0
        } else {
            EXIT_INTERNAL
        }
    }
}

/// The wishes of whoever started the process.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The first signal asks to end in order; an interrupt after that ends at once.
    async fn obey(mut self, cx: Context) {
        loop {
            let (name, impatient) = tokio::select! {
                _ = self.interrupt.recv() => ("SIGINT", true),
                _ = self.terminate.recv() => ("SIGTERM", false),
            };
            if cx.shared.stop.ask() {
                let drain = forewarn_config::duration::format(cx.shared.config.drain);
                tracing::info!(
                    signal = name,
                    "stopping; up to {drain} to finish what is begun"
                );
            } else if impatient {
                tracing::warn!("interrupted again; ending at once");
                std::process::exit(EXIT_INTERRUPTED.into());
            }
        }
    }
}

/// Speaks to the person who started the process, before there is a log. If nobody can hear it, nothing is lost.
fn say(words: &str) {
    let _ = std::io::stderr().write_all(words.as_bytes());
}
