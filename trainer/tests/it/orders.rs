//! Orders come once, are served in turn, and end with a word.

use forewarn_store::orders::{self, Order, OrderEnd};
use forewarn_store::runs::RunState;
use forewarn_trainer::PassError;
use uuid::Uuid;

use crate::world::World;

pub(crate) fn order(resources: Option<&[&str]>) -> Order {
    Order {
        command: Uuid::new_v4(),
        tenant: "default".into(),
        actor: "test".into(),
        resources: resources.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        since: None,
        attempts: 0,
    }
}

#[tokio::test]
async fn an_order_that_comes_twice_is_one_and_they_are_served_in_turn() {
    let Some(world) = World::new("orders for trainings").await else {
        return;
    };
    let session = world.postgres.session().await.expect("a connection");
    let (first, second) = (order(Some(&["web-01"])), order(None));
    for order in [&first, &second, &first] {
        assert!(orders::put(&*session, order).await.expect("written"));
    }
    assert_eq!(
        orders::next(&*session).await.expect("read"),
        Some(first.clone())
    );
    orders::attempt(&*session, first.command, 1)
        .await
        .expect("counted");
    let next = orders::next(&*session)
        .await
        .expect("read")
        .expect("it waits");
    assert_eq!((next.command, next.attempts), (first.command, 1));
    orders::end(&*session, first.command, OrderEnd::Refused, Some("why"))
        .await
        .expect("ended");
    // What has ended stays as it is, and is not taken anew.
    assert!(orders::put(&*session, &first).await.is_ok());
    assert_eq!(orders::next(&*session).await.expect("read"), Some(second));
    session.give_back();
    world.end().await;
}

#[tokio::test]
async fn whoever_orders_too_much_is_refused_with_a_row_that_says_so() {
    let Some(world) = World::new("too many orders").await else {
        return;
    };
    let sql = format!(
        "INSERT INTO training_orders (command_id, tenant, actor, state) \
         SELECT gen_random_uuid(), 'default', 'test', 'waiting' FROM generate_series(1, {})",
        orders::WAITING_MAX
    );
    world.database.run(&sql).await;
    let session = world.postgres.session().await.expect("a connection");
    assert!(!orders::put(&*session, &order(None)).await.expect("written"));
    session.give_back();
    let refused =
        "SELECT count(*) FROM training_orders WHERE state = 'refused' AND reason LIKE 'too many%'";
    assert_eq!(world.number(refused).await, 1);
    world.end().await;
}

#[tokio::test]
async fn an_order_trains_whom_it_names_due_or_not_and_its_runs_bear_it() {
    let Some(world) = World::new("an order").await else {
        return;
    };
    world.live("web-01", 2_400, 0.0).await;
    world.live("web-02", 2_400, 0.0).await;
    for _ in 0..2 {
        let order = order(Some(&["web-02"]));
        let made = world.trainer.pass(Some(&order)).await.expect("a pass");
        assert_eq!(made.trainings.len(), 1);
        assert_eq!(made.trainings[0].state, RunState::Champion, "{made:?}");
        let borne = format!(
            "SELECT count(*) FROM model_runs WHERE resource = 'web-02' AND command_id = '{}'",
            order.command
        );
        assert_eq!(world.number(&borne).await, 1);
    }
    let strange = world
        .trainer
        .pass(Some(&order(Some(&["web-01", "nobody"]))))
        .await
        .expect_err("nobody bears that name");
    assert!(
        matches!(&strange, PassError::Unknown(names) if names == &["nobody"]),
        "{strange}"
    );
    // Somebody else's resources are not trained under this name.
    let mut foreign = order(Some(&["web-01"]));
    foreign.tenant = "another".into();
    assert!(matches!(
        world.trainer.pass(Some(&foreign)).await,
        Err(PassError::Unknown(_))
    ));
    world.end().await;
}

#[tokio::test]
async fn what_is_due_gives_way_to_an_order() {
    let Some(world) = World::new("giving way").await else {
        return;
    };
    world.live("web-01", 2_400, 0.0).await;
    let session = world.postgres.session().await.expect("a connection");
    let waiting = order(None);
    orders::put(&*session, &waiting).await.expect("written");
    let hourly = world.trainer.pass(None).await.expect("a pass");
    assert!(hourly.gave_way && hourly.trainings.is_empty() && hourly.left == 1);
    let ordered = world.trainer.pass(Some(&waiting)).await.expect("a pass");
    assert!(!ordered.gave_way && ordered.trainings.len() == 1);
    session.give_back();
    world.end().await;
}

#[tokio::test]
async fn an_order_may_look_further_back_than_anybody_was_judged() {
    let Some(world) = World::new("history from elsewhere").await else {
        return;
    };
    world.live("web-01", 2_400, 0.0).await;
    // Of all this the service has judged the last minutes only.
    let recently = "UPDATE resources SET first_step_at = now() - interval '10 minutes'";
    world.database.run(recently).await;
    let mut order = order(Some(&["web-01"]));
    let short = world.trainer.pass(Some(&order)).await.expect("a pass");
    assert_eq!(short.trainings[0].state, RunState::Failed);
    let since = "SELECT (extract(epoch FROM now() - interval '1 hour') * 1000)::bigint";
    order.command = Uuid::new_v4();
    order.since = Some(world.number(since).await);
    let session = world.postgres.session().await.expect("a connection");
    assert!(orders::put(&*session, &order).await.expect("written"));
    let next = orders::next(&*session).await.expect("read");
    assert_eq!(next.as_ref(), Some(&order));
    session.give_back();
    let long = world.trainer.pass(Some(&order)).await.expect("a pass");
    assert_eq!(long.trainings[0].steps, 2_400, "{long:?}");
    world.end().await;
}
