//! The outbox on the real database, with a real HTTP receiver: at least once, in order, and nobody waits for a neighbour.

use std::sync::Arc;
use std::time::Duration;

use forewarn_alerter::ledger::{Commit, Lease, Ledger};
use forewarn_alerter::outbox::{Outbox, Patience, deliver};
use forewarn_alerter::{Pipeline, Receiver};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::support::{Answer, Database, Endpoint, change, pipeline, rules, wait};

/// Pauses short enough for tests.
fn patience() -> Patience {
    Patience {
        base: Duration::from_millis(20),
        cap: Duration::from_millis(100),
        ..Patience::default()
    }
}

/// One alert after the other, written as the alerter writes them.
struct Alerts {
    ledger: Ledger,
    lease: Lease,
    pipeline: Pipeline,
    offset: u64,
}

impl Alerts {
    async fn new(database: &Database) -> Self {
        let ledger = Ledger::new(
            database.postgres.clone(),
            "test".into(),
            Duration::from_secs(600),
            rules().digest().into(),
        );
        let lease = ledger
            .acquire()
            .await
            .expect("the server answers")
            .expect("nobody has it");
        Self {
            ledger,
            lease,
            pipeline: pipeline(1),
            offset: 0,
        }
    }

    async fn change(
        &mut self,
        resource: &str,
        holds: bool,
        is_behind: bool,
        receivers: &[Receiver],
    ) {
        let at = 1_700_000_000_000 + self.offset as i64 * 1000;
        self.pipeline
            .push(change(0, self.offset, at, resource, holds))
            .expect("it is one log");
        self.offset += 1;
        assert_eq!(self.pipeline.turn(10), 1);
        let interval = self.pipeline.take_interval();
        let commit = Commit {
            lease: &self.lease,
            interval: &interval,
            next_offsets: vec![self.offset as i64],
            checkpoint: self.pipeline.snapshot(),
            passed: self.pipeline.merge().passed(),
            is_behind,
            receivers,
        };
        self.lease = self.ledger.commit(&commit).await.expect("it is written");
    }
}

