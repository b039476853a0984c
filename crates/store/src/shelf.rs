//! Where bundles of models lie: an object store, today a folder, in which every blob bears its digest as its name.
//!
//! A blob is written once and never changed; the manifest last, so that one which is there names only what is there.
//! Nothing that comes back is believed: [`Bundle::open`] checks it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use forewarn_models::bundle::BLOB_MAX;
use forewarn_models::{Bundle, BundleError, Manifest, Packed};
use futures::StreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};

/// Section `[models]` of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder; the trainer writes what predictors read, so they have to see the same one.
    pub path: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: PathBuf::from("forewarn-data/models"),
        }
    }
}

/// Why a bundle cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be made or opened.
    #[error(
        "model folder `{path}` cannot be used; set [models] path to one that this user may write"
    )]
    Folder {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// A blob of the bundle is not there.
    #[error("there is no such bundle, or a part of it is missing: {0}")]
    Missing(String),
    /// It is there, and not to be believed.
    #[error(transparent)]
    Wrong(#[from] BundleError),
    /// The store does not answer as it should; it may later.
    #[error("the store of models cannot be used")]
    Store(#[source] object_store::Error),
}

impl Error {
    /// Whether trying again may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Store(_))
    }
}

/// The bundles of all models. Clones share the store.
#[derive(Clone, Debug)]
pub struct Shelf(Arc<dyn ObjectStore>);

impl Shelf {
    /// Opens the folder, and makes it if need be.
    ///
    /// # Errors
    /// [`Error::Folder`] when it cannot be used.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let folder = |error| Error::Folder {
            path: config.path.clone(),
            error,
        };
        std::fs::create_dir_all(&config.path).map_err(folder)?;
        // Synced: an activation must not outlive its model in a power failure.
        let store = LocalFileSystem::new_with_prefix(&config.path)
            .map_err(Error::Store)?
            .with_fsync(true);
        Ok(Self(Arc::new(store)))
    }

    /// Makes a bundle durable. One that is there already is left as it is, unless it is damaged.
    ///
    /// # Errors
    /// [`Error::Store`] when it is not durable.
    pub async fn put(&self, packed: Packed) -> Result<(), Error> {
        for (digest, bytes) in packed.blobs {
            let path = place(&digest);
            let once = PutOptions::from(PutMode::Create);
            match self
                .0
                .put_opts(&path, PutPayload::from(bytes.clone()), once)
                .await
            {
                Ok(_) => {}
                Err(object_store::Error::AlreadyExists { .. }) => {
                    let there = self.get(&digest).await?;
                    if there != bytes {
                        self.0
                            .put(&path, PutPayload::from(bytes))
                            .await
                            .map_err(Error::Store)?;
                    }
                }
                Err(error) => return Err(Error::Store(error)),
            }
        }
        Ok(())
    }

    /// Reads a bundle's manifest alone.
    ///
    /// # Errors
    /// [`Error`] when it is not there, or not what its name says.
    pub async fn manifest(&self, digest: &str) -> Result<Manifest, Error> {
        Ok(Manifest::open(digest, &self.get(digest).await?)?)
    }

    /// Reads a bundle and proves it.
    ///
    /// # Errors
    /// [`Error`] when it is not there, damaged, or does not do what it did when it was made.
    pub async fn bundle(&self, digest: &str) -> Result<Bundle, Error> {
        let manifest = self.manifest(digest).await?;
        let artefact = self.get(&manifest.artefact.digest).await?;
        let calibration = self.get(&manifest.calibration.digest).await?;
        Ok(Bundle::open(digest, manifest, &artefact, calibration)?)
    }

    /// Deletes every blob that belongs to none of the bundles in `kept` and was written longer ago than `age`.
    /// Returns how many these were.
    ///
    /// # Errors
    /// [`Error::Store`] when the store breaks off; what was deleted by then is gone.
    pub async fn sweep(&self, kept: &BTreeSet<String>, age: Duration) -> Result<usize, Error> {
        let mut needed = BTreeSet::new();
        for digest in kept {
            match self.manifest(digest).await {
                Ok(manifest) => {
                    needed.extend([manifest.artefact.digest, manifest.calibration.digest]);
                }
                Err(error) if error.is_transient() => return Err(error),
                // Nobody can use it; what is left of it is no reason to keep anything.
                Err(_) => {}
            }
            needed.insert(digest.clone());
        }
        let mut swept = 0;
        let mut found = self.0.list(None);
        while let Some(blob) = found.next().await {
            let blob = blob.map_err(Error::Store)?;
            // Only what can be ours: somebody may keep other files beside.
            let ours = blob.location.filename().is_some_and(|name| {
                is_digest(name) && blob.location == place(name) && !needed.contains(name)
            });
            let written = SystemTime::from(blob.last_modified).elapsed();
            if ours && written.is_ok_and(|since| since >= age) {
                self.0.delete(&blob.location).await.map_err(Error::Store)?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    async fn get(&self, digest: &str) -> Result<Vec<u8>, Error> {
        let lost = |error| match error {
            object_store::Error::NotFound { path, .. } => Error::Missing(path),
            error => Error::Store(error),
        };
        // A name comes out of a database or a manifest: only digests are looked for.
        if !is_digest(digest) {
            return Err(Error::Missing(format!("`{digest}` is no digest")));
        }
        let found = self.0.get(&place(digest)).await.map_err(lost)?;
        if found.meta.size > BLOB_MAX {
            return Err(Error::Missing(format!(
                "blob {digest} has {} bytes, and none has more than {BLOB_MAX}",
                found.meta.size
            )));
        }
        Ok(found.bytes().await.map_err(lost)?.to_vec())
    }
}

fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Folders by the first two digits, so that none holds too many.
fn place(digest: &str) -> Path {
    Path::from_iter([digest.get(..2).unwrap_or("00"), digest])
}

#[cfg(test)]
mod tests;
