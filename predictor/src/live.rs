//! Follows the activations in PostgreSQL, and has models at hand before they are needed.
//!
//! Every row begins at least ten seconds after it is written, by the database's clock. So what was read holds for the
//! log's next seconds: up to the database's clock at the reading plus [`HOLDS_MS`], or, where the log's clock is ahead of
//! it, up to [`BEYOND_MS`] after the newest moment that had been seen before the reading. A row that is found to speak of
//! a time for which the answer was already given comes too late, and is refused.
//!
//! A model that cannot be had or is not to be believed does not judge: its row is marked as refused, with the reason,
//! from the beginning or, if it did judge before a restart, from where the log stands. The mark is data like the row
//! itself, so a replay follows it. What judged before goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use forewarn_bus::{Observe, StopFlag};
use forewarn_detect::Model;
use forewarn_features::FeatureSets;
use forewarn_judge::models::{Known, Models, model_of};
use forewarn_store::activations::{self, AHEAD_MS, Activation, Activations};
use forewarn_store::postgres::{Postgres, describe};
use forewarn_store::shelf::{self, Shelf};
use forewarn_types::LogTime;
use tokio::sync::Notify;

/// What was read holds for so long after the database's clock: less than rows are ahead, since one may be committed a
/// little after it was numbered.
const HOLDS_MS: i64 = AHEAD_MS - 1_000;

/// … and for so long beyond what had been seen of the log.
const BEYOND_MS: i64 = 5_000;

/// Models of those who have not been asked about for so long are not kept at hand.
const FORGOTTEN_MS: i64 = 600_000;

/// How often the table is read when nobody waits for it.
const EVERY: Duration = Duration::from_secs(1);

/// Between two tries while PostgreSQL or the store of models is away.
const PAUSE: Duration = Duration::from_millis(500);

/// A store of models that has not answered for so long is taken for gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who is judged, and which answers are there. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    answers: RwLock<Answers>,
    /// Scopes that are judged here: feature set, and the newest moment that was asked about.
    judged: Mutex<BTreeMap<String, (String, LogTime)>>,
    /// The newest moment of the log that anybody has asked about.
    newest: AtomicI64,
    /// Somebody waits.
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Answers {
    activations: Activations,
    /// They hold for moments up to here, if they were ever read.
    until: Option<LogTime>,
    /// By the number of the activation: the same bundle for another resource is another question.
    models: BTreeMap<i64, Arc<Model>>,
}

impl Models for Live {
    fn at(&self, scope: &str, feature_set: &str, at: LogTime) -> Known {
        let shared = &*self.0;
        shared.newest.fetch_max(at.0, Ordering::Relaxed);
        {
            let mut judged = shared.judged.lock().unwrap_or_else(PoisonError::into_inner);
            match judged.get_mut(scope) {
                Some((_, newest)) => *newest = at.max(*newest),
                None => drop(judged.insert(scope.to_owned(), (feature_set.to_owned(), at))),
            }
        }
        let answers = shared
            .answers
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let known = answers.at(scope, at);
        if matches!(known, Known::NotYet) {
            shared.wanted.notify_one();
        }
        known
    }
}

impl Answers {
    fn at(&self, scope: &str, at: LogTime) -> Known {
        if self.until.is_none_or(|until| at > until) {
            return Known::NotYet;
        }
        match self.activations.at(scope, at) {
            Some(row) if row.digest.is_some() => self
                .models
                .get(&row.id)
                .map_or(Known::NotYet, |model| Known::Model(Some(Arc::clone(model)))),
            _ => Known::Model(None),
        }
    }
}

/// Keeps [`Live`] up to date.
#[derive(Debug)]
pub struct Follow {
    live: Live,
    postgres: Postgres,
    shelf: Shelf,
    sets: Arc<FeatureSets>,
    /// The highest number that was read.
    last: i64,
    /// Since when the store of models has not given a bundle that is wanted.
    missed: BTreeMap<String, Instant>,
}

