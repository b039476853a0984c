//! Intervals on the real database: one active alerter, no transition twice, none lost, whatever dies in between.

use std::time::Duration;

use forewarn_alerter::ledger::{Commit, Lease, Ledger, LedgerError};
use forewarn_alerter::rows::{AlertRow, HistoryRow};
use forewarn_alerter::{Message, Pipeline, Receiver, Transition, rows};
use forewarn_store::postgres::Postgres;

use crate::support::{Database, Endpoint, change, machine, pipeline, rules, tick};

const PARTITIONS: u32 = 2;

fn ledger(postgres: &Postgres, holder: &str, term: Duration) -> Ledger {
    Ledger::new(
        postgres.clone(),
        holder.into(),
        term,
        rules().digest().into(),
    )
}

async fn receivers() -> Vec<Receiver> {
    let endpoint = Endpoint::start([]).await;
    vec![endpoint.config("hook", "").build().expect("it is sound")]
}

/// Records of both partitions in the order of their log time: 2 resources each, opening and ending all the time.
fn history(seconds: u64) -> Vec<Message> {
    let mut messages = Vec::new();
    for second in 0..seconds {
        for partition in 0..PARTITIONS {
            let at = 1_700_000_000_000 + second as i64 * 1000 + i64::from(partition);
            let resource = format!("web-{partition}{}", second % 2);
            let changes = second % 3 != 2;
            messages.push(if changes {
                change(partition, second, at, &resource, (second / 2) % 2 == 0)
            } else {
                tick(partition, second, at)
            });
        }
    }
    messages
}

fn expected(messages: &[Message]) -> Vec<Transition> {
    let mut pipeline = pipeline(PARTITIONS);
    for message in messages {
        pipeline.push(message.clone()).expect("it is one log");
    }
    pipeline.turn(usize::MAX);
    pipeline.take_interval().transitions
}

/// Feeds what comes next and writes it; `Err` when the term is over.
async fn step(
    ledger: &Ledger,
    lease: &Lease,
    pipeline: &mut Pipeline,
    messages: &[Message],
    receivers: &[Receiver],
) -> Result<Lease, LedgerError> {
    for message in messages {
        pipeline.push(message.clone()).expect("it is one log");
    }
    pipeline.turn(usize::MAX);
    let interval = pipeline.take_interval();
    let commit = Commit {
        lease,
        interval: &interval,
        next_offsets: pipeline
            .merge()
            .next_offsets()
            .iter()
            .map(|offset| *offset as i64)
            .collect(),
        checkpoint: pipeline.snapshot(),
        passed: pipeline.merge().passed(),
        is_behind: false,
        receivers,
    };
    ledger.commit(&commit).await
}

/// A pipeline as of the lease's checkpoint, and what it has to read next.
fn restored<'a>(lease: &Lease, messages: &'a [Message]) -> (Pipeline, Vec<&'a Message>) {
    let mut pipeline = pipeline(PARTITIONS);
    if !lease.checkpoint.is_empty() {
        pipeline
            .restore(&lease.checkpoint)
            .expect("it was written by this program");
    }
    let next = pipeline.merge().next_offsets();
    let rest = messages
        .iter()
        .filter(|message| message.offset >= next[message.partition as usize]);
    (pipeline, rest.collect())
}

async fn judge(database: &Database, expected: &[Transition]) {
    let stored = |sql: &'static str| database.lines(sql);
    let history: Vec<HistoryRow> = parse(
        &stored("SELECT (to_jsonb(h) - 'published')::text FROM alert_history h ORDER BY ordinal")
            .await,
    );
    assert_eq!(
        history,
        expected.iter().map(HistoryRow::from).collect::<Vec<_>>()
    );
    let alerts: Vec<AlertRow> =
        parse(&stored("SELECT row_to_json(a)::text FROM alerts a ORDER BY alert_id").await);
    assert_eq!(
        alerts,
        rows::alerts(expected).into_values().collect::<Vec<_>>()
    );
    let told: Vec<String> = expected
        .iter()
        .filter(|transition| transition.notify)
        .map(|transition| format!("{} {}", transition.alert_id, transition.sequence))
        .collect();
    let outbox = "SELECT alert_id || ' ' || sequence FROM deliveries JOIN alert_history USING (alert_id, sequence) ORDER BY ordinal";
    assert_eq!(stored(outbox).await, told);
}

fn parse<T: serde::de::DeserializeOwned>(lines: &[String]) -> Vec<T> {
    lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("it is such a row"))
        .collect()
}

#[tokio::test]
async fn rows_are_functions_of_the_transitions() {
    let Some(database) = Database::create("the alerter's rows").await else {
        return;
    };
    let messages = history(40);
    let ledger = ledger(&database.postgres, "a", Duration::from_secs(60));
    let receivers = receivers().await;
    let mut lease = ledger
        .acquire()
        .await
        .expect("the server answers")
        .expect("nobody has it");
    let mut pipeline = pipeline(PARTITIONS);
    for part in messages.chunks(7) {
        lease = step(&ledger, &lease, &mut pipeline, part, &receivers)
            .await
            .expect("it is written");
    }
    let mut all = expected(&messages);
    // The last moments wait for the other partition.
    all.truncate(
        database
            .lines("SELECT ordinal::text FROM alert_history")
            .await
            .len(),
    );
    assert!(all.len() > 20, "{}", all.len());
    judge(&database, &all).await;
    let by_severity = database
        .lines("SELECT severity || ' ' || COUNT(*) FROM alerts GROUP BY severity")
        .await;
    assert_eq!(by_severity.len(), 1);
    database.drop().await;
}

