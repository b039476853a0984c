//! What a partition promises, on a stage small enough to see through.

use forewarn_messages::{Body, DeadReason, Envelope, SYSTEM_METRICS, SystemMetric, Tick, Ticked};
use forewarn_types::{LogId, LogTime, SUB_FANOUT, Src};
use uuid::Uuid;

use super::*;
use crate::Place;
use crate::toy::{Toy, batch, reference};

const LOG: LogId = LogId(Uuid::from_u128(7));
const OTHER: LogId = LogId(Uuid::from_u128(8));

fn record(offset: u64, log_time: i64, envelope: Envelope) -> Record {
    Record {
        place: Place {
            topic: &SYSTEM_METRICS,
            partition: 2,
        },
        offset,
        log_time: LogTime(log_time),
        key: envelope.key.into_bytes(),
        headers: envelope
            .headers
            .to_pairs()
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.into_bytes()))
            .collect(),
        body: envelope.body,
    }
}

fn root(offset: u64, body: &SystemMetric) -> Record {
    record(offset, 1_000 + offset as i64, body.seal(None, None))
}

fn tick(log: LogId, genesis: bool) -> SystemMetric {
    SystemMetric::from_tick(Tick { log, genesis })
}

fn with_header(mut record: Record, name: &str, value: &str) -> Record {
    record.headers.retain(|(found, _)| found != name);
    record.headers.push((name.into(), value.into()));
    record
}

fn partition() -> Partition<Toy> {
    Partition::new(Toy::default(), 2, None)
}

/// Positions of the outputs, which the record must have.
fn outputs(applied: Result<Applied, Halt>) -> Vec<(u64, u64)> {
    match applied {
        Ok(Applied::Outputs(outputs)) => {
            outputs.iter().map(|output| output.src.position()).collect()
        }
        other => panic!("expected outputs, got {other:?}"),
    }
}

fn reason(applied: Result<Applied, Halt>) -> (DeadReason, u64) {
    match applied {
        Ok(Applied::Dead(letter)) => (letter.reason, letter.offset),
        other => panic!("expected a dead letter, got {other:?}"),
    }
}

#[test]
fn outputs_are_numbered_by_their_root_and_a_tick_follows_what_it_causes() {
    let mut partition = partition();
    assert_eq!(
        outputs(partition.apply(&root(0, &tick(LOG, true)))),
        [(0, 0)]
    );
    assert_eq!(
        outputs(partition.apply(&root(1, &batch("a", "m", &[1.0, 2.0])))),
        [(1, 0), (1, 1)]
    );
    let Ok(Applied::Outputs(forwarded)) = partition.apply(&root(2, &tick(LOG, false))) else {
        panic!("a tick")
    };
    let headers = &forwarded[0].envelope.headers;
    assert_eq!(
        (headers.schema.as_str(), headers.src),
        ("tick", Some(Src::root(LOG, 2, 2)))
    );
    assert_eq!((partition.next_offset(), partition.log()), (3, Some(LOG)));
}

#[test]
fn a_forwarded_genesis_mints_nothing_downstream() {
    let Ok(Applied::Outputs(forwarded)) = partition().apply(&root(0, &tick(LOG, true))) else {
        panic!("a tick")
    };
    let tick: Tick = serde_json::from_slice(&forwarded[0].envelope.body).unwrap();
    assert_eq!(
        tick,
        Tick {
            log: LOG,
            genesis: false
        }
    );
}

#[test]
fn log_time_never_goes_back() {
    let mut partition = partition();
    partition
        .apply(&record(0, 5_000, tick(LOG, true).seal(None, None)))
        .unwrap();
    let Ok(Applied::Outputs(late)) =
        partition.apply(&record(1, 4_000, batch("a", "m", &[1.0]).seal(None, None)))
    else {
        panic!("outputs")
    };
    assert_eq!(
        (late[0].log_time, partition.log_time()),
        (LogTime(5_000), LogTime(5_000))
    );
}

