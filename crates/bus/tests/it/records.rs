//! What is acknowledged is in the log, as it was given; what is not is told.

use std::time::Duration;

use forewarn_bus::{AppendError, Place};
use forewarn_messages::{
    Body, Headers, PROCESSED_METRICS, ProcessedMetric, SYSTEM_METRICS, Tick, Ticked,
};
use forewarn_types::{LogId, LogTime, Src};
use futures::executor::block_on;
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use uuid::Uuid;

use crate::toy::batch;
use crate::world::{LONG, World};

const LOG: LogId = LogId(Uuid::from_u128(7));

#[test]
fn what_was_acknowledged_is_read_back_as_it_was_given() {
    World::each("append and read", 2, |world| {
        let appender = world.log.appender().unwrap();
        let envelopes: Vec<_> = (0..50)
            .map(|n| batch("host", "m", &[f64::from(n)]).seal(None, Some("00-ab".into())))
            .collect();
        let receipts: Vec<_> = envelopes
            .iter()
            .map(|envelope| {
                appender
                    .append(&SYSTEM_METRICS, Some(1), Some(LogTime(5)), envelope.clone())
                    .unwrap()
            })
            .collect();
        for (offset, receipt) in (0..).zip(receipts) {
            let position = block_on(receipt).unwrap();
            assert_eq!((position.partition, position.offset), (1, offset));
        }
        let records = world.all(&SYSTEM_METRICS, 1);
        assert_eq!(records.len(), envelopes.len());
        for (record, envelope) in records.iter().zip(&envelopes) {
            assert_eq!(
                (&record.key[..], &record.body),
                (envelope.key.as_bytes(), &envelope.body)
            );
            let pairs = record
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice()));
            assert_eq!(Headers::from_pairs(pairs).unwrap(), envelope.headers);
            // Stamped by the log, whatever the writer says.
            assert!(record.log_time > LogTime(1_600_000_000_000));
        }
        assert_eq!(world.all(&SYSTEM_METRICS, 0), []);
    });
}

#[test]
fn a_derived_record_keeps_the_log_time_that_it_carries() {
    World::each("carried log time", 1, |world| {
        let appender = world.log.appender_in_order().unwrap();
        let tick = ProcessedMetric::from_tick(Tick {
            log: LOG,
            genesis: false,
        });
        let envelope = tick.seal(Some(Src::root(LOG, 0, 3)), None);
        appender
            .append(
                &PROCESSED_METRICS,
                Some(0),
                Some(LogTime(1_700_000_000_123)),
                envelope,
            )
            .unwrap();
        appender.flush(LONG).unwrap();
        assert_eq!(
            world.all(&PROCESSED_METRICS, 0)[0].log_time,
            LogTime(1_700_000_000_123)
        );
    });
}

#[test]
fn equal_keys_meet_in_one_partition() {
    World::each("keys", 4, |world| {
        let appender = world.log.appender().unwrap();
        for n in 0..40 {
            let envelope = batch(&format!("host-{}", n % 8), "m", &[1.0]).seal(None, None);
            appender
                .append(&SYSTEM_METRICS, None, None, envelope)
                .unwrap();
        }
        appender.flush(LONG).unwrap();
        let mut homes = std::collections::BTreeMap::new();
        for partition in 0..4 {
            for record in world.all(&SYSTEM_METRICS, partition) {
                assert_eq!(*homes.entry(record.key).or_insert(partition), partition);
            }
        }
        assert_eq!(homes.len(), 8);
    });
}

