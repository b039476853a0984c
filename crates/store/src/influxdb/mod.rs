//! InfluxDB 2: the store of samples, features and scores, filled from the log and from nowhere else.
//!
//! Spoken to over its HTTP API with `reqwest`: line protocol in, Flux and annotated CSV out. The client crate that
//! exists buffers whole answers and holds old versions of the HTTP stack.
//!
//! Everything is idempotent. The same sample is the same point ([`points`](crate::metrics::points)), so a batch may be
//! written as often as it takes; buckets and downsampling tasks are made if they are missing and put right if they
//! differ ([`set_up`](InfluxDb::set_up)).

mod history;
mod query;
mod series;
mod setup;
mod write;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use forewarn_config::{Secret, Settings};
use forewarn_features::FeatureSet;
use forewarn_types::{ResourceKey, StepLength};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::http;
use crate::metrics::{
    LEVELS, Level, Lines, MetricAccess, MetricStore, ReadError, Resolution, Retention, Rows,
    Selection, Series, SeriesLimits, Span, WriteError, Written,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// `[influxdb]`: the store of samples, features and scores.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it is.
    pub url: String,
    /// A token that may read and write buckets and tasks of the organisation.
    pub token: Secret,
    /// The organisation, which must exist.
    pub org: String,
    /// First part of the names of the buckets: `forewarn_raw`, `forewarn_10s`, `forewarn_1m` …
    pub bucket: String,
    /// The longest that one request may take.
    #[serde(with = "forewarn_config::duration")]
    pub request_timeout: Duration,
    /// How long to wait at start-up for a server that is still starting.
    #[serde(with = "forewarn_config::duration")]
    pub startup_wait: Duration,
    /// Lines written in one request at most.
    pub batch_lines: usize,
    /// Bytes written in one request at most, before compression.
    #[serde(with = "forewarn_config::size")]
    pub batch_bytes: usize,
    /// How long samples, features and scores are kept as they came.
    #[serde(with = "forewarn_config::duration")]
    pub retention_raw: Duration,
    /// How long aggregates of 10 s are kept.
    #[serde(with = "forewarn_config::duration")]
    pub retention_10s: Duration,
    /// How long aggregates of a minute are kept.
    #[serde(with = "forewarn_config::duration")]
    pub retention_1m: Duration,
    /// How long aggregates of 10 minutes are kept.
    #[serde(with = "forewarn_config::duration")]
    pub retention_10m: Duration,
    /// How long aggregates of an hour are kept.
    #[serde(with = "forewarn_config::duration")]
    pub retention_1h: Duration,
    /// Whether to create the tasks that aggregate.
    pub downsampling: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8086".to_owned(),
            token: Secret::default(),
            org: "forewarn".to_owned(),
            bucket: "forewarn".to_owned(),
            request_timeout: Duration::from_secs(15),
            startup_wait: Duration::from_secs(120),
            batch_lines: 5_000,
            batch_bytes: 1 << 20,
            retention_raw: 7 * DAY,
            retention_10s: 190 * DAY,
            retention_1m: 190 * DAY,
            retention_10m: 400 * DAY,
            retention_1h: 1_100 * DAY,
            downsampling: true,
        }
    }
}

impl Config {
    /// Reads section `[influxdb]`; what is wrong is remembered by `settings`.
    pub fn configure(settings: &mut Settings) -> Self {
        settings.checked("influxdb", Self::mistakes)
    }

    /// Leads to the server that the section names.
    #[must_use]
    pub fn access(self) -> MetricAccess {
        MetricAccess::InfluxDb(Box::new(self))
    }

    /// How long what is kept.
    #[must_use]
    pub fn retention(&self) -> Retention {
        Retention {
            raw: self.retention_raw,
            levels: self.downsampling.then(|| self.retention_levels()),
        }
    }

    fn retention_levels(&self) -> [Duration; LEVELS.len()] {
        [
            self.retention_10s,
            self.retention_1m,
            self.retention_10m,
            self.retention_1h,
        ]
    }

    /// Every mistake, as the key within the section and what is wrong with its value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if let Err(problem) = parse_url(&self.url) {
            mistakes.push((
                "url",
                format!("is not of the form http://host:port: {problem}"),
            ));
        }
        for (key, text) in [("org", &self.org), ("bucket", &self.bucket)] {
            if text.trim().is_empty() || text.contains(char::is_control) {
                mistakes.push((key, "must be a name without control characters".to_owned()));
            }
        }
        if self.bucket.starts_with('_') {
            mistakes.push((
                "bucket",
                "must not begin with `_`: InfluxDB keeps such names for itself".to_owned(),
            ));
        }
        if self.request_timeout.is_zero() {
            mistakes.push((
                "request_timeout",
                "must be longer than nothing, such as \"15s\"".to_owned(),
            ));
        }
        for (key, size) in [
            ("batch_lines", self.batch_lines),
            ("batch_bytes", self.batch_bytes),
        ] {
            if size == 0 {
                mistakes.push((key, "must be at least 1".to_owned()));
            }
        }
        for (key, retention) in [
            ("retention_raw", self.retention_raw),
            ("retention_10s", self.retention_10s),
            ("retention_1m", self.retention_1m),
            ("retention_10m", self.retention_10m),
            ("retention_1h", self.retention_1h),
        ] {
            if retention < Duration::from_secs(3_600) {
                mistakes.push((
                    key,
                    "must be at least \"1h\": InfluxDB keeps data for no less".to_owned(),
                ));
            }
        }
        mistakes
    }
}

