//! Delivering what the interval put into the outbox: at least once, in order, and without one receiver delaying another.
//!
//! - An attempt is committed before it is made, so after a crash it is known which outcomes are unknown; those are
//!   repeated under the same delivery id once their claim has run out.
//! - Per alert and receiver one attempt is on its way at a time, and always of the newest transition: what is older and
//!   not delivered is superseded. So no trigger is told after its end.
//! - Rows are claimed by their state, never by "larger than the last id", so no row is overlooked.
//! - While the alerter is far behind nothing is claimed; after it has caught up, the last state of each alert is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forewarn_store::postgres::{Json, Postgres, guarded_commit};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::ledger::LedgerError;
use crate::notifiers::{Notification, NotifyError};
use crate::{Receiver, metered};

/// How attempts are spaced.
#[derive(Clone, Debug)]
pub struct Patience {
    /// How much longer than a notifier may take an attempt is waited for, before its outcome counts as unknown.
    pub grace: Duration,
    /// The pause after the first failure is up to this long, and doubles …
    pub base: Duration,
    /// … up to this.
    pub cap: Duration,
    /// A delivery that is not accepted for so long is given up.
    pub give_up: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(5),
            base: Duration::from_secs(1),
            cap: Duration::from_secs(5 * 60),
            give_up: Duration::from_secs(24 * 3600),
        }
    }
}

/// No receiver decides for longer than this when it is asked again.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A delivery whose next attempt is ours to make.
#[derive(Debug)]
pub struct Claim {
    /// Counts from 1; also the fence against a claim that has run out.
    pub attempt: i64,
    /// What to tell.
    pub notification: Notification,
    /// When it was asked for, by this process.
    begun: Instant,
}

/// The outbox.
#[derive(Clone, Debug)]
pub struct Outbox {
    postgres: Postgres,
    patience: Patience,
}

impl Outbox {
    /// The outbox in this database.
    #[must_use]
    pub fn new(postgres: Postgres, patience: Patience) -> Self {
        Self { postgres, patience }
    }

    /// Claims the next delivery to this receiver, if one is due, and records the attempt, which may take `timeout`.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing is claimed then, or the claim runs out by itself.
    pub async fn claim(
        &self,
        receiver: &str,
        timeout: Duration,
    ) -> Result<Option<Claim>, LedgerError> {
        let limit = (timeout + self.patience.grace).as_secs_f64();
        let begun = Instant::now();
        let mut session = self.postgres.session().await?;
        if session
            .query_opt(&session.prepare_cached(IS_ANY_DUE).await?, &[&receiver])
            .await?
            .is_none()
        {
            session.give_back();
            return Ok(None);
        }
        let transaction = session.begin().await?;
        let statement = transaction.prepare_cached(SUPERSEDE).await?;
        let mut superseded = transaction.execute(&statement, &[&receiver]).await?;
        let statement = transaction.prepare_cached(CLAIM).await?;
        let row = transaction
            .query_opt(&statement, &[&receiver, &limit])
            .await?;
        let claim = match row {
            Some(row) => {
                let (delivery_id, attempt): (Uuid, i64) = (row.get(0), row.get(1));
                // An interval that was not committed yet when an older attempt was settled could not supersede it.
                let statement = transaction.prepare_cached(SUPERSEDE_OLDER).await?;
                superseded += transaction.execute(&statement, &[&delivery_id]).await?;
                let statement = transaction.prepare_cached(RECORD_ATTEMPT).await?;
                transaction
                    .execute(&statement, &[&delivery_id, &attempt])
                    .await?;
                let statement = transaction.prepare_cached(READ).await?;
                let row = transaction.query_one(&statement, &[&delivery_id]).await?;
                let Json(notification) = row.try_get(0)?;
                Some(Claim {
                    attempt,
                    notification,
                    begun,
                })
            }
            None => None,
        };
        guarded_commit(transaction).await?;
        session.give_back();
        metrics::counter!("forewarn_alerter_notifications_superseded_total", "receiver" => receiver.to_owned())
            .increment(superseded);
        Ok(claim)
    }

    /// Records how an attempt went. An attempt whose claim has run out, and was made again since, changes nothing.
    ///
    /// # Errors
    /// [`LedgerError`]; the outcome then stays unknown, and the attempt is repeated.
    pub async fn settle(
        &self,
        claim: &Claim,
        outcome: &Result<(), NotifyError>,
    ) -> Result<(), LedgerError> {
        let id = claim.notification.delivery_id;
        let (word, detail) = match outcome {
            Ok(()) => ("delivered", None),
            Err(error @ NotifyError::Transient { .. }) => ("transient", Some(error.to_string())),
            Err(error @ NotifyError::Permanent { .. }) => ("permanent", Some(error.to_string())),
        };
        let pause = match outcome {
            Err(NotifyError::Transient {
                retry_after: Some(after),
                ..
            }) => (*after).min(RETRY_AFTER_MAX),
            _ => self.patience.pause(id, claim.attempt),
        };
        let mut session = self.postgres.session().await?;
        let transaction = session.begin().await?;
        let statement = transaction.prepare_cached(SETTLE_ATTEMPT).await?;
        transaction
            .execute(&statement, &[&id, &claim.attempt, &word, &detail])
            .await?;
        let statement = transaction.prepare_cached(SETTLE).await?;
        let give_up = self.patience.give_up.as_secs_f64();
        let parameters: [&(dyn forewarn_store::postgres::ToSql + Sync); 6] = [
            &id,
            &claim.attempt,
            &word,
            &detail,
            &pause.as_secs_f64(),
            &give_up,
        ];
        transaction.execute(&statement, &parameters).await?;
        guarded_commit(transaction).await?;
        session.give_back();
        Ok(())
    }