#[test]
fn a_span_is_read_from_its_first_to_before_its_last_and_reading_can_be_ended() {
    World::each("spans", 1, |world| {
        let appender = world.log.appender().unwrap();
        let bodies: Vec<_> = (0..30)
            .map(|n| batch("host", "m", &[f64::from(n)]))
            .collect();
        world.put(appender.as_ref(), 0, &bodies);
        let place = Place {
            topic: &SYSTEM_METRICS,
            partition: 0,
        };
        let read = |span: std::ops::Range<u64>, most: usize| {
            let mut offsets = Vec::new();
            let each = &mut |record: forewarn_bus::Record| {
                offsets.push(record.offset);
                offsets.len() < most
            };
            world.log.read(place, span, each).unwrap();
            offsets
        };
        // One client after the other serves them all, with what it had fetched for the one before.
        for _ in 0..3 {
            assert_eq!(read(10..13, 99), [10, 11, 12]);
            assert_eq!(read(0..30, 2), [0, 1]);
            assert_eq!(read(28..99, 99), [28, 29]);
            assert!(read(40..50, 99).is_empty());
            assert!(read(5..5, 99).is_empty());
        }
        assert_eq!(world.log.bounds(place).unwrap(), 0..30);
    });
}

#[test]
fn a_record_that_the_client_finds_too_large_is_refused_at_once_and_harms_no_other() {
    World::each("too large for the client", 1, |world| {
        let appender = world.log.appender_in_order().unwrap();
        let mut large = batch("host", "m", &[1.0]).seal(None, None);
        large.body = vec![b' '; 2_000_000];
        let error = appender
            .append(&SYSTEM_METRICS, Some(0), None, large)
            .unwrap_err();
        assert!(matches!(error, AppendError::Refused(_)), "{error}");
        world.put(appender.as_ref(), 0, &[batch("host", "m", &[1.0])]);
        assert_eq!(world.all(&SYSTEM_METRICS, 0).len(), 1);
    });
}

/// Makes the broker, unlike the client, find records of more than 500 bytes too large.
fn narrow(world: &World) {
    let name = world.name(&SYSTEM_METRICS);
    let narrow = AlterConfig::new(ResourceSpecifier::Topic(&name))
        .set("max.message.bytes", "500")
        .set("message.timestamp.type", "LogAppendTime");
    block_on(world.admin().alter_configs(&[narrow], &AdminOptions::new())).unwrap()[0]
        .as_ref()
        .unwrap();
}

fn incompressible() -> forewarn_messages::Envelope {
    let mut envelope = batch("host", "m", &[1.0]).seal(None, None);
    envelope.body = (0..100).flat_map(|_| Uuid::new_v4().into_bytes()).collect();
    envelope
}

#[test]
fn a_record_that_the_broker_refuses_is_told_by_its_receipt_and_by_the_flush() {
    let Some(world) = World::kafka("too large for the broker", 1) else {
        return;
    };
    narrow(&world);
    let appender = world.log.appender().unwrap();
    let refused = appender
        .append(&SYSTEM_METRICS, Some(0), None, incompressible())
        .unwrap();
    let flushed = appender.flush(LONG).unwrap_err();
    assert!(
        matches!(&flushed, AppendError::Unknown(words) if words.contains("refuses")),
        "{flushed}"
    );
    let error = block_on(refused).unwrap_err();
    assert!(matches!(error, AppendError::Refused(_)), "{error}");
    // Ingestion's other senders are served.
    let small = appender
        .append(
            &SYSTEM_METRICS,
            Some(0),
            None,
            batch("h", "m", &[1.0]).seal(None, None),
        )
        .unwrap();
    block_on(small).unwrap();
}

#[test]
fn in_order_nothing_gets_past_a_refused_record() {
    let Some(world) = World::kafka("no holes", 1) else {
        return;
    };
    narrow(&world);
    let appender = world.log.appender_in_order().unwrap();
    let small = || batch("h", "m", &[1.0]).seal(None, None);
    let first = appender
        .append(&SYSTEM_METRICS, Some(0), None, small())
        .unwrap();
    block_on(first).unwrap();
    appender
        .append(&SYSTEM_METRICS, Some(0), None, incompressible())
        .unwrap();
    // Fast enough to be on their way when the answer comes, and late enough to come after it.
    let mut taken = 0;
    let error = loop {
        match appender.append(&SYSTEM_METRICS, Some(0), None, small()) {
            Ok(_) => taken += 1,
            Err(AppendError::Full) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::Unknown(_)), "{error}");
    assert!(taken > 0);
    assert!(appender.flush(LONG).is_err());
    drop(appender);
    assert_eq!(world.all(&SYSTEM_METRICS, 0).len(), 1);
}
