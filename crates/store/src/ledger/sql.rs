//! Rows to and from the tables: one statement per table and batch, records as JSON in both directions.
//!
//! JSON records name their columns, so order and number of columns are the database's business; and both ends write
//! the shortest text that gives a float back to the last bit.

use deadpool_postgres::{GenericClient, Transaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_postgres::Error;
use tokio_postgres::types::{Json, ToSql};

use super::{Ledger, ResourceId, Touched};
use crate::Timestamp;

/// One table: how its rows are written.
struct Table {
    name: &'static str,
    key: &'static [&'static str],
    /// Columns that a later record may change; none: the first record of a key stays.
    changing: &'static [&'static str],
}

const ANOMALIES: Table = Table {
    name: "anomalies",
    key: &["anomaly_id"],
    changing: &[],
};
const CONDITION_CHANGES: Table = Table {
    name: "condition_changes",
    key: &["change_id"],
    changing: &[],
};
const RESOURCE_CHANGES: Table = Table {
    name: "resource_changes",
    key: &["change_id"],
    changing: &[],
};
const PREDICTIONS: Table = Table {
    name: "predictions",
    key: &["prediction_id"],
    changing: &[
        "kind",
        "state",
        "title",
        "why",
        "first_action",
        "ts",
        "p10_at",
        "p50_at",
        "p90_at",
        "baseline_at",
        "probability",
        "horizon_seconds",
        "used",
        "limit_value",
        "slope_per_second",
        "ended_at",
        "reason",
        "lead_seconds",
        "updates",
        "backfill",
        "logged_at",
        "src",
    ],
};
const RESOURCES: Table = Table {
    name: "resources",
    key: &["tenant", "resource"],
    changing: &[
        "kind",
        "state",
        "state_since_at",
        "last_step_at",
        "verdict",
        "score",
        "confidence",
        "eta_seconds",
        "open_predictions",
        "breached_at",
        "reached",
        "silent_since_at",
        "feature_sets",
        "logged_at",
        "src",
    ],
};
const RESOURCE_MINUTES: Table = Table {
    name: "resource_minutes",
    key: &["tenant", "resource", "minute_at"],
    changing: &[
        "max_score",
        "max_score_at",
        "max_metric",
        "scored_steps",
        "anomalous_steps",
        "learning_steps",
        "other_steps",
    ],
};

impl Table {
    /// Made of the names above only, never of data.
    fn save(&self) -> String {
        let (name, key) = (self.name, self.key.join(", "));
        let conflict = if self.changing.is_empty() {
            "NOTHING".to_owned()
        } else {
            let set: Vec<String> = self
                .changing
                .iter()
                .map(|column| format!("{column} = excluded.{column}"))
                .collect();
            format!("UPDATE SET {}", set.join(", "))
        };
        format!(
            "INSERT INTO {name} SELECT * FROM json_populate_recordset(NULL::{name}, $1) ON CONFLICT ({key}) DO {conflict}"
        )
    }
}

/// Loads the rows with these keys, for [`Ledger::apply`] to go on from. Inside the transaction that will save them.
///
/// # Errors
/// The client's error.
pub async fn load(transaction: &Transaction<'_>, touched: &Touched) -> Result<Ledger, Error> {
    let mut ledger = Ledger::default();
    if !touched.predictions.is_empty() {
        let ids: Vec<_> = touched.predictions.iter().copied().collect();
        let sql = "SELECT row_to_json(t) FROM predictions t WHERE prediction_id = ANY($1)";
        ledger.predictions = keyed(
            select(transaction, sql, &[&ids]).await?,
            |row: &super::PredictionRow| row.prediction_id,
        );
    }
    if !touched.resources.is_empty() {
        let (tenants, names) = columns(touched.resources.iter());
        let sql = "SELECT row_to_json(t) FROM resources t \
                   JOIN unnest($1::text[], $2::text[]) AS k (tenant, resource) USING (tenant, resource)";
        let rows = select(transaction, sql, &[&tenants, &names]).await?;
        ledger.resources = keyed(rows, resource_key);
    }
    if !touched.resource_minutes.is_empty() {
        let (tenants, names) = columns(
            touched
                .resource_minutes
                .iter()
                .map(|(resource, _)| resource),
        );
        let minutes: Vec<String> = touched
            .resource_minutes
            .iter()
            .map(|(_, minute)| minute.to_string())
            .collect();
        let sql = "SELECT row_to_json(t) FROM resource_minutes t \
                   JOIN unnest($1::text[], $2::text[], $3::text[]) AS k (tenant, resource, minute_at) \
                   ON (t.tenant, t.resource, t.minute_at) = (k.tenant, k.resource, k.minute_at::timestamptz)";
        let rows = select(transaction, sql, &[&tenants, &names, &minutes]).await?;
        ledger.resource_minutes = keyed(rows, minute_key);
    }
    Ok(ledger)
}

