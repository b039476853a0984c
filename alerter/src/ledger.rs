//! The alerter's tables: the lease, and one transaction per interval (DESIGN.md §2.6).
//!
//! The lease and the checkpoint are one row. Whoever takes the lease raises its epoch; every interval is a
//! compare-and-set on (epoch, offsets), so an alerter that was thought dead and comes back changes nothing, and an
//! interval whose commit is unknown is found done or undone by whoever reads the row next.

use std::time::Duration;

use forewarn_store::Timestamp;
use forewarn_store::postgres::{
    self, ClientError, CommitError, Fault, Json, Postgres, Transaction, guarded_commit,
};
use forewarn_types::{LogTime, id};
use serde::Serialize;

use crate::pipeline::Interval;
use crate::rows::{self, AlertRow, CommandRow, DecisionRow, HistoryRow};
use crate::{Answer, Decision, Receiver, Transition};

/// The right to be the active alerter, with the place to go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Which term.
    pub epoch: i64,
    /// By partition; empty before the first interval ever.
    pub next_offsets: Vec<i64>,
    /// See [`Pipeline::snapshot`](crate::Pipeline::snapshot); empty before the first interval ever.
    pub checkpoint: Vec<u8>,
}

/// Why an interval was not written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another alerter is active, or this interval was written already: read the lease again.
    #[error("another alerter has taken over")]
    Fenced,
    /// The database cannot be reached.
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    /// A statement failed.
    #[error("{}", postgres::describe(.0))]
    Statement(#[from] ClientError),
    /// The commit failed, or its outcome is unknown.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl LedgerError {
    /// Whether the values themselves were refused: trying again would fail again, which is a defect of ours.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Statement(error) | Self::Commit(CommitError::Refused(error)) => {
                Fault::of(error) != Fault::Transient
            }
            Self::Fenced | Self::Postgres(_) | Self::Commit(CommitError::Unknown(_)) => false,
        }
    }
}

/// Everything of an interval that becomes durable together.
#[derive(Debug)]
pub struct Commit<'a> {
    /// The lease under which it is written, as of the interval before.
    pub lease: &'a Lease,
    /// What followed.
    pub interval: &'a Interval,
    /// Where to go on afterwards.
    pub next_offsets: Vec<i64>,
    /// State to go on with afterwards.
    pub checkpoint: Vec<u8>,
    /// Messages passed since the beginning of the log.
    pub passed: u64,
    /// More than five minutes behind the newest.
    pub is_behind: bool,
    /// Whom to tell.
    pub receivers: &'a [Receiver],
}

/// The alerter's tables.
#[derive(Clone, Debug)]
pub struct Ledger {
    postgres: Postgres,
    holder: String,
    term: Duration,
    rules_digest: String,
}

impl Ledger {
    /// The tables, for one process named `holder`; a lease lasts `term` unless renewed.
    #[must_use]
    pub fn new(postgres: Postgres, holder: String, term: Duration, rules_digest: String) -> Self {
        Self {
            postgres,
            holder,
            term,
            rules_digest,
        }
    }

    /// Becomes the active alerter, if nobody else is.
    ///
    /// # Errors
    /// [`LedgerError`] when the database does not do it.
    pub async fn acquire(&self) -> Result<Option<Lease>, LedgerError> {
        let session = self.postgres.session().await?;
        let row = session
            .query_opt(
                "INSERT INTO alerter_state AS s (name, epoch, holder, expires_at, next_offsets, checkpoint, passed, \
                 logged_at, is_behind, rules_digest, updated_at) \
                 VALUES ('alerter', 1, $1, clock_timestamp() + make_interval(secs => $2), '{}', '', 0, NULL, false, $3, \
                 clock_timestamp()) \
                 ON CONFLICT (name) DO UPDATE SET epoch = s.epoch + 1, holder = excluded.holder, \
                 expires_at = excluded.expires_at, rules_digest = excluded.rules_digest, updated_at = excluded.updated_at \
                 WHERE s.expires_at < clock_timestamp() OR s.holder = excluded.holder \
                 RETURNING epoch, next_offsets, checkpoint",
                &[&self.holder, &self.term.as_secs_f64(), &self.rules_digest],
            )
            .await?;
        session.give_back();
        Ok(row.map(|row| Lease {
            epoch: row.get(0),
            next_offsets: row.get(1),
            checkpoint: row.get(2),
        }))
    }

    /// Keeps the lease while there is nothing to write.
    ///
    /// # Errors
    /// [`LedgerError::Fenced`] when somebody else has it.
    pub async fn renew(&self, lease: &Lease) -> Result<(), LedgerError> {
        let session = self.postgres.session().await?;
        let renewed = session
            .execute(
                "UPDATE alerter_state SET expires_at = clock_timestamp() + make_interval(secs => $2) \
                 WHERE name = 'alerter' AND epoch = $1",
                &[&lease.epoch, &self.term.as_secs_f64()],
            )
            .await?;
        session.give_back();
        if renewed == 1 {
            Ok(())
        } else {
            Err(LedgerError::Fenced)
        }
    }

