//! The folder: one keyspace per partition, whose keys are offsets, and one for what has to survive its records.
//!
//! Keys only ever grow, so the store keeps a partition as a row of tables, and the oldest tables go as a whole when they are
//! too old or too many: deleting costs nothing, and happens between two readings like any other end of a log. That is why
//! the next offset is written beside the records: it must not begin anew when the last of them has gone.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use fjall::compaction::Fifo;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use forewarn_messages::{TOPICS, Topic};
use forewarn_types::LogTime;
use serde::{Deserialize, Serialize};

use super::signal::Signal;
use super::{Clock, Config};
use crate::{BusError, Place, Record};

/// What is written must not exceed what Kafka would take, so that nobody depends on more.
pub(super) const RECORD_BYTES_MAX: usize = 1_000_000;

/// Memory for what is not in a table yet, per partition.
const MEMTABLE_BYTES: u64 = 16 << 20;

const PARTITIONS: &str = "partitions";

/// A record on its way into the folder.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// Carried over from the writer; `None` where the log stamps.
    pub(super) log_time: Option<LogTime>,
    pub(super) key: Vec<u8>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

impl Entry {
    pub(super) fn bytes(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.key.len() + headers + self.body.len()
    }
}

/// What outlives the records of a partition.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct End {
    /// The offset of the next record.
    next: u64,
    /// The newest stamp, in milliseconds: the log's clock does not go back.
    newest: i64,
}

struct Lane {
    keyspace: Keyspace,
    /// The offset of the next record; everything before it is durable.
    next: AtomicU64,
    /// The newest stamp, for the one who appends.
    newest: AtomicI64,
}

impl Lane {
    fn end(&self) -> End {
        End {
            next: self.next.load(Ordering::Acquire),
            newest: self.newest.load(Ordering::Relaxed),
        }
    }

    /// What was appended is durable.
    fn move_to(&self, end: End) {
        self.newest.store(end.newest, Ordering::Relaxed);
        self.next.store(end.next, Ordering::Release);
    }
}

pub(super) struct Store {
    database: Database,
    /// Ends of partitions, positions of groups, and how many partitions there are.
    meta: Keyspace,
    lanes: BTreeMap<Place, Lane>,
    partitions: u32,
    clock: Clock,
    /// Raised after every append.
    pub(super) appended: Signal,
    /// Whether a write has failed. Nothing is taken from then on: what the disk holds of it is not known.
    is_broken: AtomicBool,
    config: Config,
}

impl Store {
    pub(super) fn open(config: &Config, clock: Clock) -> Result<Self, BusError> {
        let failed = |error| failed(&config.path, error);
        let database = forewarn_folder::open(&config.path).map_err(failed)?;
        let meta = forewarn_folder::keyspace(
            &database,
            &config.path,
            "meta",
            KeyspaceCreateOptions::default,
        )
        .map_err(failed)?;
        let partitions = match meta.get(PARTITIONS).map_err(failed)? {
            Some(bytes) => <[u8; 4]>::try_from(&*bytes)
                .map(u32::from_be_bytes)
                .map_err(|_| foreign(&config.path))?,
            None => {
                let partitions = config.partitions.max(1);
                meta.insert(PARTITIONS, partitions.to_be_bytes())
                    .map_err(failed)?;
                database.persist(PersistMode::SyncAll).map_err(failed)?;
                partitions
            }
        };
        let mut lanes = BTreeMap::new();
        for topic in TOPICS.iter().copied() {
            for partition in 0..topic.partitions.count(partitions) {
                let place = Place { topic, partition };
                let name = format!("{}.{partition}", topic.name);
                let keyspace =
                    forewarn_folder::keyspace(&database, &config.path, &name, || options(config))
                        .map_err(failed)?;
                let end = end_of(&meta, place, &config.path)?;
                let lane = Lane {
                    keyspace,
                    next: AtomicU64::new(end.next),
                    newest: AtomicI64::new(end.newest),
                };
                lanes.insert(place, lane);
            }
        }
        Ok(Self {
            database,
            meta,
            lanes,
            partitions,
            clock,
            appended: Signal::default(),
            is_broken: AtomicBool::new(false),
            config: config.clone(),
        })
    }

