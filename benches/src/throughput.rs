//! Kafka → features → Kafka: the stream-processor's own runner works off what lies in a topic.
//!
//! The messages are in Kafka before the clock starts, so nobody sends meanwhile; the broker's work counts in, since it
//! runs on the same cores. The clock stops when the last record of every partition has its outputs in Kafka.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use forewarn_bus::{
    AppendError, Appender, Checkpoints, Config, KafkaLog, Log, StageOptions, StopFlag, mint,
    run_stage,
};
use forewarn_features::FeatureSets;
use forewarn_messages::{Body, SYSTEM_METRICS, SystemMetric, Tick, Ticked};
use forewarn_stream_processor::Processor;
use forewarn_system_tests::probe;
use forewarn_testkit::generate::{Fleet, START};
use forewarn_testkit::servers;

const PARTITIONS: u32 = 4;
const HOSTS: usize = 40;
const SAMPLES: usize = 40;
/// Longer than any sensible run; a stage that stands still must not hang the benchmark.
const LIMIT: Duration = Duration::from_secs(900);

pub(crate) fn measure(messages: u64) -> anyhow::Result<Vec<String>> {
    let Some(servers) = servers::kafka("throughput from Kafka to Kafka") else {
        return Ok(Vec::new());
    };
    let config = Config {
        servers,
        partitions: PARTITIONS,
        topic_prefix: servers::unique("bench") + "_",
        ..Config::default()
    };
    let log = Arc::new(KafkaLog::connect(&config)?);
    log.ensure_topics(PARTITIONS)?;
    let measured = run(&log, messages);
    log.delete_topics()?;
    measured
}

fn run(log: &Arc<KafkaLog>, messages: u64) -> anyhow::Result<Vec<String>> {
    let samples = fill(log.as_ref(), messages)?;
    let ends = probe::ends(log.as_ref(), &SYSTEM_METRICS)?;
    let folder = std::env::temp_dir().join(servers::unique("forewarn-bench"));
    let checkpoints = Checkpoints::open(&forewarn_bus::CheckpointConfig {
        path: folder.clone(),
        ..Default::default()
    })?;
    let sets = Arc::new(FeatureSets::standard());
    let stop = StopFlag::new();

    let started = Instant::now();
    let stage = {
        let (log, stop) = (Arc::clone(log), stop.clone());
        std::thread::spawn(move || {
            let make = |_| Processor::new(Arc::clone(&sets), Default::default());
            run_stage(
                log,
                &checkpoints,
                make,
                &StageOptions::new("bench"),
                &stop,
                &(),
            )
        })
    };
    let done = probe::eventually("the stream-processor works everything off", LIMIT, || {
        ensure!(!stage.is_finished(), "the stage ended");
        Ok(probe::caused(log.as_ref(), &forewarn_messages::PROCESSED_METRICS)? == ends)
    });
    let took = started.elapsed();
    stop.stop();
    let ended = stage.join().ok().context("the stage panicked")?;
    // Nothing is worth keeping of it, and a leftover in the temporary folder harms nobody.
    let _ = std::fs::remove_dir_all(folder);
    ended?;
    done?;
    Ok(vec![format!(
        "Kafka → features → Kafka: {:.0} samples/s ({samples} samples in {messages} messages of {SAMPLES}, {PARTITIONS} partitions, {:.1} s with joining the group)",
        samples as f64 / took.as_secs_f64(),
        took.as_secs_f64()
    )])
}

/// Puts the messages into Kafka, and a tick behind them that shows when all is done. Returns how many samples.
fn fill(log: &dyn Log, messages: u64) -> anyhow::Result<u64> {
    let appender = log.appender()?;
    let ids = mint(log, appender.as_ref())?;
    let fleet = Fleet::drawn(1, messages.div_ceil(HOSTS as u64), HOSTS);
    let mut hosts: Vec<_> = fleet
        .hosts
        .iter()
        .map(|host| host.series(1, START, fleet.interval))
        .collect();
    let mut samples = 0;
    for number in 0..messages {
        let mut batch = hosts[number as usize % HOSTS]
            .next()
            .context("series have no end")?;
        batch.samples.truncate(SAMPLES);
        samples += batch.samples.len() as u64;
        append(appender.as_ref(), None, &SystemMetric::Samples(batch))?;
    }
    for (partition, id) in (0..).zip(ids) {
        append(
            appender.as_ref(),
            Some(partition),
            &SystemMetric::from_tick(Tick {
                log: id,
                genesis: false,
            }),
        )?;
    }
    appender.flush(LIMIT)?;
    Ok(samples)
}

fn append(
    appender: &dyn Appender,
    partition: Option<u32>,
    body: &SystemMetric,
) -> anyhow::Result<()> {
    loop {
        match appender.append(&SYSTEM_METRICS, partition, None, body.seal(None, None)) {
            Ok(_receipt) => return Ok(()),
            Err(AppendError::Full) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error.into()),
        }
    }
}
