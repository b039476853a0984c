//! Reading points back, as a stream: an answer of any size needs the memory of one line.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::setup::quote;
use super::{Error, InfluxDb, chain, send};
use crate::Timestamp;
use crate::metrics::{Field, Point, Span};

/// The longest line of an answer that is read: a point with its tags is far shorter.
const LINE_LIMIT: usize = 1 << 20;

impl InfluxDb {
    /// Gives every point of `measurement` in `bucket` within `span` to `each`, one field at a time, in no given order.
    ///
    /// # Errors
    /// [`Error`] when the server is away, refuses, or breaks off; what was given by then is incomplete.
    pub async fn points(
        &self,
        bucket: &str,
        measurement: &str,
        span: Span,
        each: &mut (dyn FnMut(Point) + Send),
    ) -> Result<(), Error> {
        let filter = format!(
            "|> filter(fn: (r) => r._measurement == {})",
            quote(measurement)
        );
        self.select(bucket, span, &filter, each).await
    }

    /// As [`points`](Self::points), of all measurements.
    ///
    /// # Errors
    /// As [`points`](Self::points).
    pub async fn all_points(
        &self,
        bucket: &str,
        span: Span,
        each: &mut (dyn FnMut(Point) + Send),
    ) -> Result<(), Error> {
        self.select(bucket, span, "", each).await
    }

    /// Runs a Flux query whose rows are points, and gives them to `each`.
    ///
    /// # Errors
    /// As [`points`](Self::points).
    async fn select(
        &self,
        bucket: &str,
        span: Span,
        filter: &str,
        each: &mut (dyn FnMut(Point) + Send),
    ) -> Result<(), Error> {
        let instant =
            |millis: i64| Timestamp::from_micros(millis.saturating_mul(1_000)).to_string();
        let query = format!(
            "from(bucket: {}) |> range(start: {}, stop: {}) {filter} |> drop(columns: [\"_start\", \"_stop\"])",
            quote(bucket),
            instant(span.start),
            instant(span.stop)
        );
        // Reading everything takes as long as it takes; a server that went away is noticed by the connection.
        let limit = Duration::from_secs(600);
        self.run(&query, limit, each, &|| false).await
    }

    /// Runs a Flux query whose rows are points within `limit`, and gives them to `each`; breaks off once it is `enough`.
    pub(super) async fn run(
        &self,
        query: &str,
        limit: Duration,
        each: &mut (dyn FnMut(Point) + Send),
        enough: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), Error> {
        let body =
            json!({ "query": query, "dialect": { "header": true, "annotations": ["datatype"] } });
        let request = self
            .request(Method::POST, "/api/v2/query")
            .query(&[("org", &self.config.org)])
            .timeout(limit)
            .json(&body);
        let mut response = send(request).await?;
        let mut reader = Reader::default();
        let mut pending: Vec<u8> = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| Error::Unreachable(chain(&error.without_url())))?
        {
            pending.extend_from_slice(&chunk);
            let mut start = 0;
            while let Some(length) = pending[start..].iter().position(|byte| *byte == b'\n') {
                reader.line(&pending[start..start + length], each)?;
                start += length + 1;
            }
            pending.drain(..start);
            if enough() {
                return Ok(());
            }
            if pending.len() > LINE_LIMIT {
                return Err(Error::Unreadable(format!(
                    "a line is longer than {LINE_LIMIT} bytes"
                )));
            }
        }
        reader.line(&pending, each)
    }
}

/// Reads annotated CSV line by line. Names and values hold no line breaks: they are encoded before they are stored.
#[derive(Default)]
struct Reader {
    types: Vec<String>,
    columns: Vec<String>,
}

