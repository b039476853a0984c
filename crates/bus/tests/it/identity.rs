//! The identity of a partition and its clock.

use std::sync::Arc;

use forewarn_bus::{Place, Ticker, log_id, mint};
use forewarn_messages::{Body, PROCESSED_METRICS, ProcessedMetric, SYSTEM_METRICS, Tick, Ticked};
use forewarn_types::{LogId, Src};
use uuid::Uuid;

use crate::toy::reference;
use crate::world::{LONG, World};

#[test]
fn writers_that_meet_an_empty_log_together_agree_on_its_identity() {
    World::each("genesis race", 4, |world| {
        let start = Arc::new(std::sync::Barrier::new(3));
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let log = world.another();
                let start = Arc::clone(&start);
                std::thread::spawn(move || {
                    let appender = log.appender().unwrap();
                    start.wait();
                    let ids = mint(log.as_ref(), appender.as_ref()).unwrap();
                    let ticker = Ticker::new(Arc::clone(&appender), ids.clone());
                    ticker.tick();
                    appender.flush(LONG).unwrap();
                    ids
                })
            })
            .collect();
        let ids: Vec<_> = writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect();
        assert_eq!((&ids[0], &ids[0]), (&ids[1], &ids[2]));
        assert_eq!(
            ids[0]
                .iter()
                .collect::<std::collections::BTreeSet<_>>()
                .len(),
            4
        );
        for partition in 0..4 {
            // Every reader, however many wrote, sees one identity and three ticks of it beside the genesis.
            let records = world.all(&SYSTEM_METRICS, partition);
            let outputs = reference(partition, None, &records);
            assert_eq!(outputs.len(), 4, "{} records", records.len());
            assert!(
                outputs
                    .iter()
                    .all(|output| output.src.log == ids[0][partition as usize])
            );
        }
        // A writer that comes later learns them.
        let appender = world.log.appender().unwrap();
        assert_eq!(mint(world.log.as_ref(), appender.as_ref()).unwrap(), ids[0]);
    });
}

#[test]
fn a_derived_topic_has_the_identity_that_its_records_carry() {
    World::each("derived identity", 1, |world| {
        let place = Place {
            topic: &PROCESSED_METRICS,
            partition: 0,
        };
        assert_eq!(log_id(world.log.as_ref(), place).unwrap(), None);
        let log = LogId(Uuid::new_v4());
        let appender = world.log.appender().unwrap();
        let tick = ProcessedMetric::from_tick(Tick {
            log,
            genesis: false,
        })
        .seal(Some(Src::root(log, 0, 0)), None);
        appender
            .append(&PROCESSED_METRICS, Some(0), None, tick)
            .unwrap();
        appender.flush(LONG).unwrap();
        assert_eq!(log_id(world.log.as_ref(), place).unwrap(), Some(log));
    });
}
