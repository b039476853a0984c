//! Keeps the recorder going beside the doors: when the metric store is away, samples are taken in all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forewarn_bus::{Log, Observe};
use forewarn_features::FeatureSets;
use forewarn_service::{Context, Progress};
use forewarn_store::metrics::{MetricAccess, MetricStore};
use tokio::runtime::Handle;

use crate::{Status, recorder};

/// Before InfluxDB is asked again that did not come, or refused us.
const PAUSE: Duration = Duration::from_secs(10);

/// What the recorder needs.
#[derive(Debug)]
pub struct Recording {
    /// The way to the metric store.
    pub metrics: MetricAccess,
    /// The sets of the stream-processor, which give the numbers of a vector their names.
    pub sets: Arc<FeatureSets>,
}

/// Starts the recorder on a thread of its own. `instance` names this replica, the same after a restart.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(
    cx: &Context,
    recording: Recording,
    log: Arc<dyn Log>,
    instance: String,
    status: Arc<Status>,
) -> anyhow::Result<()> {
    let watch = Watch {
        progress: cx.progress("recorder"),
        status,
        troubled: AtomicBool::new(false),
    };
    watch.trouble(Some(
        "the metric store has not been reached since the start",
    ));
    let (runtime, waiting, stop) = (Handle::current(), cx.clone(), cx.stop().clone());
    cx.spawn_thread("recorder", move || {
        let Some(store) = runtime.block_on(reach(&waiting, &recording.metrics, &watch)) else {
            return Ok(());
        };
        watch.trouble(None);
        recorder::record(
            &log,
            store,
            recording.sets,
            runtime,
            &instance,
            &stop,
            &watch,
        )?;
        Ok(())
    })
}

/// Waits for the metric store as long as it takes; `None` when the service stops before.
async fn reach(
    cx: &Context,
    metrics: &MetricAccess,
    watch: &Watch,
) -> Option<Arc<dyn MetricStore>> {
    let reaching = async {
        loop {
            match metrics.start().await {
                Ok(store) => return store,
                Err(error) => {
                    watch.trouble(Some(&error.to_string()));
                    tracing::warn!(%error, "no points can be written; the log keeps them until then");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        store = reaching => Some(store),
        () = cx.stopped() => None,
    }
}

/// The recorder's trouble is on the health page and lets nothing else wait: the service takes samples without the store.
struct Watch {
    progress: Progress,
    status: Arc<Status>,
    troubled: AtomicBool,
}

impl Observe for Watch {
    fn beat(&self) {
        if !self.troubled.load(Ordering::Relaxed) {
            self.progress.beat();
        }
    }

    fn trouble(&self, why: Option<&str>) {
        self.troubled.store(why.is_some(), Ordering::Relaxed);
        match why {
            // What waits for a store is not stuck, and a new process would wait too.
            Some(_) => self.progress.rest(),
            None => self.progress.beat(),
        }
        self.status.recorder(why);
    }
}
