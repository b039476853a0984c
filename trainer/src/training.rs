//! One training: history read, model grown and proved, bundle put away, activation written. In this order, so that a
//! trainer which dies at any point has changed nothing that judges.

use std::sync::Arc;
use std::time::Duration;

use forewarn_bus::encode_state;
use forewarn_detect::Model;
use forewarn_detect::training::{
    History, Report, Scores, Settings, TrainError, Trained, train, training_bytes_per_step,
};
use forewarn_features::FeatureSet;
use forewarn_judge::{metrics_of, models::model_of};
use forewarn_models::bundle::{ISOLATION_FOREST, Making, TrainedOn};
use forewarn_models::{ForestSettings, Packed};
use forewarn_store::activations::{self, scope};
use forewarn_store::metrics::{MetricStore, ReadError, Span};
use forewarn_store::postgres::{ClientError, CommitError, Postgres, describe, guarded_commit};
use forewarn_store::runs::{self, Begun, Ended, RunState};
use forewarn_store::shelf::{self, Shelf};
use forewarn_types::{EventTime, StepLength};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::Config;
use crate::candidates::{Candidate, flagged};

/// Version of the trainer, as models and runs name it.
pub const CODE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// A model that hardly tells faults from ordinary steps helps nobody.
const LEAST_AUROC: f64 = 0.6;

/// What a training needs. Clones are the same.
#[derive(Clone, Debug)]
pub struct Workshop {
    /// How models are trained.
    pub config: Config,
    /// How the detector judges that runs through the history: the predictor's settings.
    pub judge: forewarn_judge::Config,
    /// History.
    pub metrics: Arc<dyn MetricStore>,
    /// What was flagged; where runs and activations go.
    pub postgres: Postgres,
    /// Where bundles go.
    pub shelf: Shelf,
    /// For how long the log keeps what may have to be judged again.
    pub log_retention: Duration,
}

/// What came of a training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Key of its row in `model_runs`.
    pub run_id: Uuid,
    /// The resource's owner.
    pub tenant: String,
    /// Whom it was for.
    pub resource: String,
    /// Under which features.
    pub feature_set: String,
    /// champion, rejected or failed.
    pub state: RunState,
    /// The bundle, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// From this moment of the log on it judges, in milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judges_from_ms: Option<i64>,
    /// Why there is no new model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Steps of history, those left out included.
    pub steps: usize,
    /// Steps left out because something was wrong.
    pub quarantined_steps: usize,
    /// How well it tells injected faults from ordinary steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auroc: Option<f64>,
    /// How long it took.
    pub seconds: f64,
}

