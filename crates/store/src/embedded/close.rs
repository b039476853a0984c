//! Closing: the rows of an hour become chunks, and the windows of every level with them.

use fjall::OwnedWriteBatch;

use super::catalogue::Id;
use super::chunk::{self, Points};
use super::folder::{Fineness, HOUR, chunk_key, row_of};
use super::write::millis;
use super::{Error, Shared, lock};
use crate::metrics::LEVELS;

/// How long after its end an hour stays open for those who come late, in milliseconds.
const LATE: i64 = 10 * 60_000;

/// Series whose rows become chunks in one go.
const SERIES_AT_ONCE: usize = 64;

/// Mean, least and greatest value of each window, with its beginning in milliseconds since the epoch, in order.
pub(super) type Windows = Vec<(i64, [f64; 3])>;

/// The hour before which all have ended long enough ago.
pub(super) fn closed_before(now: i64) -> i64 {
    now.saturating_sub(LATE).div_euclid(HOUR)
}

impl Shared {
    /// Closes the hours that have ended, and lets go what is kept no longer.
    pub(super) fn tidy(&self) -> Result<(), Error> {
        let now = (self.clock)();
        let hours_end = {
            let mut held = lock(&self.closed_before);
            let end = closed_before(now).max(*held);
            if end > *held {
                // Before the first chunk: whoever comes late now must not become a row that the next start takes for newer.
                self.folder.close_before(end)?;
                *held = end;
            }
            end
        };
        for (hour, rows) in self.folder.open_hours() {
            if hour < hours_end {
                self.close(hour, &rows)?;
                self.folder.drop_hour(hour)?;
            }
        }
        let retention = self.config.retention();
        self.folder
            .drop_periods(Fineness::Raw, now.saturating_sub(millis(retention.raw)))?;
        for (level, kept) in retention.levels.into_iter().flatten().enumerate() {
            self.folder
                .drop_periods(Fineness::Level(level), now.saturating_sub(millis(kept)))?;
        }
        Ok(())
    }

    /// Turns the rows of an hour into chunks. Broken off at any moment, it is done again from the beginning.
    fn close(&self, hour: i64, rows: &fjall::Keyspace) -> Result<(), Error> {
        let mut collected: Vec<(Id, Points<1>)> = Vec::new();
        for row in rows.iter() {
            let (key, value) = row
                .into_inner()
                .map_err(|error| self.folder.failed(error))?;
            let (id, at) = row_of(&key).ok_or_else(|| self.folder.foreign())?;
            let value = number_of(&value).ok_or_else(|| self.folder.foreign())?;
            match collected.last_mut() {
                Some((last, points)) if *last == id => points.push((at, [value])),
                _ => {
                    if collected.len() >= SERIES_AT_ONCE {
                        self.close_some(hour, &mut collected)?;
                    }
                    collected.push((id, vec![(at, [value])]));
                }
            }
        }
        self.close_some(hour, &mut collected)
    }

    fn close_some(&self, hour: i64, collected: &mut Vec<(Id, Points<1>)>) -> Result<(), Error> {
        let _held = lock(&self.closed_before);
        let mut batch = self.folder.batch();
        for (id, points) in collected.drain(..) {
            self.add_to_chunk(&mut batch, id, hour, points, true)?;
        }
        self.folder.commit(batch)
    }

    /// Works points into the chunk of an hour, and their windows into the levels. What is in the chunk already came later than
    /// rows (`are_rows`), and before anything else. Whoever calls holds the lock of the chunks until the batch is committed.
    pub(super) fn add_to_chunk(
        &self,
        batch: &mut OwnedWriteBatch,
        id: Id,
        hour: i64,
        points: Points<1>,
        are_rows: bool,
    ) -> Result<(), Error> {
        let start = hour * HOUR;
        let chunks = self.folder.chunks_at(Fineness::Raw, start)?;
        let key = chunk_key(id, start);
        let there: Points<1> = self.unpack(chunks.get(key))?;
        let merged = if there.is_empty() {
            points
        } else {
            let (mut older, newer) = if are_rows {
                (points, there)
            } else {
                (there, points)
            };
            older.extend(newer);
            chunk::in_order(older)
        };
        batch.insert(&chunks, key, self.pack(&merged)?);
        let values = merged
            .iter()
            .map(|(at, [value])| (start + i64::from(*at), *value));
        for (level, windows) in windows(values).into_iter().enumerate() {
            self.add_windows(batch, id, level, windows)?;
        }
        Ok(())
    }

    /// Puts an hour's windows into the chunk of a level, which is an hour or longer.
    fn add_windows(
        &self,
        batch: &mut OwnedWriteBatch,
        id: Id,
        level: usize,
        windows: Windows,
    ) -> Result<(), Error> {
        let fineness = Fineness::Level(level);
        let Some((first, _)) = windows.first() else {
            return Ok(());
        };
        let start = first.div_euclid(fineness.chunk()) * fineness.chunk();
        let chunks = self.folder.chunks_at(fineness, start)?;
        let key = chunk_key(id, start);
        // A chunk of one hour consists of these windows and no others.
        let mut points: Points<3> = match fineness.chunk() {
            HOUR => Points::new(),
            _ => self.unpack(chunks.get(key))?,
        };
        points.extend(
            windows
                .into_iter()
                .filter_map(|(at, window)| Some((u32::try_from(at - start).ok()?, window))),
        );
        batch.insert(&chunks, key, self.pack(&chunk::in_order(points))?);
        Ok(())
    }

    pub(super) fn unpack<const N: usize>(
        &self,
        found: fjall::Result<Option<fjall::UserValue>>,
    ) -> Result<Points<N>, Error> {
        match found.map_err(|error| self.folder.failed(error))? {
            Some(bytes) => chunk::unpack(&bytes).ok_or_else(|| self.folder.foreign()),
            None => Ok(Points::new()),
        }
    }

    fn pack<const N: usize>(&self, points: &[(u32, [f64; N])]) -> Result<Vec<u8>, Error> {
        chunk::pack(points).map_err(Error)
    }
}

/// The value of a row.
pub(super) fn number_of(bytes: &[u8]) -> Option<f64> {
    Some(f64::from_be_bytes(bytes.try_into().ok()?))
}

/// The windows of every level, of values in the order of time: the finest from the values, each other from the one before.
pub(super) fn windows(values: impl Iterator<Item = (i64, f64)>) -> [Windows; LEVELS.len()] {
    let mut finer = gather(values.map(|(at, value)| (at, [value; 3])), LEVELS[0].window);
    LEVELS.each_ref().map(|level| {
        if level.window != LEVELS[0].window {
            finer = gather(finer.iter().copied(), level.window);
        }
        finer.clone()
    })
}

/// Puts windows together to longer ones.
fn gather(parts: impl Iterator<Item = (i64, [f64; 3])>, window: i64) -> Windows {
    let mut gathered: Vec<(i64, [f64; 3], f64)> = Vec::new();
    for (at, [mean, least, most]) in parts {
        let start = at.div_euclid(window) * window;
        match gathered.last_mut() {
            Some((last, sum, count)) if *last == start => {
                *sum = [sum[0] + mean, sum[1].min(least), sum[2].max(most)];
                *count += 1.0;
            }
            _ => gathered.push((start, [mean, least, most], 1.0)),
        }
    }
    let gathered = gathered.into_iter();
    gathered
        .map(|(at, [sum, least, most], count)| (at, [sum / count, least, most]))
        .collect()
}
