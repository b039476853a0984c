//! `model_runs`: every training, from its beginning to what became of it.

use std::collections::BTreeSet;
use std::time::Duration;

use deadpool_postgres::GenericClient;
use serde::Serialize;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::Timestamp;

/// What becomes of a training (DESIGN.md §4, model version; and two ends without a version).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Being made or proved.
    Candidate,
    /// Proved, about to judge.
    Validated,
    /// It judges.
    Champion,
    /// It judged before.
    Retired,
    /// No better than the one that judges.
    Rejected,
    /// Nothing came of it.
    Failed,
}

impl RunState {
    /// All of them, in the order in which the table's check lists them.
    pub const ALL: &'static [Self] = &[
        Self::Candidate,
        Self::Validated,
        Self::Champion,
        Self::Rejected,
        Self::Failed,
        Self::Retired,
    ];

    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Validated => "validated",
            Self::Champion => "champion",
            Self::Retired => "retired",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

/// A training as it begins.
#[derive(Clone, Debug)]
pub struct Begun<'a> {
    /// Which one.
    pub run: Uuid,
    /// The owner of the resource.
    pub tenant: &'a str,
    /// Whose model it will be.
    pub resource: &'a str,
    /// The features that it will judge.
    pub feature_set: &'a str,
    /// Kind of model.
    pub model: &'a str,
    /// The metrics of the feature set.
    pub features: serde_json::Value,
    /// Settings of the model and of its training.
    pub parameters: serde_json::Value,
    /// From which everything random follows.
    pub seed: u64,
    /// Version of the trainer.
    pub code_version: &'a str,
    /// The order that it is made for; `None` when it is due by itself.
    pub command: Option<Uuid>,
}

/// How a training ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What became of it.
    pub state: RunState,
    /// Digest of the bundle, if there is one.
    pub digest: Option<String>,
    /// Why it was rejected or failed.
    pub reason: Option<String>,
    /// End of the first and of the last step of the history.
    pub data: Option<(Timestamp, Timestamp)>,
    /// Steps of history, and how many of these were left out.
    pub steps: (usize, usize),
    /// How good it is.
    pub scores: serde_json::Value,
}

/// Writes down that a training begins.
///
/// # Errors
/// The client's error.
pub async fn begin(
    client: &impl GenericClient,
    begun: &Begun<'_>,
) -> Result<(), tokio_postgres::Error> {
    let statement = client
        .prepare_cached(
            "INSERT INTO model_runs (run_id, tenant, resource, feature_set, model, state, started_at, steps, \
             quarantined_steps, features, parameters, seed, code_version, scores, command_id) \
             VALUES ($1, $2, $3, $4, $5, 'candidate', clock_timestamp(), 0, 0, $6, $7, $8, $9, '{}', $10)",
        )
        .await?;
    // Seeds are made of hashes: all 64 bits count, whichever sign SQL shows.
    let seed = begun.seed as i64;
    client
        .execute(
            &statement,
            &[
                &begun.run,
                &begun.tenant,
                &begun.resource,
                &begun.feature_set,
                &begun.model,
                &Json(&begun.features),
                &Json(&begun.parameters),
                &seed,
                &begun.code_version,
                &begun.command,
            ],
        )
        .await?;
    Ok(())
}

/// Writes down how a training ended.
///
/// # Errors
/// The client's error.
pub async fn end(
    client: &impl GenericClient,
    run: Uuid,
    ended: &Ended,
) -> Result<(), tokio_postgres::Error> {
    let statement = client
        .prepare_cached(
            "UPDATE model_runs SET state = $2, digest = $3, reason = $4, finished_at = clock_timestamp(), \
             data_from = $5::text::timestamptz, data_to = $6::text::timestamptz, steps = $7, quarantined_steps = $8, \
             scores = $9 WHERE run_id = $1",
        )
        .await?;
    let (from, to) = ended.data.map_or((None, None), |(from, to)| {
        (Some(from.to_string()), Some(to.to_string()))
    });
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    client
        .execute(
            &statement,
            &[
                &run,
                &ended.state.as_str(),
                &ended.digest,
                &ended.reason,
                &from,
                &to,
                &count(ended.steps.0),
                &count(ended.steps.1),
                &Json(&ended.scores),
            ],
        )
        .await?;
    Ok(())
}

/// Has the model of a training judge, and retires those of the same resource that judged before.
///
/// # Errors
/// The client's error.
pub async fn promote(client: &impl GenericClient, run: Uuid) -> Result<(), tokio_postgres::Error> {
    let statement = client
        .prepare_cached(
            "UPDATE model_runs r SET state = CASE WHEN r.run_id = $1 THEN 'champion' ELSE 'retired' END \
             FROM model_runs new WHERE new.run_id = $1 AND r.tenant = new.tenant AND r.resource = new.resource \
             AND r.feature_set = new.feature_set AND (r.run_id = $1 OR r.state = 'champion')",
        )
        .await?;
    client.execute(&statement, &[&run]).await?;
    Ok(())
}

/// Ends as failed what a trainer that died has left as candidates. Returns how many there were.
///
/// # Errors
/// The client's error.
pub async fn abandon(client: &impl GenericClient) -> Result<u64, tokio_postgres::Error> {
    let statement = client
        .prepare_cached(
            "UPDATE model_runs SET state = 'failed', reason = 'the trainer ended in the middle of it', \
             finished_at = clock_timestamp() \
             WHERE state = 'candidate' AND finished_at IS NULL",
        )
        .await?;
    client.execute(&statement, &[]).await
}

/// Lets go of bundles: those that have judged nobody for `span` and are not among the newest `versions` of their resource
/// are marked as deleted. Returns the digests of all others; whatever else lies on the shelf may go.
///
/// # Errors
/// The client's error.
pub async fn let_go(
    client: &impl GenericClient,
    span: Duration,
    versions: i64,
) -> Result<BTreeSet<String>, tokio_postgres::Error> {
    // What judged at the beginning of the span was activated before it: all but the last row from before then.
    let statement = client
        .prepare_cached(
            "WITH needed AS ( \
                SELECT digest FROM activations a WHERE digest IS NOT NULL AND NOT EXISTS ( \
                    SELECT FROM activations b WHERE b.scope = a.scope AND b.refused_from IS NULL \
                        AND b.from_log_time < clock_timestamp() - make_interval(secs => $1) \
                        AND (b.from_log_time, b.activation_id) > (a.from_log_time, a.activation_id)) \
                UNION SELECT digest FROM ( \
                    SELECT digest, row_number() OVER (PARTITION BY tenant, resource, feature_set ORDER BY started_at DESC) AS place \
                    FROM model_runs WHERE digest IS NOT NULL) r WHERE place <= $2), \
             let_go AS ( \
                UPDATE model_runs SET bundle_deleted_at = clock_timestamp() \
                WHERE digest IS NOT NULL AND bundle_deleted_at IS NULL AND digest NOT IN (SELECT digest FROM needed)) \
             SELECT digest FROM needed",
        )
        .await?;
    let rows = client
        .query(&statement, &[&span.as_secs_f64(), &versions])
        .await?;
    Ok(rows.into_iter().map(|row| row.get(0)).collect())
}
