//! The metric store inside this process: points in a folder, for sites that need no server for them.
//!
//! Time is cut into hours. Points of an hour that is still *open* are rows of a key-value store, so that a point written
//! again simply replaces itself ([`write`]). A while after its end an hour is *closed*: the points of each series become one
//! compressed chunk, and with it the windows of every level of aggregation ([`close`]). Points that come for a closed hour
//! are worked into its chunk, so a batch of old points costs one chunk per series and hour, however many points it has.
//!
//! Everything lies in keyspaces by period ([`folder`]), and what is too old goes as a whole keyspace at a time: deleting
//! leaves nothing behind that would have to be swept. Texts (a verdict's state) are not kept: nobody reads them from here.

mod catalogue;
mod chunk;
mod close;
mod config;
mod folder;
mod read;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use forewarn_features::FeatureSet;
use forewarn_types::{ResourceKey, StepLength};

use self::catalogue::Catalogue;
pub use self::config::Config;
use self::folder::Folder;
use crate::metrics::{
    Lines, MetricStore, Point, ReadError, Resolution, Retention, Rows, Selection, Series,
    SeriesLimits, Span, WriteError, Written,
};

/// Milliseconds since the epoch: what is old enough to be closed, and too old to be kept.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How often it is looked what can be closed, and what has to go.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Reading a slice of history that takes longer is not worth waiting for.
const STEPS_TIME: Duration = Duration::from_secs(120);

/// A store of points in a folder. Clones share it; when the last one is gone, the folder is free for another process.
#[derive(Clone)]
pub struct EmbeddedMetrics {
    shared: Arc<Shared>,
    /// Ends the thread that tidies up, once the last clone is gone.
    _keeper: Arc<SyncSender<()>>,
}

/// What the parts of the store work on.
struct Shared {
    config: Config,
    clock: Clock,
    folder: Folder,
    catalogue: RwLock<Catalogue>,
    /// Whoever changes chunks holds it: they are read, worked on and written back. Hours before this are closed.
    closed_before: Mutex<i64>,
}

/// Why the folder cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl fmt::Debug for EmbeddedMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedMetrics")
            .field("path", &self.shared.config.path)
            .finish_non_exhaustive()
    }
}

impl EmbeddedMetrics {
    /// Opens the folder, makes it if need be, and keeps it tidy by this machine's clock. Blocks while the journal is read.
    ///
    /// # Errors
    /// [`Error`] when the folder cannot be used, or belongs to another process.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let store = Self::open_with_clock(config, Arc::new(wall_clock))?;
        Ok(store)
    }

    /// The same with another clock, for simulations.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_with_clock(config: &Config, clock: Clock) -> Result<Self, Error> {
        let folder = Folder::open(config)?;
        let catalogue = Catalogue::read(&folder)?;
        let closed_before = folder.closed_before()?.max(close::closed_before(clock()));
        let shared = Arc::new(Shared {
            config: config.clone(),
            clock,
            folder,
            catalogue: RwLock::new(catalogue),
            closed_before: Mutex::new(closed_before),
        });
        let (keeper, ending) = sync_channel(1);
        let kept = Arc::downgrade(&shared);
        std::thread::Builder::new()
            .name("metrics-keeper".to_owned())
            .spawn(move || keep(&ending, &kept))
            .map_err(|error| Error(format!("cannot start the thread metrics-keeper: {error}")))?;
        Ok(Self {
            shared,
            _keeper: Arc::new(keeper),
        })
    }

    /// Closes the hours that have ended, and lets go what is kept no longer. It is done every minute anyway; tests and those
    /// who have just written a long history do it at once.
    ///
    /// # Errors
    /// [`Error`] when the folder does not take it; nothing is lost then.
    pub fn tidy(&self) -> Result<(), Error> {
        self.shared.tidy()
    }

    /// Takes in the past of one series: `head` is its measurement and tags as a line of [`Lines`] begins, its points are
    /// in the order of time (milliseconds since the epoch, value). Far cheaper than lines, for histories of millions of
    /// points; it is on the disk after [`sync`](Self::sync).
    ///
    /// # Errors
    /// [`Error`] when the folder does not take it.
    pub fn import(&self, head: &str, field: &str, points: &[(i64, f64)]) -> Result<(), Error> {
        self.shared.import(head, field, points)
    }

    /// Returns when everything that was imported is on the disk.
    ///
    /// # Errors
    /// [`Error`] when it cannot be brought there.
    pub fn sync(&self) -> Result<(), Error> {
        self.shared.folder.sync()
    }

    /// Gives every point as it came to `each`, one series after the other: for those who compare stores.
    ///
    /// # Errors
    /// [`ReadError`] when the folder cannot be read.
    pub fn all_points(&self, each: &mut dyn FnMut(Point)) -> Result<(), ReadError> {
        self.shared.all_points(each)
    }

    /// How long what is kept.
    #[must_use]
    pub fn retention(&self) -> Retention {
        self.shared.config.retention()
    }

    /// Works on the folder away from the runtime's own threads.
    async fn away<T, E>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, E> + Send + 'static,
        broken: impl FnOnce(String) -> E,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || work(&shared))
            .await
            .unwrap_or_else(|error| Err(broken(format!("the metric store broke off: {error}"))))
    }
}

#[async_trait]
impl MetricStore for EmbeddedMetrics {
    async fn write(&self, lines: &Lines) -> Result<Written, WriteError> {
        let lines = lines.clone();
        let later = |why| WriteError::Later {
            why,
            retry_after: None,
        };
        self.away(move |shared| shared.write(&lines), later).await
    }

    async fn series(
        &self,
        selection: &Selection,
        span: Span,
        resolution: Resolution,
        limits: &SeriesLimits,
    ) -> Result<Vec<Series>, ReadError> {
        let (selection, limits) = (selection.clone(), *limits);
        let work = move |shared: &Shared| shared.series(&selection, span, resolution, &limits);
        self.away(work, ReadError::Failed).await
    }

    async fn latest(
        &self,
        selection: &Selection,
        span: Span,
        limits: &SeriesLimits,
    ) -> Result<Vec<Series>, ReadError> {
        let (selection, limits) = (selection.clone(), *limits);
        let work = move |shared: &Shared| shared.latest(&selection, span, &limits);
        self.away(work, ReadError::Failed).await
    }

    async fn steps(
        &self,
        resource: &ResourceKey,
        set: &FeatureSet,
        span: Span,
    ) -> Result<BTreeMap<StepLength, Rows>, ReadError> {
        let (resource, wanted) = (resource.clone(), read::Wanted::of(set));
        let work = move |shared: &Shared| {
            shared.steps(&resource, &wanted, span, Instant::now() + STEPS_TIME)
        };
        self.away(work, ReadError::Failed).await
    }
}

/// Tidies up until the store is gone.
fn keep(ending: &Receiver<()>, kept: &std::sync::Weak<Shared>) {
    while ending.recv_timeout(TIDY_EVERY) == Err(RecvTimeoutError::Timeout) {
        let Some(shared) = kept.upgrade() else { return };
        if let Err(error) = shared.tidy() {
            tracing::warn!(%error, "the metric store cannot be tidied up; it is tried again");
        }
    }
}

/// A thread that panicked while it held this has left nothing half done: what counts is in the folder.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
