//! What a journal ends with that was never synced.
//!
//! A power failure may leave the last writes in pieces: the end of a batch without its middle, lengths that are zeros. fjall
//! cuts off an end that is missing, but refuses a folder whose last batch is there and wrong. So the newest journal is
//! read here first, and cut off behind its last batch that is whole. Older journals were synced before they were left.
//!
//! A batch (all numbers little-endian): `1`, how many items `u32`, sequence number `u64`; items; `3`, the xxh3 of the
//! items' bytes `u64`, and the magic. An item: `2`, kind `u8`, compression `u8`, keyspace `u64`, lengths of key `u16`, of
//! value `u32` and of the value as it is written `u32`, key, value; or `4`, keyspace `u64`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek as _, SeekFrom};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::journals;

/// Nobody writes more than this without a sync. Where more is wrong, it is not a power failure's doing, and to cut it off
/// would be to lose what was acknowledged, which fjall does without a word where a length or a mark is damaged.
const UNSYNCED_BYTES_MAX: u64 = 8 << 20;

const MAGIC: &[u8] = b"FJL\x03";

/// Cuts the newest journal off behind its last whole batch.
pub(super) fn cut(path: &Path) -> io::Result<()> {
    let Some((_, path)) = journals(path)?.pop() else {
        return Ok(());
    };
    let whole = whole(&path)?;
    let end = end(&path, whole)?;
    if end <= whole {
        return Ok(());
    }
    if end - whole > UNSYNCED_BYTES_MAX {
        return Err(io::Error::other(format!(
            "{} is damaged at byte {whole}, and {} bytes behind it cannot be read: the disk has lost what it had taken. \
             Restore the folder from a backup, or begin with another one",
            path.display(),
            end - whole
        )));
    }
    tracing::warn!(
        journal = %path.display(),
        bytes = end - whole,
        "a write was under way when the machine went down; it was not acknowledged, and is cut off"
    );
    let file = OpenOptions::new().write(true).open(&path)?;
    file.set_len(whole)?;
    file.sync_all()
}

/// Where the last batch that is whole ends.
fn whole(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reader = Batches {
        left: length,
        file: BufReader::new(file),
        piece: Vec::new(),
    };
    let mut whole = 0;
    loop {
        match reader.batch() {
            Ok(true) => whole = length - reader.left,
            Ok(false) => return Ok(whole),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(whole),
            Err(error) => return Err(error),
        }
    }
}

/// Where the last byte that is not zero ends, from `begin` on; space that is reserved reads as zeros.
fn end(path: &Path, begin: u64) -> io::Result<u64> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(begin))?;
    let (mut at, mut end, mut piece) = (begin, begin, vec![0; 1 << 20]);
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok(end);
        }
        if let Some(last) = piece[..length].iter().rposition(|byte| *byte != 0) {
            end = at + last as u64 + 1;
        }
        at += length as u64;
    }
}

struct Batches {
    file: BufReader<File>,
    left: u64,
    piece: Vec<u8>,
}

impl Batches {
    /// Reads a batch; whether it is whole. An end in the middle is [`ErrorKind::UnexpectedEof`].
    fn batch(&mut self) -> io::Result<bool> {
        if self.take::<1>()? != [1] {
            return Ok(false);
        }
        let items = u32::from_le_bytes(self.take()?);
        let _sequence: [u8; 8] = self.take()?;
        let mut hash = Xxh3::new();
        for _ in 0..items {
            let tag = self.take::<1>()?;
            hash.update(&tag);
            match tag {
                [2] => {
                    let head: [u8; 20] = self.take()?;
                    hash.update(&head);
                    let key = u16::from_le_bytes([head[10], head[11]]);
                    let value = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
                    self.piece(u64::from(key) + u64::from(value))?;
                    hash.update(&self.piece);
                }
                [4] => hash.update(&self.take::<8>()?),
                _ => return Ok(false),
            }
        }
        Ok(self.take::<1>()? == [3]
            && u64::from_le_bytes(self.take()?) == hash.digest()
            && self.take::<4>()? == *MAGIC)
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.left -= N as u64;
        Ok(bytes)
    }