    pub(super) fn check_partitions(&self, wanted: u32) -> Result<(), BusError> {
        if self.partitions == wanted {
            return Ok(());
        }
        Err(BusError::Topic {
            topic: "system_metrics",
            problem: format!(
                "has {found} partitions but needs {wanted}; set [embedded] partitions = {found}, or begin with another folder \
                 than {path}: the history of a topic cannot be spread anew",
                found = self.partitions,
                path = self.config.path.display(),
            ),
        })
    }

    pub(super) fn retention(&self) -> std::time::Duration {
        self.config.retention
    }

    pub(super) fn partitions(&self, topic: &Topic) -> u32 {
        topic.partitions.count(self.partitions)
    }

    pub(super) fn bounds(&self, place: Place) -> Result<Range<u64>, BusError> {
        let lane = self.lane(place)?;
        let next = lane.next.load(Ordering::Acquire);
        let first = match lane.keyspace.first_key_value() {
            Some(first) => offset_of(&first.key().map_err(|error| self.failed(error))?)
                .ok_or_else(|| foreign(&self.config.path))?,
            None => next,
        };
        Ok(first.min(next)..next)
    }

    pub(super) fn read(
        &self,
        place: Place,
        span: Range<u64>,
        each: &mut dyn FnMut(Record) -> bool,
    ) -> Result<(), BusError> {
        let lane = self.lane(place)?;
        // What is beyond is in the memtable but not yet known to be on the disk.
        let end = span.end.min(lane.next.load(Ordering::Acquire));
        if span.start >= end {
            return Ok(());
        }
        let keys = span.start.to_be_bytes()..end.to_be_bytes();
        for found in lane.keyspace.range(keys) {
            let (key, value) = found.into_inner().map_err(|error| self.failed(error))?;
            let record = offset_of(&key)
                .and_then(|offset| decode(place, offset, &value))
                .ok_or_else(|| foreign(&self.config.path))?;
            if !each(record) {
                break;
            }
        }
        Ok(())
    }

    /// Writes records in their order, and syncs. Returns the offset of each. Only one thread appends.
    pub(super) fn append(&self, entries: &[&Entry]) -> Result<Vec<u64>, BusError> {
        let mut ends: BTreeMap<Place, End> = BTreeMap::new();
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        let now = (self.clock)();
        let mut offsets = Vec::with_capacity(entries.len());
        for entry in entries {
            let lane = self.lane(entry.place)?;
            let end = ends.entry(entry.place).or_insert_with(|| lane.end());
            let log_time = match entry.log_time {
                Some(carried) if !entry.place.topic.stamped_by_log => carried,
                _ => {
                    end.newest = end.newest.max(now.0);
                    LogTime(end.newest)
                }
            };
            batch.insert(
                &lane.keyspace,
                end.next.to_be_bytes(),
                encode(entry, log_time),
            );
            offsets.push(end.next);
            end.next += 1;
        }
        for (place, end) in &ends {
            let bytes = postcard::to_stdvec(end).map_err(|_| foreign(&self.config.path))?;
            batch.insert(&self.meta, end_key(*place), bytes);
        }
        batch.commit().map_err(|error| {
            self.is_broken.store(true, Ordering::Relaxed);
            self.failed(error)
        })?;
        for (place, end) in ends {
            self.lane(place)?.move_to(end);
        }
        self.appended.raise();
        Ok(offsets)
    }

    /// Whether the disk has room for more.
    pub(super) fn has_room(&self) -> bool {
        // What is wrong with a folder that cannot be asked about is found out by writing to it.
        forewarn_folder::free(&self.config.path)
            .is_none_or(|free| free >= self.config.free_bytes_min as u64)
    }

