//! `health`: how everything is doing. The exit code is about Forewarn itself, so that a container's health check does not
//! restart what does its work by warning; whoever wants to know of warnings asks for them.

use std::collections::BTreeMap;

use forewarn_store::Timestamp;
use serde::Deserialize;

use super::Cx;
use super::client::{Client, read};
use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::{Cell, Form, Table, Tone};
use super::times::{relative, words};

/// How everything is doing; ends with 1 when Forewarn itself is not well
///
/// Not well is: a store is away, or what is known is out of date. With --quiet there is no result but the exit code.
#[derive(Debug, clap::Args)]
pub(crate) struct Health {
    /// Resources that are shown at most, those in trouble first
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N")]
    limit: u16,
    /// End with 1 also when an alert is active, a failure is expected, or a resource is critical or silent
    #[arg(long)]
    fail_on_attention: bool,
    /// Ask this page alone, and end with 0 if it answers well: for the /ready or /live page of any service
    #[arg(long, value_name = "URL", conflicts_with_all = ["limit", "fail_on_attention"])]
    url: Option<String>,
}

/// What the API says, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(crate) struct Doing {
    pub(crate) status: String,
    pub(crate) now: Timestamp,
    pub(crate) stale: Option<String>,
    pub(crate) resources: BTreeMap<String, i64>,
    pub(crate) active_alerts: BTreeMap<String, i64>,
    pub(crate) open_predictions: i64,
    pub(crate) next_failure: Option<NextFailure>,
    pub(crate) lines: Vec<Line>,
    pub(crate) lines_left_out: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct NextFailure {
    pub(crate) title: String,
    pub(crate) p50_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Line {
    pub(crate) resource: String,
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) state_for_seconds: f64,
    pub(crate) last_score: Option<f64>,
    pub(crate) open_alerts: i64,
    pub(crate) next_failure: Option<String>,
    pub(crate) reached: Vec<String>,
    pub(crate) learning_for_another_seconds: Option<f64>,
}

impl Health {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        if let Some(url) = &self.url {
            return page(cx, url).await;
        }
        let client = cx.server()?;
        let query = [("limit", self.limit.to_string())];
        let text = client.get(&["health"], &query).await.map_err(|failure| {
            // It answers, and cannot say: that is a negative answer, and not silence.
            let speaks = failure.is(Code::Unreachable) && failure.is_spoken();
            if speaks {
                failure.with_code(Code::Negative)
            } else {
                failure
            }
        })?;
        let doing: Doing = read(text.get())?;
        if !cx.out.is_quiet() {
            match cx.out.form() {
                Form::Json => cx.out.document(&text)?,
                Form::Table => {
                    for line in summary(cx, &doing) {
                        cx.out.line(&line)?;
                    }
                    if !doing.lines.is_empty() {
                        cx.out.line("")?;
                        cx.out.table(&table(&doing))?;
                    }
                }
                Form::Plain => cx.out.table(&table(&doing))?,
            }
            if doing.lines_left_out > 0 {
                cx.out.say(&format!(
                    "{} more; --limit shows more of them",
                    doing.lines_left_out
                ));
            }
        }
        if let Some(why) = &doing.stale
            && (cx.out.is_quiet() || cx.out.form() != Form::Table)
        {
            cx.out.say(why);
        }
        let attention = doing.status == "attention" && self.fail_on_attention;
        Ok(Answer::of(doing.status != "stale" && !attention))
    }
}

/// What is to be said of everything together.
pub(crate) fn summary(cx: &Cx, doing: &Doing) -> Vec<String> {
    let count = |number: i64, what: &str| match number {
        1 => format!("1 {what}"),
        many => format!("{many} {what}s"),
    };
    let parts = |of: &BTreeMap<String, i64>| {
        let parts: Vec<String> = of.iter().map(|(word, n)| format!("{n} {word}")).collect();
        if parts.is_empty() {
            String::new()
        } else {
            format!(" ({})", parts.join(", "))
        }
    };
    let mut lines = vec![format!(
        "{}  {}{}, {}{}, {} expected",
        cx.out.paint(Tone::of(&doing.status), &doing.status),
        count(doing.resources.values().sum(), "resource"),
        parts(&doing.resources),
        count(doing.active_alerts.values().sum(), "active alert"),
        parts(&doing.active_alerts),
        count(doing.open_predictions, "failure"),
    )];
    if let Some(why) = &doing.stale {
        lines.push(cx.out.paint(Tone::Bad, why));
    }
    if doing.status == "empty" {
        lines.push(
            "Nothing has been judged yet; the first step of this host comes within seconds."
                .to_owned(),
        );
    }
    if let Some(next) = &doing.next_failure {
        let when = next
            .p50_at
            .map(|at| format!("  ({})", relative(at, doing.now)));
        let title = cx.out.paint(Tone::Strong, &next.title);
        lines.push(format!("next: {title}{}", when.unwrap_or_default()));
    }
    lines
}

fn table(doing: &Doing) -> Table {
    let mut table = Table::new(["RESOURCE", "KIND", "STATE", "FOR", "SCORE", "ALERTS", "WHY"])
        .right([4, 5])
        .longest(6);
    for line in &doing.lines {
        let learning = line
            .learning_for_another_seconds
            .filter(|_| line.state == "learning")
            .map(|seconds| format!("for another {}", words(seconds)));
        let reached =
            (!line.reached.is_empty()).then(|| format!("reached {}", line.reached.join(", ")));
        let why = line.next_failure.clone().or(reached).or(learning);
        table.row([
            Cell::new(&line.resource),
            Cell::new(&line.kind),
            Cell::word(&line.state),
            Cell::two(
                words(line.state_for_seconds),
                format!("{:.0}", line.state_for_seconds),
            ),
            Cell::two(
                line.last_score
                    .map_or("-".to_owned(), |score| format!("{score:.2}")),
                line.last_score
                    .map_or(String::new(), |score| score.to_string()),
            ),
            Cell::new(line.open_alerts.to_string()),
            Cell::new(why.unwrap_or_default()),
        ]);
    }
    table
}

/// One page of any service.
async fn page(cx: &Cx, url: &str) -> Outcome {
    let (status, text) = Client::new(url, "--url", &cx.environment)?.look().await?;
    if !cx.out.is_quiet() {
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(document) if cx.out.form() == Form::Json => cx.out.document(&document)?,
            Ok(document) => cx.out.record(&document)?,
            Err(_) => cx.out.say(&format!("it answers {status}")),
        }
    }
    if status.is_server_error() || status.is_success() {
        return Ok(Answer::of(status.is_success()));
    }
    Err(Failure::new(
        Code::Negative,
        format!("{url} answers {status}"),
        "give the /ready or /live page of a service, such as http://127.0.0.1:8003/ready",
    ))
}
