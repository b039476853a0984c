//! The store of samples, features and scores, whichever it is: what it promises, and the words it is asked in.
//!
//! It is filled from the log and from nowhere else. A point is known by its series and its moment: written again, it
//! is replaced, so a batch may be written as often as it takes. What was written is on the disk when
//! [`MetricStore::write`] returns. InfluxDB keeps these promises ([`influxdb`](crate::influxdb)), and so does a folder of this process
//! (`embedded`); one suite of tests runs on both.

mod levels;
pub mod line;
mod names;
pub mod points;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use forewarn_features::FeatureSet;
use forewarn_types::{ResourceKey, StepLength};

pub use levels::{LEVELS, Level, Retention};
pub use line::{Field, Lines, Point};
#[cfg(feature = "embedded")]
pub(crate) use names::is_selected;
pub(crate) use names::{FEATURE, Key, SCORE, known};

use crate::influxdb;

/// A half-open span of time, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first moment in it.
    pub start: i64,
    /// The first moment after it.
    pub stop: i64,
}

/// Which of a resource's numbers are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// What was measured or pushed, under the metric's full name.
    Samples,
    /// What the detectors are given, under the feature set's name of the metric.
    Features,
    /// The score of the resource as a whole; its only metric is `score`.
    Scores,
}

/// Which series are asked for.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Whose.
    pub resource: ResourceKey,
    /// Which of its numbers.
    pub data: Data,
    /// Which metric; all if none.
    pub metric: Option<String>,
    /// Tags that a series has to have, with these values.
    pub tags: Vec<(String, String)>,
}

/// What stands for the values within a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the words themselves")]
pub enum Aggregate {
    Mean,
    Min,
    Max,
}

impl Aggregate {
    /// All of them, in the order in which aggregated points hold them.
    pub const ALL: [Self; 3] = [Self::Mean, Self::Min, Self::Max];

    /// Its word: Flux's name of the function, and the tag's value at points that are aggregates.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

/// How fine the points are.
#[derive(Clone, Copy, Debug)]
pub struct Resolution {
    /// From which level they are read; none for points as they came.
    pub level: Option<&'static Level>,
    /// Length of a step in milliseconds, whose values become one point at its start; none for every point that is kept.
    pub step: Option<i64>,
    /// What stands for the values within a step.
    pub aggregate: Aggregate,
}

/// How much one answer may hold.
#[derive(Clone, Copy, Debug)]
pub struct SeriesLimits {
    /// Series at most.
    pub series: usize,
    /// Points of all series together at most.
    pub points: usize,
    /// How long the store may take.
    pub time: Duration,
}

/// One series and its points.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The metric's name.
    pub metric: String,
    /// The tags that tell it from others of the metric.
    pub tags: BTreeMap<String, String>,
    /// Milliseconds since the epoch and value, in the order of time.
    pub points: Vec<(i64, f64)>,
}

/// The steps of a span: their ends in milliseconds, and one value per metric of the set, `NaN` where there is none.
pub type Rows = BTreeMap<i64, Vec<f32>>;

/// A line that the store will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its number among the lines that were to be written.
    pub line: usize,
    /// The store's words.
    pub message: String,
}

/// What became of lines that the store has dealt with: all but these are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Refused for good, in their order.
    pub refused: Vec<Refused>,
    /// How many are older than anything is kept: nothing is wrong with them, they would be deleted at once.
    pub expired: usize,
}

/// Why nothing is known to be written. The same lines may and must be written again.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The store is away, overloaded, full, or does not answer in time.
    #[error("no points can be written: {why}")]
    Later {
        /// The store's words, or the client's.
        why: String,
        /// When it asks to be left alone until.
        retry_after: Option<Duration>,
    },
    /// A write has failed and left the store in a state that only a new process can mend; there is room for it now.
    #[error("{0}")]
    Broken(String),
    /// The token is wrong or expired, or the bucket is gone: a person has to act, and the lines are not to blame.
    #[error(
        "InfluxDB refuses to be written to (status {status}: {message}): check `influxdb.token`, `org` and `bucket`"
    )]
    Denied {
        /// 401, 403 or 404.
        status: u16,
        /// The server's words.
        message: String,
    },
}

/// Why there is nothing to return.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The selection has more series or points than an answer may hold.
    #[error("the selection has more series or points than one answer holds")]
    TooMuch,
    /// The store does not answer, or not in time.
    #[error("{0}")]
    Away(String),
    /// There is nothing to read from yet: who writes has not been there.
    #[error("{0}")]
    Missing(String),
    /// It refuses, or what it says cannot be read.
    #[error("{0}")]
    Failed(String),
}

/// A store of points.
#[async_trait]
pub trait MetricStore: fmt::Debug + Send + Sync {
    /// Writes all lines, and says which are refused for good. One attempt: what to do while the store is away is the
    /// caller's business.
    ///
    /// # Errors
    /// [`WriteError`]; some of the lines may be there then, which does no harm.
    async fn write(&self, lines: &Lines) -> Result<Written, WriteError>;

    /// The points of the selected series within `span`, by metric and tags.
    ///
    /// # Errors
    /// [`ReadError`] when they are too many, or cannot be had.
    async fn series(
        &self,
        selection: &Selection,
        span: Span,
        resolution: Resolution,
        limits: &SeriesLimits,
    ) -> Result<Vec<Series>, ReadError>;

    /// The selected series that have a point within `span`, each with the last one, as it came.
    ///
    /// # Errors
    /// As [`series`](Self::series).
    async fn latest(
        &self,
        selection: &Selection,
        span: Span,
        limits: &SeriesLimits,
    ) -> Result<Vec<Series>, ReadError>;

    /// The steps of `resource` that end within `span`, by their length: a source may have changed its pace.
    ///
    /// The memory it takes is that of the span: 8 bytes per step, 4 per value, and a map's overhead.
    ///
    /// # Errors
    /// [`ReadError`] when they cannot be had.
    async fn steps(
        &self,
        resource: &ResourceKey,
        set: &FeatureSet,
        span: Span,
    ) -> Result<BTreeMap<StepLength, Rows>, ReadError>;
}

/// How a service gets at the store, whichever it is. Clones lead to the same one.
#[derive(Clone, Debug)]
pub enum MetricAccess {
    /// A server, which may still have to come up.
    InfluxDb(Box<influxdb::Config>),
    /// A folder of this process, which is open.
    #[cfg(feature = "embedded")]
    Embedded(crate::embedded::EmbeddedMetrics),
}

impl MetricAccess {
    /// The store as readers need it; nobody has to answer yet.
    ///
    /// # Errors
    /// [`influxdb::Error::Url`] when the address cannot be read.
    pub fn open(&self) -> Result<Arc<dyn MetricStore>, influxdb::Error> {
        Ok(match self {
            Self::InfluxDb(config) => Arc::new(influxdb::InfluxDb::open(config)?),
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => Arc::new(store.clone()),
        })
    }

    /// The store as its writer needs it: there, with everything in it that has to be made once.
    ///
    /// # Errors
    /// [`influxdb::Error`] when it does not come up in time, or refuses.
    pub async fn start(&self) -> Result<Arc<dyn MetricStore>, influxdb::Error> {
        match self {
            Self::InfluxDb(config) => Ok(Arc::new(influxdb::InfluxDb::start(config).await?)),
            #[cfg(feature = "embedded")]
            Self::Embedded(_) => self.open(),
        }
    }

    /// How long it keeps what.
    #[must_use]
    pub fn retention(&self) -> Retention {
        match self {
            Self::InfluxDb(config) => config.retention(),
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => store.retention(),
        }
    }
}