    /// Fails when only a new process helps: a write has failed, and whatever was the matter, there is room now. Before, a new
    /// process would fail like this one, which can still be read from.
    pub(super) fn check(&self) -> Result<(), BusError> {
        let is_due = self.is_broken.load(Ordering::Relaxed)
            && forewarn_folder::can_start_again(
                &self.config.path,
                self.config.free_bytes_min as u64,
            );
        if is_due {
            return Err(self.failed(fjall::Error::Poisoned));
        }
        Ok(())
    }

    pub(super) fn commit(&self, group: &str, place: Place, next: u64) -> Result<(), BusError> {
        // Not synced: it is a hint, and a reader that begins earlier does again what it has done.
        self.meta
            .insert(position_key(group, place), next.to_be_bytes())
            .map_err(|error| self.failed(error))
    }

    pub(super) fn committed(&self, group: &str, place: Place) -> Result<Option<u64>, BusError> {
        let found = self
            .meta
            .get(position_key(group, place))
            .map_err(|error| self.failed(error))?;
        Ok(found.and_then(|bytes| offset_of(&bytes)))
    }

    fn lane(&self, place: Place) -> Result<&Lane, BusError> {
        self.lanes.get(&place).ok_or_else(|| BusError::Topic {
            topic: place.topic.name,
            problem: format!("has no partition {}", place.partition),
        })
    }

    fn failed(&self, error: fjall::Error) -> BusError {
        failed(&self.config.path, error)
    }
}

fn options(config: &Config) -> KeyspaceCreateOptions {
    let age = config.retention.as_secs().max(1);
    let strategy = Fifo::new(config.partition_bytes_max as u64, Some(age));
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .compaction_strategy(std::sync::Arc::new(strategy))
}

fn end_of(meta: &Keyspace, place: Place, path: &Path) -> Result<End, BusError> {
    let found = meta
        .get(end_key(place))
        .map_err(|error| failed(path, error))?;
    found.map_or(Ok(End::default()), |bytes| {
        postcard::from_bytes(&bytes).map_err(|_| foreign(path))
    })
}

fn end_key(place: Place) -> String {
    format!("end/{place}")
}

/// Names of groups and topics have no `/`.
fn position_key(group: &str, place: Place) -> String {
    format!("position/{group}/{place}")
}

fn offset_of(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// Log time, then each part after its length, bytes as they are: a body is most of a record, and is copied once.
fn encode(entry: &Entry, log_time: LogTime) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entry.bytes() + 64);
    bytes.extend_from_slice(&log_time.0.to_be_bytes());
    let mut part = |part: &[u8]| {
        // Records are limited to a million bytes.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(part);
    };
    part(&entry.key);
    part(&entry.body);
    for (name, value) in &entry.headers {
        part(name.as_bytes());
        part(value);
    }
    bytes
}

fn decode(place: Place, offset: u64, bytes: &[u8]) -> Option<Record> {
    let (log_time, mut rest) = bytes.split_first_chunk::<8>()?;
    let mut part = || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (part, behind) = behind.split_at_checked(length)?;
        rest = behind;
        Some(part)
    };
    let (key, body) = (part()?.to_vec(), part()?.to_vec());
    let mut headers = Vec::new();
    while let Some(name) = part() {
        let name = String::from_utf8(name.to_vec()).ok()?;
        headers.push((name, part()?.to_vec()));
    }
    rest.is_empty().then_some(Record {
        place,
        offset,
        log_time: LogTime(i64::from_be_bytes(*log_time)),
        key,
        headers,
        body,
    })
}

fn failed(path: &Path, error: fjall::Error) -> BusError {
    let path = path.display();
    BusError::Client(match error {
        fjall::Error::Locked => format!(
            "the folder {path} belongs to another process that runs; stop it, or begin with another folder"
        ),
        fjall::Error::Poisoned => {
            format!("a write to {path} has failed before; start again when the disk is in order")
        }
        error => format!("the folder {path}: {error}"),
    })
}

fn foreign(path: &Path) -> BusError {
    BusError::Client(format!(
        "the folder {} holds something else than a log of ours; begin with another folder",
        path.display()
    ))
}
