//! Commits that are commits, offsets that fence, a schema that is made once.

use std::time::Duration;

use forewarn_config::Secret;
use forewarn_store::postgres::offsets::{self, AdvanceError, Key, Offset};
use forewarn_store::postgres::{CommitError, Config, Error, Fault, Postgres, guarded_commit};
use forewarn_types::LogId;
use futures::StreamExt;

use forewarn_testkit::database::Database;

/// The first row is written, then a stream is dropped with its error unread.
const HALF_READ: &str =
    "SELECT CASE WHEN g < 50000 THEN g ELSE 1 / (g - g) END FROM generate_series(1, 100000) g";

#[tokio::test]
async fn a_guarded_commit_refuses_where_a_plain_one_lies() {
    let Some(database) = Database::create("guarded commit").await else {
        return;
    };
    let postgres = database.start().await;
    let mut session = postgres.session().await.expect("a connection");
    session
        .batch_execute("CREATE TABLE t (i int)")
        .await
        .expect("a table");

    for guarded in [false, true] {
        let transaction = session.begin().await.expect("a transaction");
        transaction
            .execute("INSERT INTO t VALUES (1)", &[])
            .await
            .expect("a row");
        {
            let stream = transaction
                .query_raw(HALF_READ, Vec::<i32>::new())
                .await
                .expect("a stream");
            let mut stream = std::pin::pin!(stream);
            assert!(stream.next().await.is_some_and(|row| row.is_ok()));
        }
        if guarded {
            let refused = guarded_commit(transaction)
                .await
                .expect_err("the transaction has failed");
            assert!(matches!(refused, CommitError::Refused(_)), "{refused}");
            assert!(refused.to_string().contains("25P02"), "{refused}");
        } else {
            #[allow(clippy::disallowed_methods, reason = "this is what must not be used")]
            let outcome = transaction.commit().await;
            assert!(
                outcome.is_ok(),
                "the client has learned to tell: the guard can go"
            );
        }
        let rows: i64 = session
            .query_one("SELECT count(*) FROM t", &[])
            .await
            .expect("a count")
            .get(0);
        assert_eq!(rows, 0, "nothing was written in either case");
    }

    // An error that is swallowed is found as well.
    let transaction = session.begin().await.expect("a transaction");
    transaction
        .execute("INSERT INTO t VALUES (1)", &[])
        .await
        .expect("a row");
    assert!(
        transaction
            .execute("INSERT INTO nowhere VALUES (1)", &[])
            .await
            .is_err()
    );
    assert!(guarded_commit(transaction).await.is_err());

    // And what went well is committed.
    let transaction = session.begin().await.expect("a transaction");
    transaction
        .execute("INSERT INTO t VALUES (2)", &[])
        .await
        .expect("a row");
    guarded_commit(transaction).await.expect("nothing is wrong");
    let rows: i64 = session
        .query_one("SELECT sum(i) FROM t", &[])
        .await
        .expect("a sum")
        .get(0);
    assert_eq!(rows, 2);
    session.give_back();
    database.drop().await;
}

#[tokio::test]
async fn a_connection_killed_before_the_commit_leaves_nothing_and_is_not_pooled() {
    let Some(database) = Database::create("killed connection").await else {
        return;
    };
    let postgres = database.start().await;
    let mut session = postgres.session().await.expect("a connection");
    session
        .batch_execute("CREATE TABLE t (i int)")
        .await
        .expect("a table");
    let pid: i32 = session
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .expect("a number")
        .get(0);
    let transaction = session.begin().await.expect("a transaction");
    transaction
        .execute("INSERT INTO t VALUES (1)", &[])
        .await
        .expect("a row");
    let other = postgres.session().await.expect("another connection");
    other
        .execute("SELECT pg_terminate_backend($1)", &[&pid])
        .await
        .expect("killed");
    let failed = guarded_commit(transaction)
        .await
        .expect_err("the connection is gone");
    assert!(
        matches!(&failed, CommitError::Refused(error) if Fault::of(error) == Fault::Transient),
        "{failed}"
    );
    drop(session);
    let rows: i64 = other
        .query_one("SELECT count(*) FROM t", &[])
        .await
        .expect("a count")
        .get(0);
    assert_eq!(rows, 0);
    other.give_back();

    // A session that is dropped in a transaction is closed: its half-done work never meets the next user.
    let mut session = postgres.session().await.expect("a connection");
    let pid: i32 = session
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .expect("a number")
        .get(0);
    let transaction = session.begin().await.expect("a transaction");
    transaction
        .execute("INSERT INTO t VALUES (1)", &[])
        .await
        .expect("a row");
    drop(transaction);
    drop(session);
    let next = postgres.session().await.expect("a connection");
    let next_pid: i32 = next
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .expect("a number")
        .get(0);
    assert_ne!(pid, next_pid);
    next.give_back();
    database.drop().await;
}

fn key() -> Key {
    Key {
        group: "projector".into(),
        log: LogId(uuid::Uuid::from_u128(7)),
        topic: "t".into(),
        partition: 3,
    }
}

