//! A disk that is full under the one process: what comes in is answered with 503 and the reason, nothing acknowledged is
//! lost, and with room again it goes on; by itself where the reserve was kept, by a restart where it was not.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use forewarn_system_tests::disk::Disk;
use forewarn_system_tests::probe::eventually;
use forewarn_system_tests::sender::Senders;
use forewarn_system_tests::{Service, World, exactness};
use forewarn_testkit::generate::Recording;

use crate::{one_world_at_a_time, say, whole};

const PATIENCE: Duration = Duration::from_secs(60);
/// The disk; journals are holes at first and take what is written to them.
const MEBIBYTES: u32 = 400;
/// The log's reserve is above the metric store's, so that what was acknowledged still becomes points.
const RESERVES: &str = r#"
[embedded]
free_bytes_min = "64MiB"

[metric_store]
free_bytes_min = "24MiB"
"#;
/// A disk may fill up faster than it is looked at; without a reserve it always does.
const NO_RESERVES: &str = r#"
[embedded]
free_bytes_min = "0MiB"

[metric_store]
free_bytes_min = "0MiB"
"#;
/// Below the log's reserve, above the metric store's.
const LEFT: u64 = 48 << 20;
/// Between two batches of a host.
const PAUSE: Duration = Duration::from_millis(30);
const STEPS: u64 = 900;
/// Longer than it takes until unacknowledged ticks take the readiness away.
const WHILE: Duration = Duration::from_secs(8);

/// One process at work on a small disk, and its senders.
struct Scene {
    world: World,
    whole: usize,
    disk: Disk,
    senders: Senders,
    recording: Recording,
    ledger: PathBuf,
    seed: u64,
}

impl Scene {
    fn set(what: &str, reserves: &str) -> anyhow::Result<Option<Self>> {
        let extra = format!("{}\n{reserves}", exactness::SETTINGS);
        let Some(mut world) = World::new(what, &extra)? else {
            return Ok(None);
        };
        let Some(disk) = Disk::mount(what, &world.folder.join("disk"), MEBIBYTES)? else {
            return Ok(None);
        };
        world.disk = disk.path().to_owned();
        let seed = exactness::fresh_seed();
        say(&format!("seed {seed}, folder {}", world.folder.display()));
        let whole = world.add(Service::Whole)?;
        world.processes[whole].start()?;
        world.wait_ready(whole)?;
        let recording = exactness::recording(seed, STEPS);
        let ledger = world.folder.join("ledger");
        let senders = Senders::start(
            &world.runtime,
            &world.http,
            vec![world.url(whole)],
            &recording,
            &ledger,
            PAUSE,
        )?;
        let scene = Self {
            world,
            whole,
            disk,
            senders,
            recording,
            ledger,
            seed,
        };
        eventually("samples come in", PATIENCE, || {
            Ok(scene.acknowledged() > 300)
        })?;
        Ok(Some(scene))
    }

    fn acknowledged(&self) -> u64 {
        self.senders.counts.acknowledged.load(Ordering::Relaxed)
    }

    /// What a sender is answered: status, `Retry-After` and body.
    fn push(&self) -> anyhow::Result<(u16, Option<String>, String)> {
        // A batch of the recording itself: taken or not, it changes nothing that is compared.
        let first = self.recording.sent.first().context("it is empty")?;
        let body = forewarn_system_tests::push::request(&first.batch).to_string();
        let url = format!("{}/api/v1/metrics", self.world.url(self.whole));
        self.world.runtime.block_on(async {
            let request = self.world.http.post(url).body(body);
            let answer = request
                .header("Content-Type", "application/json")
                .send()
                .await?;
            let later = answer.headers().get("Retry-After");
            let later = later.and_then(|later| Some(later.to_str().ok()?.to_owned()));
            Ok((answer.status().as_u16(), later, answer.text().await?))
        })
    }

    fn page(&self, path: &str) -> anyhow::Result<String> {
        self.world.page(self.whole, path)
    }

