//! The loops that measure at every whole interval, each on a thread of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forewarn_bus::StopFlag;
use forewarn_types::EventTime;
use metrics::{counter, histogram};

use crate::sources::host::HostCollector;
use crate::sources::host::schedule::{Next, Schedule};
use crate::sources::simulated::Simulator;
use crate::{Backlog, Status, http};

/// The longest sleep: a clock that was set, and a wish to stop, are noticed within this time.
const NAP: Duration = Duration::from_millis(250);

/// Measures this host until stopped. `beat` is called at least every [`NAP`].
pub fn collect(
    collector: &Arc<Mutex<HostCollector>>,
    interval: Duration,
    backlog: &Backlog,
    status: &Status,
    stop: &StopFlag,
    beat: impl Fn(),
) {
    at_whole_intervals(interval, stop, beat, |at, missed| {
        if missed > 0 {
            counter!("forewarn_ingestion_host_collections_missed_total").increment(missed);
            tracing::warn!(
                missed,
                "this host was not measured in time; the moments are left out"
            );
        }
        let started = Instant::now();
        let batch = collector
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .collect(at);
        histogram!("forewarn_ingestion_host_collection_seconds")
            .record(started.elapsed().as_secs_f64());
        status.collected();
        if !batch.samples.is_empty() {
            backlog.push(batch);
        }
    });
}

/// Measures the simulator's fleet until stopped. `beat` is called at least every [`NAP`]. What passes while nobody
/// measures passes for the fleet too.
pub fn simulate(simulator: &Simulator, backlog: &Backlog, stop: &StopFlag, beat: impl Fn()) {
    at_whole_intervals(simulator.interval(), stop, beat, |at, _| {
        for batch in simulator.measure(at) {
            backlog.push(batch);
        }
    });
}

/// Calls `due` with each whole multiple of `interval` as it comes, and with how many were missed before it.
fn at_whole_intervals(
    interval: Duration,
    stop: &StopFlag,
    beat: impl Fn(),
    mut due: impl FnMut(EventTime, u64),
) {
    let mut schedule = Schedule::new(interval);
    while !stop.is_stopped() {
        beat();
        match schedule.next(EventTime(http::now())) {
            Next::Wait(wait) => std::thread::sleep(wait.min(NAP)),
            Next::Due { at, missed } => due(at, missed),
        }
    }
}
