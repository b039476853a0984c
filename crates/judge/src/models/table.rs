//! Answers that do not change: no models at all, or those of a table that was read as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use forewarn_detect::Model;
use forewarn_features::FeatureSets;
use forewarn_store::activations::Activations;
use forewarn_store::shelf::Shelf;
use forewarn_types::LogTime;

use super::{Known, Models, model_of};

/// Nobody judges but the online detectors.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoModels;

impl Models for NoModels {
    fn at(&self, _: &str, _: &str, _: LogTime) -> Known {
        Known::Model(None)
    }
}

/// Activations and models as they were read at one moment; for replays.
#[derive(Clone, Debug, Default)]
pub struct Table {
    activations: Activations,
    /// By the number of the activation: a bundle is proved for each whom it is to judge.
    models: BTreeMap<i64, Arc<Model>>,
}

impl Table {
    /// Loads every model that some activation puts in force.
    ///
    /// # Errors
    /// When one cannot be loaded although its activation was not refused.
    pub async fn load(
        activations: Activations,
        shelf: &Shelf,
        sets: &FeatureSets,
    ) -> anyhow::Result<Self> {
        let mut models = BTreeMap::new();
        for row in activations.iter() {
            let Some(digest) = row.digest.as_ref() else {
                continue;
            };
            // Refused from the beginning, it was never asked.
            if row.refused_from == Some(row.from) {
                continue;
            }
            let bundle = shelf.bundle(digest).await?;
            let id = bundle.manifest.feature_set.clone();
            let set = sets
                .by_id(&id)
                .ok_or_else(|| anyhow::anyhow!("feature set `{id}` is not known"))?;
            let model = model_of(bundle, &row.scope, set)?;
            models.insert(row.id, Arc::new(model));
        }
        Ok(Self {
            activations,
            models,
        })
    }
}

impl Models for Table {
    fn at(&self, scope: &str, _: &str, at: LogTime) -> Known {
        let row = self.activations.at(scope, at);
        Known::Model(row.and_then(|row| self.models.get(&row.id)).cloned())
    }
}
