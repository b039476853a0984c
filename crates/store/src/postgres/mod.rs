//! The ledger's connection: a pool that never hands out a connection of unknown state, and commits that are commits.
//!
//! Rules, each learned from a defect in the field (RELIABILITY.md §1, §2.4):
//! a transaction ends in [`guarded_commit`] or not at all; a connection goes back to the pool only when its user says
//! that all went well ([`Session::give_back`]), so one that met an error or was cancelled half way is closed;
//! time limits are the server's (`statement_timeout` …), since dropping a future half way is what makes states unknown.

mod commit;
mod look;
mod migrate;
pub mod offsets;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use forewarn_config::Secret;
use serde::{Deserialize, Serialize};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

pub use commit::{CommitError, guarded_commit};
pub use deadpool_postgres::Transaction;
pub use look::{Holds, Look};
pub use migrate::schema_version;
pub use tokio_postgres::types::{Json, ToSql};
pub use tokio_postgres::{Client, Error as ClientError, IsolationLevel, Row, error};

/// `[postgres]`: the ledger of anomalies, predictions and alerts.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it is, as `postgres://user:password@host:port/database`. Its user must own the database.
    pub url: Secret,
    /// Connections that one service opens at most.
    pub pool_size: usize,
    /// How long to wait for a connection to be made.
    #[serde(with = "forewarn_config::duration")]
    pub connect_timeout: Duration,
    /// The server gives up on a statement after this time.
    #[serde(with = "forewarn_config::duration")]
    pub statement_timeout: Duration,
    /// The server gives up on waiting for a lock after this time.
    #[serde(with = "forewarn_config::duration")]
    pub lock_timeout: Duration,
    /// The server ends a session that leaves its transaction open for this time.
    #[serde(with = "forewarn_config::duration")]
    pub idle_in_transaction_timeout: Duration,
    /// How long to wait at start-up for a server that is still starting.
    #[serde(with = "forewarn_config::duration")]
    pub startup_wait: Duration,
    /// Go on although the server may lose commits in a crash (`fsync`, `full_page_writes` or `synchronous_commit` off).
    pub allow_unsafe_server: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: Secret::new("postgres://forewarn@127.0.0.1:5432/forewarn"),
            pool_size: 8,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(15),
            lock_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_secs(30),
            startup_wait: Duration::from_secs(120),
            allow_unsafe_server: false,
        }
    }
}

impl Config {
    /// Every mistake, as the key within the section and what is wrong with its value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if let Err(problem) = parse_url(self) {
            mistakes.push((
                "url",
                format!(
                    "is not of the form postgres://user:password@host:port/database: {problem}"
                ),
            ));
        }
        if self.pool_size == 0 {
            mistakes.push(("pool_size", "must be at least 1".to_owned()));
        }
        for (key, limit) in [
            ("connect_timeout", self.connect_timeout),
            ("statement_timeout", self.statement_timeout),
            ("lock_timeout", self.lock_timeout),
            (
                "idle_in_transaction_timeout",
                self.idle_in_transaction_timeout,
            ),
        ] {
            // PostgreSQL takes zero for no limit, and counts milliseconds in 32 bits.
            if limit.is_zero() || limit > Duration::from_millis(i32::MAX as u64) {
                mistakes.push((
                    key,
                    "must be longer than nothing and at most \"24d\"".to_owned(),
                ));
            }
        }
        mistakes
    }
}

/// What goes wrong with PostgreSQL before any statement of a service runs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are no address of a server.
    #[error("`postgres.url` is not of the form postgres://user:password@host:port/database: {0}")]
    Url(String),
    /// The server cannot be reached, or refuses us.
    #[error("PostgreSQL cannot be reached: {0}")]
    Unreachable(String),
    /// The server may forget what it has committed.
    #[error(
        "PostgreSQL runs with {0}, so a crash may lose commits: switch it on, or set `postgres.allow_unsafe_server`"
    )]
    Unsafe(String),
    /// The schema could not be brought up to date.
    #[error("the schema could not be migrated: {0}")]
    Migrate(String),
    /// A statement failed.
    #[error("{}", describe(.0))]
    Statement(#[from] tokio_postgres::Error),
}

/// PostgreSQL through a pool of connections.
#[derive(Clone, Debug)]
pub struct Postgres {
    pool: Pool,
    config: tokio_postgres::Config,
}

impl Postgres {
    /// Waits for the server, checks that it keeps what it commits, and brings the schema up to date.
    ///
    /// `application` names the service in `pg_stat_activity`. Every service may call this, at the same time.
    ///
    /// # Errors
    /// [`Error`] when the server does not answer within `startup_wait`, refuses us, or is unsafe.
    pub async fn start(config: &Config, application: &str) -> Result<Self, Error> {
        let postgres = Self::open(config, application)?;
        let client = postgres.wait(config.startup_wait).await?;
        check_durability(&client, config.allow_unsafe_server).await?;
        migrate::run(client).await?;
        Ok(postgres)
    }

    /// Opens the pool without connecting or migrating: for readers.
    ///
    /// # Errors
    /// [`Error::Url`] when the address cannot be read.
    pub fn open(config: &Config, application: &str) -> Result<Self, Error> {
        let pg = client_config(config, application)?;
        let manager = Manager::from_config(
            pg.clone(),
            NoTls,
            // A connection comes back only after success, so asking whether it is closed is enough.
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let timeouts = Timeouts {
            wait: Some(config.connect_timeout.saturating_mul(2)),
            create: Some(config.connect_timeout),
            recycle: Some(config.connect_timeout),
        };
        let pool = Pool::builder(manager)
            .max_size(config.pool_size.max(1))
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| Error::Unreachable(error.to_string()))?;
        Ok(Self { pool, config: pg })
    }

