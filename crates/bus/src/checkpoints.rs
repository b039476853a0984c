//! Checkpoints: what a stage keeps between two records, so that a restart need not read the whole log again.
//!
//! A checkpoint is named `<log>/<stage>/<partition>/<next offset>` and never changed; the newest valid one wins and
//! two are kept. Each is sealed with a digest over its name and its bytes, so a torn, rotten or renamed one is found
//! out, removed and counted; the log can always be replayed instead. It lies in an object store, today in a folder:
//! a temporary file is written, synced, linked to its name, and the folder synced, before [`Checkpoints::write`] returns.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use forewarn_types::LogId;
use futures::TryStreamExt;
use futures::executor::block_on;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};

use crate::RestoreError;

/// Section `[checkpoints]` of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// The folder. Services on several machines need no common one: a partition that moves is replayed.
    pub path: PathBuf,
    /// How often each stage makes one of each of its partitions.
    #[serde(with = "forewarn_config::duration")]
    pub every: Duration,
    /// How many are kept of each partition.
    pub keep: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from("forewarn-data/checkpoints"),
            every: Duration::from_secs(60),
            keep: 2,
        }
    }
}

impl CheckpointConfig {
    /// Every mistake, as the key within the section and what is wrong with its value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if self.every.is_zero() {
            mistakes.push(("every", "is zero; a stage would do nothing else".to_owned()));
        }
        if self.keep == 0 {
            mistakes.push((
                "keep",
                "is 0; keep at least 1, better 2 in case one cannot be read".to_owned(),
            ));
        }
        mistakes
    }
}

/// The store of checkpoints cannot be used. The stage goes on without and tries again.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The folder cannot be made or opened.
    #[error(
        "checkpoint folder `{path}` cannot be used; set [checkpoints] path to one that this user may write"
    )]
    Folder {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// A checkpoint cannot be written, listed or read.
    #[error("checkpoint store failed")]
    Store(#[from] Error),
}

/// The checkpoints of all stages. Clones share the store.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    store: Arc<dyn ObjectStore>,
    keep: usize,
}

/// Whose checkpoint it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The history that its offsets count in.
    pub log: LogId,
    /// Name of the stage.
    pub stage: &'static str,
    /// Number of the partition.
    pub partition: u32,
}

impl Owner {
    fn folder(&self) -> Path {
        Path::from_iter([
            self.log.to_string().as_str(),
            self.stage,
            self.partition.to_string().as_str(),
        ])
    }

    /// Digits enough for every offset, so that names sort like numbers.
    fn name(&self, next_offset: u64) -> Path {
        self.folder().join(format!("{next_offset:020}"))
    }
}

impl Checkpoints {
    /// Opens the folder, and makes it if need be.
    ///
    /// # Errors
    /// [`CheckpointError::Folder`] when it cannot be used.
    pub fn open(config: &CheckpointConfig) -> Result<Self, CheckpointError> {
        let folder = |error| CheckpointError::Folder {
            path: config.path.clone(),
            error,
        };
        std::fs::create_dir_all(&config.path).map_err(folder)?;
        // Synced: a checkpoint that is gone after a power failure would be one that was committed before its time.
        let store = LocalFileSystem::new_with_prefix(&config.path)?.with_fsync(true);
        Ok(Self::over(Arc::new(store), config.keep))
    }

    /// Keeps checkpoints in any object store whose writes are durable when they return.
    #[must_use]
    pub fn over(store: Arc<dyn ObjectStore>, keep: usize) -> Self {
        Self { store, keep }
    }

