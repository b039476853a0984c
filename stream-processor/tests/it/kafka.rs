//! The stage on real Kafka, ended and started again in between, makes the records that the pure stage makes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forewarn_bus::{
    Appender, Applied, CheckpointConfig, Checkpoints, Config, KafkaLog, Log, Partition, Place,
    Record, StageOptions, StopFlag, mint, run_stage,
};
use forewarn_features::FeatureSets;
use forewarn_messages::{
    Body as _, Envelope, PROCESSED_METRICS, SYSTEM_METRICS, SystemMetric, Tick, Ticked as _, Topic,
};
use forewarn_stream_processor::{Processor, StepConfig};
use forewarn_testkit::generate::{Disorder, Fleet};
use forewarn_testkit::servers;
use forewarn_types::Src;

const PARTITIONS: u32 = 2;

/// Waits are for a condition; this is when it counts as never.
const LONG: Duration = Duration::from_secs(120);

#[test]
fn on_kafka_the_stage_makes_what_the_pure_stage_makes() {
    let Some(servers) = servers::kafka("the stream-processor on Kafka") else {
        return;
    };
    let config = Config {
        servers,
        partitions: PARTITIONS,
        topic_prefix: servers::unique("steps") + "_",
        ..Config::default()
    };
    let log = Arc::new(KafkaLog::connect(&config).expect("the settings are fine"));
    log.ensure_topics(PARTITIONS)
        .expect("the topics can be made");
    let appender = log.appender().expect("the settings are fine");
    let ids = mint(log.as_ref(), appender.as_ref()).expect("the log takes its first records");
    let mut fleet = Fleet::drawn(3, 90, 5);
    fleet.disorder = Disorder::rough();
    for (index, sent) in fleet.record().sent.into_iter().enumerate() {
        if index % 10 == 0 {
            for (partition, id) in (0..).zip(&ids) {
                let tick = SystemMetric::from_tick(Tick {
                    log: *id,
                    genesis: false,
                });
                put(appender.as_ref(), Some(partition), tick.seal(None, None));
            }
        }
        put(
            appender.as_ref(),
            None,
            SystemMetric::Samples(sent.batch).seal(None, None),
        );
    }
    appender.flush(LONG).expect("acknowledged");

    let expected: Vec<Vec<(Src, Envelope)>> = (0..PARTITIONS)
        .map(|partition| purely(log.as_ref(), partition))
        .collect();
    let made = |partition: u32| all(log.as_ref(), &PROCESSED_METRICS, partition);
    let wanted: usize = expected.iter().map(Vec::len).sum();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let checkpoints = CheckpointConfig {
        path: folder.path().into(),
        ..CheckpointConfig::default()
    };
    // The first runner is ended about halfway, at whatever record it is by then; the second goes on.
    for enough in [wanted / 2, wanted] {
        let (stop, log, checkpoints) = (StopFlag::new(), Arc::clone(&log), checkpoints.clone());
        let runner = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let checkpoints = Checkpoints::open(&checkpoints).expect("the folder is there");
                let sets = Arc::new(FeatureSets::standard());
                let make = |_| Processor::new(Arc::clone(&sets), StepConfig::default());
                let options = StageOptions {
                    checkpoint_records: Some(37),
                    ..StageOptions::new("it")
                };
                run_stage(log, &checkpoints, make, &options, &stop, &())
            }
        });
        let deadline = Instant::now() + LONG;
        while (0..PARTITIONS)
            .map(|partition| made(partition).len())
            .sum::<usize>()
            < enough
        {
            assert!(!runner.is_finished(), "the runner ended by itself");
            assert!(
                Instant::now() < deadline,
                "waited {LONG:?} for {enough} records"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.stop();
        runner.join().expect("no panic").expect("an orderly end");
    }

    for (partition, expected) in (0..).zip(&expected) {
        assert!(
            expected.len() > 50,
            "{} records in partition {partition}",
            expected.len()
        );
        let mut found: Vec<(Src, Envelope)> = Vec::new();
        for record in made(partition) {
            let (src, envelope) = opened(&record);
            // What is not beyond the last position is a repetition after the restart.
            if found
                .last()
                .is_none_or(|(last, _)| src.position() > last.position())
            {
                found.push((src, envelope));
            }
        }
        assert_eq!(&found, expected, "partition {partition}");
    }
    log.delete_topics().expect("the topics were ours");
}

fn put(appender: &dyn Appender, partition: Option<u32>, envelope: Envelope) {
    appender
        .append(&SYSTEM_METRICS, partition, None, envelope)
        .expect("there is room");
}

/// What the pure stage makes of a partition as it stands.
fn purely(log: &dyn Log, partition: u32) -> Vec<(Src, Envelope)> {
    let processor = Processor::new(Arc::new(FeatureSets::standard()), StepConfig::default());
    let mut stage = Partition::new(processor, partition, None);
    let mut made = Vec::new();
    for record in all(log, &SYSTEM_METRICS, partition) {
        match stage.apply(&record).expect("a history of ours") {
            Applied::Outputs(outputs) => made.extend(
                outputs
                    .into_iter()
                    .map(|output| (output.src, output.envelope)),
            ),
            Applied::Repeated => {}
            other => panic!("{other:?}"),
        }
    }
    made
}

fn all(log: &dyn Log, topic: &'static Topic, partition: u32) -> Vec<Record> {
    let place = Place { topic, partition };
    let mut records = Vec::new();
    log.read(
        place,
        log.bounds(place).expect("it exists"),
        &mut |record| {
            records.push(record);
            true
        },
    )
    .expect("the log can be read");
    records
}

fn opened(record: &Record) -> (Src, Envelope) {
    let headers = record.headers().expect("written by the stage");
    let key = String::from_utf8(record.key.clone()).expect("keys are text");
    (
        headers.src.expect("derived"),
        Envelope {
            key,
            headers,
            body: record.body.clone(),
        },
    )
}
