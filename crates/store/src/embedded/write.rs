//! Writing: rows for hours that are open, chunks for those that are closed.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use fjall::OwnedWriteBatch;

use super::catalogue::{Catalogue, Id};
use super::chunk::{Points, in_order};
use super::folder::{HOUR, row_key};
use super::{Error, Shared, lock};
use crate::metrics::line::{parse_fields, split_head};
use crate::metrics::{Field, Lines, Refused, WriteError, Written};

/// Chunks that are changed in one go: more would keep readers of the folder's journal waiting.
const CHUNKS_AT_ONCE: usize = 256;

/// A number on its way.
struct Number {
    id: Id,
    at: i64,
    value: f64,
}

impl Shared {
    /// Writes all lines and syncs once, or more often where closed hours are concerned.
    pub(super) fn write(&self, lines: &Lines) -> Result<Written, WriteError> {
        if self.folder.is_broken() {
            let why = format!(
                "a write to {} has failed before; start again when the disk is in order",
                self.config.path.display()
            );
            return Err(match self.folder.can_start_again() {
                true => WriteError::Broken(why),
                false => later(why),
            });
        }
        if !self.folder.has_room() {
            return Err(later(format!(
                "the disk of {} has less free space than [metric_store] free_bytes_min; make room",
                self.config.path.display()
            )));
        }
        let mut batch = self.folder.batch();
        let mut written = Written::default();
        let numbers = self
            .numbers(lines, &mut batch, &mut written)
            .map_err(|error| later(error.to_string()))?;
        self.put(&numbers, batch).map_err(|error| {
            // Names of new series are known now and not on the disk: what came next would be without a name after a restart.
            self.folder.broke();
            later(error.to_string())
        })?;
        Ok(written)
    }

    /// Takes in the past of one series: see [`super::EmbeddedMetrics::import`].
    pub(super) fn import(
        &self,
        head: &str,
        field: &str,
        points: &[(i64, f64)],
    ) -> Result<(), Error> {
        let mut batch = self.folder.batch();
        let id = {
            let mut catalogue = self
                .catalogue
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            self.number_of(&mut catalogue, head, field, &mut batch)
                .ok_or_else(|| Error("there are no numbers left for new series".to_owned()))?
        };
        self.folder.commit(batch)?;
        for hour in points.chunk_by(|(a, _), (b, _)| a.div_euclid(HOUR) == b.div_euclid(HOUR)) {
            let start = hour[0].0.div_euclid(HOUR);
            let within = hour.iter().filter_map(|(at, value)| {
                Some((u32::try_from(at.rem_euclid(HOUR)).ok()?, [*value]))
            });
            // Levels are coarser than an hour: each has to see the one before.
            let mut batch = self.folder.batch_unsynced();
            let _held = lock(&self.closed_before);
            self.add_to_chunk(&mut batch, id, start, in_order(within.collect()), false)?;
            self.folder.commit_unsynced(batch, hour.len())?;
        }
        Ok(())
    }

    /// The numbers of the lines, by their series; new series go into `batch`.
    fn numbers(
        &self,
        lines: &Lines,
        batch: &mut OwnedWriteBatch,
        written: &mut Written,
    ) -> Result<Vec<Number>, Error> {
        let kept_since = (self.clock)() - millis(self.config.retention_raw);
        let mut numbers = Vec::with_capacity(lines.len());
        let mut catalogue = self
            .catalogue
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut full = false;
        for (place, line) in lines.iter().enumerate() {
            let begun = numbers.len();
            let read = split_head(line).and_then(|(head, rest)| {
                parse_fields(rest, &mut |field, value| {
                    let Field::Float(value) = value else { return };
                    match self.number_of(&mut catalogue, head, &field, batch) {
                        // The time stands at the end of the line.
                        Some(id) => numbers.push(Number { id, at: 0, value }),
                        None => full = true,
                    }
                })
            });
            match read {
                Some(at) if at < kept_since => {
                    numbers.truncate(begun);
                    written.expired += 1;
                }
                Some(at) => {
                    for number in &mut numbers[begun..] {
                        number.at = at;
                    }
                }
                None => {
                    numbers.truncate(begun);
                    written.refused.push(Refused {
                        line: place,
                        message: "it is not line protocol".to_owned(),
                    });
                }
            }
        }
        if full {
            return Err(Error("there are no numbers left for new series".to_owned()));
        }
        Ok(numbers)
    }

    /// The number of a series, a new one if need be. That it is known before it is on the disk does no harm: whoever writes
    /// next writes its name too, or fails again.
    fn number_of(
        &self,
        catalogue: &mut Catalogue,
        head: &str,
        field: &str,
        batch: &mut OwnedWriteBatch,
    ) -> Option<Id> {
        if let Some(id) = catalogue.find(head, field) {
            return Some(id);
        }
        let id = catalogue.next()?;
        let name = Catalogue::name(head, field);
        batch.insert(&self.folder.series, id.to_be_bytes(), name);
        catalogue.add(id, head, field)?;
        Some(id)
    }

    /// Writes numbers, new series in `batch` with them.
    fn put(&self, numbers: &[Number], mut batch: OwnedWriteBatch) -> Result<(), Error> {
        let closed_before = lock(&self.closed_before);
        let mut closed: BTreeMap<i64, BTreeMap<Id, Points<1>>> = BTreeMap::new();
        for number in numbers {
            let hour = number.at.div_euclid(HOUR);
            let Ok(at) = u32::try_from(number.at.rem_euclid(HOUR)) else {
                continue;
            };
            if hour < *closed_before {
                // Of a point that comes twice in one batch the later one holds.
                closed
                    .entry(hour)
                    .or_default()
                    .entry(number.id)
                    .or_default()
                    .push((at, [number.value]));
            } else {
                let rows = self.folder.open_hour(hour)?;
                batch.insert(&rows, row_key(number.id, at), number.value.to_be_bytes());
            }
        }
        self.folder.commit(batch)?;
        for (hour, series) in closed {
            // Hours share chunks of coarser levels: what one has put there the next has to see.
            let mut series = series.into_iter().peekable();
            while series.peek().is_some() {
                let mut batch = self.folder.batch();
                for (id, points) in series.by_ref().take(CHUNKS_AT_ONCE) {
                    self.add_to_chunk(&mut batch, id, hour, in_order(points), false)?;
                }
                self.folder.commit(batch)?;
            }
        }
        Ok(())
    }
}

pub(super) fn millis(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn later(why: String) -> WriteError {
    WriteError::Later {
        why,
        retry_after: None,
    }
}
