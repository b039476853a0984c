//! A thread of its own that ends the process when a loop stalls, even if nothing else moves any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::context::Shared;
use crate::shell::EXIT_INTERNAL;

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(250);

/// If it could not look for so long itself, the whole process stood still (suspended, or the machine asleep).
const STANDSTILL: Duration = Duration::from_secs(5);

/// How often the recorder of metrics folds what it has collected, so that memory stays bounded if nobody asks.
const UPKEEP: Duration = Duration::from_secs(5);

/// After the time to drain, so much more for the shell to end the process itself.
const GRACE: Duration = Duration::from_secs(2);

/// Begins to watch.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(shared: Arc<Shared>) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(move || watch(&shared))
        .map(drop)
}

fn watch(shared: &Shared) {
    let mut looked = Instant::now();
    let mut upkeep = Instant::now();
    loop {
        std::thread::sleep(INTERVAL);
        if looked.elapsed() > STANDSTILL {
            tracing::warn!(
                seconds = looked.elapsed().as_secs(),
                "the process stood still"
            );
            shared.loops.forgive();
        }
        looked = Instant::now();
        if upkeep.elapsed() > UPKEEP {
            upkeep = Instant::now();
            shared.metrics.run_upkeep();
        }
        if shared.stop.flag().is_stopped() {
            // A thread may have set the flag itself; the tasks have to hear of it too.
            shared.stop.ask();
        }
        match shared.stop.since() {
            None => {
                for (name, silence) in shared.loops.silent(shared.config.stalled_after) {
                    let problem = format!("stalled: no sign of life for {} s", silence.as_secs());
                    shared.components.fail(&name, &problem, &shared.stop);
                }
            }
            Some(since) if since.elapsed() > shared.config.drain + GRACE => {
                tracing::error!("the process does not end by itself; ending it");
                std::process::exit(EXIT_INTERNAL.into());
            }
            Some(_) => {}
        }
    }
}
