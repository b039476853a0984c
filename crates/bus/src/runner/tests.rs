//! What the runner does when the log, the group or the disk does not play along. On a log in memory; `tests/it` shows
//! the same stage on Kafka.

use std::sync::Mutex;
use std::time::Duration;

use forewarn_messages::{
    Body, DEAD_LETTERS, PROCESSED_METRICS, SYSTEM_METRICS, SystemMetric, Tick, Ticked,
};
use forewarn_types::LogId;
use uuid::Uuid;

use super::*;
use crate::CheckpointConfig;
use crate::memory::{Act, MemoryLog};
use crate::toy::{Toy, batch, reference};

const LOG: LogId = LogId(Uuid::from_u128(7));
const INPUT: Place = Place {
    topic: &SYSTEM_METRICS,
    partition: 0,
};

/// A log with `count` batches behind a tick, whose group gives the partition to whoever comes.
fn log_of(count: usize) -> MemoryLog {
    let log = MemoryLog::default();
    log.put(
        &SYSTEM_METRICS,
        SystemMetric::from_tick(Tick {
            log: LOG,
            genesis: true,
        })
        .seal(None, None),
    );
    for n in 0..count {
        log.put(
            &SYSTEM_METRICS,
            batch("a", "m", &[n as f64]).seal(None, None),
        );
    }
    log.lock().script.push_back(Act::Assign);
    log
}

fn checkpoints(folder: &tempfile::TempDir) -> Checkpoints {
    Checkpoints::open(&CheckpointConfig {
        path: folder.path().join("c"),
        ..CheckpointConfig::default()
    })
    .unwrap()
}

fn options() -> StageOptions {
    StageOptions {
        checkpoint_records: Some(5),
        ..StageOptions::new("a")
    }
}

/// Stops the stage when `until` holds; remembers what it was told.
struct Watch<'a> {
    until: Box<dyn Fn() -> bool + Sync + 'a>,
    stop: StopFlag,
    troubles: Mutex<Vec<Option<String>>>,
    begun: Instant,
}

impl Observe for Watch<'_> {
    fn beat(&self) {
        assert!(
            self.begun.elapsed() < Duration::from_secs(30),
            "it never came true"
        );
        if (self.until)() {
            self.stop.stop();
        }
    }

    fn trouble(&self, why: Option<&str>) {
        self.troubles.lock().unwrap().push(why.map(str::to_owned));
    }
}

/// Runs the toy until `until` holds, or until it ends; returns how it ended and the troubles it told of.
fn run_until(
    log: &MemoryLog,
    checkpoints: &Checkpoints,
    options: &StageOptions,
    until: impl Fn() -> bool + Sync,
) -> (Result<(), RunError>, Vec<Option<String>>) {
    let stop = StopFlag::new();
    let (until, troubles, begun) = (Box::new(until), Mutex::default(), Instant::now());
    let watch = Watch {
        until,
        stop: stop.clone(),
        troubles,
        begun,
    };
    let ended = run_stage(
        Arc::new(log.clone()),
        checkpoints,
        |_| Toy::default(),
        options,
        &stop,
        &watch,
    );
    (ended, watch.troubles.into_inner().unwrap())
}

fn is_complete(log: &MemoryLog) -> bool {
    log.records(&PROCESSED_METRICS).len() >= reference(0, None, &log.records(&SYSTEM_METRICS)).len()
}

/// The output is what the reference makes, once and in order.
fn assert_exact(log: &MemoryLog) {
    let wanted: Vec<_> = reference(0, None, &log.records(&SYSTEM_METRICS))
        .into_iter()
        .map(|derived| (derived.log_time, derived.envelope.body))
        .collect();
    let found: Vec<_> = log
        .records(&PROCESSED_METRICS)
        .into_iter()
        .map(|record| (record.log_time, record.body))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn a_full_send_buffer_delays_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = log_of(40);
    log.lock().full = 7;
    let (ended, _) = run_until(&log, &checkpoints(&folder), &options(), || {
        is_complete(&log)
    });
    ended.unwrap();
    assert_exact(&log);
    assert_eq!(log.lock().fulls, 7);
}

