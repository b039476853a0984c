//! Everything in one process, on the log and the metric store inside it: killed again and again with samples coming in, it starts by itself,
//! every acknowledged sample is there, and the stores equal the reference.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use forewarn_system_tests::probe::{Probe, eventually};
use forewarn_system_tests::sender::Senders;
use forewarn_system_tests::{STOP_LIMIT, Service, World, exactness, verdict};
use forewarn_testkit::generate::{Draw, Recording};
use forewarn_testkit::reference::Roots;

use crate::{one_world_at_a_time, say};

const PATIENCE: Duration = Duration::from_secs(120);
/// Between two batches of a host.
const PAUSE: Duration = Duration::from_millis(60);
/// Two ticks and some more.
const TICKS: Duration = Duration::from_millis(2_500);
/// Nothing more is written for so long: it has come to rest.
const REST: Duration = Duration::from_secs(4);
/// `FOREWARN_TEST_KILLS` has another number.
const KILLS: u32 = 12;
const STEPS_PER_KILL: u64 = 50;

#[test]
fn one_process_that_is_killed_again_and_again_loses_nothing_and_equals_the_reference() {
    let _turn = one_world_at_a_time();
    let Some(mut world) =
        World::new("one process under kill -9", exactness::SETTINGS).expect("a world")
    else {
        return;
    };
    if let Err(error) = run(&mut world) {
        panic!("{error:?}\n{}", world.tails());
    }
    world.check_clean().expect("nobody panicked");
    world.clean_up().expect("clean up");
}

fn run(world: &mut World) -> anyhow::Result<()> {
    let kills = std::env::var("FOREWARN_TEST_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(KILLS);
    let seed = exactness::fresh_seed();
    say(&format!("seed {seed}, folder {}", world.folder.display()));
    let mut draw = Draw::new(seed, "instants of the whole");
    let whole = world.add(Service::Whole)?;
    world.processes[whole].start()?;
    world.wait_ready(whole)?;

    let steps = 900.max(u64::from(kills) * STEPS_PER_KILL);
    let recording = exactness::recording(seed, steps);
    let ledger = world.folder.join("ledger");
    let senders = Senders::start(
        &world.runtime,
        &world.http,
        vec![world.url(whole)],
        &recording,
        &ledger,
        PAUSE,
    )?;
    let (mut busy, mut recoveries) = (0, Vec::new());
    for _ in 0..kills {
        std::thread::sleep(Duration::from_secs_f64(draw.uniform(0.3, 2.5)));
        busy += u32::from(senders.are_busy());
        let killed = Instant::now();
        ensure!(world.processes[whole].kill(), "it was not running");
        world.processes[whole].start()?;
        world.wait_ready(whole)?;
        recoveries.push(killed.elapsed());
    }
    recoveries.sort_unstable();
    say(&format!(
        "{busy} of {kills} kills with samples coming in; ready again: median {:.1?}, longest {:.1?}",
        recoveries[recoveries.len() / 2],
        recoveries[recoveries.len() - 1]
    ));
    ensure!(busy * 10 >= kills * 9, "the senders ran dry");
    // However short the pauses between kills were, each batch takes its turn.
    let turns = PAUSE * u32::try_from(steps).unwrap_or(u32::MAX);
    senders.finish(&world.runtime, PATIENCE + turns)?;
    judge(world, whole, &recording, &ledger, seed)
}

/// Ends the log, and compares log, ledger and points with the reference.
pub(crate) fn judge(
    world: &mut World,
    whole: usize,
    recording: &Recording,
    ledger: &Path,
    seed: u64,
) -> anyhow::Result<()> {
    // The log ends with ingestion, with a tick behind the last sample; the others go on to its end.
    std::thread::sleep(TICKS);
    world.processes[whole].stop(STOP_LIMIT)?;
    roles(world, whole, "stream-processor,predictor,alerter")?;
    come_to_rest(world)?;
    world.processes[whole].stop(STOP_LIMIT)?;

    let log = Arc::new(world.embedded_log()?);
    let probe = Probe::of(world, log)?;
    let found = verdict::at_rest(world, &probe, recording, ledger, PATIENCE)?;
    say(&found.to_string());
    ensure!(found.is_clean(), "seed {seed}:\n{found}");
    let pipeline = verdict::pipeline(world, &probe)?;
    let wanted = pipeline
        .run(Roots::of_log(probe.log())?)?
        .points(pipeline.sets());
    drop(probe);

    // What the recorder had not written when it was stopped, it writes now.
    let begun = Instant::now();
    let report = loop {
        roles(world, whole, "ingestion")?;
        std::thread::sleep(REST);
        world.processes[whole].stop(STOP_LIMIT)?;
        let report = verdict::embedded_metrics(world, wanted.clone())?;
        if report.is_clean() || begun.elapsed() > PATIENCE {
            break report;
        }
    };
    say(&report.to_string());
    ensure!(report.is_clean(), "seed {seed}:\n{report}");
    Ok(())
}

/// Starts it again with some of its roles.
fn roles(world: &mut World, at: usize, roles: &str) -> anyhow::Result<()> {
    world.processes[at].arguments = ["run", "--role", roles].map(str::to_owned).into();
    world.processes[at].start()
}

/// Waits until the ledger does not change any more.
fn come_to_rest(world: &mut World) -> anyhow::Result<()> {
    let postgres = world.postgres()?;
    let (mut last, mut since) = (String::new(), Instant::now());
    eventually("it comes to rest", PATIENCE, || {
        world.supervise()?;
        let now: String = world.runtime.block_on(async {
            let session = postgres.session().await?;
            let row = session
                .query_one(
                    "SELECT coalesce((SELECT string_agg(o::text, ' ' ORDER BY o::text) FROM consumer_offsets o), '') \
                         || coalesce((SELECT next_offsets::text FROM alerter_state), '')",
                    &[],
                )
                .await?;
            session.give_back();
            anyhow::Ok(row.get(0))
        })?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        Ok(!last.is_empty() && since.elapsed() >= REST)
    })
}