/// Why a training broke off, without anything said about the model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The metric store.
    #[error(transparent)]
    Metrics(#[from] ReadError),
    /// PostgreSQL.
    #[error(transparent)]
    Postgres(#[from] forewarn_store::postgres::Error),
    /// A statement of PostgreSQL.
    #[error("PostgreSQL: {}", describe(.0))]
    Statement(#[from] ClientError),
    /// A commit.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store of models.
    #[error(transparent)]
    Shelf(#[from] shelf::Error),
    /// The training itself panicked: a defect.
    #[error("the training panicked; this is a defect")]
    Panic,
}

/// A history with what is known of it.
struct Material {
    history: History,
    step: StepLength,
}

/// A model on its way: proved, with the numbers of the one it is compared with.
struct Proved {
    trained: Trained,
    champion: Option<Scores>,
    verdict: Result<(), String>,
}

impl Workshop {
    /// Trains a model for `candidate`, maybe by a `command`, and has it judge, if it is no worse than the one that does.
    ///
    /// # Errors
    /// [`Error`] when a store is away or breaks off; the run's row then says `failed`, if it can be written.
    pub async fn train(
        &self,
        candidate: &Candidate,
        set: &FeatureSet,
        command: Option<Uuid>,
    ) -> Result<Outcome, Error> {
        let begun = std::time::Instant::now();
        let run = Uuid::new_v4();
        let scope = scope(&candidate.resource, &candidate.feature_set);
        let settings = self.forest(&scope, candidate.last_step);
        let session = self.postgres.session().await?;
        runs::begin(
            &*session,
            &Begun {
                run,
                tenant: &candidate.resource.tenant,
                resource: &candidate.resource.resource,
                feature_set: &candidate.feature_set,
                model: ISOLATION_FOREST,
                features: json!(metric_names(set)),
                parameters: json!({
                    "forest": settings,
                    "held_out": self.config.held_out,
                    "history_seconds": self.config.history.as_secs(),
                    "detector": forewarn_detect::versions(),
                }),
                seed: settings.seed,
                code_version: CODE_VERSION,
                command,
            },
        )
        .await?;
        session.give_back();
        let made = self.make(run, candidate, set, &scope, settings).await;
        let mut outcome = match made {
            Ok(outcome) => outcome,
            Err(error) => {
                // What stays behind as a candidate because even this cannot be written is ended by the next pass.
                let _ = self.fail(run, &error.to_string()).await;
                return Err(error);
            }
        };
        outcome.seconds = begun.elapsed().as_secs_f64();
        Ok(outcome)
    }

    async fn make(
        &self,
        run: Uuid,
        candidate: &Candidate,
        set: &FeatureSet,
        scope: &str,
        forest: ForestSettings,
    ) -> Result<Outcome, Error> {
        let material = self.material(candidate, set).await?;
        let data = material.history.span();
        let mut outcome = Outcome {
            run_id: run,
            tenant: candidate.resource.tenant.clone(),
            resource: candidate.resource.resource.clone(),
            feature_set: candidate.feature_set.clone(),
            state: RunState::Failed,
            digest: None,
            judges_from_ms: None,
            reason: None,
            steps: material.history.len(),
            quarantined_steps: 0,
            auroc: None,
            seconds: 0.0,
        };
        let session = self.postgres.session().await?;
        let spans = match data {
            Some((from, to)) => flagged(&session, &candidate.resource, from, to).await?,
            None => Vec::new(),
        };
        session.give_back();
        let champion = self.champion(candidate, scope, set).await?;
        let step = material.step;
        let settings = Settings {
            forest,
            detector: self.judge.detector(step),
            held_out: self.config.held_out,
            quarantine: true,
            least_steps: self.config.least_steps,
        };
        let (metrics, tolerance) = (metrics_of(set), self.config.tolerance);
        let proved = tokio::task::spawn_blocking(move || -> Result<Proved, TrainError> {
            let trained = train(&material.history, &metrics, step, &spans, &settings)?;
            let champion = champion.and_then(|champion| trained.trial.of(&champion));
            let verdict = verdict(trained.report.scores, champion, tolerance);
            Ok(Proved {
                trained,
                champion,
                verdict,
            })
        })
        .await
        .map_err(|_| Error::Panic)?;
        let ended = |outcome: &Outcome, scores| Ended {
            state: outcome.state,
            digest: outcome.digest.clone(),
            reason: outcome.reason.clone(),
            data: data.map(|(from, to)| (from.into(), to.into())),
            steps: (outcome.steps, outcome.quarantined_steps),
            scores,
        };
        let proved = match proved {
            Ok(proved) => proved,
            Err(error) => {
                if let TrainError::TooFew { quarantined, .. } = error {
                    outcome.quarantined_steps = quarantined;
                }
                outcome.reason = Some(error.to_string());
                self.close(run, &ended(&outcome, json!({}))).await?;
                return Ok(outcome);
            }
        };
        let Report {
            quarantined,
            scores,
            ..
        } = proved.trained.report;
        outcome.quarantined_steps = quarantined;
        outcome.auroc = Some(scores.auroc);
        let scores = json!({
            "auroc": scores.auroc,
            "found_at_1_percent": scores.found_at_1_percent,
            "champion": proved.champion,
        });
        if let Err(why) = proved.verdict {
            (outcome.state, outcome.reason) = (RunState::Rejected, Some(why));
            self.close(run, &ended(&outcome, scores)).await?;
            return Ok(outcome);
        }
        let packed = pack(&proved.trained, scope, set, step, forest, data);
        let digest = packed.digest.clone();
        self.shelf.put(packed).await?;
        outcome.digest = Some(digest.clone());
        outcome.state = RunState::Validated;
        // One transaction: either the model is written down and will judge, or neither.
        let mut session = self.postgres.session().await?;
        let transaction = session.begin().await?;
        runs::end(&transaction, run, &ended(&outcome, scores)).await?;
        runs::promote(&transaction, run).await?;
        let reason = format!("trained on {} steps", outcome.steps);
        let (_, from) =
            activations::activate(&transaction, scope, Some(&digest), None, &reason, Some(run))
                .await?;
        guarded_commit(transaction).await?;
        session.give_back();
        outcome.state = RunState::Champion;
        outcome.judges_from_ms = Some(from.0);
        Ok(outcome)
    }

    /// Reads the history, newest slice first, until it is long enough or takes too much memory.
    async fn material(
        &self,
        candidate: &Candidate,
        set: &FeatureSet,
    ) -> Result<Material, ReadError> {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let width = set.metrics.len();
        let steps_max = self.config.memory_max / training_bytes_per_step(width).max(1);
        let stop = candidate.last_step.millis() + 1;
        // A young resource has no history to look for.
        let start = (stop - millis(self.config.history)).max(candidate.first_step.millis());
        let mut slices = Vec::new();
        let (mut until, mut steps, mut step) = (stop, 0, None);
        while until > start && steps < steps_max {
            let span = Span {
                start: (until - millis(self.config.slice)).max(start),
                stop: until,
            };
            let mut found = self.metrics.steps(&candidate.resource, set, span).await?;
            // A source that changed its pace is another life: only the newest counts.
            let pace = step.or_else(|| {
                found
                    .iter()
                    .max_by_key(|(_, rows)| rows.keys().next_back().copied())
                    .map(|(step, _)| *step)
            });
            if let Some(pace) = pace {
                step = Some(pace);
                let rows = found.remove(&pace).unwrap_or_default();
                steps += rows.len();
                slices.push(rows);
            }
            until = span.start;
        }
        let mut history = History::new(width);
        let surplus = steps.saturating_sub(steps_max);
        let rows = slices.into_iter().rev().flatten().skip(surplus);
        for (end, row) in rows {
            history.push(EventTime(end), &row);
        }
        Ok(Material {
            history,
            step: step.unwrap_or(StepLength::SECOND),
        })
    }

    /// The model that judges now, if there is one that can still be read and is for the same columns.
    async fn champion(
        &self,
        candidate: &Candidate,
        scope: &str,
        set: &FeatureSet,
    ) -> Result<Option<Model>, shelf::Error> {
        let Some(digest) = &candidate.champion else {
            return Ok(None);
        };
        let bundle = match self.shelf.bundle(digest).await {
            Ok(bundle) => bundle,
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => {
                tracing::warn!(scope, digest, %error, "the model that judges cannot be read; its successor is not compared");
                return Ok(None);
            }
        };
        Ok(model_of(bundle, scope, set).ok())
    }

    async fn fail(&self, run: Uuid, why: &str) -> Result<(), Error> {
        let ended = Ended {
            state: RunState::Failed,
            digest: None,
            reason: Some(why.to_owned()),
            data: None,
            steps: (0, 0),
            scores: json!({}),
        };
        self.close(run, &ended).await
    }

    /// Writes down how a run without a model ended.
    async fn close(&self, run: Uuid, ended: &Ended) -> Result<(), Error> {
        let session = self.postgres.session().await?;
        runs::end(&*session, run, ended).await?;
        session.give_back();
        Ok(())
    }

    /// The same resource and history give the same forest.
    fn forest(&self, scope: &str, last: EventTime) -> ForestSettings {
        let name = format!("{scope} {}", last.millis());
        let (seed, _) = forewarn_types::id::message(name.as_bytes()).as_u64_pair();
        ForestSettings {
            trees: self.config.trees,
            sample: self.config.sample,
            extension: self.config.extension,
            seed,
        }
    }
}

/// Whether a model may judge, and why not.
fn verdict(scores: Scores, champion: Option<Scores>, tolerance: f64) -> Result<(), String> {
    let auroc = scores.auroc;
    // A figure that is no number is not enough.
    let is_enough = auroc >= LEAST_AUROC;
    if !is_enough {
        return Err(format!(
            "it hardly tells faults from ordinary steps (AUROC {auroc:.3}, at least {LEAST_AUROC} is wanted)"
        ));
    }
    match champion {
        Some(champion) if auroc < champion.auroc - tolerance => Err(format!(
            "it is worse than the model that judges (AUROC {auroc:.3} against {:.3} on the same steps)",
            champion.auroc
        )),
        _ => Ok(()),
    }
}

fn metric_names(set: &FeatureSet) -> Vec<String> {
    set.metrics
        .iter()
        .map(|metric| metric.name.clone())
        .collect()
}

fn pack(
    trained: &Trained,
    scope: &str,
    set: &FeatureSet,
    step: StepLength,
    settings: ForestSettings,
    data: Option<(EventTime, EventTime)>,
) -> Packed {
    let Report {
        steps,
        quarantined,
        grown_on,
        held_out,
        scores,
        levels,
    } = &trained.report;
    let example = match trained.trial.example() {
        Some(row) => row.to_vec(),
        None => vec![0.0; trained.model.forest.columns()],
    };
    let (from, to) = data.map_or((0, 0), |(from, to)| (from.millis(), to.millis()));
    let making = Making {
        versions: forewarn_detect::versions(),
        scope: scope.to_owned(),
        feature_set: set.id().to_owned(),
        metrics: metric_names(set),
        step_ms: step.millis(),
        settings,
        trained: TrainedOn {
            from_ms: from,
            to_ms: to,
            steps: *steps,
            quarantined: *quarantined,
            grown_on: *grown_on,
            held_out: *held_out,
            auroc: scores.auroc,
            levels: levels.clone(),
        },
        code_version: CODE_VERSION.to_owned(),
        example,
    };
    let calibration = encode_state(&trained.model.calibration);
    Packed::new(making, &trained.model.forest, calibration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(auroc: f64) -> Scores {
        Scores {
            auroc,
            found_at_1_percent: 0.0,
        }
    }

    #[test]
    fn a_model_judges_unless_it_is_useless_or_worse_than_the_one_that_does() {
        assert_eq!(verdict(scores(0.9), None, 0.02), Ok(()));
        assert_eq!(verdict(scores(0.89), Some(scores(0.9)), 0.02), Ok(()));
        assert!(verdict(scores(0.87), Some(scores(0.9)), 0.02).is_err());
        assert!(verdict(scores(0.5), None, 0.02).is_err());
        assert!(verdict(scores(f64::NAN), None, 0.02).is_err());
    }
}