async fn advance(
    postgres: &Postgres,
    expected: Option<u64>,
    next: u64,
    row: i32,
) -> Result<(), AdvanceError> {
    let mut session = postgres.session().await.expect("a connection");
    let transaction = session.begin().await?;
    let to = Offset {
        next,
        done: Some((next, 1)),
    };
    offsets::advance(&transaction, &key(), expected, to, "test").await?;
    transaction
        .execute("INSERT INTO t VALUES ($1)", &[&row])
        .await?;
    guarded_commit(transaction).await.expect("nothing is wrong");
    session.give_back();
    Ok(())
}

#[tokio::test]
async fn a_zombie_moves_no_offset_and_writes_no_row() {
    let Some(database) = Database::create("fencing").await else {
        return;
    };
    let postgres = database.start().await;
    let session = postgres.session().await.expect("a connection");
    session
        .batch_execute("CREATE TABLE t (i int)")
        .await
        .expect("a table");
    assert_eq!(
        offsets::load(&*session, &key()).await.expect("readable"),
        None
    );

    advance(&postgres, None, 10, 1).await.expect("the first");
    assert!(
        matches!(
            advance(&postgres, None, 10, 2).await,
            Err(AdvanceError::Moved)
        ),
        "a second beginning"
    );
    advance(&postgres, Some(10), 25, 3)
        .await
        .expect("in its turn");
    assert!(
        matches!(
            advance(&postgres, Some(10), 20, 4).await,
            Err(AdvanceError::Moved)
        ),
        "a zombie"
    );
    let there = offsets::load(&*session, &key()).await.expect("readable");
    assert_eq!(
        there,
        Some(Offset {
            next: 25,
            done: Some((25, 1))
        })
    );

    // Many at once, from the same place: exactly one gets through.
    let attempts = (0..8).map(|row| advance(&postgres, Some(25), 30, 100 + row));
    let outcomes = futures::future::join_all(attempts).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let rows: Vec<i32> = session
        .query("SELECT i FROM t ORDER BY i", &[])
        .await
        .expect("rows")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[..2], [1, 3]);
    session.give_back();
    database.drop().await;
}

#[tokio::test]
async fn services_that_start_together_make_the_schema_once() {
    let Some(database) = Database::create("migrations").await else {
        return;
    };
    let config = database.config();
    let starts = (0..4).map(|_| Postgres::start(&config, "test"));
    for outcome in futures::future::join_all(starts).await {
        outcome.expect("each finds the schema made");
    }
    let postgres = database.start().await;
    let session = postgres.session().await.expect("a connection");
    let missing: i64 = session
        .query_one(
            "SELECT count(*) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 \
             AND NOT a.attisdropped AND c.relname <> 'refinery_schema_history' \
             AND col_description(c.oid, a.attnum) IS NULL",
            &[],
        )
        .await
        .expect("a count")
        .get(0);
    assert_eq!(
        missing, 0,
        "every column is described: people read the schema in psql"
    );
    let readable: bool = session
        .query_one("SELECT has_table_privilege('forewarn_ro', 'anomalies', 'SELECT') AND NOT has_table_privilege('forewarn_ro', 'anomalies', 'INSERT')", &[])
        .await
        .expect("an answer")
        .get(0);
    assert!(readable, "the read-only role may look and nothing else");
    session.give_back();
    database.drop().await;
}

#[tokio::test]
async fn an_older_program_leaves_a_newer_schema_alone() {
    let Some(database) = Database::create("newer schema").await else {
        return;
    };
    let postgres = database.start().await;
    let session = postgres.session().await.expect("a connection");
    session
        .batch_execute(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
             VALUES (100000, 'of_the_future', '2030-01-01T00:00:00Z', '1')",
        )
        .await
        .expect("a migration of the future");
    session.give_back();
    database.start().await;
    database.drop().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_its_password() {
    let config = Config {
        url: Secret::new("postgres://forewarn:hunter2@127.0.0.1:1/forewarn"),
        startup_wait: Duration::ZERO,
        ..Config::default()
    };
    let error = Postgres::start(&config, "test")
        .await
        .expect_err("nobody listens on port 1");
    assert!(matches!(error, Error::Unreachable(_)));
    assert!(!format!("{error:?} {error}").contains("hunter2"));
    let config = Config {
        url: Secret::new("postgres://forewarn:hunter2@host:x/y"),
        ..Config::default()
    };
    assert_eq!(config.mistakes()[0].0, "url");
    assert_eq!(Config::default().mistakes(), []);
    let error = Postgres::open(&config, "test").expect_err("no port number");
    assert!(!format!("{error:?} {error}").contains("hunter2"), "{error}");
    // What is no address would be taken for `key=value` pairs, and repeated.
    for url in [
        "postgresql+asyncpg://u:hunter2@db/x?sslmode=require",
        "\"postgres://u:hunter2@h/x?sslmode=require\"",
        "password=hunter2 host=h sslmode",
    ] {
        let config = Config {
            url: Secret::new(url),
            ..Config::default()
        };
        let error = Postgres::open(&config, "test").expect_err("no address");
        let told = format!("{error:?} {error} {:?}", config.mistakes());
        assert!(!told.contains("hunter2"), "{told}");
    }
}
