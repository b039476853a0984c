//! What has to exist in InfluxDB: buckets with their retention, and the tasks that aggregate from one to the next.
//!
//! Levels of 10 s, 1 m, 10 m and 1 h, each computed from the one before. A point of a level carries the tag
//! `aggregate` (`mean`, `min` or `max`) and the time at which its window begins; the mean of a longer window is the
//! mean of the means of its parts, equal weights. Each run does the windows of the last while again
//! ([`Making::lookback`]), so that samples which come late by less than that are in every level; windows are only
//! written once they have ended, and writing one again replaces it.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Error, InfluxDb, send};
use crate::metrics::{LEVELS, Level, points};

/// The task that makes a level.
struct Making {
    /// How often it runs.
    every: &'static str,
    /// How long after the full interval it runs, so that the level before has been written.
    offset: &'static str,
    /// How far back each run goes.
    lookback: &'static str,
}

/// One for each of [`LEVELS`].
const MAKING: [Making; LEVELS.len()] = [
    Making {
        every: "1m",
        offset: "10s",
        lookback: "10m",
    },
    Making {
        every: "1m",
        offset: "20s",
        lookback: "15m",
    },
    Making {
        every: "10m",
        offset: "30s",
        lookback: "1h",
    },
    Making {
        every: "1h",
        offset: "1m",
        lookback: "6h",
    },
];

#[derive(Deserialize)]
struct Buckets {
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    id: String,
    #[serde(default, rename = "retentionRules")]
    retention: Vec<RetentionRule>,
}

#[derive(Deserialize)]
struct RetentionRule {
    #[serde(rename = "everySeconds")]
    every_seconds: u64,
}

#[derive(Deserialize)]
struct Tasks {
    tasks: Vec<Task>,
}

#[derive(Deserialize)]
struct Task {
    id: String,
    flux: String,
    status: String,
}

impl InfluxDb {
    /// Makes the buckets and tasks that are missing and puts right what differs. Several services may do so at once.
    ///
    /// # Errors
    /// [`Error`] when the server is away or refuses.
    pub async fn set_up(&self) -> Result<(), Error> {
        let org = self.org_id().await?;
        self.ensure_bucket(&org, &self.raw_bucket(), self.config.retention_raw)
            .await?;
        if !self.config.downsampling {
            return Ok(());
        }
        for (level, retention) in LEVELS.iter().zip(self.config.retention_levels()) {
            self.ensure_bucket(&org, &self.level_bucket(level), retention)
                .await?;
        }
        for (index, (level, making)) in LEVELS.iter().zip(&MAKING).enumerate() {
            let source = index.checked_sub(1).map(|before| &LEVELS[before]);
            let name = format!("{}: {} aggregates", self.config.bucket, level.name);
            self.ensure_task(&org, &name, &self.task(&name, level, making, source))
                .await?;
        }
        Ok(())
    }

    /// The Flux program of a level's task; `source` is the level before, none for the raw bucket.
    #[must_use]
    fn task(&self, name: &str, level: &Level, making: &Making, source: Option<&Level>) -> String {
        let from = source.map_or_else(|| self.raw_bucket(), |source| self.level_bucket(source));
        let to = self.level_bucket(level);
        let window = level.name;
        let Making {
            every,
            offset,
            lookback,
        } = making;
        let mut flux = format!(
            "import \"date\"\n\n\
             option task = {{name: {name}, every: {every}, offset: {offset}}}\n\n\
             stop = date.truncate(t: now(), unit: {window})\n\
             start = date.truncate(t: date.sub(from: now(), d: {lookback}), unit: {window})\n",
            name = quote(name),
        );
        for aggregate in ["mean", "min", "max"] {
            // Texts have no mean; of a finer level, like is made of like.
            let filter = match source {
                None => "r._field != \"state\"".to_owned(),
                Some(_) => format!("r.{} == \"{aggregate}\"", points::AGGREGATE),
            };
            flux.push_str(&format!(
                "\nfrom(bucket: {from})\n    \
                 |> range(start: start, stop: stop)\n    \
                 |> filter(fn: (r) => {filter})\n    \
                 |> aggregateWindow(every: {window}, fn: {aggregate}, createEmpty: false, timeSrc: \"_start\")\n    \
                 |> set(key: \"{key}\", value: \"{aggregate}\")\n    \
                 |> to(bucket: {to}, org: {org})\n",
                from = quote(&from),
                key = points::AGGREGATE,
                to = quote(&to),
                org = quote(&self.config.org),
            ));
        }
        flux
    }

