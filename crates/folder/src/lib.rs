//! The key-value store under the embedded log and the embedded metric store, opened and grown so that a power failure takes
//! nothing that was synced.
//!
//! fjall syncs its journal and its tables. What it leaves to its caller, and what is done here, was found by building its
//! folder again as a disk may hold it after a power failure (`testkit::power`): the names of new folders are synced
//! ([`open`], [`keyspace`]), a folder whose making was cut short is made anew ([`begin`]), and what a journal ends with
//! that was never synced is cut off ([`tail`]).

mod begin;
mod tail;

use std::fs::{self, File};
use std::io;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions};

/// The journal is read again at the next start; more than this makes it slow.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;

/// Blocks of tables that are kept in memory; whoever reads at the end finds them in the memtable.
const CACHE_BYTES: u64 = 16 << 20;

/// fjall's own folder within ours.
const KEYSPACES: &str = "keyspaces";

/// Opens the folder, and makes it if need be. When it returns, the folder is where a power failure cannot take it.
///
/// # Errors
/// As fjall says; [`fjall::Error::Locked`] when another process has it.
pub fn open(path: &Path) -> fjall::Result<Database> {
    // Whatever is mended here belongs to nobody else.
    let lock = begin::lock(path)?;
    begin::clear_half_made(path)?;
    tail::cut(path)?;
    drop(lock);
    let database = Database::builder(path)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNAL_BYTES_MAX)
        // Compaction has hardly anything to do here.
        .worker_threads(1)
        .open()?;
    sync(&path.join(KEYSPACES))?;
    sync(path)?;
    // All the way up, at every start: the one before may have ended between making a folder and syncing its name. Folders
    // that we may not open were not made by us.
    for parent in path.canonicalize()?.ancestors().skip(1) {
        let _ = sync(parent);
    }
    Ok(database)
}

/// Opens a keyspace of the database at `path`, and makes it if need be, for good: fjall syncs what is in a keyspace's
/// folder, but not that the folder is there.
///
/// # Errors
/// As fjall says.
pub fn keyspace(
    database: &Database,
    path: &Path,
    name: &str,
    options: impl FnOnce() -> KeyspaceCreateOptions,
) -> fjall::Result<Keyspace> {
    let is_new = !database.keyspace_exists(name);
    let keyspace = database.keyspace(name, options)?;
    if is_new {
        sync(&path.join(KEYSPACES))?;
    }
    Ok(keyspace)
}

/// What a start needs besides what callers keep free: a journal that is read again becomes tables.
const ROOM_TO_START: u64 = 32 << 20;

/// Bytes that are free on the disk of a folder; `None` when it cannot be asked.
#[must_use]
pub fn free(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether a new process could go on after a write has failed. fjall takes nothing more in this one: what the disk holds
/// of the failed write is only known when the folder is opened again.
#[must_use]
pub fn can_start_again(path: &Path, free_min: u64) -> bool {
    free(path).is_none_or(|free| free >= free_min.max(ROOM_TO_START))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether every byte of a file is zero, or a hole.
fn is_empty(path: &Path) -> io::Result<bool> {
    let mut file = io::BufReader::with_capacity(1 << 20, File::open(path)?);
    loop {
        let piece = io::BufRead::fill_buf(&mut file)?;
        if piece.is_empty() {
            return Ok(true);
        }
        if piece.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        let length = piece.len();
        io::BufRead::consume(&mut file, length);
    }
}

/// The journals, oldest first.
fn journals(path: &Path) -> io::Result<Vec<(u64, std::path::PathBuf)>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let number = path.extension().is_some_and(|end| end == "jnl").then(|| {
            let stem = path.file_stem()?.to_str()?;
            stem.parse().ok()
        });
        if let Some(Some(number)) = number {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}