/// A running worker.
struct Worker {
    wake: Arc<Notify>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn start(database: &Database, receiver: &Receiver, patience: Patience) -> Worker {
    let (stop, stopped) = oneshot::channel();
    let wake = Arc::new(Notify::new());
    let outbox = Outbox::new(database.postgres.clone(), patience);
    let task = tokio::spawn(deliver(
        outbox,
        receiver.clone(),
        Arc::clone(&wake),
        || (),
        async {
            let _ = stopped.await;
        },
    ));
    Worker { wake, stop, task }
}

impl Worker {
    async fn end(self) {
        let _ = self.stop.send(());
        self.task.await.expect("it does not panic");
    }
}

async fn states(database: &Database) -> Vec<String> {
    database
        .lines(
            "SELECT a.resource || ' ' || d.receiver || '#' || d.sequence || ' ' || d.state || ' ' || d.attempts \
             FROM deliveries d JOIN alerts a USING (alert_id) ORDER BY a.began_at, d.receiver, d.sequence",
        )
        .await
}

async fn wait_settled(database: &Database) {
    let open = "SELECT delivery_id::text FROM deliveries WHERE state IN ('pending', 'sending')";
    wait("deliveries to be settled", async || {
        database.lines(open).await.is_empty()
    })
    .await;
}

/// Resource, status and delivery id of what came.
fn told(endpoint: &Endpoint) -> Vec<(String, String, String)> {
    let text = |value: &serde_json::Value| value.as_str().expect("it is text").to_owned();
    let one = |request: &crate::support::Request| {
        let body = request.json();
        assert_eq!(
            text(&body["delivery_id"]),
            request.header("idempotency-key")
        );
        (
            text(&body["alert"]["resource"]),
            text(&body["status"]),
            text(&body["delivery_id"]),
        )
    };
    endpoint.requests().iter().map(one).collect()
}

#[tokio::test]
async fn what_fails_is_tried_again_under_the_same_id() {
    let Some(database) = Database::create("retries of the outbox").await else {
        return;
    };
    let endpoint = Endpoint::start([Answer::status(500), Answer::status(503)]).await;
    let receiver = endpoint.config("hook", "s").build().expect("it is sound");
    let mut alerts = Alerts::new(&database).await;
    alerts
        .change("web-01", true, false, std::slice::from_ref(&receiver))
        .await;
    let worker = start(&database, &receiver, patience());
    wait_settled(&database).await;
    let told = told(&endpoint);
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    assert_eq!(states(&database).await, ["web-01 hook#1 delivered 3"]);
    let attempts = "SELECT attempt || ' ' || outcome FROM delivery_attempts ORDER BY attempt";
    assert_eq!(
        database.lines(attempts).await,
        ["1 transient", "2 transient", "3 delivered"]
    );
    worker.end().await;
    database.drop().await;
}

#[tokio::test]
async fn retry_after_is_honoured_and_a_refusal_is_final() {
    let Some(database) = Database::create("answers to the outbox").await else {
        return;
    };
    let endpoint =
        Endpoint::start([Answer(429, Some(3), Duration::ZERO), Answer::status(400)]).await;
    let receiver = endpoint.config("hook", "s").build().expect("it is sound");
    let mut alerts = Alerts::new(&database).await;
    alerts
        .change("web-01", true, false, std::slice::from_ref(&receiver))
        .await;
    let worker = start(&database, &receiver, patience());
    wait("the first answer", async || {
        states(&database).await == ["web-01 hook#1 pending 1"]
    })
    .await;
    let wanted = "SELECT (due_at - finished_at)::text FROM deliveries JOIN delivery_attempts USING (delivery_id)";
    let pause = &database.lines(wanted).await[0];
    assert!(
        pause.starts_with("00:00:03") || pause.starts_with("00:00:02.9"),
        "{pause}"
    );
    wait_settled(&database).await;
    assert_eq!(states(&database).await, ["web-01 hook#1 failed 2"]);
    assert_eq!(
        database.lines("SELECT last_error FROM deliveries").await,
        ["answered 400"]
    );
    worker.end().await;
    database.drop().await;
}

#[tokio::test]
async fn the_newest_supersedes_what_was_not_delivered() {
    let Some(database) = Database::create("order of the outbox").await else {
        return;
    };
    let endpoint = Endpoint::start([]).await;
    let receiver = endpoint.config("hook", "s").build().expect("it is sound");
    let mut alerts = Alerts::new(&database).await;
    // The receiver was away while all this happened.
    for (resource, holds) in [
        ("web-01", true),
        ("web-02", true),
        ("web-01", false),
        ("web-03", true),
        ("web-03", false),
    ] {
        alerts
            .change(resource, holds, false, std::slice::from_ref(&receiver))
            .await;
    }
    let worker = start(&database, &receiver, patience());
    wait_settled(&database).await;
    let mut told: Vec<_> = told(&endpoint)
        .into_iter()
        .map(|(resource, status, _)| format!("{resource} {status}"))
        .collect();
    told.sort();
    assert_eq!(
        told,
        ["web-01 resolved", "web-02 firing", "web-03 resolved"]
    );
    assert_eq!(
        states(&database).await,
        [
            "web-01 hook#1 superseded 0",
            "web-01 hook#2 delivered 1",
            "web-02 hook#1 delivered 1",
            "web-03 hook#1 superseded 0",
            "web-03 hook#2 delivered 1",
        ]
    );
    worker.end().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trigger_comes_after_its_end_while_attempts_are_slow() {
    let Some(database) = Database::create("slow attempts of the outbox").await else {
        return;
    };
    // The first attempt takes long and then fails; meanwhile the alert ends.
    let endpoint = Endpoint::start([Answer(500, None, Duration::from_millis(700))]).await;
    let receiver = endpoint.config("hook", "s").build().expect("it is sound");
    let mut alerts = Alerts::new(&database).await;
    alerts
        .change("web-01", true, false, std::slice::from_ref(&receiver))
        .await;
    // Two processes deliver to the same receiver.
    let workers = [
        start(&database, &receiver, patience()),
        start(&database, &receiver, patience()),
    ];
    endpoint.wait_for(1).await;
    alerts
        .change("web-01", false, false, std::slice::from_ref(&receiver))
        .await;
    workers.iter().for_each(|worker| worker.wake.notify_one());
    wait_settled(&database).await;
    let told: Vec<_> = told(&endpoint)
        .into_iter()
        .map(|(_, status, _)| status)
        .collect();
    assert_eq!(told, ["firing", "resolved"]);
    assert_eq!(
        states(&database).await,
        ["web-01 hook#1 superseded 1", "web-01 hook#2 delivered 1"]
    );
    for worker in workers {
        worker.end().await;
    }
    database.drop().await;
}

#[tokio::test]
async fn an_attempt_that_died_is_made_again_when_its_claim_runs_out() {
    let Some(database) = Database::create("unknown outcomes of the outbox").await else {
        return;
    };
    let endpoint = Endpoint::start([]).await;
    let receiver = endpoint.config("hook", "s").build().expect("it is sound");
    let mut alerts = Alerts::new(&database).await;
    alerts
        .change("web-01", true, false, std::slice::from_ref(&receiver))
        .await;
    let outbox = Outbox::new(
        database.postgres.clone(),
        Patience {
            grace: Duration::ZERO,
            ..patience()
        },
    );
    // A process claims it, and dies between the attempt's row and the request.
    let claim = async || {
        outbox
            .claim("hook", Duration::from_millis(500))
            .await
            .expect("the server answers")
    };
    let died = claim().await.expect("it is due");
    assert!(claim().await.is_none(), "it is on its way");
    let worker = start(&database, &receiver, patience());
    wait_settled(&database).await;
    assert_eq!(states(&database).await, ["web-01 hook#1 delivered 2"]);
    let attempts = "SELECT attempt || ' ' || COALESCE(outcome, 'unknown') FROM delivery_attempts ORDER BY attempt";
    assert_eq!(database.lines(attempts).await, ["1 unknown", "2 delivered"]);
    // The dead one comes back and reports a failure: too late to change anything.
    let failure = forewarn_alerter::notifiers::NotifyError::Permanent {
        reason: "late".into(),
    };
    outbox
        .settle(&died, &Err(failure))
        .await
        .expect("the server answers");
    assert_eq!(states(&database).await, ["web-01 hook#1 delivered 2"]);
    worker.end().await;
    database.drop().await;
}

#[tokio::test]
async fn a_slow_receiver_does_not_delay_another() {
    let Some(database) = Database::create("slow receivers").await else {
        return;
    };
    let slow = Endpoint::start([Answer(200, None, Duration::from_millis(1500)); 4]).await;
    let fast = Endpoint::start([]).await;
    let receivers = vec![
        slow.config("slow", "s").build().expect("it is sound"),
        fast.config("fast", "s").build().expect("it is sound"),
    ];
    let mut alerts = Alerts::new(&database).await;
    for number in 0..4 {
        alerts
            .change(&format!("web-{number}"), true, false, &receivers)
            .await;
    }
    let workers: Vec<_> = receivers
        .iter()
        .map(|receiver| start(&database, receiver, patience()))
        .collect();
    fast.wait_for(4).await;
    let slow_delivered =
        "SELECT delivery_id::text FROM deliveries WHERE receiver = 'slow' AND state = 'delivered'";
    assert!(database.lines(slow_delivered).await.is_empty());
    wait_settled(&database).await;
    assert_eq!(database.lines(slow_delivered).await.len(), 4);
    for worker in workers {
        worker.end().await;
    }
    database.drop().await;
}

#[tokio::test]
async fn far_behind_nothing_is_told_and_afterwards_only_the_last_state() {
    let Some(database) = Database::create("catching up").await else {
        return;
    };
    let endpoint = Endpoint::start([]).await;
    let receiver = endpoint.config("hook", "s").build().expect("it is sound");
    let one = std::slice::from_ref(&receiver);
    let mut alerts = Alerts::new(&database).await;
    let outbox = Outbox::new(database.postgres.clone(), patience());
    alerts.change("web-01", true, true, one).await;
    alerts.change("web-01", false, true, one).await;
    alerts.change("web-02", true, true, one).await;
    assert!(
        outbox
            .claim("hook", Duration::from_secs(1))
            .await
            .expect("the server answers")
            .is_none()
    );
    alerts.change("web-03", true, false, one).await;
    let worker = start(&database, &receiver, patience());
    wait_settled(&database).await;
    let mut told: Vec<_> = told(&endpoint)
        .into_iter()
        .map(|(resource, status, _)| format!("{resource} {status}"))
        .collect();
    told.sort();
    assert_eq!(told, ["web-01 resolved", "web-02 firing", "web-03 firing"]);
    worker.end().await;
    database.drop().await;
}

#[tokio::test]
async fn what_waits_for_a_removed_receiver_is_given_up() {
    let Some(database) = Database::create("removed receivers").await else {
        return;
    };
    let endpoint = Endpoint::start([]).await;
    let receiver = endpoint.config("old", "s").build().expect("it is sound");
    let mut alerts = Alerts::new(&database).await;
    alerts
        .change("web-01", true, false, std::slice::from_ref(&receiver))
        .await;
    let outbox = Outbox::new(database.postgres.clone(), patience());
    assert_eq!(
        outbox
            .drop_strangers(&["new"])
            .await
            .expect("the server answers"),
        1
    );
    assert_eq!(states(&database).await, ["web-01 old#1 failed 0"]);
    database.drop().await;
}

#[tokio::test]
async fn an_older_row_that_slipped_through_is_superseded_when_the_newest_is_claimed() {
    let Some(database) = Database::create("races of the outbox").await else {
        return;
    };
    let endpoint = Endpoint::start([]).await;
    let receiver = endpoint.config("hook", "s").build().expect("it is sound");
    let one = std::slice::from_ref(&receiver);
    let mut alerts = Alerts::new(&database).await;
    alerts.change("web-01", true, false, one).await;
    alerts.change("web-01", false, false, one).await;
    // As if the first attempt had been settled as transient while the second's interval was not committed yet.
    database
        .lines("UPDATE deliveries SET state = 'pending' WHERE sequence = 1 RETURNING state")
        .await;
    let worker = start(&database, &receiver, patience());
    wait_settled(&database).await;
    assert_eq!(
        states(&database).await,
        ["web-01 hook#1 superseded 0", "web-01 hook#2 delivered 1"]
    );
    worker.end().await;
    database.drop().await;
}
