//! What only the log inside the process can break: its folder, its disk, its end in the middle of a write.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use forewarn_bus::embedded::{Config, EmbeddedLog};
use forewarn_bus::{AppendError, Log, Place, Start, Subscription};
use forewarn_messages::{Body, SYSTEM_METRICS};
use forewarn_types::LogTime;
use futures::executor::block_on;

use crate::toy::batch;
use crate::world::LONG;

const FOLDER: &str = "FOREWARN_BUS_TEST_EMBEDDED";
const PARTITIONS: u32 = 2;

fn config(folder: &Path) -> Config {
    Config {
        path: folder.join("log"),
        partitions: PARTITIONS,
        ..Config::default()
    }
}

fn place(partition: u32) -> Place {
    Place {
        topic: &SYSTEM_METRICS,
        partition,
    }
}

/// The bodies that a partition holds, by their offsets.
fn bodies(log: &EmbeddedLog, partition: u32) -> BTreeMap<u64, Vec<u8>> {
    let mut found = BTreeMap::new();
    let bounds = log.bounds(place(partition)).unwrap();
    log.read(place(partition), bounds, &mut |record| {
        found.insert(record.offset, record.body);
        true
    })
    .unwrap();
    found
}

#[test]
fn a_second_process_is_told_whose_folder_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let first = EmbeddedLog::open(&config(folder.path())).unwrap();
    let problem = EmbeddedLog::open(&config(folder.path())).unwrap_err();
    assert!(
        problem.to_string().contains("belongs to another process"),
        "{problem}"
    );
    drop(first);
    EmbeddedLog::open(&config(folder.path())).unwrap();
}

#[test]
fn what_is_there_is_there_after_a_restart_and_offsets_go_on() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3_u64 {
        let log = EmbeddedLog::open(&config(folder.path())).unwrap();
        assert_eq!(log.bounds(place(1)).unwrap(), 0..round * 10);
        let appender = log.appender_in_order().unwrap();
        for n in 0..10 {
            let envelope = batch("host", "m", &[f64::from(n)]).seal(None, None);
            appender
                .append(&SYSTEM_METRICS, Some(1), None, envelope)
                .unwrap();
        }
        appender.flush(LONG).unwrap();
        // What a group has done is remembered too.
        let subscription = || Subscription {
            group: "g".into(),
            instance: "a".into(),
            topics: vec![&SYSTEM_METRICS],
        };
        let mut member = log.subscribe(subscription()).unwrap();
        let done = (round > 0).then_some(round * 10);
        assert_eq!(member.committed(place(1)).unwrap(), done);
        member.commit(place(1), (round + 1) * 10).unwrap();
    }
}

#[test]
fn without_room_on_the_disk_senders_are_told_to_come_back_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let send = |log: &EmbeddedLog| {
        let appender = log.appender().unwrap();
        let envelope = batch("host", "m", &[1.0]).seal(None, None);
        block_on(appender.append(&SYSTEM_METRICS, Some(0), None, envelope)?)
    };
    let roomy = config(folder.path());
    send(&EmbeddedLog::open(&roomy).unwrap()).unwrap();
    let narrow = Config {
        // No disk has as much.
        free_bytes_min: usize::MAX >> 1,
        ..roomy.clone()
    };
    let log = EmbeddedLog::open(&narrow).unwrap();
    assert_eq!(send(&log), Err(AppendError::NoRoom));
    assert_eq!(bodies(&log, 0).len(), 1, "what is there can be read");
    drop(log);
    let log = EmbeddedLog::open(&roomy).unwrap();
    send(&log).unwrap();
    assert_eq!(bodies(&log, 0).len(), 2);
}

#[test]
fn the_log_s_clock_may_be_driven_and_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(5_000));
    let clock = Arc::clone(&now);
    let log = EmbeddedLog::open_with_clock(
        &config(folder.path()),
        Arc::new(move || LogTime(clock.load(Ordering::Relaxed))),
    )
    .unwrap();
    let appender = log.appender().unwrap();
    for at in [5_000, 7_000, 6_000, 8_000] {
        now.store(at, Ordering::Relaxed);
        let envelope = batch("host", "m", &[1.0]).seal(None, None);
        let carried = Some(LogTime(1));
        appender
            .append(&SYSTEM_METRICS, Some(0), carried, envelope)
            .unwrap();
        appender.flush(LONG).unwrap();
    }
    let mut stamps = Vec::new();
    log.read(place(0), 0..9, &mut |record| {
        stamps.push(record.log_time.0);
        true
    })
    .unwrap();
    assert_eq!(stamps, [5_000, 7_000, 7_000, 8_000]);
}