/// Why a round came to nothing.
#[derive(Debug, thiserror::Error)]
enum Setback {
    #[error(transparent)]
    Postgres(#[from] forewarn_store::postgres::Error),
    #[error("PostgreSQL: {}", describe(.0))]
    Statement(#[from] forewarn_store::postgres::ClientError),
}

impl Follow {
    /// Begins to follow; nothing is known until the first round of [`run`](Self::run).
    #[must_use]
    pub fn new(live: Live, postgres: Postgres, shelf: Shelf, sets: Arc<FeatureSets>) -> Self {
        Self {
            live,
            postgres,
            shelf,
            sets,
            last: 0,
            missed: BTreeMap::new(),
        }
    }

    /// Reads and loads until stopped.
    pub async fn run(mut self, stop: &StopFlag, observe: &dyn Observe) {
        while !stop.is_stopped() {
            observe.beat();
            match self.round().await {
                Ok(()) => {
                    observe.trouble(None);
                    let wanted = self.live.0.wanted.notified();
                    let _ = tokio::time::timeout(EVERY, wanted).await;
                }
                Err(setback) => {
                    let why = format!("the activations of models cannot be read: {setback}");
                    tracing::warn!("{why}");
                    observe.trouble(Some(&why));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Reads the table once, and loads what is in force or about to be for whoever is judged here.
    async fn round(&mut self) -> Result<(), Setback> {
        // Before the reading: what holds beyond it rests on what had been seen by then.
        let seen = self.live.0.newest.load(Ordering::Relaxed);
        let session = self.postgres.session().await?;
        let reading = activations::read(&*session, self.last).await?;
        let until = LogTime((reading.clock.0 + HOLDS_MS).max(seen + BEYOND_MS));
        let answered = self.answers(|answers| answers.until);
        for mut row in reading.rows {
            let id = row.id;
            let too_late = id > self.last
                && row.refused_from.is_none()
                && answered.is_some_and(|until| row.from <= until);
            if too_late {
                let why = format!(
                    "it came too late: verdicts up to {} ms after its beginning may have been given; commit it sooner, or \
                     synchronise the clocks of the log and of the database",
                    answered.map_or(0, |until| until.0 - row.from.0)
                );
                self.refuse(&session, &mut row, None, &why).await?;
            }
            self.put(row);
            // At last: a row whose refusal could not be written is read again.
            self.last = self.last.max(id);
        }
        self.load(&session).await?;
        session.give_back();
        // Only now: whoever asks about a moment finds its models too.
        self.change(|answers| answers.until = answers.until.max(Some(until)));
        Ok(())
    }

    /// Has every model at hand that is in force where the log stands, or comes into force later; drops the others.
    async fn load(&mut self, session: &forewarn_store::postgres::Session) -> Result<(), Setback> {
        let newest = LogTime(self.live.0.newest.load(Ordering::Relaxed));
        let judged = {
            let mut judged = self
                .live
                .0
                .judged
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // Whoever is silent, or has moved to another predictor, is loaded for when asked about again.
            judged.retain(|_, (_, at)| newest.0 - at.0 <= FORGOTTEN_MS);
            judged.clone()
        };
        let mut needed = BTreeSet::new();
        for (scope, (feature_set, at)) in judged {
            let rows: Vec<Activation> =
                self.answers(|answers| answers.activations.from(&scope, at).cloned().collect());
            for mut row in rows {
                let Some(digest) = row.digest.clone() else {
                    continue;
                };
                needed.insert(row.id);
                if self.answers(|answers| answers.models.contains_key(&row.id)) {
                    continue;
                }
                match self.model(&digest, &scope, &feature_set).await {
                    Ok(model) => {
                        self.missed.remove(&digest);
                        tracing::info!(scope, digest, from = row.from.0, "model loaded");
                        self.change(|answers| answers.models.insert(row.id, Arc::new(model)));
                    }
                    Err(error) => {
                        let is_transient = error.is_transient();
                        let why = format!("{:#}", anyhow::Error::from(error));
                        if is_transient && !self.is_hopeless(&digest) {
                            tracing::warn!(scope, digest, why, "a model cannot be loaded yet");
                            continue;
                        }
                        self.missed.remove(&digest);
                        self.refuse(session, &mut row, Some(at), &why).await?;
                        self.put(row);
                    }
                }
            }
        }
        self.change(|answers| answers.models.retain(|id, _| needed.contains(id)));
        Ok(())
    }

    async fn model(
        &self,
        digest: &str,
        scope: &str,
        feature_set: &str,
    ) -> Result<Model, shelf::Error> {
        let bundle = self.shelf.bundle(digest).await?;
        let Some(set) = self.sets.by_id(feature_set) else {
            return Err(shelf::Error::Missing(format!(
                "feature set `{feature_set}` is not known here"
            )));
        };
        Ok(model_of(bundle, scope, set)?)
    }

    /// Marks a row as refused: from its beginning, or from where the log stands if that is later and the row is in force.
    async fn refuse(
        &self,
        session: &forewarn_store::postgres::Session,
        row: &mut Activation,
        stands: Option<LogTime>,
        why: &str,
    ) -> Result<(), Setback> {
        let from = stands.map_or(row.from, |at| at.max(row.from));
        activations::refuse(&**session, row.id, from, why).await?;
        row.refused_from = Some(from);
        metrics::counter!("forewarn_predictor_models_refused_total").increment(1);
        tracing::error!(
            scope = row.scope,
            digest = row.digest,
            activation = row.id,
            why,
            "a model is refused; the last good one goes on judging"
        );
        Ok(())
    }

    fn is_hopeless(&mut self, digest: &str) -> bool {
        let since = self
            .missed
            .entry(digest.to_owned())
            .or_insert_with(Instant::now);
        since.elapsed() > PATIENCE
    }

    fn put(&self, row: Activation) {
        self.change(|answers| answers.activations.put(row));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Answers) -> T) -> T {
        let answers = self.live.0.answers.write();
        change(&mut answers.unwrap_or_else(PoisonError::into_inner))
    }

    fn answers<T>(&self, ask: impl FnOnce(&Answers) -> T) -> T {
        let answers = self.live.0.answers.read();
        ask(&answers.unwrap_or_else(PoisonError::into_inner))
    }
}
