//! Writing: batches until all is there, refused lines found one by one, nothing given up on because of an outage.

use std::io::Write as _;
use std::ops::Range;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Method, StatusCode};

use super::{InfluxDb, chain, server_words};
use crate::metrics::{Lines, Refused, WriteError, Written};

/// What the server says to one batch.
enum Answer {
    Written,
    /// Written, but for so many points that are too old.
    Expired(usize),
    /// Something in it is wrong.
    Refused(String),
}

impl InfluxDb {
    /// Writes all lines into the raw bucket.
    pub(super) async fn write_lines(&self, lines: &Lines) -> Result<Written, WriteError> {
        let mut written = Written::default();
        let mut start = 0;
        while start < lines.len() {
            let end = self.batch_end(lines, start);
            self.write_or_bisect(lines, start..end, &mut written)
                .await?;
            start = end;
        }
        Ok(written)
    }

    /// The end of the batch that begins with line `start`: within both limits, at least one line.
    fn batch_end(&self, lines: &Lines, start: usize) -> usize {
        let most = start
            .saturating_add(self.config.batch_lines.max(1))
            .min(lines.len());
        let mut end = start + 1;
        let mut bytes = lines.slice(start..end).len();
        while end < most {
            bytes += lines.slice(end..end + 1).len();
            if bytes > self.config.batch_bytes {
                break;
            }
            end += 1;
        }
        end
    }

    /// Writes a batch; if the server refuses it, its halves in order, down to the lines that are to blame.
    async fn write_or_bisect(
        &self,
        lines: &Lines,
        batch: Range<usize>,
        written: &mut Written,
    ) -> Result<(), WriteError> {
        // A stack instead of recursion; the left half is on top, so points are written in the order of the log.
        let mut waiting = vec![batch];
        while let Some(batch) = waiting.pop() {
            match self.write_batch(lines.slice(batch.clone())).await? {
                Answer::Written => {}
                Answer::Expired(points) => written.expired += points,
                Answer::Refused(message) if batch.len() == 1 => {
                    written.refused.push(Refused {
                        line: batch.start,
                        message,
                    });
                }
                Answer::Refused(_) => {
                    let middle = batch.start + batch.len() / 2;
                    waiting.push(middle..batch.end);
                    waiting.push(batch.start..middle);
                }
            }
        }
        Ok(())
    }

    async fn write_batch(&self, body: &str) -> Result<Answer, WriteError> {
        let mut gzip = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
        gzip.write_all(body.as_bytes())
            .expect("a Vec takes every write");
        let body = gzip.finish().expect("a Vec takes every write");
        let request = self
            .request(Method::POST, "/api/v2/write")
            .query(&[
                ("org", self.config.org.as_str()),
                ("bucket", &self.raw_bucket()),
                ("precision", "ms"),
            ])
            .header("Content-Type", "text/plain; charset=utf-8")
            .header("Content-Encoding", "gzip")
            .body(body);
        let response = request.send().await.map_err(|error| WriteError::Later {
            why: chain(&error.without_url()),
            retry_after: None,
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(Answer::Written);
        }
        let retry_after = response
            .headers()
            .get("Retry-After")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let message = server_words(response).await;
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                Err(WriteError::Denied {
                    status: status.as_u16(),
                    message,
                })
            }
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => {
                Ok(expired(&message).map_or(Answer::Refused(message), Answer::Expired))
            }
            _ => Err(WriteError::Later {
                why: format!("status {}: {message}", status.as_u16()),
                retry_after: retry_after.map(Duration::from_secs),
            }),
        }
    }
}

/// How many points of a batch were left out because the bucket keeps nothing that old, when that is all that is wrong:
/// the server has then written the others. A replay of a week-old log meets many of them.
fn expired(message: &str) -> Option<usize> {
    let (_, rest) = message.split_once("partial write: dropped ")?;
    let (count, _) = rest.split_once(" points outside retention policy")?;
    count.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_that_are_too_old_are_told_from_points_that_are_wrong() {
        let old = "failure writing points to database: partial write: dropped 2 points outside retention policy of \
                   duration 24h0m0s - oldest point m at 2026-11-11T03:12:32Z dropped because it violates a Retention \
                   Policy Lower Bound dropped=2 for database: f5 for retention policy: autogen";
        assert_eq!(expired(old), Some(2));
        let wrong = "failure writing points to database: partial write: field type conflict: input field \"value\" on \
                     measurement \"m\" is type string, already exists as type float dropped=1";
        assert_eq!(expired(wrong), None);
    }
}
