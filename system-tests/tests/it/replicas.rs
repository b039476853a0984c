//! Replicas share the work and change nothing: two of every scalable service, partitions that move between them, and
//! the same records, rows and points as from one thread.

use std::time::Duration;

use forewarn_system_tests::probe::{Probe, eventually, lag};
use forewarn_system_tests::sender::Senders;
use forewarn_system_tests::{STOP_LIMIT, Service, World, exactness, verdict};

use crate::{one_world_at_a_time, say};

/// A killed member's partitions are given away when its session has run out (10 s), on a busy machine somewhat later.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(150);
/// The services whose partitions move.
const MOVED: [Service; 2] = [Service::StreamProcessor, Service::Predictor];

#[test]
fn partitions_move_between_replicas_and_every_store_equals_the_reference() {
    let _turn = one_world_at_a_time();
    let what = "replicas that share partitions";
    let Some(mut world) = World::new(what, exactness::SETTINGS).expect("a world") else {
        return;
    };
    if let Err(error) = run(&mut world) {
        panic!("{error:?}\n{}", world.tails());
    }
    world.check_clean().expect("nobody panicked");
    world.clean_up().expect("clean up");
}

fn run(world: &mut World) -> anyhow::Result<()> {
    let seed = exactness::fresh_seed();
    say(&format!("seed {seed}, folder {}", world.folder.display()));
    world.start_all()?;
    let other_ingestion = world.add(Service::Ingestion)?;
    world.processes[other_ingestion].start()?;
    world.wait_ready(other_ingestion)?;

    // Half of the hosts begin with each replica of ingestion, and repeat to the other.
    let recording = exactness::recording(seed, 800);
    let urls = vec![
        world.url(world.place_of(Service::Ingestion)),
        world.url(other_ingestion),
    ];
    let ledger = world.folder.join("ledger");
    let senders = Senders::start(
        &world.runtime,
        &world.http,
        urls,
        &recording,
        &ledger,
        PAUSE,
    )?;
    let probe = Probe::new(world)?;

    let first: Vec<usize> = MOVED
        .iter()
        .map(|service| world.place_of(*service))
        .collect();
    for at in &first {
        works(world, *at)?;
    }
    // Move 1: a second replica joins and gets a share.
    let mut second = Vec::new();
    for service in MOVED {
        let at = world.add(service)?;
        world.processes[at].start()?;
        second.push(at);
    }
    for at in &second {
        works(world, *at)?;
    }
    // Move 2: the first ones die, and everything is the second ones'.
    for at in &first {
        anyhow::ensure!(
            world.processes[*at].kill(),
            "{} was not running",
            world.processes[*at].name()
        );
    }
    all_goes_on(&probe)?;
    // Move 3: they come back and get a share again. A new process counts from zero, so any work is work since then.
    for at in &first {
        world.processes[*at].start()?;
    }
    for at in &first {
        works(world, *at)?;
    }
    // Move 4: the second ones are asked to stop, and hand over.
    for at in &second {
        world.processes[*at].stop(STOP_LIMIT)?;
    }
    all_goes_on(&probe)?;
    for at in second {
        world.processes[at].start()?;
        works(world, at)?;
    }
    anyhow::ensure!(
        senders.are_busy(),
        "the senders were done before the last move: nothing was in flight"
    );
    senders.finish(&world.runtime, PATIENCE)?;
    let verdict = verdict::reach(world, &probe, &recording, &ledger, PATIENCE)?;
    say(&format!(
        "5 moves of two services, every replica worked\n{verdict}"
    ));
    anyhow::ensure!(verdict.is_clean(), "seed {seed}:\n{verdict}");
    anyhow::ensure!(
        verdict.content.anomalies > 0 && verdict.content.transitions > 0,
        "nothing happened:\n{verdict}"
    );
    Ok(())
}

/// Waits until a replica has worked on records since it was started.
fn works(world: &mut World, at: usize) -> anyhow::Result<()> {
    eventually(
        &format!("{} works", world.processes[at].name()),
        PATIENCE,
        || {
            world.supervise()?;
            Ok(world.metric(at, "forewarn_stage_records_total")? > 0.0)
        },
    )
}

/// Waits until every partition has come past where the log is now.
fn all_goes_on(probe: &Probe) -> anyhow::Result<()> {
    let marks = probe.roots()?;
    eventually("every partition goes on", PATIENCE, || {
        Ok(lag(&marks, &probe.processed()?) == 0 && lag(&marks, &probe.judged()?) == 0)
    })
}
