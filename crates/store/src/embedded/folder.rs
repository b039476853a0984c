//! The folder: which keyspaces there are, and what their keys look like.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `meta` | a word | what has to survive |
//! | `series` | number | name |
//! | `open-H` | number, milliseconds in hour `H` | the value |
//! | `raw-P`, `10s-P` … | number, chunk | the points of a chunk, packed |
//!
//! A chunk is a span of a series, a period `P` some chunks in one keyspace. Both begin at multiples of their lengths since
//! the epoch. Numbers in keys are big-endian, so that what belongs together lies together.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use super::catalogue::Id;
use super::{Config, Error};
use crate::metrics::LEVELS;

/// Milliseconds of an hour, the length of the chunks of raw points.
pub(super) const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Memory for what is not in a table yet, per keyspace.
const MEMTABLE_BYTES: u64 = 16 << 20;

/// Points of an import between two syncs: with their windows two megabytes or so, and a folder that is opened after a power
/// failure takes eight for the most that can be missing.
const UNSYNCED_POINTS_MAX: usize = 50_000;

const CLOSED_BEFORE: &str = "closed_before";

/// How fine points are: as they came, or a place in [`LEVELS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fineness {
    Raw,
    Level(usize),
}

impl Fineness {
    /// From raw points to the coarsest windows.
    pub(super) const ALL: [Self; 1 + LEVELS.len()] = [
        Self::Raw,
        Self::Level(0),
        Self::Level(1),
        Self::Level(2),
        Self::Level(3),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Level(level) => LEVELS[level].name,
        }
    }

    /// Length of a chunk in milliseconds: some hundreds of windows each.
    pub(super) const fn chunk(self) -> i64 {
        match self {
            Self::Raw | Self::Level(0) => HOUR,
            Self::Level(1) => 6 * HOUR,
            Self::Level(2) => 2 * DAY,
            Self::Level(_) => 15 * DAY,
        }
    }

    /// Length of a period in milliseconds: a keyspace's, some of which make up the time that they are kept.
    pub(super) const fn period(self) -> i64 {
        match self {
            Self::Raw => DAY,
            Self::Level(0 | 1) => 30 * DAY,
            Self::Level(2) => 90 * DAY,
            Self::Level(_) => 360 * DAY,
        }
    }
}

/// Where a keyspace's points lie in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kept {
    Open(i64),
    Chunks(Fineness, i64),
}

impl Kept {
    fn name(self) -> String {
        match self {
            Self::Open(hour) => format!("open-{hour}"),
            Self::Chunks(fineness, period) => format!("{}-{period}", fineness.name()),
        }
    }

    fn of(name: &str) -> Option<Self> {
        let (what, number) = name.split_once('-')?;
        let number = number.parse().ok()?;
        if what == "open" {
            return Some(Self::Open(number));
        }
        let fineness = Fineness::ALL.into_iter().find(|one| one.name() == what)?;
        Some(Self::Chunks(fineness, number))
    }
}

/// The keyspaces.
pub(super) struct Folder {
    path: PathBuf,
    free_bytes_min: u64,
    database: Database,
    meta: Keyspace,
    pub(super) series: Keyspace,
    /// Whether a write has failed: fjall takes nothing more, and names of new series may be known that are not on the disk.
    is_broken: AtomicBool,
    /// Points that were taken in since the last sync.
    unsynced: AtomicUsize,
    kept: RwLock<BTreeMap<Kept, Keyspace>>,
}

impl Folder {
    pub(super) fn open(config: &Config) -> Result<Self, Error> {
        let failed = |error| failed(&config.path, error);
        let database = forewarn_folder::open(&config.path).map_err(failed)?;
        let keyspace = |name: &str| {
            forewarn_folder::keyspace(&database, &config.path, name, options).map_err(failed)
        };
        let (meta, series) = (keyspace("meta")?, keyspace("series")?);
        let mut kept = BTreeMap::new();
        for name in database.list_keyspace_names() {
            if let Some(what) = Kept::of(&name) {
                kept.insert(what, keyspace(&name)?);
            }
        }
        Ok(Self {
            path: config.path.clone(),
            free_bytes_min: config.free_bytes_min as u64,
            database,
            meta,
            series,
            is_broken: AtomicBool::new(false),
            unsynced: AtomicUsize::new(0),
            kept: RwLock::new(kept),
        })
    }