    /// Lengths may be anything: no more is made room for than there is.
    fn piece(&mut self, length: u64) -> io::Result<()> {
        if length > self.left {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.piece
            .resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        self.file.read_exact(&mut self.piece)?;
        self.left -= length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use fjall::{KeyspaceCreateOptions, PersistMode};

    use super::*;

    /// A folder with some batches of three records, and where each ends.
    fn written() -> (tempfile::TempDir, std::path::PathBuf, Vec<u64>) {
        let folder = tempfile::tempdir().expect("a folder");
        let database = crate::open(folder.path()).expect("opened");
        let keyspace = crate::keyspace(
            &database,
            folder.path(),
            "k",
            KeyspaceCreateOptions::default,
        );
        let keyspace = keyspace.expect("made");
        let (_, journal) = journals(folder.path()).expect("listed").remove(0);
        let mut ends = Vec::new();
        for n in 0..5_u8 {
            let mut batch = database.batch().durability(Some(PersistMode::SyncData));
            for i in 0..3 {
                // Some compressible, some long.
                batch.insert(&keyspace, [n, i], vec![n; usize::from(i) * 5_000]);
            }
            batch.commit().expect("committed");
            ends.push(end(&journal, 0).expect("read"));
        }
        drop((keyspace, database));
        (folder, journal, ends)
    }

    fn batches_found(folder: &Path) -> usize {
        let database = crate::open(folder).expect("it opens by itself");
        let keyspace = crate::keyspace(&database, folder, "k", KeyspaceCreateOptions::default);
        keyspace.expect("there").len().expect("readable") / 3
    }

    #[test]
    fn the_journal_is_read_as_fjall_writes_it() {
        let (folder, journal, ends) = written();
        assert_eq!(Some(&whole(&journal).expect("read")), ends.last());
        assert_eq!(batches_found(folder.path()), 5);
    }

    #[test]
    fn wherever_the_last_batch_is_damaged_the_others_are_there() {
        let (folder, journal, ends) = written();
        let last =
            std::fs::read(&journal).expect("read")[ends[3] as usize..ends[4] as usize].to_vec();
        // Every byte of its beginning, its end and the edges of its records; the rest is alike.
        let places = (0..last.len()).filter(|at| at % 512 < 8 || last.len() - at < 30);
        for at in places {
            let file = OpenOptions::new()
                .write(true)
                .open(&journal)
                .expect("opened");
            file.write_all_at(&last, ends[3]).expect("written");
            for byte in [0, last[at].wrapping_add(1)] {
                file.write_all_at(&[byte], ends[3] + at as u64)
                    .expect("written");
                // The sequence number is not under the checksum; it shares its sector with what is.
                if byte != last[at] && !(5..13).contains(&at) {
                    assert_eq!(whole(&journal).expect("read"), ends[3], "{at}");
                }
            }
            if at % 100 == 0 {
                assert_eq!(batches_found(folder.path()), 4, "{at}");
            }
        }
    }

    #[test]
    fn damage_long_before_the_end_is_not_cut_off() {
        let (folder, journal, ends) = written();
        let file = OpenOptions::new()
            .write(true)
            .open(&journal)
            .expect("opened");
        file.write_all_at(&[7; 9_000], ends[1] + 40)
            .expect("written");
        file.write_all_at(&[1; 64], ends[1] + UNSYNCED_BYTES_MAX + 100)
            .expect("written");
        let problem = crate::open(folder.path())
            .map(drop)
            .expect_err("it is told, not passed over");
        assert!(
            problem.to_string().contains("is damaged at byte"),
            "{problem}"
        );
        assert!(end(&journal, 0).expect("read") > ends[1] + UNSYNCED_BYTES_MAX);
    }
}
