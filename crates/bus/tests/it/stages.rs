//! A stage's output equals the reference, whatever happens to those who make it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forewarn_bus::{
    CheckpointConfig, Checkpoints, Observe, Place, RunError, StageOptions, StopFlag, Ticker, mint,
    run_stage,
};
use forewarn_messages::{
    Body, DEAD_LETTERS, DeadLetter, DeadReason, Headers, PROCESSED_METRICS, SYSTEM_METRICS,
    SystemMetric,
};
use forewarn_types::LogTime;

use crate::child::{Victim, options};
use crate::toy::{Toy, batch, reference};
use crate::world::{LONG, World, eventually};

fn checkpoints(folder: &Path) -> Checkpoints {
    Checkpoints::open(&CheckpointConfig {
        path: folder.to_owned(),
        ..CheckpointConfig::default()
    })
    .unwrap()
}

/// A stage on a thread of this process.
struct Running {
    stop: StopFlag,
    thread: Option<std::thread::JoinHandle<Result<(), RunError>>>,
    troubles: Arc<Troubles>,
}

#[derive(Default)]
struct Troubles(Mutex<Vec<Option<String>>>);

impl Observe for Troubles {
    fn beat(&self) {}

    fn trouble(&self, why: Option<&str>) {
        self.0.lock().unwrap().push(why.map(str::to_owned));
    }
}

impl Running {
    fn start(world: &World, folder: &Path, options: StageOptions) -> Self {
        let log = world.another();
        let (checkpoints, stop, troubles) = (
            checkpoints(folder),
            StopFlag::new(),
            Arc::<Troubles>::default(),
        );
        let thread = std::thread::spawn({
            let (stop, troubles) = (stop.clone(), Arc::clone(&troubles));
            move || {
                run_stage(
                    log,
                    &checkpoints,
                    |_| Toy::default(),
                    &options,
                    &stop,
                    troubles.as_ref(),
                )
            }
        });
        Self {
            stop,
            thread: Some(thread),
            troubles,
        }
    }

    fn wait(mut self) -> Result<(), RunError> {
        self.thread.take().unwrap().join().unwrap()
    }

    fn stop(self) {
        self.stop.stop();
        self.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// An output as a reader that counts sees it.
type Seen = (BTreeMap<String, Vec<u8>>, LogTime, Vec<u8>);

/// What is in an output partition: the records in order without repetitions, and how many repetitions there were.
fn output(world: &World, partition: u32) -> (Vec<Seen>, usize) {
    let mut first = BTreeMap::new();
    let mut seen = Vec::new();
    let mut repeated = 0;
    for record in world.all(&PROCESSED_METRICS, partition) {
        let pairs = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        let position = Headers::from_pairs(pairs).unwrap().src.unwrap().position();
        let record: Seen = (
            record.headers.into_iter().collect(),
            record.log_time,
            record.body,
        );
        match first.get(&position) {
            // A repetition has the same bytes, or the promise is broken.
            Some(known) => {
                assert_eq!(known, &record, "{position:?}");
                repeated += 1;
            }
            None => {
                assert!(
                    first.keys().next_back().is_none_or(|last| *last < position),
                    "{position:?} comes too late"
                );
                first.insert(position, record.clone());
                seen.push(record);
            }
        }
    }
    (seen, repeated)
}

fn expected(world: &World, partition: u32) -> Vec<Seen> {
    reference(partition, None, &world.all(&SYSTEM_METRICS, partition))
        .into_iter()
        .map(|derived| {
            let pairs = derived.envelope.headers.to_pairs();
            let headers = pairs
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into_bytes()))
                .collect();
            (headers, derived.log_time, derived.envelope.body)
        })
        .collect()
}

/// Waits until the stage is through, then compares; returns the number of repetitions.
fn agree(world: &World, partitions: u32) -> usize {
    let mut repetitions = 0;
    for partition in 0..partitions {
        let wanted = expected(world, partition);
        assert!(!wanted.is_empty());
        let (_, repeated) = eventually("the output is complete", || {
            let found = output(world, partition);
            (found.0.len() >= wanted.len()).then_some(found)
        });
        let (found, _) = output(world, partition);
        assert!(
            found == wanted,
            "partition {partition}: {} found, {} wanted",
            found.len(),
            wanted.len()
        );
        repetitions += repeated;
    }
    repetitions
}

