//! A pass: who is trained, in which order, and within which budget.
//!
//! First those without a model, then those who live differently than when their model was made, then the oldest models.
//! One trainer works at a time, by a lock of PostgreSQL that ends with its connection; another one stands by.

use std::sync::Arc;
use std::time::Instant;

use forewarn_detect::training::{History, drift};
use forewarn_features::{FeatureSet, FeatureSets};
use forewarn_judge::metrics_of;
use forewarn_store::influxdb::Span;
use forewarn_store::postgres::{ClientError, Session};
use forewarn_store::runs;
use forewarn_types::EventTime;
use serde::Serialize;

use crate::candidates::{Candidate, candidates};
use crate::training::{Error, Outcome, Workshop};

/// How much of the present is compared with what a model was made of, in milliseconds.
const RECENT_MS: i64 = 600_000;

/// Fewer steps than this say nothing about a drift.
const RECENT_LEAST: usize = 100;

/// What came of a pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Each training, in order.
    pub trainings: Vec<Outcome>,
    /// Resources whose turn did not come within the budget; they come first next time.
    pub left: usize,
}

/// Why a pass did not begin, or broke off.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// Another trainer has the lock.
    #[error("another trainer is at work; one at a time is enough")]
    Busy,
    /// Names that nobody bears.
    #[error("no resource called {} has been judged within the last day", .0.join(", "))]
    Unknown(Vec<String>),
    /// A store is away or breaks off.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<ClientError> for PassError {
    fn from(error: ClientError) -> Self {
        Self::Store(error.into())
    }
}

impl From<forewarn_store::postgres::Error> for PassError {
    fn from(error: forewarn_store::postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Makes passes.
#[derive(Clone, Debug)]
pub struct Trainer {
    workshop: Workshop,
    sets: Arc<FeatureSets>,
}

/// Why somebody is trained; the order is that of turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    New,
    Drifted,
    Old,
}

impl Trainer {
    /// One that trains for the resources of `sets`.
    #[must_use]
    pub fn new(workshop: Workshop, sets: Arc<FeatureSets>) -> Self {
        Self { workshop, sets }
    }

    /// Trains whoever is due, or exactly the `wanted` resources.
    ///
    /// # Errors
    /// [`PassError`]; what was trained by then stays.
    pub async fn pass(&self, wanted: Option<&[String]>) -> Result<Summary, PassError> {
        let lock = self.lock().await?;
        // Whoever had the lock before and left candidates behind is dead.
        let left_behind = runs::abandon(&*lock).await?;
        if left_behind > 0 {
            tracing::warn!(
                runs = left_behind,
                "a trainer ended in the middle of its work; its runs have failed"
            );
        }
        let everybody = candidates(&lock).await?;
        let due = match wanted {
            Some(wanted) => self.named(everybody, wanted)?,
            None => self.due(everybody).await?,
        };
        let begun = Instant::now();
        let mut summary = Summary {
            left: due.len(),
            ..Summary::default()
        };
        let config = &self.workshop.config;
        for (candidate, set) in due.iter().take(config.resources_max) {
            if begun.elapsed() > config.pass_max {
                break;
            }
            // The lock's own connection may have died, and somebody else begun.
            lock.query_one("SELECT 1", &[]).await?;
            let outcome = self.workshop.train(candidate, set).await?;
            summary.left -= 1;
            tell(&outcome);
            summary.trainings.push(outcome);
        }
        // Dropped, not given back: the lock ends with the connection.
        drop(lock);
        Ok(summary)
    }

    async fn lock(&self) -> Result<Session, PassError> {
        let session = self.workshop.postgres.session().await?;
        let locked: bool = session
            .query_one(
                "SELECT pg_try_advisory_lock(hashtextextended('forewarn.trainer', 0))",
                &[],
            )
            .await?
            .get(0);
        if !locked {
            session.give_back();
            return Err(PassError::Busy);
        }
        Ok(session)
    }

    fn named(
        &self,
        everybody: Vec<Candidate>,
        wanted: &[String],
    ) -> Result<Vec<(Candidate, &FeatureSet)>, PassError> {
        let unknown: Vec<String> = wanted
            .iter()
            .filter(|name| !everybody.iter().any(|c| c.resource.resource == **name))
            .cloned()
            .collect();
        if !unknown.is_empty() {
            return Err(PassError::Unknown(unknown));
        }
        let chosen = everybody
            .into_iter()
            .filter(|candidate| wanted.contains(&candidate.resource.resource));
        Ok(chosen
            .filter_map(|candidate| self.with_set(candidate))
            .collect())
    }

    async fn due(
        &self,
        everybody: Vec<Candidate>,
    ) -> Result<Vec<(Candidate, &FeatureSet)>, PassError> {
        let limit = self.workshop.config.retrain_after.as_secs_f64();
        let mut due = Vec::new();
        for candidate in everybody {
            let Some((candidate, set)) = self.with_set(candidate) else {
                continue;
            };
            let why = if candidate.champion.is_none() {
                Some(Due::New)
            } else if self.has_drifted(&candidate, set).await? {
                Some(Due::Drifted)
            } else {
                let old = |age: f64| age >= limit;
                candidate
                    .trained_seconds_ago
                    .is_none_or(old)
                    .then_some(Due::Old)
            };
            due.extend(why.map(|why| (why, candidate, set)));
        }
        // Stable: within a kind, the order of age stays.
        due.sort_by_key(|(why, _, _)| *why);
        Ok(due
            .into_iter()
            .map(|(_, candidate, set)| (candidate, set))
            .collect())
    }

    /// Whether a resource lives differently than its model knows it. Where that cannot be told, it does not.
    async fn has_drifted(
        &self,
        candidate: &Candidate,
        set: &FeatureSet,
    ) -> Result<bool, PassError> {
        let Some(digest) = &candidate.champion else {
            return Ok(false);
        };
        let Ok(manifest) = self.workshop.shelf.manifest(digest).await else {
            return Ok(false);
        };
        let stop = candidate.last_step.millis() + 1;
        let span = Span {
            start: stop - RECENT_MS,
            stop,
        };
        let found = self
            .workshop
            .influxdb
            .steps(&candidate.resource, set, span)
            .await
            .map_err(Error::from)?;
        let mut recent = History::new(set.metrics.len());
        for (end, row) in found.into_values().flatten() {
            recent.push(EventTime(end), &row);
        }
        if recent.len() < RECENT_LEAST || manifest.trained.levels.len() != set.metrics.len() {
            return Ok(false);
        }
        let far = drift(&recent, &manifest.trained.levels, &metrics_of(set));
        Ok(far > 1.0)
    }

    fn with_set(&self, candidate: Candidate) -> Option<(Candidate, &FeatureSet)> {
        let set = self.sets.by_id(&candidate.feature_set)?;
        Some((candidate, set))
    }
}

fn tell(outcome: &Outcome) {
    let Outcome {
        resource,
        feature_set,
        steps,
        quarantined_steps,
        auroc,
        seconds,
        reason,
        digest,
        ..
    } = outcome;
    let state = outcome.state.as_str();
    metrics::counter!("forewarn_trainer_trainings_total", "state" => state).increment(1);
    metrics::histogram!("forewarn_trainer_training_seconds").record(*seconds);
    tracing::info!(
        resource,
        feature_set,
        state,
        steps,
        quarantined_steps,
        auroc,
        digest,
        reason,
        seconds,
        "trained"
    );
}