/// What goes wrong with InfluxDB apart from writing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are no address.
    #[error("`influxdb.url` is not of the form http://host:port: {0}")]
    Url(String),
    /// No answer, or not in time.
    #[error("InfluxDB cannot be reached: {0}")]
    Unreachable(String),
    /// The token is missing, expired, or not allowed to do this.
    #[error(
        "InfluxDB refuses the token (status {status}: {message}): check `influxdb.token` and its permissions"
    )]
    Denied {
        /// 401 or 403.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// The organisation does not exist, or the token may not see it.
    #[error("InfluxDB has no organisation `{0}` that the token may see: check `influxdb.org`")]
    Org(String),
    /// Any other refusal.
    #[error("InfluxDB answers with status {status}: {message}")]
    Answer {
        /// As the server says.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// The server says something that this program does not understand.
    #[error("InfluxDB's answer cannot be read: {0}")]
    Unreadable(String),
}

/// InfluxDB over HTTP.
#[derive(Clone, Debug)]
pub struct InfluxDb {
    client: reqwest::Client,
    base: reqwest::Url,
    config: Config,
}

impl InfluxDb {
    /// Reads the settings; connects when first used.
    ///
    /// # Errors
    /// [`Error::Url`] when the address cannot be read.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let base = parse_url(&config.url).map_err(Error::Url)?;
        let client = http::client(config.request_timeout)
            .build()
            .map_err(|error| Error::Url(chain(&error)))?;
        Ok(Self {
            client,
            base,
            config: config.clone(),
        })
    }

    /// Waits for the server, then makes or puts right what is needed there.
    ///
    /// # Errors
    /// [`Error`] when the server does not answer within `startup_wait`, or refuses.
    pub async fn start(config: &Config) -> Result<Self, Error> {
        let influxdb = Self::open(config)?;
        let started = tokio::time::Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            let error = match influxdb.set_up().await {
                Ok(()) => return Ok(influxdb),
                // What the server says in words does not mend itself, except that it is starting.
                Err(error @ (Error::Unreachable(_) | Error::Answer { status: 500.., .. })) => error,
                Err(error) => return Err(error),
            };
            if started.elapsed() + pause > config.startup_wait {
                return Err(error);
            }
            tracing::warn!(%error, retry_in = ?pause, "InfluxDB does not answer yet");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(3));
        }
    }

    /// Name of the bucket that holds samples, features and scores as they came.
    #[must_use]
    pub fn raw_bucket(&self) -> String {
        format!("{}_raw", self.config.bucket)
    }

    /// Name of the bucket that holds aggregates of a level.
    #[must_use]
    pub fn level_bucket(&self, level: &Level) -> String {
        format!("{}_{}", self.config.bucket, level.name)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        self.client.request(method, url).header(
            "Authorization",
            format!("Token {}", self.config.token.reveal()),
        )
    }
}

#[async_trait]
impl MetricStore for InfluxDb {
    async fn write(&self, lines: &Lines) -> Result<Written, WriteError> {
        self.write_lines(lines).await
    }

    async fn series(
        &self,
        selection: &Selection,
        span: Span,
        resolution: Resolution,
        limits: &SeriesLimits,
    ) -> Result<Vec<Series>, ReadError> {
        self.read_series(selection, span, resolution, limits).await
    }

    async fn latest(
        &self,
        selection: &Selection,
        span: Span,
        limits: &SeriesLimits,
    ) -> Result<Vec<Series>, ReadError> {
        self.read_latest(selection, span, limits).await
    }

    async fn steps(
        &self,
        resource: &ResourceKey,
        set: &FeatureSet,
        span: Span,
    ) -> Result<BTreeMap<StepLength, Rows>, ReadError> {
        Ok(self.read_steps(resource, set, span).await?)
    }
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        let words = error.to_string();
        match error {
            Error::Unreachable(_) => Self::Away(words),
            Error::Answer { status: 404, .. } => Self::Missing(words),
            _ => Self::Failed(words),
        }
    }
}

fn parse_url(text: &str) -> Result<reqwest::Url, String> {
    let url: reqwest::Url = text.parse().map_err(|error| format!("{error}"))?;
    if url.cannot_be_a_base() || !matches!(url.scheme(), "http" | "https") {
        return Err("it must begin with http:// or https://".to_owned());
    }
    Ok(url)
}

/// Sends, and turns every answer but a success into an error with the server's words.
async fn send(request: RequestBuilder) -> Result<Response, Error> {
    let response = request
        .send()
        .await
        .map_err(|error| Error::Unreachable(chain(&error.without_url())))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let message = server_words(response).await;
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied {
            status: status.as_u16(),
            message,
        },
        _ => Error::Answer {
            status: status.as_u16(),
            message,
        },
    })
}

/// The `message` of an error's body, or its beginning.
async fn server_words(response: Response) -> String {
    #[derive(Deserialize)]
    struct Body {
        message: String,
    }
    let body = response.bytes().await.unwrap_or_default();
    match serde_json::from_slice::<Body>(&body) {
        Ok(body) => body.message.chars().take(1_000).collect(),
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(1_000)]).into_owned(),
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_mistake_and_every_mistake_is_named() {
        assert_eq!(Config::default().mistakes(), []);
        let wrong = Config {
            url: "localhost:8086".into(),
            org: String::new(),
            bucket: "_x".into(),
            batch_lines: 0,
            retention_raw: Duration::from_secs(1),
            ..Config::default()
        };
        let keys: Vec<_> = wrong.mistakes().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            ["url", "org", "bucket", "batch_lines", "retention_raw"]
        );
    }
}
