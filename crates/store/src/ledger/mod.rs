//! The ledger: what the tables hold for a given `anomaly_predictions`, as a pure function.
//!
//! [`Ledger::apply`] folds one record after the other into rows. The projector keeps nothing between batches: it loads
//! the rows that a batch touches ([`Ledger::touched`], [`sql::load`]), folds the batch into them and saves them, in the
//! transaction that moves its offset. The judge folds the whole log into an empty ledger, and both must then print
//! the same ([`Ledger::canonical`]). No row depends on a clock, on where batches end, or on repetitions.

mod fold;
mod rows;
pub mod sql;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;
use uuid::Uuid;

use crate::Timestamp;

pub use rows::{
    AnomalyRow, ConditionRow, PredictionRow, ResourceChangeRow, ResourceMinuteRow, ResourceRow,
    SetRow,
};

/// Tenant and name of a resource.
pub type ResourceId = (String, String);

/// Rows of every table that the projector writes, by their keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// Table `anomalies`.
    pub anomalies: BTreeMap<Uuid, AnomalyRow>,
    /// Table `predictions`.
    pub predictions: BTreeMap<Uuid, PredictionRow>,
    /// Table `condition_changes`.
    pub condition_changes: BTreeMap<Uuid, ConditionRow>,
    /// Table `resource_changes`.
    pub resource_changes: BTreeMap<Uuid, ResourceChangeRow>,
    /// Table `resources`.
    pub resources: BTreeMap<ResourceId, ResourceRow>,
    /// Table `resource_minutes`.
    pub resource_minutes: BTreeMap<(ResourceId, Timestamp), ResourceMinuteRow>,
}

/// Keys of the rows that a record changes rather than adds: they have to be loaded before it is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Of `predictions`.
    pub predictions: BTreeSet<Uuid>,
    /// Of `resources`.
    pub resources: BTreeSet<ResourceId>,
    /// Of `resource_minutes`.
    pub resource_minutes: BTreeSet<(ResourceId, Timestamp)>,
}

impl Ledger {
    /// Every row as one line of JSON under its table's name, in the order of the keys: equal ledgers, equal text.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        section(&mut text, "anomalies", self.anomalies.values());
        section(&mut text, "predictions", self.predictions.values());
        section(
            &mut text,
            "condition_changes",
            self.condition_changes.values(),
        );
        section(
            &mut text,
            "resource_changes",
            self.resource_changes.values(),
        );
        section(&mut text, "resources", self.resources.values());
        section(
            &mut text,
            "resource_minutes",
            self.resource_minutes.values(),
        );
        text
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.anomalies.len()
            + self.predictions.len()
            + self.condition_changes.len()
            + self.resource_changes.len()
            + self.resources.len()
            + self.resource_minutes.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn section<'a, R: Serialize + 'a>(
    text: &mut String,
    table: &str,
    rows: impl Iterator<Item = &'a R>,
) {
    for row in rows {
        let json = serde_json::to_string(row).expect("rows have text keys only");
        writeln!(text, "{table} {json}").expect("a String takes every write");
    }
}
