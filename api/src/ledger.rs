//! Reading PostgreSQL: one read-only transaction per answer, so that an answer is of one moment and can change nothing.
//!
//! Rows come as JSON texts that the database writes, a column for a field: so an endpoint's type is checked against its
//! query by the tests, floats keep their last digit, and how large an answer gets is known while it is read. Every
//! statement is a constant; what comes from outside goes in as a parameter.

use forewarn_store::postgres::{
    ClientError, Config as PostgresConfig, Error, Postgres, Session, ToSql, Transaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Config;
use crate::page::{Binding, Page};
use crate::problem::Problem;

/// What one answer may hold of rows, in bytes of JSON. A page ends before it, and says where it goes on.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Rows that are fetched at once: the most that is read beyond what an answer may hold.
const FETCH: i32 = 64;

/// What this program reads. A database without one of these was made by an older one, or not yet.
const RELATIONS: &[&str] = &[
    "resources",
    "resource_minutes",
    "anomalies",
    "predictions",
    "alerts",
    "alert_history",
    "alert_commands",
    "deliveries",
    "delivery_attempts",
    "alerter_state",
    "consumer_offsets",
    "model_runs",
    "activations",
    "models",
    "system_health_summary",
    "prediction_quality",
];

/// A parameter of a statement.
pub(crate) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// PostgreSQL, for looking only.
#[derive(Clone, Debug)]
pub struct Ledger {
    postgres: Postgres,
}

/// Rows of one statement.
pub(crate) struct Rows<T> {
    pub(crate) rows: Vec<T>,
    /// There are more than were asked for, or than an answer may hold.
    pub(crate) more: bool,
}

impl<T> Rows<T> {
    /// A page of them; if there are more, the last one's key says where the next page begins.
    pub(crate) fn into_page<K: Serialize>(
        self,
        binding: Binding,
        key: impl FnOnce(&T) -> K,
    ) -> Page<T> {
        Page::new(self.rows, self.more, binding, key)
    }
}

impl Ledger {
    /// Reads the settings; connects when first asked.
    ///
    /// # Errors
    /// When the address cannot be read.
    pub fn open(postgres: &PostgresConfig, api: &Config) -> Result<Self, Error> {
        let config = PostgresConfig {
            pool_size: api.pool_size,
            statement_timeout: api.query_timeout,
            // Who waits for a connection holds a place that others could have.
            connect_timeout: postgres.connect_timeout.min(api.query_timeout),
            ..postgres.clone()
        };
        Ok(Self {
            postgres: Postgres::open(&config, "forewarn-api")?,
        })
    }

    /// A connection of one's own.
    pub(crate) async fn session(&self) -> Result<Session, Problem> {
        self.postgres
            .session()
            .await
            .map_err(|error| Problem::ledger(&error))
    }

    /// At most `limit` rows of a statement, whose last parameter is how many it may return at most: one more is asked for,
    /// so that it is known whether there are more.
    pub(crate) async fn page<T: DeserializeOwned>(
        &self,
        sql: &'static str,
        parameters: &[Parameter<'_>],
        limit: i64,
    ) -> Result<Rows<T>, Problem> {
        let mut session = self.session().await?;
        let transaction = look(&mut session).await?;
        let read = limit + 1;
        let parameters: Vec<Parameter<'_>> = parameters
            .iter()
            .copied()
            .chain([&read as Parameter<'_>])
            .collect();
        let rows = rows(&transaction, sql, &parameters, limit).await?;
        end(transaction).await?;
        session.give_back();
        Ok(rows)
    }

    /// The one row of a statement, if there is one.
    pub(crate) async fn one<T: DeserializeOwned>(
        &self,
        sql: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<T>, Problem> {
        let mut session = self.session().await?;
        let transaction = look(&mut session).await?;
        let rows = rows(&transaction, sql, parameters, 1).await?;
        end(transaction).await?;
        session.give_back();
        Ok(rows.rows.into_iter().next())
    }
}

/// Begins a transaction that sees one moment and can write nothing.
pub(crate) async fn look(session: &mut Session) -> Result<Transaction<'_>, ClientError> {
    session
        .build_transaction()
        .isolation_level(forewarn_store::postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
}

/// Ends it. Nothing was written, so there is nothing to commit.
pub(crate) async fn end(transaction: Transaction<'_>) -> Result<(), ClientError> {
    transaction.rollback().await
}

/// Rows of a statement that returns one JSON text each, up to `limit` of them and up to what an answer may hold.
pub(crate) async fn rows<T: DeserializeOwned>(
    transaction: &Transaction<'_>,
    sql: &'static str,
    parameters: &[Parameter<'_>],
    limit: i64,
) -> Result<Rows<T>, Problem> {
    let limit = usize::try_from(limit).unwrap_or(0);
    // Prepared anew each time: the plan then fits the filters that are given, of which most are not.
    let statement = transaction.prepare(sql).await?;
    let portal = transaction.bind(&statement, parameters).await?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    loop {
        let fetched = transaction.query_portal(&portal, FETCH).await?;
        for row in &fetched {
            let text: &str = row.try_get(0)?;
            bytes += text.len();
            if rows.len() == limit || (bytes > ANSWER_BYTES_MAX && !rows.is_empty()) {
                return Ok(Rows { rows, more: true });
            }
            rows.push(serde_json::from_str(text).map_err(|error| {
                Problem::internal(&format!("a row is not what it should be: {error}"))
            })?);
        }
        if fetched.len() < FETCH as usize {
            return Ok(Rows { rows, more: false });
        }
    }
}

/// What keeps the ledger from being read, or none: whether PostgreSQL answers and the schema is there.
pub async fn lacking(ledger: &Ledger) -> Option<String> {
    let read = async {
        let mut session = ledger.postgres.session().await?;
        let transaction = look(&mut session).await?;
        let sql =
            "SELECT name FROM unnest($1::text[]) name WHERE to_regclass('public.' || name) IS NULL";
        let missing = transaction.query(sql, &[&RELATIONS]).await?;
        let missing: Vec<String> = missing.iter().map(|row| row.get(0)).collect();
        end(transaction).await?;
        session.give_back();
        Ok::<_, Error>(missing)
    };
    match read.await {
        Err(error) => Some(error.to_string()),
        Ok(missing) if missing.is_empty() => None,
        Ok(missing) => Some(format!(
            "the schema is not there yet, or of an older version: {} missing. The services that write to the ledger make \
             it when they start (predictor, alerter, trainer)",
            missing.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use forewarn_config::Secret;
    use forewarn_testkit::servers;

    use super::*;

    #[tokio::test]
    async fn nothing_can_be_written_through_it() {
        let Some(url) = servers::postgres("read-only transactions") else {
            return;
        };
        let config = PostgresConfig {
            url: Secret::new(url),
            ..PostgresConfig::default()
        };
        let ledger = Ledger::open(&config, &Config::default()).expect("an address");
        let mut session = ledger.session().await.expect("a connection");
        let transaction = look(&mut session).await.expect("a transaction");
        let error = transaction
            .batch_execute("CREATE TABLE written ()")
            .await
            .expect_err("it is read-only");
        assert_eq!(error.code().map(|code| code.code()), Some("25006"));
    }

    #[tokio::test]
    async fn a_database_without_the_schema_is_told_by_what_it_lacks() {
        let Some(url) = servers::postgres("a ledger without a schema") else {
            return;
        };
        let config = PostgresConfig {
            url: Secret::new(url),
            ..PostgresConfig::default()
        };
        let ledger = Ledger::open(&config, &Config::default()).expect("an address");
        let lacks = lacking(&ledger).await.expect("the server's own database");
        assert!(lacks.contains("prediction_quality missing"), "{lacks}");
        let nowhere = PostgresConfig {
            url: Secret::new("postgres://x@127.0.0.1:1/x"),
            ..PostgresConfig::default()
        };
        let nowhere = Ledger::open(&nowhere, &Config::default()).expect("an address");
        let lacks = lacking(&nowhere).await.expect("nobody answers there");
        assert!(lacks.contains("cannot be reached"), "{lacks}");
    }
}
