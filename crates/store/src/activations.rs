//! Which model judges whom from which moment of the log on: rows that are only ever added (DESIGN.md §2.9).
//!
//! A row speaks of a time that has not come yet, so whoever judges has read it before it counts, and a replay that
//! reads the same rows judges the same. The database sees to both halves of that: rows are numbered in the order in
//! which they are committed, and none begins less than [`AHEAD_MS`] after it is written.

use std::collections::BTreeMap;

use deadpool_postgres::GenericClient;
use forewarn_types::{LogTime, ResourceKey};
use uuid::Uuid;

use crate::Timestamp;

/// No row begins sooner after it is written than this, in milliseconds by the database's clock.
pub const AHEAD_MS: i64 = 10_000;

/// Whom a model judges: tenant/resource/feature set.
#[must_use]
pub fn scope(resource: &ResourceKey, feature_set: &str) -> String {
    format!("{}/{}/{feature_set}", resource.tenant, resource.resource)
}

/// A row of `activations`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Counts the rows in the order in which they were committed.
    pub id: i64,
    /// Whom: see [`scope`].
    pub scope: String,
    /// The bundle that judges, or none.
    pub digest: Option<String>,
    /// From this moment of the log on.
    pub from: LogTime,
    /// From this moment of the log on it counts as if it were not there.
    pub refused_from: Option<LogTime>,
}

/// All activations, by scope in the order in which they take effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activations {
    scopes: BTreeMap<String, Vec<Activation>>,
}

impl FromIterator<Activation> for Activations {
    fn from_iter<I: IntoIterator<Item = Activation>>(rows: I) -> Self {
        let mut all = Self::default();
        rows.into_iter().for_each(|row| all.put(row));
        all
    }
}

impl Activations {
    /// Adds a row, or replaces the one of the same number.
    pub fn put(&mut self, row: Activation) {
        let rows = self.scopes.entry(row.scope.clone()).or_default();
        rows.retain(|other| other.id != row.id);
        let at = rows.partition_point(|other| (other.from, other.id) < (row.from, row.id));
        rows.insert(at, row);
    }

    /// The row in force for `scope` at a moment of the log: the latest that has begun and is not refused.
    #[must_use]
    pub fn at(&self, scope: &str, at: LogTime) -> Option<&Activation> {
        let rows = self.scopes.get(scope)?;
        rows.iter()
            .rev()
            .filter(|row| row.from <= at)
            .find(|row| row.refused_from.is_none_or(|refused| at < refused))
    }

    /// Rows of `scope` that are in force at `at` or begin later, in their order.
    pub fn from(&self, scope: &str, at: LogTime) -> impl Iterator<Item = &Activation> {
        let now = self.at(scope, at).map(|row| row.id);
        self.scopes
            .get(scope)
            .into_iter()
            .flatten()
            .filter(move |row| row.from > at || Some(row.id) == now)
            .filter(|row| row.refused_from != Some(row.from))
    }

    /// All rows, scope by scope.
    pub fn iter(&self) -> impl Iterator<Item = &Activation> {
        self.scopes.values().flatten()
    }
}

/// What was read, and the database's clock just before: every row written later begins at least [`AHEAD_MS`] after it.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The rows.
    pub rows: Vec<Activation>,
    /// The database's clock before they were read.
    pub clock: LogTime,
}

const COLUMNS: &str = "activation_id, scope, digest, \
    (extract(epoch FROM from_log_time) * 1000)::bigint, (extract(epoch FROM refused_from) * 1000)::bigint";

/// Reads the rows beyond number `after`, and every refused one.
///
/// # Errors
/// The client's error.
pub async fn read(
    client: &impl GenericClient,
    after: i64,
) -> Result<Reading, tokio_postgres::Error> {
    // A statement of its own: the clock has to stand before the snapshot of what is read.
    let clock = client
        .prepare_cached("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        .await?;
    let clock: i64 = client.query_one(&clock, &[]).await?.get(0);
    let statement = client
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM activations WHERE activation_id > $1 OR refused_from IS NOT NULL \
             ORDER BY activation_id"
        ))
        .await?;
    let rows = client.query(&statement, &[&after]).await?;
    let rows = rows
        .into_iter()
        .map(|row| Activation {
            id: row.get(0),
            scope: row.get(1),
            digest: row.get(2),
            from: LogTime(row.get(3)),
            refused_from: row.get::<_, Option<i64>>(4).map(LogTime),
        })
        .collect();
    Ok(Reading {
        rows,
        clock: LogTime(clock),
    })
}

