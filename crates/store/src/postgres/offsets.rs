//! How far a consumer is, kept in the same transaction as what it wrote (DESIGN.md §4).
//!
//! Moved by compare-and-set: a consumer that was thought dead and comes back finds that the offset is no longer where
//! it left it, and its transaction fails instead of overwriting. Keyed by the log's identity, so a topic that was
//! deleted and made again starts anew.

use deadpool_postgres::{GenericClient, Transaction};
use forewarn_types::LogId;

/// Whose offset it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The consumer: `projector`.
    pub group: String,
    /// Identity of the partition's history.
    pub log: LogId,
    /// The topic that is read, without any prefix.
    pub topic: String,
    /// The partition that is read.
    pub partition: u32,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// The offset to read next.
    pub next: u64,
    /// Position of the last `src` that is done; what is not beyond it is a repetition.
    pub done: Option<(u64, u64)>,
}

/// Why an offset did not move.
#[derive(Debug, thiserror::Error)]
pub enum AdvanceError {
    /// It is not where the caller left it: another consumer has the partition, or an unknown commit went through.
    #[error("the offset was moved by another consumer")]
    Moved,
    /// The statement failed.
    #[error("{}", super::describe(.0))]
    Statement(#[from] tokio_postgres::Error),
}

/// Reads where a consumer is; `None` if it has never been there.
///
/// # Errors
/// The client's error.
pub async fn load(
    client: &impl GenericClient,
    key: &Key,
) -> Result<Option<Offset>, tokio_postgres::Error> {
    let statement = client
        .prepare_cached(
            "SELECT next_offset, done_offset, done_sub FROM consumer_offsets \
             WHERE consumer_group = $1 AND log_id = $2 AND topic = $3 AND partition = $4",
        )
        .await?;
    let row = client
        .query_opt(
            &statement,
            &[
                &key.group,
                &key.log.0,
                &key.topic,
                &(signed(key.partition.into())),
            ],
        )
        .await?;
    Ok(row.map(|row| {
        let done = row
            .get::<_, Option<i64>>(1)
            .zip(row.get::<_, Option<i64>>(2));
        Offset {
            next: unsigned(row.get(0)),
            done: done.map(|(offset, sub)| (unsigned(offset), unsigned(sub))),
        }
    }))
}

/// Moves an offset from `expected` (`None`: the consumer has never been there) to `to`, inside the transaction that
/// writes what was read in between. Call it first: the row's lock then keeps others out until the commit.
///
/// # Errors
/// [`AdvanceError::Moved`] when the offset is elsewhere; roll back and [`load`] it.
pub async fn advance(
    transaction: &Transaction<'_>,
    key: &Key,
    expected: Option<u64>,
    to: Offset,
    owner: &str,
) -> Result<(), AdvanceError> {
    let next = signed(to.next);
    let (done_offset, done_sub) = (
        to.done.map(|done| signed(done.0)),
        to.done.map(|done| signed(done.1)),
    );
    let partition = signed(key.partition.into());
    let moved = match expected {
        None => {
            let statement = transaction
                .prepare_cached(
                    "INSERT INTO consumer_offsets \
                     (consumer_group, log_id, topic, partition, next_offset, done_offset, done_sub, owner) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
                )
                .await?;
            transaction
                .execute(
                    &statement,
                    &[
                        &key.group,
                        &key.log.0,
                        &key.topic,
                        &partition,
                        &next,
                        &done_offset,
                        &done_sub,
                        &owner,
                    ],
                )
                .await?
        }
        Some(expected) => {
            let statement = transaction
                .prepare_cached(
                    "UPDATE consumer_offsets SET next_offset = $5, done_offset = $6, done_sub = $7, owner = $8, \
                     updated_at = clock_timestamp() \
                     WHERE consumer_group = $1 AND log_id = $2 AND topic = $3 AND partition = $4 AND next_offset = $9",
                )
                .await?;
            transaction
                .execute(
                    &statement,
                    &[
                        &key.group,
                        &key.log.0,
                        &key.topic,
                        &partition,
                        &next,
                        &done_offset,
                        &done_sub,
                        &owner,
                        &signed(expected),
                    ],
                )
                .await?
        }
    };
    if moved == 1 {
        Ok(())
    } else {
        Err(AdvanceError::Moved)
    }
}

/// Offsets fit: a log would need 2^63 records to exceed this.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