    /// A connection of one's own until it is given back or dropped.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when none can be had in time.
    pub async fn session(&self) -> Result<Session, Error> {
        let object = self.pool.get().await.map_err(|error| match error {
            deadpool_postgres::PoolError::Backend(error) => Error::Unreachable(describe(&error)),
            other => Error::Unreachable(other.to_string()),
        })?;
        Ok(Session(Some(object)))
    }

    /// Connects outside the pool, for as long as it takes a starting server to come up.
    async fn wait(&self, limit: Duration) -> Result<Client, Error> {
        let started = tokio::time::Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            let error = match self.config.connect(NoTls).await {
                Ok((client, connection)) => {
                    // Ends by itself when the client is dropped.
                    tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(error = %describe(&error), "connection to PostgreSQL ended");
                        }
                    });
                    return Ok(client);
                }
                Err(error) => error,
            };
            // A wrong password or database does not mend itself; a refused connection or a starting server may.
            let hopeless = error.code().is_some_and(|code| {
                code.code().starts_with("28") || *code == SqlState::INVALID_CATALOG_NAME
            });
            if hopeless || started.elapsed() + pause > limit {
                return Err(Error::Unreachable(describe(&error)));
            }
            tracing::warn!(error = %describe(&error), retry_in = ?pause, "PostgreSQL does not answer yet");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(3));
        }
    }
}

/// A connection out of the pool. Dropped without [`Session::give_back`] it is closed, since its state is not known.
#[derive(Debug)]
pub struct Session(Option<Object>);

const HELD: &str = "a session holds its connection until it is given back, which consumes it";

impl Session {
    /// Begins a transaction; it ends in [`guarded_commit`], or is rolled back when dropped.
    ///
    /// # Errors
    /// The client's error when the connection is gone.
    pub async fn begin(&mut self) -> Result<Transaction<'_>, tokio_postgres::Error> {
        self.0.as_mut().expect(HELD).transaction().await
    }

    /// Returns the connection to the pool: everything done with it went well.
    pub fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Deref for Session {
    type Target = Object;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect(HELD)
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.as_mut().expect(HELD)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            // Taken out of the pool and dropped: the connection closes, the server rolls back.
            drop(Object::take(object));
        }
    }
}

/// What to do about an error of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It may go well later: no connection, a restart, a lock, too many clients.
    Transient,
    /// The values themselves are refused: doing it again fails again.
    Data,
    /// Anything else: a defect or a missing privilege.
    Other,
}

impl Fault {
    /// Sorts an error by its SQLSTATE; without one the connection is at fault.
    #[must_use]
    pub fn of(error: &tokio_postgres::Error) -> Self {
        let Some(code) = error.code() else {
            return Self::Transient;
        };
        match &code.code()[..2] {
            // Connection, insufficient resources, operator intervention, system error, rolled back by the server,
            // lock not available; and 25P02, the trace of one of these.
            "08" | "53" | "57" | "58" | "40" | "55" | "25" => Self::Transient,
            "22" | "23" | "54" => Self::Data,
            _ => Self::Other,
        }
    }
}

/// The error with the server's own words, which the client keeps in the source.
#[must_use]
pub fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let detail = db
            .detail()
            .map(|detail| format!(" ({detail})"))
            .unwrap_or_default();
        return format!("{}: {}{detail}", db.code().code(), db.message());
    }
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The parser's message names the part that is wrong, never the password. That holds for addresses only: what is none
/// it takes for `key=value` pairs, and repeats what stands before the first `=`.
fn parse_url(config: &Config) -> Result<tokio_postgres::Config, String> {
    let url = config.url.reveal();
    if !["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err("it begins with neither postgres:// nor postgresql://".to_owned());
    }
    url.parse().map_err(|error| describe(&error))
}

fn client_config(config: &Config, application: &str) -> Result<tokio_postgres::Config, Error> {
    let mut pg = parse_url(config).map_err(Error::Url)?;
    let mut options = pg.get_options().unwrap_or_default().to_owned();
    for (name, limit) in [
        ("statement_timeout", config.statement_timeout),
        ("lock_timeout", config.lock_timeout),
        (
            "idle_in_transaction_session_timeout",
            config.idle_in_transaction_timeout,
        ),
    ] {
        options.push_str(&format!(" -c {name}={}", limit.as_millis()));
    }
    // Instants are read and written as text in UTC, whatever the server's zone is.
    options.push_str(" -c timezone=UTC -c client_min_messages=warning");
    pg.options(options.trim())
        .application_name(application)
        .connect_timeout(config.connect_timeout)
        // A peer that vanished without a word is noticed although nothing is waited for by a timer of ours.
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(15))
        .tcp_user_timeout(config.statement_timeout);
    Ok(pg)
}

async fn check_durability(client: &Client, allow_unsafe: bool) -> Result<(), Error> {
    let rows = client
        .query(
            "SELECT name, setting FROM pg_settings \
             WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name",
            &[],
        )
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let off: Vec<String> = rows
        .iter()
        .map(|row| format!("{} = off", row.get::<_, String>(0)))
        .collect();
    let off = off.join(", ");
    if !allow_unsafe {
        return Err(Error::Unsafe(off));
    }
    tracing::warn!(
        settings = off,
        "PostgreSQL may lose commits in a crash, as allowed by the settings"
    );
    Ok(())
}
