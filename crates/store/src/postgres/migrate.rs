//! Brings the schema up to date, once, however many services start at the same time.

use tokio_postgres::Client;

use super::Error;

mod embedded {
    // What the macro generates is documented by the files it reads.
    #![allow(missing_docs, unreachable_pub)]
    refinery::embed_migrations!("../../migrations");
}

/// Names our lock among a database's advisory locks: the bytes of `forewarn`.
const LOCK: i64 = i64::from_be_bytes(*b"forewarn");

/// The version of the schema that this program makes.
#[must_use]
pub fn schema_version() -> i64 {
    let runner = embedded::migrations::runner();
    let versions = runner
        .get_migrations()
        .iter()
        .map(refinery::Migration::version);
    versions.max().map_or(0, i64::from)
}

/// Runs what is missing under a lock that lives as long as this connection.
pub(super) async fn run(mut client: Client) -> Result<(), Error> {
    // Waiting for another service's migrations, and a migration itself, may take longer than an ordinary statement.
    client
        .batch_execute("SET statement_timeout = 0; SET lock_timeout = 0")
        .await?;
    client
        .execute("SELECT pg_advisory_lock($1)", &[&LOCK])
        .await?;
    let mut runner = embedded::migrations::runner();
    let known = runner
        .get_migrations()
        .iter()
        .map(refinery::Migration::version)
        .max()
        .unwrap_or_default();
    let failed = |error: refinery::Error| Error::Migrate(chain(&error));
    let there = match client
        .query_opt(
            "SELECT 1 FROM pg_class WHERE oid = to_regclass('refinery_schema_history')",
            &[],
        )
        .await?
    {
        Some(_) => runner
            .get_last_applied_migration_async(&mut client)
            .await
            .map_err(failed)?,
        None => None,
    };
    if let Some(there) = there.filter(|there| there.version() > known) {
        // Migrations only add, so an older program can work on a newer schema: a rollback of the program is possible.
        tracing::warn!(
            schema = there.version(),
            known,
            "the schema is newer than this program, and left as it is"
        );
        return Ok(());
    }
    runner = runner.set_abort_divergent(true).set_abort_missing(true);
    let report = runner.run_async(&mut client).await.map_err(failed)?;
    for migration in report.applied_migrations() {
        tracing::info!(%migration, "migrated the schema");
    }
    // The runner commits with the client's own commit, which does not tell a rollback: so ask.
    let now = runner
        .get_last_applied_migration_async(&mut client)
        .await
        .map_err(failed)?;
    if now.map(|now| now.version()) != Some(known) {
        return Err(Error::Migrate(format!(
            "version {known} was run but is not recorded"
        )));
    }
    Ok(())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let words = match error.downcast_ref::<tokio_postgres::Error>() {
            Some(error) => super::describe(error),
            None => error.to_string(),
        };
        text.push_str(": ");
        text.push_str(&words);
        source = error.source();
    }
    text
}
