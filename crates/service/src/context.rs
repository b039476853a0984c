//! What a service is given by its shell.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use axum::Router;
use forewarn_bus::{Observe, StopFlag};
use futures::FutureExt as _;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::components::{Components, Ending};
use crate::config::ServiceConfig;
use crate::pages;
use crate::progress::{Loops, Progress};
use crate::ready::{Condition, Conditions};
use crate::server::Server;
use crate::stop::Stop;
use crate::telemetry::LogLevel;

/// A service's door to its shell. Clones are the same door.
#[derive(Clone)]
pub struct Context {
    pub(crate) shared: Arc<Shared>,
    /// Whose door it is, where a process is several services at once.
    role: Option<&'static str>,
}

/// What the parts of the shell share.
pub(crate) struct Shared {
    pub(crate) name: &'static str,
    /// The health pages' port unless the settings choose another; none for a service with pages of its own.
    pub(crate) port: Option<u16>,
    pub(crate) config: ServiceConfig,
    pub(crate) stop: Stop,
    pub(crate) loops: Loops,
    pub(crate) conditions: Conditions,
    pub(crate) components: Components,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) log_level: LogLevel,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Context {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, role: None }
    }

    /// The door of one service among several in this process: its loops, conditions and components bear its name.
    #[must_use]
    pub fn role(&self, name: &'static str) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            role: Some(name),
        }
    }

    /// The service's name, such as `alerter`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.role.unwrap_or(self.shared.name)
    }

    /// A name that no other service in this process has.
    fn own(&self, name: impl Into<String>) -> String {
        let name = name.into();
        match self.role {
            Some(role) if role != name => format!("{role}/{name}"),
            _ => name,
        }
    }

    /// This replica's name among its like, the same after a restart, so that it gets its partitions of the log back
    /// without waiting: `service.instance`, else the host's name and the port of the health pages.
    #[must_use]
    pub fn instance(&self) -> String {
        let port = self
            .shared
            .port
            .map(|usual| self.shared.config.port.unwrap_or(usual));
        self.named(port)
    }

    /// The same for a service that has its pages on a port of its own.
    #[must_use]
    pub fn instance_on(&self, port: u16) -> String {
        self.named(Some(port))
    }

    fn named(&self, port: Option<u16>) -> String {
        if let Some(instance) = &self.shared.config.instance {
            return instance.clone();
        }
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy().into_owned();
        match port {
            Some(port) => format!("{host}-{port}"),
            None => host,
        }
    }

    /// The flag that is set when the service has to end, for threads; give a clone to every loop over the log.
    #[must_use]
    pub fn stop(&self) -> &StopFlag {
        self.shared.stop.flag()
    }

    /// Resolves when the service has to end, for tasks.
    pub async fn stopped(&self) {
        self.shared.stop.asked().await;
    }

    /// A sign of life for a loop; `/live` and the watchdog know it by `name`.
    #[must_use]
    pub fn progress(&self, name: impl Into<String>) -> Progress {
        self.shared.loops.watch(self.own(name))
    }

    /// A condition for being ready, not met at first. Name them all before connecting to anything.
    #[must_use]
    pub fn condition(&self, name: &str) -> Condition {
        self.shared.conditions.get(&self.own(name))
    }

    /// Sign of life and condition in one, for a loop over the log. It is ready once it has beaten.
    #[must_use]
    pub fn watch(&self, name: &str) -> Watch {
        let watch = Watch {
            progress: self.progress(name),
            condition: self.condition(name),
            troubled: AtomicBool::new(false),
            begun: AtomicBool::new(false),
        };
        watch.progress.rest();
        watch
    }

    /// Runs a task without which the service cannot be: if it ends or panics, the whole process stops.
    pub fn spawn<F>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (name, shared) = (self.own(name), Arc::clone(&self.shared));
        shared.components.started(&name);
        self.shared.runtime.spawn(async move {
            let ending = Ending::of(AssertUnwindSafe(task).catch_unwind().await);
            shared.components.ended(&name, ending, &shared.stop);
        });
    }

    /// Runs a thread without which the service cannot be: if it ends or panics, the whole process stops.
    /// It has to look at [`Context::stop`] at least once a second.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn_thread<F>(&self, name: impl Into<String>, work: F) -> anyhow::Result<()>
    where
        F: FnOnce() -> anyhow::Result<()> + Send + 'static,
    {
        let (name, shared) = (self.own(name), Arc::clone(&self.shared));
        let thread = std::thread::Builder::new().name(name.clone());
        self.shared.components.started(&name);
        let spawned = thread.spawn({
            let name = name.clone();
            move || {
                // Threads may use the runtime's timers and sockets as tasks do.
                let _runtime = shared.runtime.enter();
                let ending = Ending::of(std::panic::catch_unwind(AssertUnwindSafe(work)));
                shared.components.ended(&name, ending, &shared.stop);
            }
        });
        if let Err(error) = spawned {
            self.shared
                .components
                .ended(&name, Ending::Returned(Ok(())), &self.shared.stop);
            return Err(error).with_context(|| format!("cannot start the thread {name}"));
        }
        Ok(())
    }

    /// `/live`, `/ready`, `/metrics` and `PUT /log-level`, for a service that answers HTTP anyway and merges them.
    pub fn pages(&self) -> Router {
        pages::router(self.clone())
    }

    /// Takes an address to answer HTTP on. `setting` is the one that chose it, for the message when it is taken.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn listen(&self, setting: &str, address: SocketAddr) -> anyhow::Result<Server> {
        Server::bind(self.clone(), setting, address).await
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("service", &self.shared.name)
            .field("running", &self.shared.components.running())
            .finish()
    }
}

/// How a loop over the log is doing, as `/live` and `/ready` tell it.
///
/// A loop in trouble (its sink is away, a partition is halted) is not ready, but it is not late either: its process
/// would gain nothing from being started again.
#[derive(Debug)]
pub struct Watch {
    progress: Progress,
    condition: Condition,
    troubled: AtomicBool,
    begun: AtomicBool,
}

impl Observe for Watch {
    fn beat(&self) {
        if self.troubled.load(Ordering::Relaxed) {
            return;
        }
        self.progress.beat();
        if !self.begun.swap(true, Ordering::Relaxed) {
            self.condition.met();
        }
    }

    fn trouble(&self, why: Option<&str>) {
        self.troubled.store(why.is_some(), Ordering::Relaxed);
        match why {
            Some(why) => {
                self.progress.rest();
                self.condition.not_met(why);
            }
            None => {
                self.begun.store(true, Ordering::Relaxed);
                self.progress.beat();
                self.condition.met();
            }
        }
    }
}