    /// Gives up what waits for receivers that are no longer configured, and says for how many.
    ///
    /// # Errors
    /// [`LedgerError`] when the database does not do it.
    pub async fn drop_strangers(&self, known: &[&str]) -> Result<u64, LedgerError> {
        let session = self.postgres.session().await?;
        let dropped = session
            .execute(
                "UPDATE deliveries SET state = 'failed', settled_at = clock_timestamp(), claimed_until = NULL, \
                 last_error = 'the receiver is no longer configured' \
                 WHERE state IN ('pending', 'sending') AND receiver <> ALL ($1)",
                &[&known],
            )
            .await?;
        session.give_back();
        Ok(dropped)
    }
}

impl Patience {
    /// Full jitter: anything up to the exponential pause, different for every delivery and attempt, and no randomness
    /// that a test would have to fight.
    fn pause(&self, delivery: Uuid, attempt: i64) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1))
            .unwrap_or(0)
            .min(30);
        let longest = self.base.saturating_mul(1 << doublings).min(self.cap);
        let mut hash = blake3::Hasher::new();
        hash.update(delivery.as_bytes())
            .update(&attempt.to_le_bytes());
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&hash.finalize().as_bytes()[..4]);
        longest.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
    }
}

/// Most polls find nothing; they should cost one index look-up.
const IS_ANY_DUE: &str = "SELECT 1 FROM deliveries WHERE receiver = $1 AND state IN ('pending', 'sending') \
    AND (state = 'sending' OR due_at <= clock_timestamp()) AND COALESCE(claimed_until, '-infinity') < clock_timestamp() \
    AND NOT EXISTS (SELECT 1 FROM alerter_state WHERE is_behind) LIMIT 1";

/// Pending rows are superseded by the interval that writes a newer one; here are those whose process died.
const SUPERSEDE: &str = "UPDATE deliveries AS old SET state = 'superseded', settled_at = clock_timestamp(), claimed_until = NULL \
    WHERE old.receiver = $1 AND old.state = 'sending' AND old.claimed_until < clock_timestamp() \
    AND EXISTS (SELECT 1 FROM deliveries AS new WHERE new.alert_id = old.alert_id AND new.receiver = old.receiver \
    AND new.sequence > old.sequence)";

const CLAIM: &str = "UPDATE deliveries SET state = 'sending', attempts = attempts + 1, \
    claimed_until = clock_timestamp() + make_interval(secs => $2) \
    WHERE delivery_id = (SELECT d.delivery_id FROM deliveries AS d WHERE d.receiver = $1 \
    AND ((d.state = 'pending' AND d.due_at <= clock_timestamp()) OR (d.state = 'sending' AND d.claimed_until < clock_timestamp())) \
    AND NOT EXISTS (SELECT 1 FROM deliveries AS other WHERE other.alert_id = d.alert_id AND other.receiver = d.receiver \
    AND other.delivery_id <> d.delivery_id AND (other.sequence > d.sequence \
    OR (other.state = 'sending' AND other.claimed_until >= clock_timestamp()))) \
    AND NOT EXISTS (SELECT 1 FROM alerter_state WHERE is_behind) \
    ORDER BY d.due_at, d.delivery_id LIMIT 1 FOR UPDATE OF d SKIP LOCKED) \
    RETURNING delivery_id, attempts";

const SUPERSEDE_OLDER: &str = "UPDATE deliveries AS old SET state = 'superseded', settled_at = clock_timestamp() \
    FROM deliveries AS new WHERE new.delivery_id = $1 AND old.alert_id = new.alert_id AND old.receiver = new.receiver \
    AND old.sequence < new.sequence AND old.state = 'pending'";

const RECORD_ATTEMPT: &str = "INSERT INTO delivery_attempts (delivery_id, attempt, started_at) VALUES ($1, $2, clock_timestamp())";

const READ: &str = "SELECT json_build_object('delivery_id', d.delivery_id, 'receiver', d.receiver, 'alert_id', d.alert_id, \
    'sequence', d.sequence, 'tenant', a.tenant, 'rule', a.rule, 'severity', h.severity, 'from_state', h.from_state, \
    'to_state', h.to_state, 'resource', a.resource, 'kind', a.kind, 'subject', a.subject, 'failure', a.failure, \
    'prediction_id', a.prediction_id, 'title', h.title, 'reason', h.reason, 'details', h.details, \
    'began_at', a.began_at, 'opened_at', a.opened_at, 'logged_at', h.logged_at, 'reopened', a.reopened) \
    FROM deliveries d JOIN alert_history h USING (alert_id, sequence) JOIN alerts a USING (alert_id) \
    WHERE d.delivery_id = $1";

