//! `import`: samples out of files, pushed as any sender pushes them; what is acknowledged is in the log.
//!
//! A file is sent in parts, and a part that was not acknowledged is sent again: a sample is known by its resource, metric,
//! tags and time, so one that arrives twice counts once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use forewarn_config::nearest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Cx;
use super::client::{Client, read};
use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::Form;
use super::times::span;

/// The port of `ingestion.listen`, unless the settings choose another.
const PORT: u16 = 8001;

/// Samples of one request: well below what the door takes, and enough that requests cost nothing.
const PART: usize = 5_000;

/// A row that is longer is no row of samples.
const ROW_BYTES_MAX: u64 = 1 << 20;

/// How often a part is sent again before this gives up, and how long it waits in between.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);

/// Refused samples that are named.
const NAMED_MAX: usize = 100;

/// Push samples out of files
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Import {
    /// Push samples out of a file of comma-separated values
    Csv(Csv),
}

/// Push samples out of a file of comma-separated values
///
/// The first row has the headings: `time`, `metric` and `value`, and if need be `resource`, `unit` and `type`; every other
/// column is a tag. A time is RFC 3339 or milliseconds since 1970, and at most 24 h old: what is older is refused, since
/// it would change what has been judged. Ends with 1 if samples were refused.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: forewarn import csv orders.csv --resource shop --kind application"
)]
pub(crate) struct Csv {
    /// The file; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What was measured, if no column says so
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// What that is: server, database, application, …
    #[arg(long, default_value = "server", value_name = "KIND")]
    kind: String,
    /// How often it is measured
    #[arg(long, default_value = "1m", value_parser = span, value_name = "SPAN")]
    interval: Duration,
    /// Where ingestion answers [default: the host of --server, port 8001]
    #[arg(long, value_name = "URL")]
    ingestion: Option<String>,
    /// Read the file, say how much there is, and send nothing
    #[arg(long)]
    dry_run: bool,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    accepted: u64,
    refused: u64,
    refusals: Vec<Refused>,
}

#[derive(Debug, Serialize)]
struct Refused {
    line: usize,
    reason: String,
}

/// What ingestion answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Taken {
    accepted: u64,
    refused: u64,
    refusals: Vec<Refusal>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    batch: usize,
    sample: Option<usize>,
    field: String,
    detail: String,
    remedy: String,
}

/// Samples by resource, with the lines on which they stand.
type Part = BTreeMap<String, (Vec<Value>, Vec<usize>)>;

/// The door of ingestion: where it was said to be, or on the host of the API.
pub(super) fn ingestion(cx: &Cx, named: Option<&str>) -> Result<Client, Failure> {
    let address = match named.or_else(|| cx.environment.get("FOREWARN_INGESTION")) {
        Some(named) => named.to_owned(),
        None => format!(
            "http://{}:{PORT}",
            cx.server()?.host().unwrap_or("127.0.0.1")
        ),
    };
    Client::new(&address, "--ingestion", &cx.environment)
}

impl Import {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        match self {
            Self::Csv(csv) => csv.run(cx).await,
        }
    }
}

impl Csv {
    async fn run(self, cx: &Cx) -> Outcome {
        let client = ingestion(cx, self.ingestion.as_deref())?;
        let mut rows = Rows::open(&self.file)?;
        let columns = self.columns(&mut rows)?;
        let mut report = Report::default();
        let (mut part, mut held) = (Part::new(), 0);
        loop {
            let row = rows.next()?;
            if let Some((line, fields)) = &row {
                match columns.sample(fields, self.resource.as_deref()) {
                    Ok((resource, sample)) => {
                        let (samples, lines) = part.entry(resource).or_default();
                        samples.push(sample);
                        lines.push(*line);
                        held += 1;
                    }
                    Err(reason) => report.refuse(*line, reason),
                }
            }
            if held == PART || (row.is_none() && held > 0) {
                if self.dry_run {
                    report.accepted += held as u64;
                } else {
                    self.send(&client, &part, &mut report).await?;
                }
                (part, held) = (Part::new(), 0);
                cx.out.progress(&format!("{} samples", report.accepted));
            }
            if row.is_none() {
                break;
            }
        }
        cx.out.progress("");
        if cx.out.form() == Form::Json {
            cx.out.document(&report)?;
        } else {
            for refused in &report.refusals {
                cx.out
                    .say(&format!("line {}: {}", refused.line, refused.reason));
            }
            let what = if self.dry_run {
                "can be read"
            } else {
                "are in the log"
            };
            cx.out.line(&format!(
                "{} samples {what}, {} are refused",
                report.accepted, report.refused
            ))?;
        }
        Ok(Answer::of(report.refused == 0))
    }