/// Writes all rows of `ledger` over what is there.
///
/// # Errors
/// The client's error; [`Fault::Data`](crate::postgres::Fault::Data) when a value is refused.
pub async fn save(transaction: &Transaction<'_>, ledger: &Ledger) -> Result<(), Error> {
    insert(transaction, &ANOMALIES, ledger.anomalies.values()).await?;
    insert(transaction, &PREDICTIONS, ledger.predictions.values()).await?;
    insert(
        transaction,
        &CONDITION_CHANGES,
        ledger.condition_changes.values(),
    )
    .await?;
    insert(
        transaction,
        &RESOURCE_CHANGES,
        ledger.resource_changes.values(),
    )
    .await?;
    insert(transaction, &RESOURCES, ledger.resources.values()).await?;
    insert(
        transaction,
        &RESOURCE_MINUTES,
        ledger.resource_minutes.values(),
    )
    .await
}

/// Every row of every table, for the judge: [`Ledger::canonical`] makes text of it.
///
/// # Errors
/// The client's error.
pub async fn dump(client: &impl GenericClient) -> Result<Ledger, Error> {
    Ok(Ledger {
        anomalies: keyed(all(client, &ANOMALIES).await?, |row: &super::AnomalyRow| {
            row.anomaly_id
        }),
        predictions: keyed(
            all(client, &PREDICTIONS).await?,
            |row: &super::PredictionRow| row.prediction_id,
        ),
        condition_changes: keyed(
            all(client, &CONDITION_CHANGES).await?,
            |row: &super::ConditionRow| row.change_id,
        ),
        resource_changes: keyed(
            all(client, &RESOURCE_CHANGES).await?,
            |row: &super::ResourceChangeRow| row.change_id,
        ),
        resources: keyed(all(client, &RESOURCES).await?, resource_key),
        resource_minutes: keyed(all(client, &RESOURCE_MINUTES).await?, minute_key),
    })
}

async fn insert<'a, R: Serialize + Sync + Send + std::fmt::Debug + 'a>(
    transaction: &Transaction<'_>,
    table: &Table,
    rows: impl Iterator<Item = &'a R>,
) -> Result<(), Error> {
    let rows: Vec<&R> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    let statement = transaction.prepare_cached(&table.save()).await?;
    transaction.execute(&statement, &[&Json(rows)]).await?;
    Ok(())
}

async fn all<R: DeserializeOwned>(
    client: &impl GenericClient,
    table: &Table,
) -> Result<Vec<R>, Error> {
    let sql = format!("SELECT row_to_json(t) FROM {} t", table.name);
    client
        .query(sql.as_str(), &[])
        .await?
        .iter()
        .map(|row| row.try_get::<_, Json<R>>(0).map(|json| json.0))
        .collect()
}

async fn select<R: DeserializeOwned>(
    transaction: &Transaction<'_>,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<R>, Error> {
    let statement = transaction.prepare_cached(sql).await?;
    let rows = transaction.query(&statement, parameters).await?;
    rows.iter()
        .map(|row| row.try_get::<_, Json<R>>(0).map(|json| json.0))
        .collect()
}

fn keyed<K: Ord, R>(rows: Vec<R>, key: impl Fn(&R) -> K) -> std::collections::BTreeMap<K, R> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
}

fn columns<'a>(resources: impl Iterator<Item = &'a ResourceId>) -> (Vec<&'a str>, Vec<&'a str>) {
    resources
        .map(|(tenant, name)| (tenant.as_str(), name.as_str()))
        .unzip()
}

fn resource_key(row: &super::ResourceRow) -> ResourceId {
    (row.tenant.clone(), row.resource.clone())
}

fn minute_key(row: &super::ResourceMinuteRow) -> (ResourceId, Timestamp) {
    ((row.tenant.clone(), row.resource.clone()), row.minute_at)
}