    /// Lets another alerter take over at once.
    ///
    /// # Errors
    /// [`LedgerError`] when the database does not do it; the lease then expires by itself.
    pub async fn release(&self, lease: &Lease) -> Result<(), LedgerError> {
        let session = self.postgres.session().await?;
        session
            .execute(
                "UPDATE alerter_state SET expires_at = '-infinity' WHERE name = 'alerter' AND epoch = $1",
                &[&lease.epoch],
            )
            .await?;
        session.give_back();
        Ok(())
    }

    /// Writes an interval, and returns the lease to write the next one under.
    ///
    /// # Errors
    /// [`LedgerError`]; after anything but a refusal the lease has to be acquired again, since the outcome may be
    /// unknown.
    pub async fn commit(&self, commit: &Commit<'_>) -> Result<Lease, LedgerError> {
        let mut session = self.postgres.session().await?;
        let transaction = session.begin().await?;
        self.advance(&transaction, commit).await?;
        let transitions = &commit.interval.transitions;
        if !transitions.is_empty() {
            save_alerts(&transaction, transitions).await?;
            save_deliveries(&transaction, transitions, commit.receivers).await?;
        }
        save_answers(&transaction, &commit.interval.answers).await?;
        save_decisions(&transaction, &commit.interval.decisions).await?;
        guarded_commit(transaction).await?;
        session.give_back();
        Ok(Lease {
            epoch: commit.lease.epoch,
            next_offsets: commit.next_offsets.clone(),
            checkpoint: Vec::new(),
        })
    }

    /// The compare-and-set. It goes first: its row lock keeps every other alerter out until the commit.
    async fn advance(
        &self,
        transaction: &Transaction<'_>,
        commit: &Commit<'_>,
    ) -> Result<(), LedgerError> {
        let statement = transaction
            .prepare_cached(
                "UPDATE alerter_state SET next_offsets = $3, checkpoint = $4, passed = $5, is_behind = $7, \
                 logged_at = COALESCE($6::text::timestamptz, logged_at), \
                 expires_at = clock_timestamp() + make_interval(secs => $8), updated_at = clock_timestamp() \
                 WHERE name = 'alerter' AND epoch = $1 AND next_offsets = $2",
            )
            .await?;
        let passed = i64::try_from(commit.passed).unwrap_or(i64::MAX);
        let logged_at = commit
            .interval
            .log_time
            .map(|time| Timestamp::from(time).to_string());
        let moved = transaction
            .execute(
                &statement,
                &[
                    &commit.lease.epoch,
                    &commit.lease.next_offsets,
                    &commit.next_offsets,
                    &commit.checkpoint,
                    &passed,
                    &logged_at,
                    &commit.is_behind,
                    &self.term.as_secs_f64(),
                ],
            )
            .await?;
        if moved == 1 {
            Ok(())
        } else {
            Err(LedgerError::Fenced)
        }
    }

    /// Decisions of the merge so far: what a replay needs beside the log.
    ///
    /// # Errors
    /// [`LedgerError`] when the database does not answer.
    pub async fn decisions(&self) -> Result<Vec<Decision>, LedgerError> {
        let session = self.postgres.session().await?;
        let rows = session
            .query(
                "SELECT number, passed, partition, left_out, (EXTRACT(epoch FROM newest_at) * 1000)::bigint \
                 FROM alerter_decisions ORDER BY number",
                &[],
            )
            .await?;
        session.give_back();
        let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
        let decisions = rows.iter().map(|row| Decision {
            number: unsigned(row.get(0)),
            passed: unsigned(row.get(1)),
            partition: u32::try_from(row.get::<_, i64>(2)).unwrap_or(0),
            left_out: row.get(3),
            newest: LogTime(row.get(4)),
        });
        Ok(decisions.collect())
    }
}