    /// A batch that is on the disk once it is committed.
    pub(super) fn batch(&self) -> OwnedWriteBatch {
        self.database
            .batch()
            .durability(Some(PersistMode::SyncData))
    }

    /// A batch of which nobody has been told: it is on the disk after the next [`sync`](Self::sync).
    pub(super) fn batch_unsynced(&self) -> OwnedWriteBatch {
        self.database.batch()
    }

    /// Commits an unsynced batch with so many points in it; syncs when many have come together.
    pub(super) fn commit_unsynced(
        &self,
        batch: OwnedWriteBatch,
        points: usize,
    ) -> Result<(), Error> {
        self.commit(batch)?;
        let unsynced = self.unsynced.fetch_add(points, Ordering::Relaxed) + points;
        if unsynced >= UNSYNCED_POINTS_MAX {
            self.sync()?;
            self.unsynced.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns when everything that was committed is on the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.database
            .persist(PersistMode::SyncData)
            .map_err(|error| self.failed(error))
    }

    /// Whether the disk has room for more.
    pub(super) fn has_room(&self) -> bool {
        // What is wrong with a folder that cannot be asked about is found out by writing to it.
        forewarn_folder::free(&self.path).is_none_or(|free| free >= self.free_bytes_min)
    }

    /// A write has failed: nothing more is taken.
    pub(super) fn broke(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Whether a new process could go on.
    pub(super) fn can_start_again(&self) -> bool {
        forewarn_folder::can_start_again(&self.path, self.free_bytes_min)
    }

    /// The hour before which all are closed.
    pub(super) fn closed_before(&self) -> Result<i64, Error> {
        let found = self
            .meta
            .get(CLOSED_BEFORE)
            .map_err(|error| self.failed(error))?;
        found.map_or(Ok(i64::MIN), |bytes| {
            <[u8; 8]>::try_from(&*bytes)
                .map(i64::from_be_bytes)
                .map_err(|_| self.foreign())
        })
    }

    pub(super) fn close_before(&self, hour: i64) -> Result<(), Error> {
        let mut batch = self.batch();
        batch.insert(&self.meta, CLOSED_BEFORE, hour.to_be_bytes());
        self.commit(batch)
    }

    /// Number and name of every series.
    pub(super) fn series(&self) -> Result<Vec<(Id, String)>, Error> {
        let mut found = Vec::new();
        for row in self.series.iter() {
            let (key, value) = row.into_inner().map_err(|error| self.failed(error))?;
            let id = <[u8; 4]>::try_from(&*key).map_err(|_| self.foreign())?;
            let name = String::from_utf8(value.to_vec()).map_err(|_| self.foreign())?;
            found.push((Id::from_be_bytes(id), name));
        }
        Ok(found)
    }

    /// The hours that have rows.
    pub(super) fn open_hours(&self) -> Vec<(i64, Keyspace)> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let open = kept.iter().filter_map(|(what, keyspace)| match what {
            Kept::Open(hour) => Some((*hour, keyspace.clone())),
            Kept::Chunks(..) => None,
        });
        open.collect()
    }

    /// Where the rows of an open hour lie; made if need be.
    pub(super) fn open_hour(&self, hour: i64) -> Result<Keyspace, Error> {
        self.keyspace(Kept::Open(hour))
    }

    /// Where the chunk that begins at `start` lies; made if need be.
    pub(super) fn chunks_at(&self, fineness: Fineness, start: i64) -> Result<Keyspace, Error> {
        self.keyspace(Kept::Chunks(fineness, start.div_euclid(fineness.period())))
    }

    /// The keyspaces of the periods that `span` (milliseconds) touches, in the order of time.
    pub(super) fn chunks_within(&self, fineness: Fineness, span: &Range<i64>) -> Vec<Keyspace> {
        let period = |at: i64| Kept::Chunks(fineness, at.div_euclid(fineness.period()));
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        // Chunks may begin before the span does, in the period before.
        let first = period(span.start.saturating_sub(fineness.chunk()));
        kept.range(first..=period(span.end))
            .map(|(_, keyspace)| keyspace.clone())
            .collect()
    }

    fn keyspace(&self, what: Kept) -> Result<Keyspace, Error> {
        let known = |kept: &BTreeMap<Kept, Keyspace>| kept.get(&what).cloned();
        if let Some(found) = known(&self.kept.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(found);
        }
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known(&kept) {
            return Ok(found);
        }
        let made = forewarn_folder::keyspace(&self.database, &self.path, &what.name(), options)
            .map_err(|error| self.failed(error))?;
        kept.insert(what, made.clone());
        Ok(made)
    }

    /// Forgets the rows of an hour whose points are in chunks.
    pub(super) fn drop_hour(&self, hour: i64) -> Result<(), Error> {
        // The chunks have been synced, or they would not be counted as written.
        self.drop_where(|what| what == Kept::Open(hour))
    }

    /// Forgets the periods that ended before `kept_since` (milliseconds).
    pub(super) fn drop_periods(&self, fineness: Fineness, kept_since: i64) -> Result<(), Error> {
        self.drop_where(|what| match what {
            Kept::Chunks(of, period) => {
                of == fineness && (period + 1).saturating_mul(fineness.period()) <= kept_since
            }
            Kept::Open(_) => false,
        })
    }

    fn drop_where(&self, is_past: impl Fn(Kept) -> bool) -> Result<(), Error> {
        let past: Vec<(Kept, Keyspace)> = {
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            kept.extract_if(.., |what, _| is_past(*what)).collect()
        };
        for (what, keyspace) in past {
            self.database
                .delete_keyspace(keyspace)
                .map_err(|error| self.failed(error))?;
            tracing::debug!(keyspace = what.name(), "points have gone");
        }
        Ok(())
    }

    pub(super) fn commit(&self, batch: OwnedWriteBatch) -> Result<(), Error> {
        batch.commit().map_err(|error| self.failed(error))
    }

    pub(super) fn failed(&self, error: fjall::Error) -> Error {
        failed(&self.path, error)
    }

    pub(super) fn foreign(&self) -> Error {
        Error(format!(
            "the folder {} holds something else than points of ours; begin with another folder",
            self.path.display()
        ))
    }
}

/// Key of a row of an open hour.
pub(super) fn row_key(id: Id, millis: u32) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&id.to_be_bytes());
    key[4..].copy_from_slice(&millis.to_be_bytes());
    key
}

