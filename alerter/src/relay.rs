//! Publishes `alert_events` from the ledger's transitions: in their order, at least once, ids from content.
//!
//! A transition is marked only after the log has acknowledged it. After a crash some are published again with the same
//! bytes; readers go by alert id and sequence.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forewarn_bus::{AppendError, Appender, Log};
use forewarn_messages::{ALERT_EVENTS, AlertTransition, Body};
use forewarn_store::postgres::{Postgres, Row};
use forewarn_types::{EventTime, LogTime, ResourceKey};
use tokio::sync::Notify;

use crate::ledger::LedgerError;
use crate::metered;

/// Transitions that are published at once.
const BATCH: i64 = 500;
/// How often the ledger is looked into without being told.
const LOOK: Duration = Duration::from_secs(1);

/// Why transitions were not published; they stay unpublished.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The log does not take them.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A row cannot be read; a defect of ours.
    #[error("transition {ordinal} cannot be read: {problem}")]
    Row {
        /// Which one.
        ordinal: i64,
        /// What is wrong with it.
        problem: String,
    },
}

/// How long the log may take to acknowledge a transition.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Publishes what is not published yet, and says how many.
///
/// # Errors
/// [`RelayError`]; the appender has to be made anew then.
pub async fn publish(postgres: &Postgres, appender: &dyn Appender) -> Result<usize, RelayError> {
    let session = postgres.session().await.map_err(LedgerError::from)?;
    let statement = session
        .prepare_cached(UNPUBLISHED)
        .await
        .map_err(LedgerError::from)?;
    let rows = session
        .query(&statement, &[&BATCH])
        .await
        .map_err(LedgerError::from)?;
    let mut receipts = Vec::with_capacity(rows.len());
    for row in &rows {
        let (ordinal, transition) = read(row)?;
        let log_time = transition.log_time;
        receipts.push((
            ordinal,
            appender.append(
                &ALERT_EVENTS,
                None,
                Some(log_time),
                transition.seal(None, None),
            )?,
        ));
    }
    let mut published = Vec::with_capacity(receipts.len());
    let mut failed = None;
    for (ordinal, receipt) in receipts {
        // A log that is away takes its time; the relay has to give signs of life, and to give its session back.
        let answer = tokio::time::timeout(PATIENCE, receipt)
            .await
            .unwrap_or_else(|_| {
                let why = format!("no acknowledgement within {PATIENCE:?}");
                Err(AppendError::Unknown(why))
            });
        match answer {
            Ok(_) => published.push(ordinal),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    if !published.is_empty() {
        session
            .execute(
                "UPDATE alert_history SET published = true WHERE ordinal = ANY ($1)",
                &[&published],
            )
            .await
            .map_err(LedgerError::from)?;
    }
    session.give_back();
    metrics::counter!("forewarn_alerter_transitions_published_total")
        .increment(published.len() as u64);
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(published.len()),
    }
}

const UNPUBLISHED: &str = "SELECT h.ordinal, h.alert_id, h.sequence, a.rule, a.tenant, a.resource, a.subject, h.from_state, \
    h.to_state, h.severity, h.title, (EXTRACT(epoch FROM h.logged_at) * 1000)::bigint, \
    (EXTRACT(epoch FROM h.ts) * 1000)::bigint, h.actor, h.message, h.command_id \
    FROM alert_history h JOIN alerts a USING (alert_id) WHERE NOT h.published ORDER BY h.ordinal LIMIT $1";

fn read(row: &Row) -> Result<(i64, AlertTransition), RelayError> {
    let ordinal = row.get(0);
    let wrong = |problem: String| RelayError::Row { ordinal, problem };
    let state = |column: usize| row.get::<_, Option<String>>(column);
    let severity: String = row.get(9);
    let transition = AlertTransition {
        alert_id: row.get(1),
        sequence: row.get(2),
        rule: row.get(3),
        resource: ResourceKey {
            tenant: row.get(4),
            resource: row.get(5),
        },
        subject: row.get(6),
        from: state(7)
            .map(|word| word.parse())
            .transpose()
            .map_err(|error: forewarn_types::ParseStateError| wrong(error.to_string()))?,
        to: FromStr::from_str(&row.get::<_, String>(8))
            .map_err(|error: forewarn_types::ParseStateError| wrong(error.to_string()))?,
        severity: serde_json::from_value(severity.into())
            .map_err(|error| wrong(error.to_string()))?,
        title: row.get(10),
        log_time: LogTime(row.get(11)),
        step_end: EventTime(row.get(12)),
        actor: row.get(13),
        message: row.get(14),
        command_id: row.get(15),
    };
    Ok((ordinal, transition))
}

/// Publishes until `stopped` resolves, while this process is the active alerter.
pub async fn relay(
    log: Arc<dyn Log>,
    postgres: Postgres,
    is_active: Arc<AtomicBool>,
    wake: Arc<Notify>,
    beat: impl Fn(),
    stopped: impl Future<Output = ()>,
) {
    tokio::pin!(stopped);
    let mut appender: Option<Arc<dyn Appender>> = None;
    loop {
        beat();
        let mut is_more = false;
        if is_active.load(Ordering::Acquire) {
            if appender.is_none() {
                match log.appender_in_order() {
                    Ok(made) => appender = Some(made),
                    Err(error) => metered::warn(
                        "relay",
                        || tracing::warn!(%error, "cannot publish transitions"),
                    ),
                }
            }
            if let Some(made) = &appender {
                match publish(&postgres, made.as_ref()).await {
                    Ok(count) => is_more = count as i64 == BATCH,
                    Err(error) => {
                        metered::warn(
                            "relay",
                            || tracing::warn!(%error, "could not publish transitions; they are tried again"),
                        );
                        appender = None;
                    }
                }
            }
        }
        if is_more {
            continue;
        }
        tokio::select! {
            () = &mut stopped => return,
            () = wake.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