const SETTLE_ATTEMPT: &str = "UPDATE delivery_attempts SET finished_at = clock_timestamp(), outcome = $3, detail = $4 \
    WHERE delivery_id = $1 AND attempt = $2 AND finished_at IS NULL";

const SETTLE: &str = "UPDATE deliveries AS d SET claimed_until = NULL, last_error = $4, state = next.state, \
    due_at = clock_timestamp() + make_interval(secs => $5), \
    settled_at = CASE WHEN next.state = 'pending' THEN NULL ELSE clock_timestamp() END \
    FROM (SELECT CASE WHEN $3 = 'delivered' THEN 'delivered' \
    WHEN EXISTS (SELECT 1 FROM deliveries AS new WHERE new.alert_id = old.alert_id AND new.receiver = old.receiver \
    AND new.sequence > old.sequence) THEN 'superseded' \
    WHEN $3 = 'permanent' OR clock_timestamp() + make_interval(secs => $5) > old.created_at + make_interval(secs => $6) \
    THEN 'failed' ELSE 'pending' END AS state FROM deliveries AS old WHERE old.delivery_id = $1) AS next \
    WHERE d.delivery_id = $1 AND d.attempts = $2 AND d.state = 'sending'";

/// How often the outbox is looked into without being told: for retries that fall due.
const LOOK: Duration = Duration::from_secs(1);
/// Pause after the database failed.
const AWAY: Duration = Duration::from_secs(2);

/// Tells one receiver until `stopped` resolves; then waits for the attempts on their way.
pub async fn deliver(
    outbox: Outbox,
    receiver: Receiver,
    wake: Arc<Notify>,
    beat: impl Fn(),
    stopped: impl Future<Output = ()>,
) {
    tokio::pin!(stopped);
    let mut running = JoinSet::new();
    loop {
        beat();
        let mut pause = LOOK;
        while running.len() < receiver.parallel {
            match outbox.claim(&receiver.name, receiver.timeout).await {
                Ok(Some(claim)) => {
                    running.spawn(attempt(outbox.clone(), receiver.clone(), claim));
                }
                Ok(None) => break,
                Err(error) => {
                    metered::warn(
                        "outbox",
                        || tracing::warn!(receiver = receiver.name, %error, "cannot look into the outbox"),
                    );
                    pause = AWAY;
                    break;
                }
            }
        }
        tokio::select! {
            () = &mut stopped => break,
            () = wake.notified() => {}
            Some(ended) = running.join_next() => log_panic(ended),
            () = tokio::time::sleep(pause) => {}
        }
    }
    while let Some(ended) = running.join_next().await {
        log_panic(ended);
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    // Its claim runs out and the attempt is made again.
    if let Err(error) = ended {
        tracing::error!(%error, "an attempt to notify panicked");
    }
}

async fn attempt(outbox: Outbox, receiver: Receiver, claim: Claim) {
    // A process that stood still between claim and attempt must not tell what another may have told since: it lets the
    // claim run out. And no attempt outlives its claim, or a newer transition could overtake it.
    if claim.begun.elapsed() > outbox.patience.grace / 2 {
        return;
    }
    let attempt = receiver.notifier.notify(&claim.notification);
    let outcome = tokio::time::timeout(receiver.timeout, attempt).await;
    let outcome = outcome.unwrap_or_else(|_| {
        Err(NotifyError::Transient {
            reason: "no answer in time".into(),
            retry_after: None,
        })
    });
    let receiver = receiver.name;
    match &outcome {
        Ok(()) => {
            metrics::counter!("forewarn_alerter_notifications_total", "receiver" => receiver)
                .increment(1);
        }
        Err(error) => {
            let reason = if matches!(error, NotifyError::Permanent { .. }) {
                "permanent"
            } else {
                "transient"
            };
            metrics::counter!("forewarn_alerter_notifications_failed_total", "receiver" => receiver.clone(), "reason" => reason)
                .increment(1);
            metered::warn("notify", || {
                tracing::warn!(receiver, attempt = claim.attempt, delivery = %claim.notification.delivery_id, %error, "could not notify");
            });
        }
    }
    if let Err(error) = outbox.settle(&claim, &outcome).await {
        metered::warn("settle", || {
            tracing::warn!(delivery = %claim.notification.delivery_id, %error, "could not record how a notification went; it is repeated");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_spread_and_stay_below_their_cap() {
        let patience = Patience::default();
        let mut longest = Duration::ZERO;
        for attempt in 1..200 {
            let pause = patience.pause(Uuid::from_u128(7), attempt);
            let limit = Duration::from_secs(1 << (attempt - 1).min(9)).min(patience.cap);
            assert!(pause <= limit, "attempt {attempt}: {pause:?}");
            longest = longest.max(pause);
        }
        assert!(longest > patience.cap / 2);
        assert_ne!(
            patience.pause(Uuid::from_u128(7), 5),
            patience.pause(Uuid::from_u128(8), 5)
        );
    }
}