    fn columns(&self, rows: &mut Rows) -> Result<Columns, Failure> {
        let remedy = "the first row has the headings time,metric,value and, if need be, resource, unit, type and tags";
        let Some((_, heads)) = rows.next()? else {
            return Err(Failure::usage("the file is empty", remedy));
        };
        for wanted in ["time", "metric", "value"] {
            if !heads.iter().any(|head| head == wanted) {
                let near = nearest(wanted, heads.iter().map(String::as_str))
                    .map(|near| format!(" (is it `{near}`?)"))
                    .unwrap_or_default();
                return Err(Failure::usage(
                    format!("there is no column `{wanted}`{near}"),
                    remedy,
                ));
            }
        }
        if self.resource.is_none() && !heads.iter().any(|head| head == "resource") {
            return Err(Failure::usage(
                "no column says what was measured",
                "name it with --resource, or add a column `resource`",
            ));
        }
        Ok(Columns(heads))
    }

    /// Sends a part until it is acknowledged.
    async fn send(&self, client: &Client, part: &Part, report: &mut Report) -> Result<(), Failure> {
        let interval = forewarn_config::duration::format(self.interval);
        let batches: Vec<Value> = part
            .iter()
            .map(|(resource, (samples, _))| {
                json!({ "resource": resource, "kind": self.kind, "interval": interval, "samples": samples })
            })
            .collect();
        let mut attempt = 0;
        let answer = loop {
            attempt += 1;
            match client.post(&["api", "v1", "metrics"], &batches).await {
                Ok((_, text)) => break text,
                // Before anything was taken it may be the wrong address; afterwards it is worth waiting for.
                Err(failure)
                    if failure.is(Code::Unreachable)
                        && report.accepted > 0
                        && attempt < ATTEMPTS =>
                {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(failure) => {
                    let so_far = format!(
                        "{} ({} samples are in the log)",
                        failure.what(),
                        report.accepted
                    );
                    let remedy = failure.remedy().to_owned();
                    let code = if failure.is(Code::Usage) {
                        Code::Negative
                    } else {
                        Code::Unreachable
                    };
                    return Err(Failure::new(code, so_far, remedy));
                }
            }
        };
        let taken: Taken = read(&answer)?;
        report.accepted += taken.accepted;
        report.refused += taken.refused;
        let lines: Vec<&Vec<usize>> = part.values().map(|(_, lines)| lines).collect();
        for refusal in taken.refusals {
            let line = lines
                .get(refusal.batch)
                .and_then(|lines| lines.get(refusal.sample.unwrap_or(0)));
            if report.refusals.len() < NAMED_MAX {
                report.refusals.push(Refused {
                    line: line.copied().unwrap_or(0),
                    reason: format!("{}: {}; {}", refusal.field, refusal.detail, refusal.remedy),
                });
            }
        }
        Ok(())
    }
}

impl Report {
    fn refuse(&mut self, line: usize, reason: String) {
        self.refused += 1;
        if self.refusals.len() < NAMED_MAX {
            self.refusals.push(Refused { line, reason });
        }
    }
}

/// The headings.
struct Columns(Vec<String>);

impl Columns {
    /// A sample as the door takes it, and whose it is.
    fn sample(&self, fields: &[String], usual: Option<&str>) -> Result<(String, Value), String> {
        if fields.len() != self.0.len() {
            return Err(format!(
                "it has {} fields, and the headings are {}",
                fields.len(),
                self.0.len()
            ));
        }
        let (mut sample, mut tags) = (serde_json::Map::new(), serde_json::Map::new());
        let mut resource = usual.unwrap_or_default().to_owned();
        for (head, field) in self.0.iter().zip(fields) {
            match head.as_str() {
                // Not measured, or without this tag.
                _ if field.is_empty() && head != "value" => {}
                "resource" => resource.clone_from(field),
                "value" => {
                    let value: f64 = field
                        .trim()
                        .parse()
                        .map_err(|_| format!("value: `{field}` is not a number"))?;
                    sample.insert("value".to_owned(), json!(value));
                }
                "time" => {
                    let time = field
                        .parse::<i64>()
                        .map_or_else(|_| json!(field), |millis| json!(millis));
                    sample.insert("time".to_owned(), time);
                }
                "metric" | "unit" | "type" => drop(sample.insert(head.clone(), json!(field))),
                _ => drop(tags.insert(head.clone(), json!(field))),
            }
        }
        if resource.is_empty() {
            return Err("resource: it is empty".to_owned());
        }
        if !tags.is_empty() {
            sample.insert("tags".to_owned(), Value::Object(tags));
        }
        Ok((resource, Value::Object(sample)))
    }
}

/// The rows of a file (RFC 4180), with the lines on which they begin.
struct Rows {
    file: Box<dyn BufRead>,
    line: usize,
}

impl Rows {
    fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self {
                file: Box::new(BufReader::new(std::io::stdin())),
                line: 0,
            });
        }
        let file = File::open(path).map_err(|error| {
            let what = format!("{} cannot be read: {error}", path.display());
            match error.kind() {
                std::io::ErrorKind::NotFound => Failure::not_found(what, "see how it is written"),
                _ => Failure::new(Code::Refused, what, "name a file that this user may read"),
            }
        })?;
        Ok(Self {
            file: Box::new(BufReader::new(file)),
            line: 0,
        })
    }

    fn next(&mut self) -> Result<Option<(usize, Vec<String>)>, Failure> {
        loop {
            let begin = self.line + 1;
            let mut text = String::new();
            loop {
                let left = ROW_BYTES_MAX.saturating_sub(text.len() as u64);
                let line = self.file.by_ref().take(left).read_line(&mut text);
                let bytes = line.map_err(|error| {
                    Failure::usage(
                        format!("line {begin} cannot be read: {error}"),
                        "the file has to be text in UTF-8",
                    )
                })?;
                self.line += 1;
                if text.len() as u64 >= ROW_BYTES_MAX {
                    return Err(Failure::usage(
                        format!("the row that begins on line {begin} is longer than 1 MiB"),
                        "see whether a quote is missing there",
                    ));
                }
                // Within quotes a row goes on.
                if bytes == 0 || text.matches('"').count().is_multiple_of(2) {
                    break;
                }
            }
            if text.is_empty() {
                return Ok(None);
            }
            let row = text.trim_end_matches(['\n', '\r']);
            if !row.is_empty() {
                return Ok(Some((begin, fields(row.trim_start_matches('\u{feff}')))));
            }
        }
    }
}

fn fields(row: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = row.chars().peekable();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields[last].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_are_written() {
        let text = "\u{feff}a,b\r\n\"x, \"\"y\"\"\",1\n\n\"two\nlines\",\n";
        let mut rows = Rows {
            file: Box::new(text.as_bytes()),
            line: 0,
        };
        let mut read = Vec::new();
        while let Some((line, fields)) = rows.next().expect("text") {
            read.push((line, fields.join("|")));
        }
        let expected = [(1, "a|b"), (2, "x, \"y\"|1"), (4, "two\nlines|")];
        assert_eq!(read, expected.map(|(line, text)| (line, text.to_owned())));
        let mut endless = Rows {
            file: Box::new(std::io::BufReader::new(std::io::repeat(b'x'))),
            line: 0,
        };
        assert!(endless.next().is_err());
    }
}