#[tokio::test]
async fn an_alerter_that_lost_its_lease_changes_nothing() {
    let Some(database) = Database::create("fencing of alerters").await else {
        return;
    };
    let messages = history(20);
    let receivers = receivers().await;
    let (first, second) = (
        ledger(&database.postgres, "first", Duration::from_millis(300)),
        ledger(&database.postgres, "second", Duration::from_secs(60)),
    );
    let lease = first
        .acquire()
        .await
        .expect("the server answers")
        .expect("nobody has it");
    let mut zombie = pipeline(PARTITIONS);
    let lease = step(&first, &lease, &mut zombie, &messages[..10], &receivers)
        .await
        .expect("it is written");
    assert_eq!(
        second.acquire().await.expect("the server answers"),
        None,
        "the lease has not run out"
    );

    // The first one falls asleep; the second takes over when the lease has run out.
    let mut taken = None;
    while taken.is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        taken = second.acquire().await.expect("the server answers");
    }
    let taken = taken.expect("it was just taken");
    assert_eq!(taken.epoch, lease.epoch + 1);
    let before = database
        .lines("SELECT row_to_json(h)::text FROM alert_history h")
        .await;
    let outcome = step(&first, &lease, &mut zombie, &messages[10..], &receivers).await;
    assert!(matches!(outcome, Err(LedgerError::Fenced)), "{outcome:?}");
    assert!(matches!(
        first.renew(&lease).await,
        Err(LedgerError::Fenced)
    ));
    assert_eq!(
        database
            .lines("SELECT row_to_json(h)::text FROM alert_history h")
            .await,
        before
    );

    let (mut pipeline, rest) = restored(&taken, &messages);
    let rest: Vec<Message> = rest.into_iter().cloned().collect();
    let lease = step(&second, &taken, &mut pipeline, &rest, &receivers)
        .await
        .expect("it is written");
    let mut all = expected(&messages);
    all.truncate(
        database
            .lines("SELECT ordinal::text FROM alert_history")
            .await
            .len(),
    );
    judge(&database, &all).await;

    // The same interval again, as after an unknown commit: the offsets are no longer there.
    let outcome = step(&second, &taken, &mut pipeline, &[], &receivers).await;
    assert!(matches!(outcome, Err(LedgerError::Fenced)), "{outcome:?}");
    second.release(&lease).await.expect("the server answers");
    assert!(
        first.acquire().await.expect("the server answers").is_some(),
        "a released lease is free at once"
    );
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_connections_neither_repeat_nor_lose_anything() {
    let Some(database) = Database::create("killed connections of the alerter").await else {
        return;
    };
    let messages = history(300);
    let receivers = receivers().await;
    let all = expected(&messages);
    let ledger = ledger(&database.postgres, "a", Duration::from_secs(60));

    // Somebody kills a connection of this database every few milliseconds.
    let (killer, stop) = (
        database.postgres.clone(),
        std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)),
    );
    let stopped = std::sync::Arc::clone(&stop);
    let killing = tokio::spawn(async move {
        let mut kills = 0_i64;
        let mut pause = 3;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            pause = (pause * 7 + 3) % 23;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let Ok(session) = killer.session().await else {
                continue;
            };
            let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'";
            if let Ok(row) = session.query_one(sql, &[]).await {
                kills += row.get::<_, i64>(0);
                session.give_back();
            }
        }
        kills
    });

    let mut terms = 0;
    let mut written = 0;
    while written < all.len() - 4 {
        terms += 1;
        assert!(terms < 5_000, "it makes no progress");
        let Ok(Some(mut lease)) = ledger.acquire().await else {
            continue;
        };
        let (mut pipeline, rest) = restored(&lease, &messages);
        let rest: Vec<Message> = rest.into_iter().cloned().collect();
        for part in rest.chunks(3) {
            match step(&ledger, &lease, &mut pipeline, part, &receivers).await {
                Ok(next) => lease = next,
                Err(error) => {
                    assert!(!error.is_refusal(), "{error}");
                    break;
                }
            }
        }
        if let Ok(session) = database.postgres.session().await
            && let Ok(row) = session
                .query_one("SELECT count(*) FROM alert_history", &[])
                .await
        {
            written = usize::try_from(row.get::<_, i64>(0)).expect("a count");
            session.give_back();
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let kills = killing.await.expect("it does not panic");
    assert!(kills > 3, "only {kills} connections were killed at work");
    let (stored, machine) = (
        database
            .lines("SELECT ordinal::text FROM alert_history")
            .await
            .len(),
        machine(),
    );
    assert!(
        machine.cooldown.is_zero() && stored >= all.len() - 4,
        "{stored} of {}",
        all.len()
    );
    judge(&database, &all[..stored]).await;
    database.drop().await;
}
