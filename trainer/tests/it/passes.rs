//! Who is trained when, on what, and what is kept of it.

use std::fs;
use std::time::{Duration, SystemTime};

use forewarn_store::activations;
use forewarn_store::runs::RunState;
use forewarn_trainer::{Outcome, Summary};

use crate::world::World;

const JUDGES: &str = "SELECT count(*) FROM activations WHERE digest IS NOT NULL";

fn states(summary: &Summary) -> Vec<(&str, RunState)> {
    let state = |outcome: &Outcome| outcome.state;
    summary
        .trainings
        .iter()
        .map(|outcome| (outcome.resource.as_str(), state(outcome)))
        .collect()
}

#[tokio::test]
async fn a_new_resource_is_trained_once_and_again_when_it_lives_differently() {
    let Some(world) = World::new("training when a resource drifts").await else {
        return;
    };
    world.live("web-01", 2_400, 0.0).await;
    world.live("web-02", 2_400, 0.0).await;
    let first = world.trainer.pass(None).await.expect("a pass");
    let champions = [
        ("web-01", RunState::Champion),
        ("web-02", RunState::Champion),
    ];
    assert_eq!(states(&first), champions);
    assert_eq!(first.trainings[0].steps, 2_400);
    assert_eq!(world.number(JUDGES).await, 2);
    // What is activated is on the shelf, and sound.
    let digest = first.trainings[0].digest.as_deref().expect("a bundle");
    let bundle = world.shelf.bundle(digest).await.expect("sound");
    assert_eq!(bundle.manifest.scope, "default/web-01/host/1");

    // Nobody is new, none has drifted, no model is old.
    let second = world.trainer.pass(None).await.expect("a pass");
    assert_eq!(second, Summary::default());

    // The last ten minutes of one of them are unlike what its model was made of.
    world.live("web-02", 700, 40.0).await;
    let third = world.trainer.pass(None).await.expect("a pass");
    assert_eq!(third.trainings.len(), 1, "{third:?}");
    assert_eq!(third.trainings[0].resource, "web-02");
    world.end().await;
}

#[tokio::test]
async fn too_little_history_changes_nothing_that_judges() {
    let Some(world) = World::new("too little history").await else {
        return;
    };
    world.live("web-01", 400, 0.0).await;
    let summary = world.trainer.pass(None).await.expect("a pass");
    assert_eq!(states(&summary), [("web-01", RunState::Failed)]);
    let reason = summary.trainings[0].reason.as_deref().expect("a reason");
    assert!(reason.contains("trainer.least_steps"), "{reason}");
    assert_eq!(world.number(JUDGES).await, 0);
    let failed =
        "SELECT count(*) FROM model_runs WHERE state = 'failed' AND finished_at IS NOT NULL";
    assert_eq!(world.number(failed).await, 1);
    world.end().await;
}

#[tokio::test]
async fn what_was_flagged_is_not_trained_on() {
    let Some(world) = World::new("flagged spans").await else {
        return;
    };
    world.live("web-01", 3_000, 0.0).await;
    // Fifteen minutes ago something was wrong for a minute; five minutes around it are left out too.
    world
        .database
        .run(
            "INSERT INTO resource_minutes (tenant, resource, minute_at, max_score, scored_steps, anomalous_steps, learning_steps, other_steps) \
             SELECT 'default', 'web-01', date_trunc('minute', now() - interval '20 minutes'), 3, 60, 20, 0, 0",
        )
        .await;
    let summary = world.trainer.pass(None).await.expect("a pass");
    assert_eq!(states(&summary), [("web-01", RunState::Champion)]);
    let quarantined = summary.trainings[0].quarantined_steps;
    assert!((600..=800).contains(&quarantined), "{quarantined}");
    world.end().await;
}

#[tokio::test]
async fn models_that_nobody_needs_are_deleted_and_the_newest_are_kept() {
    let Some(world) = World::new("old models").await else {
        return;
    };
    let mut digests = Vec::new();
    for round in 0..7 {
        // Each is made of other values.
        world.live("web-01", 2_400, 0.01 * f64::from(round)).await;
        let order = crate::orders::order(Some(&["web-01"]));
        let made = world.trainer.pass(Some(&order)).await.expect("a pass");
        digests.extend(made.trainings[0].digest.clone());
    }
    assert_eq!(digests.len(), 7);
    let bundles = |world: &World| {
        let (shelf, digests) = (world.shelf.clone(), digests.clone());
        async move {
            let mut there = Vec::new();
            for digest in digests {
                there.push(shelf.bundle(&digest).await.is_ok());
            }
            there
        }
    };
    // All of it judged within what the log remembers.
    world.trainer.pass(None).await.expect("a pass");
    assert_eq!(bundles(&world).await, [true; 7]);

    // Half a month later all but the newest five and whoever judges may go; the first one was gone back to.
    age(&world).await;
    let session = world.postgres.session().await.expect("a connection");
    let scope = "default/web-01/host/1";
    activations::activate(&*session, scope, Some(&digests[0]), None, "rollback", None)
        .await
        .expect("activated");
    session.give_back();
    let foreign = world.folder.path().join("notes.txt");
    fs::write(&foreign, "kept beside").expect("written");
    world.trainer.pass(None).await.expect("a pass");
    assert_eq!(
        bundles(&world).await,
        [true, false, true, true, true, true, true]
    );
    assert!(foreign.exists());
    let shown = "SELECT count(*) FROM models";
    assert_eq!(world.number(shown).await, 6);
    world.end().await;
}

/// Everything happened half a month ago, but the resource is alive.
async fn age(world: &World) {
    world
        .database
        .run(
            "UPDATE activations SET from_log_time = from_log_time - interval '15 days'; \
             UPDATE model_runs SET started_at = started_at - interval '15 days'",
        )
        .await;
    let long_ago = SystemTime::now() - Duration::from_secs(15 * 86_400);
    for folder in fs::read_dir(world.folder.path()).expect("the shelf") {
        let folder = folder.expect("an entry").path();
        for blob in fs::read_dir(&folder).expect("a folder of blobs") {
            let blob = fs::File::options()
                .write(true)
                .open(blob.expect("an entry").path())
                .expect("ours");
            blob.set_modified(long_ago).expect("ours");
        }
    }
}
