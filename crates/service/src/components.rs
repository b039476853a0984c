//! The tasks and threads that a service cannot live without: who still runs, and who failed.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::stop::Stop;

/// How a component ended.
pub(crate) enum Ending {
    /// It returned.
    Returned(anyhow::Result<()>),
    /// It panicked, with these words.
    Panicked(String),
}

impl Ending {
    /// From what a thread or task leaves behind.
    pub(crate) fn of(result: Result<anyhow::Result<()>, Box<dyn Any + Send>>) -> Self {
        match result {
            Ok(returned) => Self::Returned(returned),
            Err(panic) => {
                let words = panic.downcast_ref::<String>().map(String::as_str);
                let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
                Self::Panicked(words.unwrap_or("no message").to_owned())
            }
        }
    }
}

/// All components of the process.
#[derive(Debug, Default)]
pub(crate) struct Components {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// How many run under each name.
    running: BTreeMap<String, usize>,
    failed: bool,
}

impl Components {
    pub(crate) fn started(&self, name: &str) {
        self.with(|state| *state.running.entry(name.to_owned()).or_default() += 1);
    }

    /// Takes note of an end; one that nobody asked for stops the whole process.
    pub(crate) fn ended(&self, name: &str, ending: Ending, stop: &Stop) {
        match ending {
            Ending::Returned(Ok(())) if stop.flag().is_stopped() => {
                tracing::debug!(component = name, "ended")
            }
            Ending::Returned(Ok(())) => self.fail(name, "ended although nobody asked it to", stop),
            Ending::Returned(Err(error)) => self.fail(name, &format!("failed: {error:#}"), stop),
            Ending::Panicked(words) => self.fail(name, &format!("panicked: {words}"), stop),
        }
        self.with(|state| {
            if let Some(count) = state.running.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    state.running.remove(name);
                }
            }
        });
        self.ended.notify_waiters();
    }

    /// Stops the process because of a failure; its exit code will say so.
    pub(crate) fn fail(&self, name: &str, problem: &str, stop: &Stop) {
        self.with(|state| state.failed = true);
        tracing::error!(component = name, "{problem}");
        if stop.ask() {
            tracing::error!(component = name, "stopping, to be started again");
        }
    }

    pub(crate) fn failed(&self) -> bool {
        self.with(|state| state.failed)
    }

    /// The names of those that still run.
    pub(crate) fn running(&self) -> Vec<String> {
        self.with(|state| state.running.keys().cloned().collect())
    }

    /// Resolves when none runs.
    pub(crate) async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Registered before looking, so that an end in between is not missed.
            ended.as_mut().enable();
            if self.with(|state| state.running.is_empty()) {
                return;
            }
            ended.await;
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