async fn save_alerts(
    transaction: &Transaction<'_>,
    transitions: &[Transition],
) -> Result<(), ClientError> {
    let alerts: Vec<AlertRow> = rows::alerts(transitions).into_values().collect();
    // An alert that ends and another of the same fingerprint that begins may share an interval: the end goes first,
    // or the index that allows only one active alert would refuse the beginning.
    let (ended, active): (Vec<_>, Vec<_>) = alerts
        .into_iter()
        .partition(|alert| alert.resolved_at.is_some());
    let upsert = "INSERT INTO alerts SELECT * FROM json_populate_recordset(NULL::alerts, $1) \
        ON CONFLICT (alert_id) DO UPDATE SET severity = excluded.severity, state = excluded.state, \
        prediction_id = excluded.prediction_id, title = excluded.title, summary = excluded.summary, \
        reason = excluded.reason, opened_at = excluded.opened_at, changed_at = excluded.changed_at, \
        resolved_at = excluded.resolved_at, transitions = excluded.transitions, reopened = excluded.reopened, \
        backfill = excluded.backfill, src = excluded.src";
    with_rows(transaction, upsert, &ended).await?;
    with_rows(transaction, upsert, &active).await?;
    let history: Vec<HistoryRow> = transitions.iter().map(HistoryRow::from).collect();
    let columns = "alert_id, sequence, ordinal, from_state, to_state, severity, title, reason, details, ts, logged_at, \
        notify, src, actor, message, command_id";
    let append = format!(
        "INSERT INTO alert_history ({columns}) \
         SELECT {columns} FROM json_populate_recordset(NULL::alert_history, $1) ORDER BY ordinal"
    );
    with_rows(transaction, &append, &history).await
}

#[derive(Serialize)]
struct DeliveryRow<'a> {
    delivery_id: uuid::Uuid,
    alert_id: uuid::Uuid,
    sequence: i64,
    receiver: &'a str,
}

async fn save_deliveries(
    transaction: &Transaction<'_>,
    transitions: &[Transition],
    receivers: &[Receiver],
) -> Result<(), ClientError> {
    let mut deliveries = Vec::new();
    for told in transitions.iter().filter(|transition| transition.notify) {
        for receiver in receivers
            .iter()
            .filter(|receiver| told.severity >= receiver.min_severity)
        {
            deliveries.push(DeliveryRow {
                delivery_id: id::delivery(
                    &told.alert_id.to_string(),
                    told.sequence,
                    &receiver.name,
                ),
                alert_id: told.alert_id,
                sequence: told.sequence,
                receiver: &receiver.name,
            });
        }
    }
    // What a worker has in its hands stays: it is superseded when the attempt has failed or its claim has run out.
    let supersede = "UPDATE deliveries AS old SET state = 'superseded', settled_at = clock_timestamp() \
        FROM json_populate_recordset(NULL::deliveries, $1) AS new \
        WHERE old.alert_id = new.alert_id AND old.receiver = new.receiver AND old.sequence < new.sequence \
        AND old.state = 'pending'";
    let append = "INSERT INTO deliveries (delivery_id, alert_id, sequence, receiver, state, attempts, due_at, created_at) \
        SELECT delivery_id, alert_id, sequence, receiver, 'pending', 0, clock_timestamp(), clock_timestamp() \
        FROM json_populate_recordset(NULL::deliveries, $1)";
    with_rows(transaction, append, &deliveries).await?;
    with_rows(transaction, supersede, &deliveries).await
}

/// After the transitions, which are what an alert is known by.
async fn save_answers(
    transaction: &Transaction<'_>,
    answers: &[Answer],
) -> Result<(), ClientError> {
    let known = "SELECT 1 FROM alert_history JOIN alerts USING (alert_id) \
        WHERE alert_id = $1 AND tenant = $2 AND ordinal <= $3 LIMIT 1";
    let mut rows = Vec::with_capacity(answers.len());
    for answer in answers {
        let ordinal = i64::try_from(answer.ordinal).unwrap_or(i64::MAX);
        let statement = transaction.prepare_cached(known).await?;
        let found = transaction
            .query_opt(&statement, &[&answer.alert_id, &answer.tenant, &ordinal])
            .await?;
        rows.push(CommandRow::new(answer, found.is_some()));
    }
    // The machine knows the last commands only; whoever is asked again after that keeps to the first answer.
    let append = "INSERT INTO alert_commands \
        SELECT * FROM json_populate_recordset(NULL::alert_commands, $1) ON CONFLICT (command_id) DO NOTHING";
    with_rows(transaction, append, &rows).await
}

async fn save_decisions(
    transaction: &Transaction<'_>,
    decisions: &[Decision],
) -> Result<(), ClientError> {
    let decisions: Vec<DecisionRow> = decisions.iter().map(DecisionRow::from).collect();
    let append = "INSERT INTO alerter_decisions SELECT * FROM json_populate_recordset(NULL::alerter_decisions, $1)";
    with_rows(transaction, append, &decisions).await
}

/// Runs a statement that takes rows as one parameter of JSON records.
async fn with_rows<R: Serialize + Sync>(
    transaction: &Transaction<'_>,
    sql: &str,
    rows: &[R],
) -> Result<(), ClientError> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows = serde_json::to_value(rows).expect("rows have text keys only");
    let statement = transaction.prepare_cached(sql).await?;
    transaction.execute(&statement, &[&Json(&rows)]).await?;
    Ok(())
}
