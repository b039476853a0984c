//! How a model travels from the trainer to who judges: content-addressed, and proved before it is believed.
//!
//! A bundle is three blobs, each named by its BLAKE3 digest: the *artefact* (the forest), its *calibration*, and the
//! *manifest* that names the two, says what the model is for and how it was made, and holds a golden vector. The
//! bundle's digest is the manifest's. [`Bundle::open`] believes none of it: digests, sizes, structure, columns and the
//! golden vector are checked, so that a damaged, foreign or hostile bundle is an error and never a wrong verdict.

use serde::{Deserialize, Serialize};

use crate::{Forest, ForestSettings};

/// Raised when an older program could not read a new bundle.
pub const FORMAT: u32 = 1;

/// What kind of model this is.
pub const ISOLATION_FOREST: &str = "isolation-forest";

/// No blob is larger; a forest of 100 trees has about half a megabyte.
pub const BLOB_MAX: u64 = 64 << 20;

/// How far the score of the golden vector may be off: libraries of other machines round the last bit differently.
const GOLDEN_TOLERANCE: f64 = 1e-9;

/// What a bundle says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Kind of model.
    pub model: String,
    /// Versions of the code whose numbers it was made with and made for.
    pub versions: String,
    /// Whom it judges: tenant/resource/feature set.
    pub scope: String,
    /// Name and version of the feature set.
    pub feature_set: String,
    /// The metrics of the feature set, in its order.
    pub metrics: Vec<String>,
    /// Length of a step in milliseconds.
    pub step_ms: i64,
    /// Columns that the forest sees.
    pub columns: usize,
    /// How the forest was grown, seed included.
    pub settings: ForestSettings,
    /// What it was made of.
    pub trained: TrainedOn,
    /// Version of the trainer.
    pub code_version: String,
    /// The forest.
    pub artefact: Blob,
    /// What turns its raw values into scores.
    pub calibration: Blob,
    /// A row and what the forest says of it.
    pub golden: Golden,
}

/// What a model was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedOn {
    /// End of the first step of the history, in milliseconds since the epoch.
    pub from_ms: i64,
    /// End of its last step.
    pub to_ms: i64,
    /// Steps of history.
    pub steps: usize,
    /// Of these, left out because something was wrong.
    pub quarantined: usize,
    /// Of the rest, those that the forest was grown on …
    pub grown_on: usize,
    /// … and those that calibrated it.
    pub held_out: usize,
    /// Area under the ROC curve, injected faults against ordinary held-out steps.
    pub auroc: f64,
    /// By metric: usual level, and median deviation from it.
    pub levels: Vec<(f32, f32)>,
}

/// A blob by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// BLAKE3 of its bytes, as 64 hexadecimal digits.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

/// A row of columns and the score that it has to have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// The row; `null` is a missing value.
    pub row: Vec<Option<f32>>,
    /// The forest's score of it.
    pub score: f64,
}

/// Why a bundle is not believed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BundleError {
    /// The bytes are not those that were named.
    #[error("{what} is damaged: its digest is {found}, not {wanted}")]
    Digest {
        /// Which blob.
        what: &'static str,
        /// As named.
        wanted: String,
        /// As computed.
        found: String,
    },
    /// The bytes are not as many as were named.
    #[error("{what} has {found} bytes instead of {wanted}")]
    Size {
        /// Which blob.
        what: &'static str,
        /// As named.
        wanted: u64,
        /// As found.
        found: u64,
    },
    /// The blob cannot be read.
    #[error("{what} cannot be read: {problem}")]
    Unreadable {
        /// Which blob.
        what: &'static str,
        /// Why.
        problem: String,
    },
    /// A writer that this program does not know.
    #[error(
        "it is a bundle of format {format} for `{model}`; this program reads format {FORMAT} for `{ISOLATION_FOREST}`"
    )]
    Foreign {
        /// Its format.
        format: u32,
        /// Its kind of model.
        model: String,
    },
    /// It was made for something else.
    #[error("it was made for {what} `{found}`, not `{wanted}`")]
    OtherPurpose {
        /// What differs.
        what: &'static str,
        /// As it is needed here.
        wanted: String,
        /// As the bundle says.
        found: String,
    },
    /// The forest does not say what it said when it was made.
    #[error("its golden vector scores {found} instead of {wanted}")]
    Golden {
        /// As recorded.
        wanted: f64,
        /// As computed.
        found: f64,
    },
}