#[test]
fn after_a_record_that_is_not_acknowledged_the_stage_ends_without_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let log = log_of(20);
    log.lock().broken = true;
    let (ended, _) = run_until(&log, &checkpoints(&folder), &options(), || false);
    assert!(
        matches!(ended, Err(RunError::Append(AppendError::Unknown(_)))),
        "{ended:?}"
    );
    assert!(log.lock().committed.is_empty());
    // The next start does all of it.
    log.lock().broken = false;
    log.lock().script.push_back(Act::Assign);
    run_until(&log, &checkpoints(&folder), &options(), || {
        is_complete(&log)
    })
    .0
    .unwrap();
    assert_exact(&log);
}

#[test]
fn a_revoked_partition_is_checkpointed_committed_and_released_in_this_order_and_goes_on_when_it_is_back()
 {
    let folder = tempfile::tempdir().unwrap();
    let log = log_of(30);
    log.lock()
        .script
        .extend([Act::RevokeAfter(11), Act::Assign]);
    let options = StageOptions {
        checkpoint_records: None,
        ..options()
    };
    run_until(&log, &checkpoints(&folder), &options, || is_complete(&log))
        .0
        .unwrap();
    assert_exact(&log);
    let told = log.lock().told.clone();
    assert_eq!(
        told[..2],
        ["committed system_metrics/0 11", "released system_metrics/0"]
    );
    assert_eq!(log.lock().committed[&INPUT], 31);
}

#[test]
fn of_a_lost_partition_nothing_is_committed_and_what_it_made_is_not_made_twice() {
    let folder = tempfile::tempdir().unwrap();
    let log = log_of(30);
    log.lock().script.extend([Act::LoseAfter(11), Act::Assign]);
    let options = StageOptions {
        checkpoint_records: None,
        ..options()
    };
    run_until(&log, &checkpoints(&folder), &options, || is_complete(&log))
        .0
        .unwrap();
    assert_exact(&log);
    let told = log.lock().told.clone();
    assert_eq!(
        told,
        ["released system_metrics/0", "committed system_metrics/0 31"]
    );
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_told_and_commits_nothing_while_the_work_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = checkpoints(&folder);
    let log = log_of(30);
    // Folders where the checkpoints of the sixth and of the last record would be.
    for next_offset in [6, 31] {
        std::fs::create_dir_all(
            folder
                .path()
                .join(format!("c/{LOG}/toy/0/{next_offset:020}")),
        )
        .unwrap();
    }
    let options = StageOptions {
        checkpoint_records: Some(6),
        ..options()
    };
    let (ended, troubles) = run_until(&log, &checkpoints, &options, || is_complete(&log));
    ended.unwrap();
    assert_exact(&log);
    assert!(
        matches!(troubles.first(), Some(Some(why)) if why.contains("checkpoint store")),
        "{troubles:?}"
    );
    assert!(log.lock().committed.is_empty());
}

#[test]
fn records_that_wait_while_none_comes_end_the_stage_but_a_log_that_is_away_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = log_of(10);
    log.lock().stalled = true;
    let options = StageOptions {
        stall_limit: Duration::from_millis(400),
        ..options()
    };
    let (ended, _) = run_until(&log, &checkpoints(&folder), &options, || false);
    assert!(
        matches!(ended, Err(RunError::Stalled { lag: 11, .. })),
        "{ended:?}"
    );

    log.lock().script.push_back(Act::Assign);
    let opened = Instant::now();
    let away = || {
        // It has the partition by now; questions stay without an answer for twice the limit.
        let mut state = log.lock();
        state.away = opened.elapsed() > Duration::from_millis(100);
        opened.elapsed() > Duration::from_millis(900)
    };
    run_until(&log, &checkpoints(&folder), &options, away)
        .0
        .unwrap();
}

#[test]
fn an_output_that_the_log_never_takes_becomes_a_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let log = log_of(3);
    log.put(
        &SYSTEM_METRICS,
        batch("a", "large", &[1.0]).seal(None, None),
    );
    log.put(&SYSTEM_METRICS, batch("a", "m", &[1.0]).seal(None, None));
    run_until(&log, &checkpoints(&folder), &options(), || {
        log.records(&PROCESSED_METRICS).len() == 5
    })
    .0
    .unwrap();
    assert_eq!(log.records(&DEAD_LETTERS).len(), 1);
    assert_eq!(log.lock().committed[&INPUT], 6);
}