/// Series and milliseconds of a row.
pub(super) fn row_of(key: &[u8]) -> Option<(Id, u32)> {
    let (id, millis) = key.split_first_chunk::<4>()?;
    let millis = <[u8; 4]>::try_from(millis).ok()?;
    Some((Id::from_be_bytes(*id), u32::from_be_bytes(millis)))
}

/// Key of the chunk that begins at `start`. Flipped, the sign sorts like the number.
pub(super) fn chunk_key(id: Id, start: i64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&id.to_be_bytes());
    key[4..].copy_from_slice(&(start ^ i64::MIN).to_be_bytes());
    key
}

/// The beginning of a chunk.
pub(super) fn chunk_start(key: &[u8]) -> Option<i64> {
    let (_, start) = key.split_first_chunk::<4>()?;
    let start = <[u8; 8]>::try_from(start).ok()?;
    Some(i64::from_be_bytes(start) ^ i64::MIN)
}

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
}

fn failed(path: &std::path::Path, error: fjall::Error) -> Error {
    let path = path.display();
    Error(match error {
        fjall::Error::Locked => format!(
            "the folder {path} belongs to another process that runs; stop it, or begin with another folder"
        ),
        fjall::Error::Poisoned => {
            format!("a write to {path} has failed before; start again when the disk is in order")
        }
        error => format!("the folder {path}: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_time_does_and_periods_are_whole_chunks() {
        let starts = [-HOUR, 0, HOUR, 500 * DAY];
        assert!(starts.map(|start| chunk_key(7, start)).is_sorted());
        for start in starts {
            assert_eq!(chunk_start(&chunk_key(7, start)), Some(start));
        }
        assert_eq!(row_of(&row_key(7, 9)), Some((7, 9)));
        for fineness in Fineness::ALL {
            assert_eq!(fineness.period() % fineness.chunk(), 0, "{fineness:?}");
            let kept = Kept::Chunks(fineness, -3);
            assert_eq!(Kept::of(&kept.name()), Some(kept));
        }
        assert_eq!(Kept::of("open-12"), Some(Kept::Open(12)));
        assert_eq!(Kept::of("meta"), None);
    }
}
