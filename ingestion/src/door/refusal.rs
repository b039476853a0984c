//! What is said about samples that are refused.

use serde::Serialize;

use super::Problem;

/// Refusals that are named one by one; the rest is counted.
const NAMED_MAX: usize = 100;

/// The class of a refusal; a bounded set, so that it can tell counters apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A field is missing, unknown, or of the wrong type.
    Malformed,
    /// The value is no finite number.
    NotFinite,
    /// The unit is not known, or measures something else.
    Unit,
    /// The value cannot be what the metric says it is.
    Range,
    /// The time is too far in the past or the future.
    Time,
    /// A name is empty, too long, or has characters that it must not have.
    Name,
    /// Too many tags, or one that is reserved, empty or too long.
    Tags,
    /// The same series and time stands earlier in the same request.
    Duplicate,
    /// So many series are active that no new one is taken.
    SeriesLimit,
}

impl Reason {
    /// The word used in answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotFinite => "not_finite",
            Self::Unit => "unit",
            Self::Range => "range",
            Self::Time => "time",
            Self::Name => "name",
            Self::Tags => "tags",
            Self::Duplicate => "duplicate",
            Self::SeriesLimit => "series_limit",
        }
    }
}

/// One refused sample, or a batch whose head is refused with all its samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The batch's index in the request; 0 where the request is a single batch.
    pub batch: usize,
    /// The sample's index in its batch; absent when all of them are refused for the batch's sake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<usize>,
    /// The field that is wrong: `value`, `tags.host`, `interval` …
    pub field: String,
    /// The class of the problem.
    pub reason: Reason,
    /// What is wrong.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
}

/// All refusals of one request: each one counted, the first hundred named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    named: Vec<Refusal>,
    counts: std::collections::BTreeMap<Reason, usize>,
    unnamed: usize,
}

impl Refusals {
    /// Takes one refusal down, which stands for `samples` samples.
    pub(super) fn add(
        &mut self,
        batch: usize,
        sample: Option<usize>,
        samples: usize,
        problem: Problem,
    ) {
        *self.counts.entry(problem.reason).or_default() += samples;
        if self.named.len() >= NAMED_MAX {
            self.unnamed += 1;
            return;
        }
        let Problem {
            field,
            reason,
            detail,
            remedy,
        } = problem;
        self.named.push(Refusal {
            batch,
            sample,
            field,
            reason,
            detail,
            remedy,
        });
    }

    /// How many samples were refused.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.counts.values().sum()
    }

    /// How many for each reason.
    pub fn counts(&self) -> impl Iterator<Item = (Reason, usize)> + '_ {
        self.counts.iter().map(|(reason, count)| (*reason, *count))
    }

    /// The first hundred.
    #[must_use]
    pub fn named(&self) -> &[Refusal] {
        &self.named
    }

    /// How many are not named.
    #[must_use]
    pub const fn unnamed(&self) -> usize {
        self.unnamed
    }
}
