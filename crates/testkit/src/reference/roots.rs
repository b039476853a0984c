//! The records that a reference run begins with, of `system_metrics` and of `commands`: read from a real log, or made
//! without one.

use forewarn_bus::{BusError, Log, Place, Record};
use forewarn_messages::{Body, COMMANDS, Envelope, SYSTEM_METRICS, SystemMetric, Tick, Topic};
use forewarn_types::{EventTime, LogId, LogTime};
use uuid::Uuid;

use crate::generate::Recording;

/// Every partition of `system_metrics`, and `commands`, each in the order of its offsets.
#[derive(Clone, Debug, PartialEq)]
pub struct Roots {
    /// By partition number.
    pub partitions: Vec<Vec<Record>>,
    /// What people decided, and ticks.
    pub commands: Vec<Record>,
}

/// Ticks come each second, as from ingestion.
const TICK_MS: i64 = 1_000;

impl Roots {
    /// What `log` holds now.
    ///
    /// # Errors
    /// As the log says.
    pub fn of_log(log: &dyn Log) -> Result<Self, BusError> {
        Ok(Self {
            partitions: read_topic(log, &SYSTEM_METRICS)?,
            commands: read_topic(log, &COMMANDS)?.into_iter().flatten().collect(),
        })
    }

    /// What a log of this many partitions would hold, had the recording been sent to it and each batch been appended
    /// the moment it was sent. Ticks go on until `tail_seconds` after the last batch.
    #[must_use]
    pub fn of_recording(recording: &Recording, partitions: u32, tail_seconds: u32) -> Self {
        let first = recording.sent.first().map_or(EventTime(0), |sent| sent.at);
        let last = recording.sent.last().map_or(first, |sent| sent.at);
        let start = first.millis() - TICK_MS;
        let end = last.millis() + i64::from(tail_seconds) * TICK_MS;
        let mut roots = Self {
            partitions: vec![Vec::new(); partitions as usize],
            commands: Vec::new(),
        };
        let mut next_tick = start;
        let mut tick_up_to = |roots: &mut Self, at: i64| {
            while next_tick <= at {
                for partition in 0..partitions {
                    let tick = Tick {
                        log: log_id(partition),
                        genesis: next_tick == start,
                    };
                    roots.push(
                        partition,
                        next_tick,
                        &SystemMetric::Tick(tick).seal(None, None),
                    );
                }
                next_tick += TICK_MS;
            }
        };
        for sent in &recording.sent {
            tick_up_to(&mut roots, sent.at.millis());
            let partition = partition_of(&sent.batch.resource.log_key(), partitions);
            let envelope = SystemMetric::Samples(sent.batch.clone()).seal(None, None);
            roots.push(partition, sent.at.millis(), &envelope);
        }
        tick_up_to(&mut roots, end);
        roots
    }

    fn push(&mut self, partition: u32, at: i64, envelope: &Envelope) {
        let records = &mut self.partitions[partition as usize];
        let offset = records.len() as u64;
        let place = Place {
            topic: &SYSTEM_METRICS,
            partition,
        };
        records.push(record_of(place, offset, LogTime(at), envelope));
    }
}

/// The record that an appended envelope becomes.
#[must_use]
pub fn record_of(place: Place, offset: u64, log_time: LogTime, envelope: &Envelope) -> Record {
    let headers = envelope.headers.to_pairs();
    Record {
        place,
        offset,
        log_time,
        key: envelope.key.clone().into_bytes(),
        headers: headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into_bytes()))
            .collect(),
        body: envelope.body.clone(),
    }
}

/// Everything that a topic holds now, partition by partition.
///
/// # Errors
/// As the log says.
pub fn read_topic(log: &dyn Log, topic: &'static Topic) -> Result<Vec<Vec<Record>>, BusError> {
    let mut partitions = Vec::new();
    for partition in 0..log.partitions(topic)? {
        let place = Place { topic, partition };
        let mut records = Vec::new();
        log.read(place, log.bounds(place)?, &mut |record| {
            records.push(record);
            true
        })?;
        partitions.push(records);
    }
    Ok(partitions)
}

fn log_id(partition: u32) -> LogId {
    // Fixed, so that the same recording gives the same records.
    LogId(Uuid::from_u128(0x10c0_0000 + u128::from(partition)))
}

/// Any stable spread will do: the reference takes partitions as they come.
fn partition_of(key: &str, partitions: u32) -> u32 {
    let hash = key.bytes().fold(17_u32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    hash % partitions.max(1)
}
