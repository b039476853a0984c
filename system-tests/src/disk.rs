//! A small disk of a test's own, which can be filled and emptied: a tmpfs, which only root can mount.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use forewarn_testkit::servers;

/// What is written at once to fill it.
const PIECE: usize = 256 << 10;

/// A mounted disk; it goes with this value.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts a disk of so many mebibytes at `path`. `None`, after saying that `what` is left out, where that is not allowed.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn mount(what: &str, path: &Path, mebibytes: u32) -> anyhow::Result<Option<Self>> {
        fs::create_dir_all(path)?;
        let size = format!("size={mebibytes}m,mode=0755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(path)
            .output()
            .context("run mount")?;
        if !mounted.status.success() {
            let why = String::from_utf8_lossy(&mounted.stderr);
            servers::left_out(what, &format!("no disk can be mounted: {}", why.trim()));
            return Ok(None);
        }
        Ok(Some(Self {
            path: path.to_owned(),
        }))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are free.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn free(&self) -> anyhow::Result<u64> {
        let disk = rustix::fs::statvfs(&self.path)?;
        Ok(disk.f_bavail * disk.f_frsize)
    }

    /// Puts a ballast on it until no more than `left` bytes are free.
    ///
    /// # Errors
    /// When it cannot be written for another reason than that it is full.
    pub fn fill(&self, left: u64) -> anyhow::Result<()> {
        let mut ballast = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.ballast())?;
        loop {
            let room = self.free()?.saturating_sub(left);
            if room == 0 {
                return Ok(());
            }
            let piece = usize::try_from(room).unwrap_or(PIECE).min(PIECE);
            match ballast.write_all(&vec![1; piece]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the ballast off.
    ///
    /// # Errors
    /// When there is none.
    pub fn empty(&self) -> anyhow::Result<()> {
        fs::remove_file(self.ballast()).context("there is no ballast")?;
        ensure!(self.free()? > 0, "nothing became free");
        Ok(())
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: what still runs on it ends in its own time.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
