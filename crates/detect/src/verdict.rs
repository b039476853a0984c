//! What goes into a detector and what comes out. Unknown is never normal: it has a word of its own.

use std::time::Duration;

use forewarn_types::EventTime;

/// One closed step of a resource, as a detector sees it.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Its end, exclusive.
    pub end: EventTime,
    /// One value per metric, in the detector's order; undefined is `None`. Values that are not finite count as `None`.
    pub values: &'a [Option<f64>],
}

/// What a detector says about a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Judged.
    Scored(Score),
    /// Too little has been seen to judge.
    Learning {
        /// How much more data is wanted.
        eta: Duration,
    },
    /// The step has no values to judge.
    Gap,
    /// A value that its metric cannot have.
    OutOfRange {
        /// Which metric, by its place.
        metric: usize,
    },
}

/// The judgement of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// `ln(p) / ln(p0)` of the resource as a whole.
    pub score: f64,
    /// How likely an incident-free five minutes hold a peak at least this high.
    pub p: f64,
    /// The tail probability that the alarm budget allows.
    pub p0: f64,
    /// How much data stands behind the score, 0 to 1.
    pub confidence: f64,
    /// What the score consists of, largest first; the parts sum to it. Only filled when the score is above 1.
    pub parts: Vec<Part>,
    /// Metrics that are anomalous on their own, most anomalous first.
    pub metrics: Vec<MetricScore>,
}

/// The share of one metric in a resource's score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Which metric, by its place.
    pub metric: usize,
    /// Its part of the score.
    pub part: f64,
    /// What was measured.
    pub value: f64,
    /// What was expected.
    pub expected: f64,
}

/// A metric that is anomalous on its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricScore {
    /// Which metric, by its place.
    pub metric: usize,
    /// `ln(p) / ln(p0)`.
    pub score: f64,
    /// How likely an incident-free five minutes hold, in *any* metric of the resource, a peak this surprising.
    pub p: f64,
    /// The tail probability that the metrics' common half of the alarm budget allows.
    pub p0: f64,
    /// What was measured.
    pub value: f64,
    /// What was expected.
    pub expected: f64,
    /// Lower edge of what would not have been an anomaly.
    pub lower: f64,
    /// Upper edge of what would not have been an anomaly.
    pub upper: f64,
}
