//! Which trained model judges whom at which moment of the log: what the judge asks, and who answers.
//!
//! The judge is pure, so the answer depends on scope and log time alone. [`Table`] answers from rows that were read as a
//! whole, for replays; the predictor's own answers follow the table in PostgreSQL, load models before they are needed,
//! and say [`Known::NotYet`] rather than something that might turn out otherwise.

mod table;

use std::fmt;
use std::sync::Arc;

use forewarn_detect::{Calibration, Model, columns_of};
use forewarn_features::FeatureSet;
use forewarn_models::{Bundle, BundleError, Purpose};
use forewarn_types::{LogTime, StepLength};

pub use table::{NoModels, Table};

/// What is known about who judges.
#[derive(Clone, Debug)]
pub enum Known {
    /// This model, or none.
    Model(Option<Arc<Model>>),
    /// It may still change, or the model is on its way.
    NotYet,
}

/// Says which model is in force. The same question always gets the same answer, once there is one.
pub trait Models: fmt::Debug + Send + Sync {
    /// Who judges `scope` (see [`scope`](forewarn_store::activations::scope)), which is of `feature_set`, at a moment of
    /// the log.
    fn at(&self, scope: &str, feature_set: &str, at: LogTime) -> Known;
}

/// Makes a model of a bundle, if it is for `scope` and `set` and for this program.
///
/// # Errors
/// [`BundleError`] says what differs.
pub fn model_of(bundle: Bundle, scope: &str, set: &FeatureSet) -> Result<Model, BundleError> {
    let metrics: Vec<&str> = set
        .metrics
        .iter()
        .map(|metric| metric.name.as_str())
        .collect();
    bundle.manifest.fits(&Purpose {
        versions: &forewarn_detect::versions(),
        scope,
        feature_set: set.id(),
        metrics: &metrics,
        columns: columns_of(metrics.len()),
    })?;
    let unreadable = |what, problem: String| BundleError::Unreadable { what, problem };
    let calibration: Calibration = forewarn_bus::decode_state(&bundle.calibration)
        .map_err(|error| unreadable("the calibration", error.to_string()))?;
    let step = u32::try_from(bundle.manifest.step_ms)
        .ok()
        .and_then(StepLength::from_millis)
        .ok_or_else(|| unreadable("the manifest", "its step has no sensible length".into()))?;
    Ok(Model {
        digest: bundle.digest,
        step,
        forest: bundle.forest,
        calibration,
    })
}