/// What whoever makes a model knows of it; the rest of a [`Manifest`] follows from its parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Making {
    /// Versions of the code whose numbers it was made with and made for.
    pub versions: String,
    /// Whom it judges: tenant/resource/feature set.
    pub scope: String,
    /// Name and version of the feature set.
    pub feature_set: String,
    /// The metrics of the feature set, in its order.
    pub metrics: Vec<String>,
    /// Length of a step in milliseconds.
    pub step_ms: i64,
    /// How the forest was grown, seed included.
    pub settings: ForestSettings,
    /// What it was made of.
    pub trained: TrainedOn,
    /// Version of the trainer.
    pub code_version: String,
    /// A row for the golden vector; `NaN` is a missing value.
    pub example: Vec<f32>,
}

/// A bundle whose every check was passed.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Its digest.
    pub digest: String,
    /// What it says of itself.
    pub manifest: Manifest,
    /// The model.
    pub forest: Forest,
    /// The calibration, in the form of whoever calibrated.
    pub calibration: Vec<u8>,
}

/// A bundle on its way into a store: write the blobs in this order, so that a manifest never names what is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The bundle's digest: that of the last blob, the manifest.
    pub digest: String,
    /// Digest and bytes of each blob.
    pub blobs: Vec<(String, Vec<u8>)>,
}

/// What a reader needs a bundle for.
#[derive(Clone, Copy, Debug)]
pub struct Purpose<'a> {
    /// Versions of the reader's own code.
    pub versions: &'a str,
    /// Whom it judges.
    pub scope: &'a str,
    /// Name and version of its feature set.
    pub feature_set: &'a str,
    /// Its metrics, in order.
    pub metrics: &'a [&'a str],
    /// Columns that it makes of them.
    pub columns: usize,
}

/// BLAKE3 as 64 hexadecimal digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

impl Packed {
    /// Seals a model.
    ///
    /// # Panics
    /// If the example has another number of columns than the forest.
    #[must_use]
    pub fn new(making: Making, forest: &Forest, calibration: Vec<u8>) -> Self {
        let artefact = postcard::to_stdvec(forest).expect("a forest is plain data of known length");
        let blob = |bytes: &[u8]| Blob {
            digest: digest(bytes),
            size: bytes.len() as u64,
        };
        let score = forest.score(&making.example);
        let row = making.example.into_iter();
        let manifest = Manifest {
            format: FORMAT,
            model: ISOLATION_FOREST.to_owned(),
            versions: making.versions,
            scope: making.scope,
            feature_set: making.feature_set,
            metrics: making.metrics,
            step_ms: making.step_ms,
            columns: forest.columns(),
            settings: making.settings,
            trained: making.trained,
            code_version: making.code_version,
            artefact: blob(&artefact),
            calibration: blob(&calibration),
            golden: Golden {
                row: row
                    .map(|value| value.is_finite().then_some(value))
                    .collect(),
                score,
            },
        };
        let text = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
        let name = digest(&text);
        Self {
            blobs: vec![
                (manifest.artefact.digest, artefact),
                (manifest.calibration.digest, calibration),
                (name.clone(), text),
            ],
            digest: name,
        }
    }
}