    async fn org_id(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Orgs {
            orgs: Vec<Org>,
        }
        #[derive(Deserialize)]
        struct Org {
            id: String,
        }
        let request = self
            .request(Method::GET, "/api/v2/orgs")
            .query(&[("org", &self.config.org)]);
        let found = match send(request).await {
            Ok(response) => read::<Orgs>(response).await?.orgs.into_iter().next(),
            Err(Error::Answer { status: 404, .. }) => None,
            Err(error) => return Err(error),
        };
        found
            .map(|org| org.id)
            .ok_or_else(|| Error::Org(self.config.org.clone()))
    }

    async fn find_bucket(&self, org: &str, name: &str) -> Result<Option<Bucket>, Error> {
        let request = self
            .request(Method::GET, "/api/v2/buckets")
            .query(&[("orgID", org), ("name", name)]);
        match send(request).await {
            Ok(response) => Ok(read::<Buckets>(response).await?.buckets.into_iter().next()),
            Err(Error::Answer { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ensure_bucket(&self, org: &str, name: &str, retention: Duration) -> Result<(), Error> {
        // InfluxDB keeps no data for less than an hour.
        let wanted = retention.as_secs().max(3_600);
        let rules = json!([{ "type": "expire", "everySeconds": wanted }]);
        let bucket = match self.find_bucket(org, name).await? {
            Some(bucket) => bucket,
            None => {
                let body = json!({ "orgID": org, "name": name, "retentionRules": rules });
                match send(self.request(Method::POST, "/api/v2/buckets").json(&body)).await {
                    Ok(_) => {
                        tracing::info!(
                            bucket = name,
                            retention_seconds = wanted,
                            "made a bucket in InfluxDB"
                        );
                        return Ok(());
                    }
                    // Another service was faster.
                    Err(Error::Answer {
                        status: 409 | 422,
                        message,
                    }) => {
                        let bucket = self.find_bucket(org, name).await?;
                        bucket.ok_or(Error::Answer {
                            status: 422,
                            message,
                        })?
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        // Zero or none means for ever.
        let found = bucket
            .retention
            .first()
            .map_or(0, |rule| rule.every_seconds);
        if found == wanted {
            return Ok(());
        }
        if found == 0 || found > wanted {
            tracing::warn!(
                bucket = name,
                kept_seconds = found,
                wanted_seconds = wanted,
                "the bucket keeps its data for longer than the settings say; left so, since shortening deletes data"
            );
            return Ok(());
        }
        let path = format!("/api/v2/buckets/{}", bucket.id);
        send(
            self.request(Method::PATCH, &path)
                .json(&json!({ "retentionRules": rules })),
        )
        .await?;
        tracing::info!(
            bucket = name,
            retention_seconds = wanted,
            "lengthened the retention of a bucket in InfluxDB"
        );
        Ok(())
    }

    async fn ensure_task(&self, org: &str, name: &str, flux: &str) -> Result<(), Error> {
        let mut tasks = self.find_tasks(org, name).await?;
        if tasks.is_empty() {
            let body = json!({ "orgID": org, "flux": flux, "status": "active" });
            send(self.request(Method::POST, "/api/v2/tasks").json(&body)).await?;
            tracing::info!(task = name, "made a task in InfluxDB");
            // Names of tasks are not unique: another service may have made one at the same moment.
            tasks = self.find_tasks(org, name).await?;
        }
        // All agree on which one stays: the oldest.
        tasks.sort_by(|a, b| a.id.cmp(&b.id));
        let mut tasks = tasks.into_iter();
        let Some(kept) = tasks.next() else {
            return Err(Error::Unreadable(format!(
                "the task `{name}` was made, and is not there"
            )));
        };
        for surplus in tasks {
            match send(self.request(Method::DELETE, &format!("/api/v2/tasks/{}", surplus.id))).await
            {
                Ok(_) | Err(Error::Answer { status: 404, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if kept.flux.trim() != flux.trim() {
            let path = format!("/api/v2/tasks/{}", kept.id);
            send(
                self.request(Method::PATCH, &path)
                    .json(&json!({ "flux": flux })),
            )
            .await?;
            tracing::info!(task = name, "brought a task in InfluxDB up to date");
        }
        if kept.status != "active" {
            tracing::warn!(
                task = name,
                "a task in InfluxDB is switched off, and left so: its level is not written"
            );
        }
        Ok(())
    }

    async fn find_tasks(&self, org: &str, name: &str) -> Result<Vec<Task>, Error> {
        let request = self
            .request(Method::GET, "/api/v2/tasks")
            .query(&[("orgID", org), ("name", name)]);
        Ok(read::<Tasks>(send(request).await?).await?.tasks)
    }

    /// Deletes the buckets and tasks that [`set_up`](Self::set_up) makes, with all that they hold: for tests.
    ///
    /// # Errors
    /// [`Error`] when the server is away or refuses.
    pub async fn tear_down(&self) -> Result<(), Error> {
        let org = self.org_id().await?;
        for level in &LEVELS {
            for task in self
                .find_tasks(
                    &org,
                    &format!("{}: {} aggregates", self.config.bucket, level.name),
                )
                .await?
            {
                send(self.request(Method::DELETE, &format!("/api/v2/tasks/{}", task.id))).await?;
            }
        }
        let names = LEVELS
            .iter()
            .map(|level| self.level_bucket(level))
            .chain([self.raw_bucket()]);
        for name in names {
            if let Some(bucket) = self.find_bucket(&org, &name).await? {
                send(self.request(Method::DELETE, &format!("/api/v2/buckets/{}", bucket.id)))
                    .await?;
            }
        }
        Ok(())
    }
}

async fn read<T: serde::de::DeserializeOwned>(response: reqwest::Response) -> Result<T, Error> {
    let body = response
        .bytes()
        .await
        .map_err(|error| Error::Unreachable(super::chain(&error.without_url())))?;
    serde_json::from_slice(&body).map_err(|error| Error::Unreadable(error.to_string()))
}

/// A text as Flux reads it: its escapes are those of JSON, and `$` may not open an interpolation.
pub(super) fn quote(text: &str) -> String {
    Value::from(text).to_string().replace("${", "\\u{24}{")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::influxdb::Config;

    #[test]
    fn each_level_is_made_of_the_one_before() {
        let influxdb = InfluxDb::open(&Config::default()).expect("the default address");
        let first = influxdb.task("t", &LEVELS[0], &MAKING[0], None);
        assert!(
            first.contains("from(bucket: \"forewarn_raw\")")
                && first.contains("to(bucket: \"forewarn_10s\"")
        );
        let second = influxdb.task("t", &LEVELS[1], &MAKING[1], Some(&LEVELS[0]));
        assert!(
            second.contains("from(bucket: \"forewarn_10s\")")
                && second.contains("to(bucket: \"forewarn_1m\"")
        );
        assert!(second.contains("r.aggregate == \"mean\""));
    }

    #[test]
    fn a_text_cannot_end_its_quotes() {
        assert_eq!(quote("a\"b\\c\n"), r#""a\"b\\c\n""#);
    }
}
