//! The only way to commit.

use deadpool_postgres::Transaction;
use tokio_postgres::error::SqlState;

use super::describe;

/// What is known about a commit that was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing was written: the server had rolled back, or refuses to commit.
    #[error("nothing was committed: {}", describe(.0))]
    Refused(tokio_postgres::Error),
    /// The connection broke while committing. Run the same transaction again: its compare-and-set tells what happened.
    #[error("it is unknown whether it was committed: {}", describe(.0))]
    Unknown(tokio_postgres::Error),
}

/// Commits, and fails if nothing was committed.
///
/// PostgreSQL answers COMMIT of a failed transaction with ROLLBACK, which is no error, and tokio-postgres passes that
/// on as success: an error that was swallowed, or that sat unread in a result stream, becomes silent loss.
/// So one more statement goes first, which a failed transaction refuses (SQLSTATE 25P02).
///
/// # Errors
/// [`CommitError`] says whether it is certain that nothing was written.
pub async fn guarded_commit(transaction: Transaction<'_>) -> Result<(), CommitError> {
    // Whatever fails before COMMIT is sent leaves nothing behind.
    transaction
        .query("SELECT pg_current_xact_id()::text", &[])
        .await
        .map_err(CommitError::Refused)?;
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place, behind the guard"
    )]
    let outcome = transaction.commit().await;
    outcome.map_err(|error| match error.code() {
        // An answer in words (a deferred constraint, a serialisation failure) means that it was rolled back;
        // a shutdown or a crash of the server in the middle means nothing.
        Some(code) if !ends_the_session(code) => CommitError::Refused(error),
        _ => CommitError::Unknown(error),
    })
}

fn ends_the_session(code: &SqlState) -> bool {
    let class = &code.code()[..2];
    class == "57" || class == "08" || class == "58" || class == "XX"
}