impl Manifest {
    /// Reads a manifest, if these are the bytes that `digest` names.
    ///
    /// # Errors
    /// [`BundleError`] when they are not, or are no manifest that this program can read.
    pub fn open(wanted: &str, bytes: &[u8]) -> Result<Self, BundleError> {
        const WHAT: &str = "the manifest";
        check_digest(WHAT, wanted, bytes)?;
        // What is newer may have other fields: its format is read first, and told.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
            model: String,
        }
        let unreadable = |error: serde_json::Error| BundleError::Unreadable {
            what: WHAT,
            problem: error.to_string(),
        };
        let Head { format, model } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if format != FORMAT || model != ISOLATION_FOREST {
            return Err(BundleError::Foreign { format, model });
        }
        serde_json::from_slice(bytes).map_err(unreadable)
    }

    /// Whether the model is for this purpose.
    ///
    /// # Errors
    /// [`BundleError::OtherPurpose`] names what differs.
    pub fn fits(&self, purpose: &Purpose<'_>) -> Result<(), BundleError> {
        let metrics = self.metrics.join(" ");
        let columns = self.columns.to_string();
        for (what, found, wanted) in [
            ("the versions", self.versions.as_str(), purpose.versions),
            ("the resource", self.scope.as_str(), purpose.scope),
            (
                "the feature set",
                self.feature_set.as_str(),
                purpose.feature_set,
            ),
            ("the metrics", &metrics, &purpose.metrics.join(" ")),
            ("columns", &columns, &purpose.columns.to_string()),
        ] {
            if found != wanted {
                return Err(BundleError::OtherPurpose {
                    what,
                    wanted: wanted.to_owned(),
                    found: found.to_owned(),
                });
            }
        }
        Ok(())
    }
}

