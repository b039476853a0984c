//! The embedded metric store after a power failure: a writer is recorded, its folder is built again as a disk may hold it
//! at many places in the order of its writes, and each has to open by itself with every point that was acknowledged.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use forewarn_store::embedded::{Config, EmbeddedMetrics};
use forewarn_store::metrics::{Field, Lines, MetricStore as _};
use forewarn_testkit::generate::Draw;
use forewarn_testkit::power::{self, Recording, Unsynced};
use forewarn_types::ResourceKey;

use crate::metrics::sample;

const FOLDER: &str = "FOREWARN_STORE_TEST_POWER";
/// `FOREWARN_TEST_CUTS` has another number.
const CUTS: u64 = 40;
const HOUR: i64 = 3_600_000;
/// Where it begins: an hour.
const BEGIN: i64 = 470_000 * HOUR;
/// Writes; every so many an hour passes, and those before are closed.
const WRITES: i64 = 120;
const WRITES_PER_HOUR: i64 = 20;
/// Points of a write.
const POINTS: i64 = 40;

fn open(root: &Path, clock: &Arc<AtomicI64>) -> anyhow::Result<EmbeddedMetrics> {
    let config = Config {
        // Neither folder is there at the beginning.
        path: root.join("data/metrics"),
        // Where the images lie there may be little.
        free_bytes_min: 0,
        ..Config::default()
    };
    let clock = Arc::clone(clock);
    let clock = Arc::new(move || clock.load(Ordering::SeqCst));
    Ok(EmbeddedMetrics::open_with_clock(&config, clock)?)
}

/// The moments of the `n`-th write: in the open hour, in a closed one and long ago by turns, no two alike. A point's value
/// is its moment.
fn moments(n: i64) -> impl Iterator<Item = i64> {
    let now = BEGIN + n / WRITES_PER_HOUR * HOUR;
    let begin = now - [0, 3 * HOUR, 30 * HOUR][n as usize % 3];
    (0..POINTS).map(move |i| begin + (n % WRITES_PER_HOUR) * 1_000 + i)
}

#[tokio::test]
#[ignore = "a role for another test, which starts it in a process of its own"]
async fn write_and_tell() {
    let Ok(root) = std::env::var(FOLDER) else {
        return;
    };
    let clock = Arc::new(AtomicI64::new(BEGIN));
    let store = open(Path::new(&root), &clock).expect("opened");
    let web = ResourceKey::new("web-01");
    for n in 0..WRITES {
        if n % WRITES_PER_HOUR == 0 {
            let now = BEGIN + n / WRITES_PER_HOUR * HOUR;
            clock.store(now + HOUR / 3, Ordering::SeqCst);
            store.tidy().expect("tidied");
        }
        let mut lines = Lines::default();
        for at in moments(n) {
            let series = (at % 7).to_string();
            sample(&mut lines, &web, "m", &[("n", &series)], at, at as f64);
        }
        store.write(&lines).await.expect("written");
        let told = format!("told {n}\n");
        std::io::stderr().write_all(told.as_bytes()).expect("told");
    }
}

/// Opens what a power failure has left; `told` are the writes that had returned.
fn check<'a>(root: &Path, told: impl Iterator<Item = &'a str>) -> anyhow::Result<()> {
    let told: Vec<i64> = told.map(str::parse).collect::<Result<_, _>>()?;
    let next = told.last().map_or(0, |n| n + 1);
    let now = BEGIN + next / WRITES_PER_HOUR * HOUR + HOUR / 3;
    let clock = Arc::new(AtomicI64::new(now));
    let store = open(root, &clock).context("it does not open")?;
    // Before and after what was begun is brought to its end.
    for tidied in [false, true] {
        if tidied {
            store.tidy().context("it cannot be tidied")?;
        }
        let (mut found, mut wrong) = (BTreeSet::new(), Vec::new());
        store.all_points(&mut |point| {
            let is_right = matches!(point.fields.get("value"), Some(Field::Float(value)) if *value == point.time as f64);
            if !is_right || !found.insert(point.time) {
                wrong.push(point);
            }
        })?;
        ensure!(wrong.is_empty(), "{wrong:?} are not what was written");
        for at in told.iter().flat_map(|n| moments(*n)) {
            ensure!(found.remove(&at), "{at} is missing (tidied: {tidied})");
        }
        // The write that was under way may be there; nothing else can be.
        for at in moments(next) {
            found.remove(&at);
        }
        ensure!(found.is_empty(), "{found:?} were never written");
    }
    Ok(())
}

/// Images lie in memory where there is room: what they cost is then the reading.
fn images() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder")
}

/// How many of `cuts` fail, with their words.
fn failures(recording: &Recording, seed: u64, cuts: u64) -> Vec<String> {
    let mut failures = Vec::new();
    for cut in 0..cuts {
        let mut draw = Draw::new(seed, &format!("cut {cut}"));
        let at = recording.draw_cut(&mut draw);
        let unsynced = Unsynced::ALL[cut as usize % Unsynced::ALL.len()];
        let image = images();
        let built = recording.rebuild(at, unsynced, &mut draw, image.path());
        built.expect("built");
        // Part of what it stands on may panic over what it finds.
        let found = std::panic::catch_unwind(|| check(image.path(), recording.told_before(at)))
            .unwrap_or_else(|_| Err(anyhow::anyhow!("it panics")));
        if let Err(error) = found {
            let end = recording.end();
            failures.push(format!(
                "cut {cut} at {at} of {end}, {unsynced:?}: {error:#}"
            ));
        }
    }
    failures
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
#[allow(
    clippy::print_stdout,
    reason = "figures of a run are looked for in its output"
)]
fn whenever_the_power_fails_it_opens_by_itself_with_every_point_that_it_said_it_had() {
    let root = images();
    let mut program = Command::new(std::env::current_exe().expect("this program"));
    program.args([
        "--exact",
        "power::write_and_tell",
        "--ignored",
        "--nocapture",
    ]);
    program.env(FOLDER, root.path().canonicalize().expect("it is there"));
    let what = "the embedded metric store and a power failure";
    let Some(recording) = power::record(what, &program, root.path()).expect("recorded") else {
        return;
    };
    let seed = number("FOREWARN_TEST_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    let cuts = number("FOREWARN_TEST_CUTS").unwrap_or(CUTS);
    let (steps, syncs) = recording.counts();
    let told = recording.told_before(recording.end()).count();
    assert_eq!(told as i64, WRITES);
    println!("seed {seed}: {told} writes, {steps} steps, {syncs} of them syncs");
    let begun = Instant::now();
    let failures = failures(&recording, seed, cuts);
    println!(
        "{cuts} cuts, {} failed, {:?}",
        failures.len(),
        begun.elapsed()
    );
    assert!(failures.is_empty(), "seed {seed}:\n{}", failures.join("\n"));

    // Were it not synced, it would be seen: the check can fail.
    let unsynced = recording.without_data_syncs();
    let seen = self::failures(&unsynced, seed, CUTS).len();
    assert!(seen > 5, "seed {seed}: without its syncs only {seen} fail");
}
