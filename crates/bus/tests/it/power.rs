//! The embedded log after a power failure: a writer is recorded, its folder is built again as a disk may hold it at many
//! places in the order of its writes, and each has to open by itself with everything that was acknowledged.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use forewarn_bus::embedded::{Config, EmbeddedLog};
use forewarn_bus::{Log, Place, Subscription};
use forewarn_messages::{Body as _, SYSTEM_METRICS};
use forewarn_testkit::generate::Draw;
use forewarn_testkit::power::{self, Recording, Unsynced};
use futures::executor::block_on;

use crate::toy::batch;

const FOLDER: &str = "FOREWARN_BUS_TEST_POWER";
/// `FOREWARN_TEST_CUTS` has another number.
const CUTS: u64 = 40;
const PARTITIONS: u32 = 2;
/// What is under way at once.
const ROUND: u64 = 7;
/// Enough for tables to be made, and journals to be sealed, beside what goes into the journal.
const ROUNDS: u64 = 150;

fn config(root: &Path) -> Config {
    Config {
        // Neither folder is there at the beginning.
        path: root.join("data/log"),
        partitions: PARTITIONS,
        // Where the images lie there may be little.
        free_bytes_min: 0,
        ..Config::default()
    }
}

fn place(partition: u32) -> Place {
    Place {
        topic: &SYSTEM_METRICS,
        partition,
    }
}

/// What the `n`-th record says: no two alike, and hardly compressible. Some are long, so that a write has many sectors.
fn body(n: u64) -> Vec<u8> {
    let length = if n.is_multiple_of(3) {
        60_000
    } else {
        100 + n % 700
    };
    let mut draw = Draw::new(n, "body");
    let mut body = n.to_be_bytes().to_vec();
    body.extend((0..length / 8).flat_map(|_| draw.seed().to_be_bytes()));
    body
}

#[test]
#[ignore = "a role for another test, which starts it in a process of its own"]
fn write_and_tell() {
    let Ok(root) = std::env::var(FOLDER) else {
        return;
    };
    let log = EmbeddedLog::open(&config(Path::new(&root))).unwrap();
    let appender = log.appender().unwrap();
    let mut member = log
        .subscribe(Subscription {
            group: "g".into(),
            instance: "a".into(),
            topics: vec![&SYSTEM_METRICS],
        })
        .unwrap();
    let begun: u64 = (0..PARTITIONS)
        .map(|p| log.bounds(place(p)).unwrap().end)
        .sum();
    for round in 0..ROUNDS {
        let receipts: Vec<_> = (0..ROUND)
            .map(|i| {
                let n = begun + round * ROUND + i;
                let mut envelope = batch("host", "m", &[1.0]).seal(None, None);
                envelope.body = body(n);
                let partition = Some(n as u32 % PARTITIONS);
                let receipt = appender.append(&SYSTEM_METRICS, partition, None, envelope);
                (n, receipt.unwrap())
            })
            .collect();
        for (n, receipt) in receipts {
            let at = block_on(receipt).unwrap();
            let told = format!("told {} {} {n}\n", at.partition, at.offset);
            std::io::stderr().write_all(told.as_bytes()).unwrap();
        }
        // Not synced, and in the same journal.
        member.commit(place(0), round).unwrap();
    }
}

/// Records a writer that begins with what is in `root`.
fn recorded(root: &Path) -> Option<Recording> {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args([
        "--exact",
        "power::write_and_tell",
        "--ignored",
        "--nocapture",
    ]);
    program.env(FOLDER, root.canonicalize().unwrap());
    power::record("the embedded log and a power failure", &program, root).unwrap()
}

