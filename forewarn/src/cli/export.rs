//! `export`: a whole list of the ledger as a file, page by page. What stands under the file's name is always complete.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::{Map, Value};

use super::Cx;
use super::client::{PAGE, read};
use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::csv_line;
use super::times::{Moment, moment, now};

/// Where nobody watches, progress is told this often.
const TELL: Duration = Duration::from_secs(10);

/// Write predictions, anomalies or alerts to a file
///
/// The latest first. A file appears under its name when it is complete.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: forewarn export predictions --since 30d --format csv -o predictions.csv"
)]
pub(crate) struct Export {
    /// What to write
    #[arg(value_enum, value_name = "WHAT")]
    what: What,
    /// From this moment on: 30d, 2026-01-31T12:00:00Z
    #[arg(long, default_value = "30d", value_parser = moment, allow_hyphen_values = true, value_name = "WHEN")]
    since: Moment,
    /// Up to this moment
    #[arg(long, default_value = "now", value_parser = moment, allow_hyphen_values = true, value_name = "WHEN")]
    until: Moment,
    /// Only of this resource
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// In which form
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// The file; unset, standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    Predictions,
    Anomalies,
    Alerts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON document a line, with everything the API gives
    Jsonl,
    /// Comma-separated values with headings (RFC 4180); lists within a value as JSON
    Csv,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::Predictions => "predictions",
            Self::Anomalies => "anomalies",
            Self::Alerts => "alerts",
        }
    }

    /// The columns of a table: fixed, so that two files of different days fit together.
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Predictions => &[
                "prediction_id",
                "resource",
                "kind",
                "failure",
                "subject",
                "state",
                "title",
                "opened_at",
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
                "src",
            ],
            Self::Anomalies => &[
                "anomaly_id",
                "resource",
                "kind",
                "level",
                "metric",
                "severity",
                "ts",
                "score",
                "p",
                "p0",
                "confidence",
                "value",
                "expected",
                "lower",
                "upper",
                "summary",
                "parts",
                "feature_set",
                "model_set",
                "backfill",
                "src",
            ],
            Self::Alerts => &[
                "alert_id",
                "rule",
                "severity",
                "state",
                "resource",
                "kind",
                "subject",
                "failure",
                "prediction_id",
                "title",
                "summary",
                "reason",
                "began_at",
                "opened_at",
                "changed_at",
                "resolved_at",
                "transitions",
                "reopened",
                "backfill",
                "src",
            ],
        }
    }
}

impl Export {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        let now = now();
        let (since, until) = (self.since.from(now), self.until.from(now));
        let mut query = vec![("since", since.to_string()), ("until", until.to_string())];
        query.extend(self.resource.clone().map(|resource| ("resource", resource)));
        let client = cx.server()?;
        let mut sink = Sink::open(self.output.as_deref())?;
        if self.format == Format::Csv {
            sink.put(&csv_line(self.what.columns().iter().copied()))?;
        }
        let mut cursor = None;
        let mut told = Instant::now();
        let mut rows = 0_usize;
        loop {
            let page = client
                .page(&[self.what.name()], &query, PAGE, cursor.as_deref())
                .await?;
            for item in &page.items {
                match self.format {
                    Format::Jsonl => {
                        // One line, whatever the server's form is.
                        let item: Value = read(item.get())?;
                        sink.put(&format!("{item}\n"))?;
                    }
                    Format::Csv => sink.put(&line(&read(item.get())?, self.what.columns()))?,
                }
            }
            rows += page.items.len();
            if cx.out.is_watched() {
                if !self.to_terminal() {
                    cx.out.progress(&format!("{rows} {}", self.what.name()));
                }
            } else if told.elapsed() > TELL {
                cx.out.say(&format!("{rows} {}", self.what.name()));
                told = Instant::now();
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        sink.finish()?;
        if !self.to_terminal() {
            cx.out.progress("");
        }
        if let Some(path) = &self.output {
            cx.out.say(&format!(
                "{rows} {} are in {}",
                self.what.name(),
                path.display()
            ));
        }
        if rows == 0
            && let Some(resource) = &self.resource
        {
            super::names::ensure_resource(&client, resource).await?;
        }
        Ok(Answer::Yes)
    }

    fn to_terminal(&self) -> bool {
        self.output.is_none() && std::io::stdout().is_terminal()
    }
}

fn line(item: &Map<String, Value>, columns: &[&str]) -> String {
    let values: Vec<String> = columns
        .iter()
        .map(|column| match item.get(*column) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        })
        .collect();
    csv_line(values.iter().map(String::as_str))
}

/// Where rows go.
enum Sink {
    Stdout(BufWriter<std::io::Stdout>),
    File(Draft),
}

/// A file that is not complete yet; gone if it never is.
struct Draft {
    path: PathBuf,
    draft: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Sink {
    fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Ok(Self::Stdout(BufWriter::new(std::io::stdout())));
        };
        let mut draft = path.as_os_str().to_owned();
        draft.push(".part");
        let draft = PathBuf::from(draft);
        let file = File::create(&draft).map_err(|error| {
            Failure::new(
                Code::Refused,
                format!("{} cannot be written: {error}", path.display()),
                "name a file in a folder that is there, and that this user may write",
            )
        })?;
        Ok(Self::File(Draft {
            path: path.to_owned(),
            draft,
            file: Some(BufWriter::new(file)),
        }))
    }

    fn put(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Stdout(stdout) => stdout.write_all(text.as_bytes())?,
            Self::File(draft) => {
                if let Some(file) = &mut draft.file {
                    file.write_all(text.as_bytes())?;
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout(mut stdout) => stdout.flush()?,
            Self::File(mut draft) => {
                if let Some(mut file) = draft.file.take() {
                    file.flush()?;
                    file.get_ref().sync_all()?;
                    std::fs::rename(&draft.draft, &draft.path)?;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = std::fs::remove_file(&self.draft);
        }
    }
}