    /// Makes a checkpoint durable, then removes those too old to be kept. One of the same name is left as it is, since
    /// it says the same, unless it cannot be read.
    ///
    /// # Errors
    /// [`CheckpointError::Store`] when it is not durable; the earlier ones are then still there.
    pub fn write(
        &self,
        owner: &Owner,
        next_offset: u64,
        snapshot: &[u8],
    ) -> Result<(), CheckpointError> {
        block_on(async {
            let name = owner.name(next_offset);
            let sealed = PutPayload::from(seal(&name, snapshot));
            let created = self
                .store
                .put_opts(&name, sealed.clone(), PutOptions::from(PutMode::Create))
                .await;
            match created {
                Err(Error::AlreadyExists { .. }) if self.fetch(&name).await?.is_none() => {
                    self.store.put(&name, sealed).await?;
                }
                Err(Error::AlreadyExists { .. }) => {}
                created => drop(created?),
            }
            let names = self.list(owner).await?;
            for (_, name) in names.iter().skip(self.keep) {
                self.remove(name).await?;
            }
            Ok(())
        })
    }

    /// Offers the checkpoints within `offsets` to `restore`, the newest first, until it takes one, and returns the
    /// offset to read next. Those that cannot be used are removed: a replay makes new ones with smaller offsets, which
    /// must not lose against them.
    ///
    /// # Errors
    /// [`CheckpointError::Store`] when the store cannot be read.
    pub fn restore(
        &self,
        owner: &Owner,
        offsets: RangeInclusive<u64>,
        mut restore: impl FnMut(&[u8]) -> Result<(), RestoreError>,
    ) -> Result<Option<u64>, CheckpointError> {
        block_on(async {
            for (next_offset, name) in self.list(owner).await? {
                let problem = if offsets.contains(&next_offset) {
                    match self.fetch(&name).await?.map(|snapshot| restore(&snapshot)) {
                        Some(Ok(())) => return Ok(Some(next_offset)),
                        Some(Err(error)) => error.to_string(),
                        None => "damaged".to_owned(),
                    }
                } else {
                    format!("offset {next_offset} is not within {offsets:?} that the log keeps")
                };
                tracing::warn!(checkpoint = %name, problem, "checkpoint cannot be used; removing it");
                metrics::counter!("forewarn_stage_checkpoints_refused_total", "stage" => owner.stage).increment(1);
                self.remove(&name).await?;
            }
            Ok(None)
        })
    }

    /// The offsets of an owner's checkpoints, the newest first.
    async fn list(&self, owner: &Owner) -> Result<Vec<(u64, Path)>, CheckpointError> {
        let found: Vec<_> = self.store.list(Some(&owner.folder())).try_collect().await?;
        let mut names: Vec<_> = found
            .into_iter()
            .filter_map(|object| Some((object.location.filename()?.parse().ok()?, object.location)))
            .collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }

