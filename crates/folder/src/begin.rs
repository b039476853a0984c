//! A folder that was being made when the power went.
//!
//! fjall makes a lock, a folder, an empty journal and a marker with its version, syncs them, and only then makes what can
//! hold anything. Cut short before the marker is whole, it refuses to open what it left. Nothing was ever acknowledged
//! then; still, only what is provably empty is removed, so that no slip of ours or the user's costs anything.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::{KEYSPACES, is_empty};

const LOCK: &str = "lock";
const MARKER: &str = "version";
/// What a whole marker begins with; what follows is the version, which fjall checks itself.
const MARKER_BEGIN: &[u8] = b"FJL";

/// Takes the lock that fjall takes, if there is a folder already: another process may be at work in it.
pub(super) fn lock(path: &Path) -> fjall::Result<Option<File>> {
    let file = match OpenOptions::new()
        .read(true)
        .write(true)
        .open(path.join(LOCK))
    {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(fjall::Error::Locked),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Removes what a making that was cut short has left, if that holds nothing.
pub(super) fn clear_half_made(path: &Path) -> io::Result<()> {
    let marker = match fs::read(path.join(MARKER)) {
        Ok(marker) => marker,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    // The marker is four bytes long: one that has its beginning and no end is cut too.
    if marker.len() > MARKER_BEGIN.len() && marker.starts_with(MARKER_BEGIN) {
        let is_cut = marker[MARKER_BEGIN.len()] == 0;
        if !is_cut {
            return Ok(());
        }
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut left = Vec::new();
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let is_nothing = match name.to_str() {
            Some(LOCK) => true,
            Some(MARKER) => marker.len() <= MARKER_BEGIN.len() + 1,
            Some(KEYSPACES) => fs::read_dir(&path)?.next().is_none(),
            Some(name) if name.ends_with(".jnl") => is_empty(&path)?,
            _ => false,
        };
        if !is_nothing {
            // fjall says what is wrong with it.
            return Ok(());
        }
        left.push(path);
    }
    for path in left {
        if path.is_dir() {
            fs::remove_dir(path)?;
        } else {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