impl Reader {
    fn line(&mut self, line: &[u8], each: &mut (dyn FnMut(Point) + Send)) -> Result<(), Error> {
        let line =
            std::str::from_utf8(line).map_err(|error| Error::Unreadable(error.to_string()))?;
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            // The next table has its own columns.
            self.columns.clear();
            return Ok(());
        }
        let cells =
            cells(line).ok_or_else(|| Error::Unreadable(format!("not CSV: {}", head(line))))?;
        if cells.first().is_some_and(|cell| cell == "#datatype") {
            self.types = cells;
            self.columns.clear();
            return Ok(());
        }
        if self.columns.is_empty() {
            self.columns = cells;
            return Ok(());
        }
        // An error in the middle of an answer comes as a table of its own.
        if self.columns.get(1).is_some_and(|column| column == "error") {
            return Err(Error::Unreadable(cells.get(1).cloned().unwrap_or_default()));
        }
        each(
            self.point(cells)
                .ok_or_else(|| Error::Unreadable(format!("not a point: {}", head(line))))?,
        );
        Ok(())
    }

    fn point(&self, cells: Vec<String>) -> Option<Point> {
        if cells.len() != self.columns.len() || self.types.len() != self.columns.len() {
            return None;
        }
        let (mut measurement, mut field, mut value, mut time) = (None, None, None, None);
        let mut tags = BTreeMap::new();
        // The first three columns are the annotation's, the result's name and the table's number.
        for ((column, kind), cell) in self.columns.iter().zip(&self.types).zip(cells).skip(3) {
            match column.as_str() {
                "_measurement" => measurement = Some(cell),
                "_field" => field = Some(cell),
                "_time" => time = Some(cell.parse::<Timestamp>().ok()?.micros().div_euclid(1_000)),
                "_value" if kind == "double" => value = Some(Field::Float(cell.parse().ok()?)),
                "_value" => value = Some(Field::Text(cell)),
                // A series without this tag, in a table where others have it.
                _ if cell.is_empty() => {}
                _ => {
                    tags.insert(column.clone(), cell);
                }
            }
        }
        Some(Point {
            measurement: measurement?,
            tags,
            fields: BTreeMap::from([(field?, value?)]),
            time: time?,
        })
    }
}

/// The cells of a line of CSV; `None` if its quotes do not match.
fn cells(line: &str) -> Option<Vec<String>> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let cell = cells.last_mut()?;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cell.push(c),
        }
    }
    (!quoted).then_some(cells)
}

fn head(line: &str) -> String {
    line.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_with_different_tags_are_read_one_after_the_other() {
        let answer = "#datatype,string,long,dateTime:RFC3339,double,string,string,string\r\n\
                      ,result,table,_time,_value,_field,_measurement,cpu.mode\r\n\
                      ,_result,0,1970-01-01T00:00:00.007Z,0.5,value,m,\"a \"\"b\"\", c\"\r\n\
                      \r\n\
                      #datatype,string,long,dateTime:RFC3339,string,string,string\r\n\
                      ,result,table,_time,_value,_field,_measurement\r\n\
                      ,_result,1,1970-01-01T00:00:01Z,learning,state,scores\r\n";
        let mut points = Vec::new();
        let mut reader = Reader::default();
        for line in answer.split('\n') {
            reader
                .line(line.as_bytes(), &mut |point| points.push(point))
                .expect("readable");
        }
        assert_eq!(points.len(), 2);
        assert_eq!(points[0].tags["cpu.mode"], "a \"b\", c");
        assert_eq!(
            (points[0].time, &points[0].fields["value"]),
            (7, &Field::Float(0.5))
        );
        assert_eq!(
            (points[1].time, &points[1].fields["state"]),
            (1_000, &Field::Text("learning".into()))
        );
    }

    #[test]
    fn an_error_in_the_middle_of_an_answer_is_one() {
        let mut reader = Reader::default();
        for line in ["#datatype,string,string", ",error,reference"] {
            reader
                .line(line.as_bytes(), &mut |_| {})
                .expect("head of the table");
        }
        assert!(reader.line(b",memory exhausted,", &mut |_| {}).is_err());
    }
}