    /// The snapshot inside a checkpoint, if its seal is whole.
    async fn fetch(&self, name: &Path) -> Result<Option<Vec<u8>>, CheckpointError> {
        let sealed = match self.store.get(name).await {
            Ok(found) => found.bytes().await?,
            // Removed by another replica that has just gone further.
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(unseal(name, &sealed).map(<[u8]>::to_vec))
    }

    async fn remove(&self, name: &Path) -> Result<(), CheckpointError> {
        match self.store.delete(name).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// First bytes of every checkpoint: what it is, and the version of the seal.
const MAGIC: &[u8; 6] = b"FWCP\x01\x00";

const DIGEST: usize = 32;

fn seal(name: &Path, snapshot: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(MAGIC.len() + DIGEST + snapshot.len());
    sealed.extend_from_slice(MAGIC);
    sealed.extend_from_slice(digest(name, snapshot).as_bytes());
    sealed.extend_from_slice(snapshot);
    sealed
}

fn unseal<'a>(name: &Path, sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (found, snapshot) = sealed.strip_prefix(MAGIC)?.split_at_checked(DIGEST)?;
    (digest(name, snapshot).as_bytes() == found).then_some(snapshot)
}

fn digest(name: &Path, snapshot: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_derive_key("forewarn checkpoint v1");
    hasher.update(name.as_ref().as_bytes());
    hasher.update(&[0]);
    hasher.update(snapshot);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use uuid::Uuid;

    use super::*;

    const OWNER: Owner = Owner {
        log: LogId(Uuid::from_u128(7)),
        stage: "toy",
        partition: 3,
    };

    fn open(folder: &tempfile::TempDir) -> Checkpoints {
        Checkpoints::open(&CheckpointConfig {
            path: folder.path().join("c"),
            ..CheckpointConfig::default()
        })
        .unwrap()
    }

    fn file(folder: &tempfile::TempDir, next_offset: u64) -> PathBuf {
        folder
            .path()
            .join(format!("c/{}/toy/3/{next_offset:020}", OWNER.log))
    }

    fn restored(checkpoints: &Checkpoints, offsets: RangeInclusive<u64>) -> Option<(u64, Vec<u8>)> {
        let mut snapshot = Vec::new();
        let take = |bytes: &[u8]| {
            snapshot = bytes.to_vec();
            Ok(())
        };
        let next = checkpoints.restore(&OWNER, offsets, take).unwrap()?;
        Some((next, snapshot))
    }

    #[test]
    fn the_newest_wins_and_two_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = open(&folder);
        assert_eq!(restored(&checkpoints, 0..=u64::MAX), None);
        for next in [9, 10, 11] {
            checkpoints.write(&OWNER, next, &[next as u8]).unwrap();
        }
        assert_eq!(restored(&checkpoints, 0..=u64::MAX), Some((11, vec![11])));
        assert!(!file(&folder, 9).exists() && file(&folder, 10).exists());
        // Other owners are none of their business.
        let other = Owner {
            partition: 4,
            ..OWNER
        };
        assert_eq!(
            checkpoints
                .restore(&other, 0..=u64::MAX, |_| Ok(()))
                .unwrap(),
            None
        );
    }

    #[test]
    fn a_damaged_torn_or_renamed_one_is_passed_over_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = open(&folder);
        checkpoints.write(&OWNER, 1, b"good").unwrap();
        let good = fs::read(file(&folder, 1)).unwrap();
        let flipped = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        };
        let mut cases: Vec<_> = (0..good.len()).map(flipped).collect();
        cases.extend((0..good.len()).map(|length| good[..length].to_vec()));
        // Under another name: somebody copied it.
        cases.push(good.clone());
        for case in cases {
            fs::write(file(&folder, 2), case).unwrap();
            assert_eq!(
                restored(&checkpoints, 0..=u64::MAX),
                Some((1, b"good".to_vec()))
            );
            assert!(!file(&folder, 2).exists());
        }
    }

    #[test]
    fn one_of_the_same_name_is_left_unless_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = open(&folder);
        checkpoints.write(&OWNER, 5, b"first").unwrap();
        checkpoints.write(&OWNER, 5, b"second").unwrap();
        assert_eq!(restored(&checkpoints, 0..=9), Some((5, b"first".to_vec())));
        fs::write(file(&folder, 5), b"FWCP").unwrap();
        checkpoints.write(&OWNER, 5, b"third").unwrap();
        assert_eq!(restored(&checkpoints, 0..=9), Some((5, b"third".to_vec())));
    }

    #[test]
    fn one_that_the_stage_refuses_or_that_the_log_does_not_reach_gives_way_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = open(&folder);
        checkpoints.write(&OWNER, 5, b"five").unwrap();
        checkpoints.write(&OWNER, 6, b"six").unwrap();
        let refuse_six = |bytes: &[u8]| {
            if bytes == b"six" {
                Err(RestoreError("other settings".into()))
            } else {
                Ok(())
            }
        };
        assert_eq!(
            checkpoints.restore(&OWNER, 0..=9, refuse_six).unwrap(),
            Some(5)
        );
        assert!(!file(&folder, 6).exists());
        assert_eq!(restored(&checkpoints, 0..=4), None);
        assert_eq!(restored(&checkpoints, 6..=9), None);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let error = Checkpoints::open(&CheckpointConfig {
            path,
            ..CheckpointConfig::default()
        })
        .unwrap_err();
        assert!(error.to_string().contains("[checkpoints] path"), "{error}");
    }
}
