//! The loop that measures this host at every whole interval, on a thread of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forewarn_bus::StopFlag;
use forewarn_types::EventTime;
use metrics::{counter, histogram};

use crate::sources::host::HostCollector;
use crate::sources::host::schedule::{Next, Schedule};
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
    let mut schedule = Schedule::new(interval);
    while !stop.is_stopped() {
        beat();
        match schedule.next(EventTime(http::now())) {
            Next::Wait(wait) => std::thread::sleep(wait.min(NAP)),
            Next::Due { at, missed } => {
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
            }
        }
    }
}