impl Bundle {
    /// Puts a bundle together, and proves it.
    ///
    /// # Errors
    /// [`BundleError`] says what is wrong with it.
    pub fn open(
        name: &str,
        manifest: Manifest,
        artefact: &[u8],
        calibration: Vec<u8>,
    ) -> Result<Self, BundleError> {
        check_blob("the artefact", &manifest.artefact, artefact)?;
        check_blob("the calibration", &manifest.calibration, &calibration)?;
        let unreadable = |problem: String| BundleError::Unreadable {
            what: "the artefact",
            problem,
        };
        let forest: Forest = match postcard::take_from_bytes(artefact) {
            Ok((forest, [])) => forest,
            Ok((_, rest)) => return Err(unreadable(format!("{} bytes too many", rest.len()))),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        forest.check().map_err(unreadable)?;
        if forest.columns() != manifest.columns || manifest.golden.row.len() != manifest.columns {
            return Err(unreadable(format!(
                "it has {} columns and its golden vector {}, where the manifest says {}",
                forest.columns(),
                manifest.golden.row.len(),
                manifest.columns
            )));
        }
        let found = forest.score(&golden_row(&manifest.golden));
        let wanted = manifest.golden.score;
        // A score that is no number agrees with nothing.
        let agrees = (found - wanted).abs() <= GOLDEN_TOLERANCE;
        if !agrees {
            return Err(BundleError::Golden { wanted, found });
        }
        Ok(Self {
            digest: name.to_owned(),
            manifest,
            forest,
            calibration,
        })
    }
}

fn golden_row(golden: &Golden) -> Vec<f32> {
    golden
        .row
        .iter()
        .map(|value| value.unwrap_or(f32::NAN))
        .collect()
}

fn check_blob(what: &'static str, blob: &Blob, bytes: &[u8]) -> Result<(), BundleError> {
    if blob.size != bytes.len() as u64 {
        return Err(BundleError::Size {
            what,
            wanted: blob.size,
            found: bytes.len() as u64,
        });
    }
    check_digest(what, &blob.digest, bytes)
}

fn check_digest(what: &'static str, wanted: &str, bytes: &[u8]) -> Result<(), BundleError> {
    let found = digest(bytes);
    if found != wanted {
        return Err(BundleError::Digest {
            what,
            wanted: wanted.to_owned(),
            found,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed() -> Packed {
        let rows: Vec<f32> = (0..600).map(|i| ((i * 37) % 101) as f32).collect();
        let settings = ForestSettings {
            trees: 10,
            sample: 64,
            ..ForestSettings::default()
        };
        let forest = Forest::fit(&rows, 3, settings).expect("rows enough");
        let making = Making {
            versions: "v".into(),
            scope: "default/web-01/host/1".into(),
            feature_set: "host/1".into(),
            metrics: vec!["cpu.utilization".into()],
            step_ms: 1_000,
            settings,
            trained: TrainedOn {
                from_ms: 0,
                to_ms: 200_000,
                steps: 200,
                quarantined: 0,
                grown_on: 140,
                held_out: 60,
                auroc: 0.93,
                levels: vec![(50.0, 20.5)],
            },
            code_version: "0.1.0".into(),
            example: vec![200.0, f32::NAN, 0.1],
        };
        Packed::new(making, &forest, vec![1, 2, 3])
    }

    fn open(packed: &Packed) -> Result<Bundle, BundleError> {
        let [artefact, calibration, manifest] = packed.blobs.as_slice() else {
            panic!("three blobs")
        };
        let manifest = Manifest::open(&packed.digest, &manifest.1)?;
        Bundle::open(&packed.digest, manifest, &artefact.1, calibration.1.clone())
    }

    /// Seals a manifest that was tampered with, so that only its content is wrong.
    fn tampered(change: impl FnOnce(&mut Manifest)) -> Packed {
        let mut packed = packed();
        let mut manifest: Manifest =
            serde_json::from_slice(&packed.blobs[2].1).expect("a manifest");
        change(&mut manifest);
        let text = serde_json::to_vec(&manifest).expect("plain data");
        packed.digest = digest(&text);
        packed.blobs[2] = (packed.digest.clone(), text);
        packed
    }

    #[test]
    fn what_was_packed_is_opened_again_and_the_same_model_has_the_same_digest() {
        let bundle = open(&packed()).expect("sound");
        assert_eq!(bundle.manifest.columns, 3);
        assert_eq!(bundle.calibration, [1, 2, 3]);
        assert_eq!(packed().digest, packed().digest);
    }

    #[test]
    fn a_changed_bit_anywhere_is_found_out() {
        for blob in 0..3 {
            let length = packed().blobs[blob].1.len();
            for at in [0, length / 2, length - 1] {
                let mut packed = packed();
                packed.blobs[blob].1[at] ^= 1;
                assert!(
                    matches!(open(&packed), Err(BundleError::Digest { .. })),
                    "blob {blob} byte {at}"
                );
                packed.blobs[blob].1.truncate(at);
                assert!(open(&packed).is_err(), "blob {blob} cut at {at}");
            }
        }
    }

    #[test]
    fn a_model_that_says_something_else_than_when_it_was_made_is_refused() {
        let wrong = tampered(|manifest| manifest.golden.score += 1e-6);
        assert!(matches!(open(&wrong), Err(BundleError::Golden { .. })));
        let wrong = tampered(|manifest| manifest.golden.row = vec![None]);
        assert!(matches!(open(&wrong), Err(BundleError::Unreadable { .. })));
        let newer = tampered(|manifest| manifest.format = 2);
        assert!(matches!(
            open(&newer),
            Err(BundleError::Foreign { format: 2, .. })
        ));
    }

    #[test]
    fn a_model_for_somebody_else_is_refused_with_what_differs() {
        let bundle = open(&packed()).expect("sound");
        let purpose = Purpose {
            versions: "v",
            scope: "default/web-01/host/1",
            feature_set: "host/1",
            metrics: &["cpu.utilization"],
            columns: 3,
        };
        assert_eq!(bundle.manifest.fits(&purpose), Ok(()));
        let other = Purpose {
            scope: "default/web-02/host/1",
            ..purpose
        };
        let error = bundle.manifest.fits(&other).expect_err("another resource");
        assert!(error.to_string().contains("web-02"), "{error}");
        assert!(
            bundle
                .manifest
                .fits(&Purpose {
                    columns: 4,
                    ..purpose
                })
                .is_err()
        );
    }
}
