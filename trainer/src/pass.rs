//! A pass: who is trained, in which order, and within which budget.
//!
//! First those without a model, then those who live differently than when their model was made, then the oldest models.
//! One trainer works at a time, by a lock of PostgreSQL that ends with its connection; another one stands by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forewarn_detect::training::{History, drift};
use forewarn_features::{FeatureSet, FeatureSets};
use forewarn_judge::metrics_of;
use forewarn_store::metrics::Span;
use forewarn_store::orders::Order;
use forewarn_store::postgres::{ClientError, Session};
use forewarn_store::{orders, runs};
use forewarn_types::EventTime;
use serde::Serialize;

use crate::candidates::{Candidate, candidates};
use crate::training::{Error, Outcome, Workshop};

/// How much of the present is compared with what a model was made of, in milliseconds.
const RECENT_MS: i64 = 600_000;

/// Fewer steps than this say nothing about a drift.
const RECENT_LEAST: usize = 100;

/// Held by the trainer that works.
const LOCK: &str = "SELECT pg_try_advisory_lock(hashtextextended('forewarn.trainer', 0))";
const UNLOCK: &str = "SELECT pg_advisory_unlock(hashtextextended('forewarn.trainer', 0))";

/// So many models of a resource are kept to go back to, however old they are.
const VERSIONS_KEPT: i64 = 5;

/// What judged is kept for so long after the log has let go of that time; what is younger belongs to a training that may
/// not have written its activation yet.
const GRACE: Duration = Duration::from_secs(86_400);

/// What came of a pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Each training, in order.
    pub trainings: Vec<Outcome>,
    /// Resources whose turn did not come within the budget; they come first next time.
    pub left: usize,
    /// Whether it ended early, because somebody waits for an order.
    #[serde(skip)]
    pub gave_way: bool,
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

    /// Trains whoever is due, or what was ordered. Between two trainings that are due, orders go first.
    ///
    /// # Errors
    /// [`PassError`]; what was trained by then stays.
    pub async fn pass(&self, order: Option<&Order>) -> Result<Summary, PassError> {
        let session = self.lock().await?;
        let made = self.locked(&session, order).await;
        // At once, for whoever comes next. If it fails, the lock ends with the connection.
        if session.execute(UNLOCK, &[]).await.is_ok() {
            session.give_back();
        }
        made
    }

    async fn locked(&self, session: &Session, order: Option<&Order>) -> Result<Summary, PassError> {
        // Whoever had the lock before and left candidates behind is dead.
        let left_behind = runs::abandon(&**session).await?;
        if left_behind > 0 {
            tracing::warn!(
                runs = left_behind,
                "a trainer ended in the middle of its work; its runs have failed"
            );
        }
        let begun = Instant::now();
        let mut everybody = candidates(session).await?;
        if let Some(order) = order {
            orders::attempt(&**session, order.command, 1).await?;
            everybody.retain(|candidate| candidate.resource.tenant == order.tenant);
            if let Some(since) = order.since {
                for candidate in &mut everybody {
                    candidate.first_step = candidate.first_step.min(EventTime(since));
                }
            }
        }
        let due = match order.and_then(|order| order.resources.as_deref()) {
            Some(wanted) => self.named(everybody, wanted)?,
            None => self.due(everybody, begun).await?,
        };
        let mut summary = Summary {
            left: due.len(),
            ..Summary::default()
        };
        let config = &self.workshop.config;
        let command = order.map(|order| order.command);
        for (candidate, set) in due.iter().take(config.resources_max) {
            if begun.elapsed() > config.pass_max {
                break;
            }
            // Asked each time: the lock's own connection may have died, and somebody else begun.
            if orders::next(&**session).await?.is_some() && order.is_none() {
                summary.gave_way = true;
                break;
            }
            let outcome = self.workshop.train(candidate, set, command).await?;
            summary.left -= 1;
            tell(&outcome);
            summary.trainings.push(outcome);
        }
        if order.is_none() {
            self.tidy(session).await;
        }
        Ok(summary)
    }

    async fn lock(&self) -> Result<Session, PassError> {
        let session = self.workshop.postgres.session().await?;
        let locked: bool = session.query_one(LOCK, &[]).await?.get(0);
        if !locked {
            session.give_back();
            return Err(PassError::Busy);
        }
        Ok(session)
    }

    /// Deletes the bundles that nobody needs any more. If that fails, the next pass does it.
    async fn tidy(&self, session: &Session) {
        let workshop = &self.workshop;
        let deleted = async {
            let kept =
                runs::let_go(&**session, workshop.log_retention + GRACE, VERSIONS_KEPT).await?;
            Ok::<_, Error>(workshop.shelf.sweep(&kept, GRACE).await?)
        };
        match deleted.await {
            Ok(0) => {}
            Ok(blobs) => tracing::info!(blobs, "deleted old models"),
            Err(error) => tracing::warn!(%error, "old models cannot be deleted now"),
        }
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

    /// Whoever has no model yet, lives differently than when it was made, or has an old one; in this order.
    ///
    /// A drift is told by reading the last minutes of history, so the looking has a budget too: half of the pass, and
    /// nobody is looked at for whom there would be no turn left.
    async fn due(
        &self,
        everybody: Vec<Candidate>,
        begun: Instant,
    ) -> Result<Vec<(Candidate, &FeatureSet)>, PassError> {
        let config = &self.workshop.config;
        let limit = config.retrain_after.as_secs_f64();
        let mut due = Vec::new();
        let mut unseen = 0;
        // Those without a model come first.
        for candidate in everybody {
            let Some((candidate, set)) = self.with_set(candidate) else {
                continue;
            };
            let is_old = candidate.trained_seconds_ago.is_none_or(|age| age >= limit);
            let is_looked_at =
                due.len() < config.resources_max && begun.elapsed() < config.pass_max / 2;
            let why = if candidate.champion.is_none() {
                Some(Due::New)
            } else if is_looked_at && self.has_drifted(&candidate, set).await? {
                Some(Due::Drifted)
            } else {
                unseen += usize::from(!is_looked_at);
                is_old.then_some(Due::Old)
            };
            due.extend(why.map(|why| (why, candidate, set)));
        }
        if unseen > 0 {
            tracing::warn!(
                resources = unseen,
                "not looked at for drift within this pass; raise trainer.pass_max or trainer.resources_max"
            );
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
            .metrics
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