    /// Everything acknowledged is in the log and in the stores, which equal the reference.
    fn end(mut self) -> anyhow::Result<()> {
        ensure!(
            self.senders.are_busy(),
            "the senders ran dry: nothing came in meanwhile"
        );
        let counts = self.senders.finish(&self.world.runtime, PATIENCE * 2)?;
        say(&format!(
            "{} batches with {} samples acknowledged, {} requests made again, {} ends of its own",
            counts.acknowledged.load(Ordering::Relaxed),
            counts.samples.load(Ordering::Relaxed),
            counts.repeated.load(Ordering::Relaxed),
            self.world.ended_by_themselves,
        ));
        whole::judge(
            &mut self.world,
            self.whole,
            &self.recording,
            &self.ledger,
            self.seed,
        )?;
        self.world.check_clean()?;
        self.world.processes.clear();
        drop(self.disk);
        self.world.clean_up()
    }

    fn tails(&self) -> String {
        self.world.tails()
    }
}

#[test]
fn on_a_full_disk_senders_are_told_why_and_with_room_again_it_goes_on_by_itself() {
    let _turn = one_world_at_a_time();
    let Some(mut scene) = Scene::set("one process on a full disk", RESERVES).expect("a scene")
    else {
        return;
    };
    if let Err(error) = fill_up_to_the_reserve(&mut scene) {
        panic!("{error:?}\n{}", scene.tails());
    }
    assert_eq!(
        scene.world.processes[scene.whole].starts, 1,
        "it went on by itself"
    );
    scene.end().expect("nothing is lost");
}

fn fill_up_to_the_reserve(scene: &mut Scene) -> anyhow::Result<()> {
    scene.disk.fill(LEFT)?;
    let names_the_cause = |scene: &Scene| {
        let (status, later, body) = scene.push()?;
        let is_told = status == 503 && later.is_some() && body.contains("less free space");
        ensure!(is_told, "{status}, Retry-After {later:?}: {body}");
        anyhow::Ok(())
    };
    eventually("senders are told", PATIENCE, || {
        names_the_cause(scene).map(|()| true)
    })?;
    let (acknowledged, begun) = (scene.acknowledged(), Instant::now());
    while begun.elapsed() < WHILE {
        names_the_cause(scene)?;
        scene.page("/live").context("it is live")?;
        scene.page("/metrics").context("it is read")?;
        ensure!(scene.world.processes[scene.whole].is_alive(), "it ended");
        std::thread::sleep(Duration::from_millis(200));
    }
    ensure!(
        scene.page("/ready").is_err(),
        "it takes nothing and says it is ready"
    );
    ensure!(
        scene.acknowledged() <= acknowledged + 1,
        "something was taken"
    );
    let free = scene.disk.free()?;
    ensure!(
        free > 24 << 20,
        "it ate into the reserve: {free} bytes are free"
    );
    say(&format!(
        "{} MiB are still free of the {} MiB that were left",
        free >> 20,
        LEFT >> 20
    ));

    scene.disk.empty()?;
    eventually("it goes on", PATIENCE, || {
        Ok(scene.acknowledged() > acknowledged + 100 && scene.page("/ready").is_ok())
    })
}

#[test]
fn a_disk_that_fills_up_beyond_the_reserve_costs_a_restart_and_nothing_else() {
    let _turn = one_world_at_a_time();
    let what = "one process on a disk without a byte left";
    let Some(mut scene) = Scene::set(what, NO_RESERVES).expect("a scene") else {
        return;
    };
    if let Err(error) = fill_to_the_brim(&mut scene) {
        panic!("{error:?}\n{}", scene.tails());
    }
    scene.end().expect("nothing is lost");
}

fn fill_to_the_brim(scene: &mut Scene) -> anyhow::Result<()> {
    // Whatever it frees meanwhile is taken too.
    let begun = Instant::now();
    while begun.elapsed() < WHILE {
        scene.disk.fill(0)?;
        scene.world.supervise()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    ensure!(
        scene.page("/ready").is_err(),
        "it takes nothing and says it is ready"
    );
    let said = scene.world.processes[scene.whole].said()?;
    let words = [
        "No space left",
        "has failed before",
        "the disk is nearly full",
    ];
    let told: Vec<_> = words
        .iter()
        .filter(|words| said.contains(**words))
        .collect();
    ensure!(!told.is_empty(), "it does not say what is wrong");
    say(&format!(
        "it says {told:?}; {} ends of its own",
        scene.world.ended_by_themselves
    ));
    let acknowledged = scene.acknowledged();
    scene.disk.empty()?;
    eventually("it goes on", PATIENCE, || {
        scene.world.supervise()?;
        Ok(scene.acknowledged() > acknowledged + 100 && scene.page("/ready").is_ok())
    })
}