/// Data for every partition, with a tick behind each round.
fn put(world: &World, partitions: u32, rounds: std::ops::Range<u32>) {
    let appender = world.log.appender().unwrap();
    let ids = mint(world.log.as_ref(), appender.as_ref()).unwrap();
    let ticker = Ticker::new(Arc::clone(&appender), ids);
    for round in rounds {
        for partition in 0..partitions {
            for n in 0..20 {
                let body = batch(
                    &format!("host-{}", n % 3),
                    "m",
                    &[f64::from(round) / 3.0, f64::from(n)],
                );
                appender
                    .append(
                        &SYSTEM_METRICS,
                        Some(partition),
                        None,
                        body.seal(None, None),
                    )
                    .unwrap();
            }
        }
        ticker.tick();
    }
    appender.flush(LONG).unwrap();
}

#[test]
fn killed_at_any_moment_a_stage_leaves_no_gap_and_repeats_the_same_bytes() {
    let Some(world) = World::kafka("killing a stage", 3) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    put(&world, 3, 0..2);
    let mut in_flight = 0;
    for round in 0..6_u32 {
        put(&world, 3, 2 + round * 60..62 + round * 60);
        let before = progress(&world);
        let victim = Victim::stage(world.config(), "a", folder.path());
        // Killed when it has begun to work on this round, at a moment that differs from round to round.
        eventually("it works", || (progress(&world) > before).then_some(()));
        std::thread::sleep(Duration::from_millis(u64::from(round) * 10));
        assert!(victim.kill(), "it ended by itself");
        let done = (0..3).all(|partition| {
            output(&world, partition).0.len() == expected(&world, partition).len()
        });
        in_flight += usize::from(!done);
    }
    let last = Running::start(&world, folder.path(), options("a"));
    agree(&world, 3);
    last.stop();
    assert!(
        in_flight >= 2,
        "only {in_flight} kills came while work was in flight"
    );
    assert_eq!(world.all(&DEAD_LETTERS, 0), []);
}

fn progress(world: &World) -> u64 {
    let end = |partition| {
        world
            .log
            .bounds(Place {
                topic: &PROCESSED_METRICS,
                partition,
            })
            .unwrap()
            .end
    };
    (0..3).map(end).sum()
}

#[test]
fn without_any_checkpoint_what_is_in_the_output_is_not_appended_again() {
    World::each("suppressing repetitions", 2, |world| {
        put(world, 2, 0..3);
        for round in 1..4 {
            // A folder of its own each time: it has to begin at the beginning.
            let folder = tempfile::tempdir().unwrap();
            let stage = Running::start(world, folder.path(), options("a"));
            assert_eq!(agree(world, 2), 0);
            put(world, 2, round * 3..round * 3 + 3);
            assert_eq!(agree(world, 2), 0);
            stage.stop();
        }
    });
}

#[test]
fn a_damaged_checkpoint_costs_a_replay_and_nothing_else() {
    World::each("damaged checkpoints", 1, |world| {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..3 {
            put(world, 1, round * 3..round * 3 + 3);
            let stage = Running::start(world, folder.path(), options("a"));
            assert_eq!(agree(world, 1), 0);
            stage.stop();
            let mut files = checkpoint_files(folder.path());
            assert!(!files.is_empty());
            files.sort();
            // The newest, then all.
            for file in files.iter().rev().take(if round == 0 { 1 } else { 2 }) {
                let mut bytes = std::fs::read(file).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x40;
                std::fs::write(file, bytes).unwrap();
            }
        }
    });
}