/// Has a model judge `scope` from a moment of the log on; without one given, 15 s from now.
///
/// Returns the row's number and from when on it holds.
///
/// # Errors
/// The client's error, also when `from` is less than [`AHEAD_MS`] ahead.
pub async fn activate(
    client: &impl GenericClient,
    scope: &str,
    digest: Option<&str>,
    from: Option<LogTime>,
    reason: &str,
    run: Option<Uuid>,
) -> Result<(i64, LogTime), tokio_postgres::Error> {
    let from = from.map(Timestamp::from);
    let statement = client
        .prepare_cached(
            "INSERT INTO activations (scope, digest, from_log_time, reason, run_id) \
             VALUES ($1, $2, greatest($3::text::timestamptz, clock_timestamp() + interval '15 seconds'), $4, $5) \
             RETURNING activation_id, (extract(epoch FROM from_log_time) * 1000)::bigint",
        )
        .await?;
    let from = from.map(|from| from.to_string());
    let row = client
        .query_one(&statement, &[&scope, &digest, &from, &reason, &run])
        .await?;
    Ok((row.get(0), LogTime(row.get(1))))
}

/// Takes a row out of force from a moment of the log on, unless that has been done before. Returns whether it was.
///
/// # Errors
/// The client's error.
pub async fn refuse(
    client: &impl GenericClient,
    id: i64,
    from: LogTime,
    why: &str,
) -> Result<bool, tokio_postgres::Error> {
    let statement = client
        .prepare_cached(
            "UPDATE activations SET refused_from = $2::text::timestamptz, refusal = $3 \
             WHERE activation_id = $1 AND refused_from IS NULL",
        )
        .await?;
    let from = Timestamp::from(from).to_string();
    let changed = client.execute(&statement, &[&id, &from, &why]).await?;
    Ok(changed == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, digest: &str, from: i64) -> Activation {
        Activation {
            id,
            scope: "default/a/host/1".into(),
            digest: Some(digest.into()),
            from: LogTime(from),
            refused_from: None,
        }
    }

    fn digest_at(all: &Activations, at: i64) -> Option<&str> {
        all.at("default/a/host/1", LogTime(at))
            .and_then(|row| row.digest.as_deref())
    }

    #[test]
    fn the_latest_row_that_has_begun_is_in_force_whatever_order_they_came_in() {
        let all: Activations = [row(2, "b", 200), row(1, "a", 100), row(3, "c", 200)]
            .into_iter()
            .collect();
        assert_eq!(digest_at(&all, 99), None);
        assert_eq!(digest_at(&all, 100), Some("a"));
        // Two that begin together: the one that was written later.
        assert_eq!(digest_at(&all, 200), Some("c"));
        assert_eq!(all.at("default/b/host/1", LogTime(200)), None);
    }

    #[test]
    fn a_refused_row_gives_way_to_the_one_before() {
        let mut all: Activations = [row(1, "a", 100), row(2, "b", 200)].into_iter().collect();
        all.put(Activation {
            refused_from: Some(LogTime(200)),
            ..row(2, "b", 200)
        });
        assert_eq!(digest_at(&all, 500), Some("a"));
        // One that could not be loaded any more after a restart did judge until then.
        all.put(Activation {
            refused_from: Some(LogTime(300)),
            ..row(2, "b", 200)
        });
        assert_eq!(digest_at(&all, 299), Some("b"));
        assert_eq!(digest_at(&all, 300), Some("a"));
    }

    #[test]
    fn what_has_to_be_at_hand_is_what_is_in_force_and_what_comes() {
        let all: Activations = [row(1, "a", 100), row(2, "b", 200), row(3, "c", 300)]
            .into_iter()
            .collect();
        let ids: Vec<i64> = all
            .from("default/a/host/1", LogTime(250))
            .map(|row| row.id)
            .collect();
        assert_eq!(ids, [2, 3]);
    }
}