/// Opens what a power failure has left; `told` was acknowledged before, as partition and offset of the `n`-th.
fn check<'a>(root: &Path, told: impl Iterator<Item = &'a str>) -> anyhow::Result<()> {
    let mut wanted: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    for words in told {
        let numbers: Vec<u64> = words.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        wanted.insert((numbers[0].try_into()?, numbers[1]), numbers[2]);
    }
    let sent = wanted.values().max().map_or(0, |n| n + 1) + 2 * ROUND;
    let log = EmbeddedLog::open(&config(root)).context("it does not open")?;
    for partition in 0..PARTITIONS {
        let (mut next, mut seen) = (0, std::collections::BTreeSet::new());
        let bounds = log.bounds(place(partition))?;
        let mut problem = None;
        log.read(place(partition), bounds.clone(), &mut |record| {
            let n = record
                .body
                .first_chunk()
                .map_or(u64::MAX, |n| u64::from_be_bytes(*n));
            let is_wanted = wanted
                .remove(&(partition, record.offset))
                .is_none_or(|wanted| wanted == n);
            if record.offset != next
                || !is_wanted
                || n >= sent
                || record.body != body(n)
                || !seen.insert(n)
            {
                problem = Some(format!("{partition}/{}: {n} after {next}", record.offset));
            }
            next = record.offset + 1;
            true
        })?;
        ensure!(problem.is_none(), "{problem:?}");
        ensure!(bounds == (0..next), "{bounds:?} of {next}");
    }
    ensure!(
        wanted.is_empty(),
        "{} are missing, first {:?}",
        wanted.len(),
        wanted.first_key_value()
    );
    // It goes on.
    let envelope = batch("host", "m", &[1.0]).seal(None, None);
    let end = log.bounds(place(0))?.end;
    let at = block_on(
        log.appender()?
            .append(&SYSTEM_METRICS, Some(0), None, envelope)?,
    )?;
    ensure!(
        at.offset == end,
        "it goes on with {} after {end}",
        at.offset
    );
    Ok(())
}

/// Images lie in memory where there is room: what they cost is then the reading.
fn images() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// How many of `cuts` fail, with the words of the first.
fn failures(recording: &Recording, seed: u64, cuts: u64) -> Vec<String> {
    let mut failures = Vec::new();
    for cut in 0..cuts {
        let mut draw = Draw::new(seed, &format!("cut {cut}"));
        let at = recording.draw_cut(&mut draw);
        let unsynced = Unsynced::ALL[cut as usize % Unsynced::ALL.len()];
        let image = images();
        recording
            .rebuild(at, unsynced, &mut draw, image.path())
            .unwrap();
        // Part of what it stands on may panic over what it finds.
        let found = std::panic::catch_unwind(|| check(image.path(), recording.told_before(at)))
            .unwrap_or_else(|_| Err(anyhow::anyhow!("it panics")));
        if let Err(error) = found {
            failures.push(format!(
                "cut {cut} at {at} of {}, {unsynced:?}: {error:#}",
                recording.end()
            ));
        }
    }
    failures
}

fn cuts() -> u64 {
    let cuts = std::env::var("FOREWARN_TEST_CUTS").ok();
    cuts.and_then(|cuts| cuts.parse().ok()).unwrap_or(CUTS)
}

fn seed() -> u64 {
    let seed = std::env::var("FOREWARN_TEST_SEED").ok();
    seed.and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0)
}

#[test]
fn whenever_the_power_fails_it_opens_by_itself_with_everything_that_was_acknowledged() {
    let root = images();
    let Some(recording) = recorded(root.path()) else {
        return;
    };
    let (seed, begun) = (seed(), Instant::now());
    let (steps, syncs) = recording.counts();
    let told = recording.told_before(recording.end()).count();
    assert_eq!(told as u64, ROUNDS * ROUND);
    println!("seed {seed}: {told} records, {steps} steps, {syncs} of them syncs");
    let failures = failures(&recording, seed, cuts());
    println!(
        "{} cuts, {} failed, {:?}",
        cuts(),
        failures.len(),
        begun.elapsed()
    );
    assert!(failures.is_empty(), "seed {seed}:\n{}", failures.join("\n"));

    // Were it not synced, it would be seen: the check can fail.
    let unsynced = recording.clone().without_data_syncs();
    assert!(
        self::failures(&unsynced, seed, CUTS).len() > 5,
        "seed {seed}: the journal"
    );
    let unnamed = recording.without_folder_syncs();
    assert!(
        self::failures(&unnamed, seed, CUTS).len() > 5,
        "seed {seed}: the folders"
    );
}
