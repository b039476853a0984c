//! How far each service has come, seen from outside: from the log and the ledger, not from what it says of itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use forewarn_bus::{Log, Place};
use forewarn_messages::{ANOMALY_PREDICTIONS, Headers, PROCESSED_METRICS, SYSTEM_METRICS, Topic};
use forewarn_store::postgres::Postgres;

use crate::World;

/// Eyes on the log and the ledger.
pub struct Probe {
    log: Arc<dyn Log>,
    postgres: Postgres,
    partitions: u32,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe")
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

/// For each partition, one past the offset of the root record that was reached.
pub type Reached = Vec<u64>;

impl Probe {
    /// Opens them.
    ///
    /// # Errors
    /// When the log or the ledger cannot be reached.
    pub fn new(world: &World) -> anyhow::Result<Self> {
        Self::of(world, world.log()?)
    }

    /// Looks at another log than the world's.
    ///
    /// # Errors
    /// When the ledger cannot be reached.
    pub fn of(world: &World, log: Arc<dyn Log>) -> anyhow::Result<Self> {
        Ok(Self {
            log,
            postgres: world.postgres()?,
            partitions: crate::PARTITIONS,
        })
    }

    /// The log itself.
    #[must_use]
    pub fn log(&self) -> &dyn Log {
        &*self.log
    }

    /// The ledger itself.
    #[must_use]
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// The end of every partition of `system_metrics`.
    ///
    /// # Errors
    /// As the log says.
    pub fn roots(&self) -> anyhow::Result<Reached> {
        ends(self.log(), &SYSTEM_METRICS)
    }

    /// How far the stream-processor has come with the roots.
    ///
    /// # Errors
    /// As the log says.
    pub fn processed(&self) -> anyhow::Result<Reached> {
        caused(self.log(), &PROCESSED_METRICS)
    }

    /// How far the predictor has come with the roots.
    ///
    /// # Errors
    /// As the log says.
    pub fn judged(&self) -> anyhow::Result<Reached> {
        caused(self.log(), &ANOMALY_PREDICTIONS)
    }

    /// How far the alerter has come with `anomaly_predictions`: the offset to read next, by partition.
    ///
    /// # Errors
    /// As the ledger says.
    pub fn alerted(&self, world: &World) -> anyhow::Result<Reached> {
        let row = world.runtime.block_on(async {
            let session = self.postgres.session().await?;
            let row = session
                .query_opt("SELECT next_offsets FROM alerter_state", &[])
                .await?;
            session.give_back();
            anyhow::Ok(row)
        })?;
        let Some(row) = row else {
            return Ok(vec![0; self.partitions as usize]);
        };
        row.get::<_, Vec<i64>>(0)
            .into_iter()
            // Behind the partitions stands `commands`.
            .take(self.partitions as usize)
            .map(|next| Ok(u64::try_from(next)?))
            .collect()
    }
}

/// The end of every partition of a topic.
///
/// # Errors
/// As the log says.
pub fn ends(log: &dyn Log, topic: &'static Topic) -> anyhow::Result<Reached> {
    (0..log.partitions(topic)?)
        .map(|partition| Ok(log.bounds(Place { topic, partition })?.end))
        .collect()
}

/// One past the root that caused the last record, for every partition of a derived topic.
///
/// # Errors
/// As the log says.
pub fn caused(log: &dyn Log, topic: &'static Topic) -> anyhow::Result<Reached> {
    (0..log.partitions(topic)?)
        .map(|partition| last_cause(log, Place { topic, partition }))
        .collect()
}

fn last_cause(log: &dyn Log, place: Place) -> anyhow::Result<u64> {
    let bounds = log.bounds(place)?;
    let mut reached = 0;
    log.read(
        place,
        bounds.end.saturating_sub(1).max(bounds.start)..bounds.end,
        &mut |record| {
            let pairs = record
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice()));
            reached = Headers::from_pairs(pairs)
                .ok()
                .and_then(|headers| headers.src)
                .map_or(0, |src| src.offset + 1);
            true
        },
    )?;
    Ok(reached)
}

/// How many records lie between two places, over all partitions.
#[must_use]
pub fn lag(ahead: &Reached, behind: &Reached) -> u64 {
    ahead
        .iter()
        .zip(behind)
        .map(|(ahead, behind)| ahead.saturating_sub(*behind))
        .sum()
}

/// Asks again and again until it holds. Faults on the way (a store that restarts) count as "not yet".
///
/// # Errors
/// When it does not hold within `limit`, with what was said last.
pub fn eventually(
    what: &str,
    limit: Duration,
    mut holds: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        let said = match holds() {
            Ok(true) => return Ok(()),
            Ok(false) => "it does not hold".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= deadline {
            bail!("{what}: not within {limit:?}: {said}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