#[test]
fn the_oldest_go_when_there_is_too_much_and_offsets_never_begin_anew() {
    let folder = tempfile::tempdir().unwrap();
    let small = Config {
        partition_bytes_max: 4 << 20,
        ..config(folder.path())
    };
    let log = EmbeddedLog::open(&small).unwrap();
    let appender = log.appender_in_order().unwrap();
    let mut sent = 0_u64;
    // Hardly compressible, far more than is kept, until the first have gone.
    let deadline = std::time::Instant::now() + LONG;
    while log.bounds(place(0)).unwrap().start == 0 {
        assert!(std::time::Instant::now() < deadline, "nothing ever goes");
        for _ in 0..500 {
            let mut envelope = batch("host", "m", &[1.0]).seal(None, None);
            envelope.body = (0..1_000)
                .flat_map(|_| uuid::Uuid::new_v4().into_bytes())
                .collect();
            appender
                .append(&SYSTEM_METRICS, Some(0), None, envelope)
                .unwrap();
            sent += 1;
        }
        appender.flush(LONG).unwrap();
    }
    let bounds = log.bounds(place(0)).unwrap();
    assert_eq!(bounds.end, sent);
    // A reader that wants what has gone gets the oldest that is there.
    let mut reader = log.reader(&[place(0)]).unwrap();
    let mut first = None;
    while first.is_none() {
        match reader.poll(Duration::from_secs(5)).unwrap() {
            forewarn_bus::Event::Assigned(places) => {
                reader.start(places[0], Start::Offset(0)).unwrap();
            }
            forewarn_bus::Event::Record(record) => first = Some(record.offset),
            _ => {}
        }
    }
    assert!(first >= Some(bounds.start), "{first:?} of {bounds:?}");
    drop((reader, appender, log));
    let log = EmbeddedLog::open(&small).unwrap();
    assert_eq!(log.bounds(place(0)).unwrap().end, sent);
}

/// A writer in a process of its own that says what was acknowledged.
struct Writer(Child);

impl Writer {
    fn start(folder: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "embedded::write_and_tell",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Kills it after it has told of so many; returns what it told.
    fn kill_after(mut self, count: usize) -> Vec<(u32, u64, String)> {
        let mut lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        let mut told = Vec::new();
        while told.len() < count {
            let line = lines.next().expect("it ended by itself").unwrap();
            told.extend(parse(&line));
        }
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        // What it had said before it died; a line may be cut.
        told.extend(lines.map_while(Result::ok).filter_map(|line| parse(&line)));
        told
    }
}

fn parse(line: &str) -> Option<(u32, u64, String)> {
    let mut words = line.strip_prefix("told ")?.strip_suffix(" .")?.split(' ');
    Some((
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
        words.next()?.to_owned(),
    ))
}

#[test]
#[ignore = "a role for another test, which starts it in a process of its own"]
fn write_and_tell() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let log = EmbeddedLog::open(&config(Path::new(&folder))).unwrap();
    let appender = log.appender().unwrap();
    let mut out = std::io::stdout().lock();
    for n in 0_u32.. {
        let receipts: Vec<_> = (0..7_u32)
            .map(|i| {
                let id = uuid::Uuid::new_v4().to_string();
                let mut envelope = batch("host", "m", &[f64::from(n)]).seal(None, None);
                envelope.body = id.clone().into_bytes();
                let partition = (n + i) % PARTITIONS;
                let receipt = appender
                    .append(&SYSTEM_METRICS, Some(partition), None, envelope)
                    .unwrap();
                (id, receipt)
            })
            .collect();
        for (id, receipt) in receipts {
            let position = block_on(receipt).unwrap();
            let (partition, offset) = (position.partition, position.offset);
            writeln!(out, "told {partition} {offset} {id} .").unwrap();
        }
        out.flush().unwrap();
    }
}

#[test]
fn killed_at_any_moment_it_opens_again_with_everything_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let kills = std::env::var("FOREWARN_TEST_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(20);
    let mut acknowledged = BTreeMap::new();
    for round in 0..kills {
        let told = Writer::start(folder.path()).kill_after(50 + (round * 37) % 400);
        for (partition, offset, id) in told {
            let before = acknowledged.insert((partition, offset), id);
            assert_eq!(before, None, "{partition}/{offset} was given twice");
        }
        let log = EmbeddedLog::open(&config(folder.path())).unwrap();
        let found: Vec<_> = (0..PARTITIONS).map(|p| bodies(&log, p)).collect();
        for ((partition, offset), id) in &acknowledged {
            let body = found[*partition as usize].get(offset);
            assert_eq!(
                body.map(Vec::as_slice),
                Some(id.as_bytes()),
                "{partition}/{offset}"
            );
        }
        for (partition, found) in found.iter().enumerate() {
            let offsets: Vec<u64> = found.keys().copied().collect();
            let all: Vec<u64> = (0..offsets.len() as u64).collect();
            assert_eq!(offsets, all, "partition {partition} has no gap");
        }
    }
    assert!(acknowledged.len() > kills * 50);
}