#[test]
fn a_repetition_of_a_derived_record_is_dropped_and_what_is_new_behind_it_is_not() {
    let derived = |offset: u64, position: (u64, u64)| {
        let src = Src {
            log: LOG,
            partition: 2,
            offset: position.0,
            sub: position.1,
        };
        record(offset, 1_000, batch("a", "m", &[1.0]).seal(Some(src), None))
    };
    let mut partition = partition();
    // w1 w2 w3 w2 w3 w4, with other offsets the second time.
    for (offset, position) in [(0, (10, 0)), (1, (10, 1)), (2, (11, 0))] {
        let expected = (position.0, position.1 * SUB_FANOUT);
        assert_eq!(
            outputs(partition.apply(&derived(offset, position))),
            [expected]
        );
    }
    for (offset, position) in [(3, (10, 1)), (4, (11, 0))] {
        assert!(matches!(
            partition.apply(&derived(offset, position)),
            Ok(Applied::Repeated)
        ));
    }
    assert_eq!(outputs(partition.apply(&derived(5, (12, 0)))), [(12, 0)]);
    assert_eq!(partition.next_offset(), 6);
    // Four batches, not six.
    let Ok(Applied::Outputs(last)) = partition.apply(&derived(6, (13, 0))) else {
        panic!("outputs")
    };
    assert!(String::from_utf8_lossy(&last[0].envelope.body).contains("\"values\":[5.0,5.0,"));
}

#[test]
fn of_two_writers_that_met_the_empty_partition_the_first_names_it() {
    let mut partition = partition();
    outputs(partition.apply(&root(0, &tick(LOG, true))));
    assert!(matches!(
        partition.apply(&root(1, &tick(OTHER, true))),
        Ok(Applied::Repeated)
    ));
    assert_eq!(
        outputs(partition.apply(&root(2, &batch("a", "m", &[1.0])))),
        [(2, 0)]
    );
    // The loser has read the first tick by now; if it has not, its clock is not this partition's.
    assert_eq!(
        partition.apply(&root(3, &tick(OTHER, false))).unwrap_err(),
        Halt::OtherLog {
            was: LOG,
            found: OTHER
        }
    );
}

#[test]
fn what_cannot_be_read_is_set_aside_with_its_reason_and_the_rest_goes_on() {
    let mut partition = partition();
    outputs(partition.apply(&root(0, &tick(LOG, true))));
    let good = root(0, &batch("a", "m", &[1.0]));
    let at = |offset, record: Record| Record { offset, ..record };
    let headless = Record {
        headers: Vec::new(),
        ..good.clone()
    };
    let garbled = Record {
        body: b"{\"samples\":[{\"value\":".to_vec(),
        ..good.clone()
    };
    assert_eq!(
        reason(partition.apply(&at(1, headless))),
        (DeadReason::Header, 1)
    );
    assert_eq!(
        reason(partition.apply(&at(2, with_header(good.clone(), "src", "nowhere")))),
        (DeadReason::Header, 2)
    );
    let unknown = with_header(good.clone(), "schema", "horoscope");
    assert_eq!(
        reason(partition.apply(&at(3, unknown))),
        (DeadReason::UnknownSchema, 3)
    );
    assert_eq!(
        reason(partition.apply(&at(4, garbled))),
        (DeadReason::Body, 4)
    );
    assert_eq!(outputs(partition.apply(&at(5, good))), [(5, 0)]);
    assert_eq!(partition.next_offset(), 6);
}

#[test]
fn a_panic_is_set_aside_and_the_next_record_is_worked_on() {
    let mut partition = partition();
    outputs(partition.apply(&root(0, &tick(LOG, true))));
    assert_eq!(
        reason(partition.apply(&root(1, &batch("a", "panic", &[1.0])))),
        (DeadReason::Panic, 1)
    );
    assert_eq!(
        outputs(partition.apply(&root(2, &batch("a", "m", &[1.0])))),
        [(2, 0)]
    );
}

