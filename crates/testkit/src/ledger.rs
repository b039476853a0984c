//! What was acknowledged, written down where no fault of a test reaches it: the measure of "nothing acknowledged is lost".
//!
//! A sender's batches are numbered; the ledger keeps ranges of numbers, and what was in them is generated again from
//! the seed. An entry counts once it is synced; a line that a crash has torn is an entry that was never made.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

/// The writing end.
#[derive(Debug)]
pub struct Ledger {
    file: File,
}

impl Ledger {
    /// Opens a ledger for more entries, making it where there is none.
    ///
    /// # Errors
    /// As the file system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let torn =
            std::fs::read(path).is_ok_and(|bytes| bytes.last().is_some_and(|last| *last != b'\n'));
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        if torn {
            // Whatever stands on the torn line stays unreadable, and the next entry gets a line of its own.
            file.write_all(b"?\n")?;
        }
        Ok(Self { file })
    }

    /// Notes that these batches of this sender were acknowledged. Returns once that is durable.
    ///
    /// # Errors
    /// As the file system says.
    pub fn acknowledged(&mut self, sender: &str, batches: Range<u64>) -> io::Result<()> {
        writeln!(self.file, "{} {} {sender}", batches.start, batches.end)?;
        self.file.sync_data()
    }
}

/// The ranges of acknowledged batches of each sender, in order and without overlap.
///
/// # Errors
/// As the file system says.
pub fn read(path: &Path) -> io::Result<BTreeMap<String, Vec<Range<u64>>>> {
    let mut ranges: BTreeMap<String, Vec<Range<u64>>> = BTreeMap::new();
    let text = std::fs::read_to_string(path)?;
    // Without its line end the last line may be the beginning of a longer one.
    for line in text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
    {
        if let Some((sender, range)) = entry(line.trim_end()) {
            ranges.entry(sender.to_owned()).or_default().push(range);
        }
    }
    for of_sender in ranges.values_mut() {
        of_sender.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in of_sender.drain(..) {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        *of_sender = merged;
    }
    Ok(ranges)
}

fn entry(line: &str) -> Option<(&str, Range<u64>)> {
    let mut words = line.splitn(3, ' ');
    let range = words.next()?.parse().ok()?..words.next()?.parse().ok()?;
    Some((words.next()?, range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_back_merged_and_a_torn_line_does_not_count() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger");
        let mut ledger = Ledger::open(&path).expect("open");
        for range in [0..2, 2..3, 7..9] {
            ledger.acknowledged("web 01", range).expect("write");
        }
        drop(ledger);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .expect("open")
            .write_all(b"9 12")
            .expect("write");
        assert_eq!(read(&path).expect("read")["web 01"], [0..3, 7..9]);

        // A sender that goes on after the crash does not bring the torn line to life.
        let mut ledger = Ledger::open(&path).expect("open");
        ledger.acknowledged("web 01", 9..10).expect("write");
        assert_eq!(read(&path).expect("read")["web 01"], [0..3, 7..10]);
    }
}