fn checkpoint_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                checkpoint_files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn two_replicas_with_moves_between_them_make_what_one_makes() {
    World::each("two replicas", 4, |world| {
        let (folder_a, folder_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        put(world, 4, 0..2);
        let a = Running::start(world, folder_a.path(), options("a"));
        agree(world, 4);
        let b = Running::start(world, folder_b.path(), options("b"));
        eventually("b has made checkpoints of its own", || {
            put(world, 4, 2..3);
            (!checkpoint_files(folder_b.path()).is_empty()).then_some(())
        });
        a.stop();
        put(world, 4, 3..6);
        agree(world, 4);
        b.stop();
    });
}

#[test]
fn poison_goes_to_dead_letters_and_the_rest_goes_on() {
    World::each("poison", 1, |world| {
        let folder = tempfile::tempdir().unwrap();
        put(world, 1, 0..1);
        let appender = world.log.appender().unwrap();
        let mut garbled = batch("host", "m", &[1.0]).seal(None, None);
        garbled.body = vec![0xff, b'{'];
        appender
            .append(&SYSTEM_METRICS, Some(0), None, garbled)
            .unwrap();
        world.put(
            appender.as_ref(),
            0,
            &[
                batch("host", "panic", &[1.0]),
                batch("host", "large", &[1.0]),
            ],
        );
        put(world, 1, 1..2);
        let stage = Running::start(world, folder.path(), options("a"));
        let letters = eventually("three letters", || {
            Some(world.all(&DEAD_LETTERS, 0)).filter(|found| found.len() >= 3)
        });
        let letters: Vec<_> = letters
            .iter()
            .map(|record| {
                let pairs = record
                    .headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_slice()));
                DeadLetter::decode(&Headers::from_pairs(pairs).unwrap(), &record.body).unwrap()
            })
            .collect();
        let reasons: Vec<_> = letters.iter().map(|letter| letter.reason).collect();
        assert_eq!(
            reasons,
            [
                DeadReason::Body,
                DeadReason::Panic,
                DeadReason::RefusedByStore
            ]
        );
        assert_eq!(
            (letters[0].stage.as_str(), letters[0].topic.as_str()),
            ("toy", "system_metrics")
        );
        let all = expected(world, 0);
        let wanted: Vec<_> = all.iter().filter(|seen| seen.2.len() < 1_000_000).collect();
        assert_eq!(wanted.len() + 1, all.len());
        let found = eventually("the rest is there", || {
            Some(output(world, 0).0).filter(|found| found.len() >= wanted.len())
        });
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted);
        stage.stop();
    });
}

#[test]
fn one_dead_letter_after_the_other_ends_the_stage() {
    World::each("too many dead", 1, |world| {
        let folder = tempfile::tempdir().unwrap();
        put(world, 1, 0..1);
        let appender = world.log.appender().unwrap();
        let poison: Vec<SystemMetric> = (0..30).map(|_| batch("host", "panic", &[1.0])).collect();
        world.put(appender.as_ref(), 0, &poison);
        let stage = Running::start(
            world,
            folder.path(),
            StageOptions {
                dead_limit: 10,
                ..options("a")
            },
        );
        let error = stage.wait().unwrap_err();
        assert!(
            matches!(error, RunError::TooManyDead { count: 11, .. }),
            "{error}"
        );
        assert_eq!(world.all(&DEAD_LETTERS, 0).len(), 11);
    });
}

#[test]
fn a_newer_writer_halts_its_partition_alone_and_readiness_says_so() {
    World::each("newer writers", 2, |world| {
        let folder = tempfile::tempdir().unwrap();
        put(world, 2, 0..1);
        let appender = world.log.appender().unwrap();
        let mut newer = batch("host", "m", &[1.0]).seal(None, None);
        newer.headers.version = 60_000;
        appender
            .append(&SYSTEM_METRICS, Some(0), None, newer)
            .unwrap();
        appender.flush(LONG).unwrap();
        let before = world.all(&SYSTEM_METRICS, 0).len() - 1;
        put(world, 2, 1..3);
        let stage = Running::start(world, folder.path(), options("a"));
        let why = eventually("it is told", || {
            stage
                .troubles
                .0
                .lock()
                .unwrap()
                .iter()
                .flatten()
                .next()
                .cloned()
        });
        assert!(
            why.contains("system_metrics/0") && why.contains("upgrade"),
            "{why}"
        );
        let other = expected(world, 1);
        eventually("the other goes on", || {
            (output(world, 1).0.len() == other.len()).then_some(())
        });
        let halted = reference(0, None, &world.all(&SYSTEM_METRICS, 0)[..before]);
        assert_eq!(output(world, 0).0.len(), halted.len());
        stage.stop();
    });
}