#[test]
fn a_newer_writer_halts_the_partition_before_the_record_and_an_upgrade_goes_on_there() {
    let mut partition = partition();
    outputs(partition.apply(&root(0, &tick(LOG, true))));
    let newer = with_header(root(1, &batch("a", "m", &[1.0])), "version", "60000");
    for _ in 0..2 {
        assert!(matches!(partition.apply(&newer), Err(Halt::TooNew(_))));
        assert_eq!(partition.next_offset(), 1);
    }
    assert_eq!(
        outputs(partition.apply(&with_header(newer, "version", "1"))),
        [(1, 0)]
    );
}

#[test]
fn data_before_any_identity_and_a_replaced_history_halt() {
    let mut partition = partition();
    let data = root(4, &batch("a", "m", &[1.0]));
    assert_eq!(
        partition.apply(&data).unwrap_err(),
        Halt::NoIdentity { offset: 4 }
    );
    // One that knows its identity from elsewhere (its oldest tick) takes data first.
    assert_eq!(
        outputs(Partition::new(Toy::default(), 2, Some(LOG)).apply(&data)),
        [(4, 0)]
    );
    outputs(partition.apply(&root(5, &tick(LOG, false))));
    let src = Src::root(OTHER, 2, 9);
    let foreign = record(6, 1_000, batch("a", "m", &[1.0]).seal(Some(src), None));
    assert_eq!(
        partition.apply(&foreign).unwrap_err(),
        Halt::OtherLog {
            was: LOG,
            found: OTHER
        }
    );
}

/// A little of everything that a partition may meet.
fn mixture() -> Vec<Record> {
    let mut records = vec![root(0, &tick(LOG, true)), root(1, &tick(OTHER, true))];
    for offset in 2..60 {
        records.push(match offset % 7 {
            0 => root(offset, &tick(LOG, false)),
            1 => with_header(
                root(offset, &batch("b", "m", &[1.0])),
                "schema",
                "horoscope",
            ),
            2 => root(offset, &batch("c", "panic", &[offset as f64])),
            3 => root(
                offset,
                &batch("a", "m", &[0.1 * offset as f64, -1e9, f64::MIN_POSITIVE]),
            ),
            _ => root(
                offset,
                &batch(&format!("r{}", offset % 3), "m", &[offset as f64 / 3.0]),
            ),
        });
    }
    records
}

#[test]
fn from_a_checkpoint_on_everything_is_the_same_to_the_byte() {
    let records = mixture();
    let whole = reference(2, None, &records);
    assert!(whole.len() > 50, "{} outputs", whole.len());
    for cut in 0..=records.len() {
        let mut first = partition();
        let mut made = Vec::new();
        let mut take = |partition: &mut Partition<Toy>, record: &Record| {
            if let Applied::Outputs(outputs) = partition.apply(record).unwrap() {
                made.extend(outputs);
            }
        };
        records[..cut]
            .iter()
            .for_each(|record| take(&mut first, record));
        let snapshot = first.snapshot();
        let mut second = Partition::new(Toy::default(), 2, first.log());
        second.restore(&snapshot).unwrap();
        assert_eq!(second.snapshot(), snapshot);
        assert_eq!(second.next_offset(), cut as u64);
        records[cut..]
            .iter()
            .for_each(|record| take(&mut second, record));
        assert_eq!(made, whole, "cut at {cut}");
    }
}

#[test]
fn a_snapshot_of_another_partition_or_history_and_any_garbage_is_refused() {
    let mut source = partition();
    mixture()
        .iter()
        .for_each(|record| drop(source.apply(record)));
    let snapshot = source.snapshot();
    assert!(
        Partition::new(Toy::default(), 3, None)
            .restore(&snapshot)
            .is_err()
    );
    assert!(
        Partition::new(Toy::default(), 2, Some(OTHER))
            .restore(&snapshot)
            .is_err()
    );
    for length in 0..snapshot.len() {
        assert!(
            partition().restore(&snapshot[..length]).is_err(),
            "cut at {length}"
        );
    }
    let mut longer = snapshot.clone();
    longer.push(0);
    assert!(partition().restore(&longer).is_err());
}
