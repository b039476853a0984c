//! `query`: measurements, features and scores, as the API gives them.

use std::collections::BTreeMap;
use std::time::Duration;

use forewarn_store::Timestamp;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Cx;
use super::client::{Client, read};
use super::names::{no_metric, resources};
use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::{Cell, Form, Table};
use super::times::{Moment, moment, now, short, span};

/// Read measurements, features or scores
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    forewarn query web-01 cpu.utilization --data features --since 6h\n  \
    forewarn query web-01 disk_usage --since 7d --tag system.filesystem.mountpoint=/var --csv\n  \
    forewarn query web-01 --data scores\n  \
    forewarn query 'max(system.memory.utilization) by host' --since 1h --step 10m")]
pub(crate) struct Query {
    /// Whose, or an expression over all resources: 'mean(METRIC) by host', with mean, min or max
    #[arg(value_name = "RESOURCE|EXPRESSION")]
    subject: String,
    /// Which metric; of scores there is only one
    #[arg(value_name = "METRIC")]
    metric: Option<String>,
    /// The first moment: 1h, 7d, 2026-01-31T12:00:00Z
    #[arg(long, default_value = "1h", value_parser = moment, allow_hyphen_values = true, value_name = "WHEN")]
    since: Moment,
    /// The first moment after
    #[arg(long, default_value = "now", value_parser = moment, allow_hyphen_values = true, value_name = "WHEN")]
    until: Moment,
    /// Length of a step; unset, as fine as a chart can show
    #[arg(long, value_parser = span, value_name = "SPAN")]
    step: Option<Duration>,
    /// samples (what was measured), features (what detectors are given) or scores
    #[arg(long, default_value = "samples", value_parser = ["samples", "features", "scores"])]
    data: String,
    /// What stands for the values of a step
    #[arg(long, default_value = "mean", value_parser = ["mean", "min", "max"])]
    aggregate: String,
    /// Only series with this tag; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    tag: Vec<String>,
    /// Write comma-separated values with headings
    #[arg(long, conflicts_with_all = ["json", "plain"])]
    csv: bool,
}

/// What is asked of the series of one resource.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) data: String,
    pub(crate) metric: Option<String>,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) step: Option<Duration>,
    pub(crate) aggregate: String,
    pub(crate) tags: Vec<String>,
}

/// The series of a metric.
#[derive(Debug, Deserialize)]
pub(crate) struct Answered {
    pub(crate) metric: String,
    pub(crate) unit: Option<String>,
    pub(crate) step_seconds: Option<f64>,
    pub(crate) source: String,
    pub(crate) series: Vec<Series>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Series {
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) points: Vec<Point>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Point {
    pub(crate) ts: Timestamp,
    pub(crate) value: f64,
}

/// Reads the series; a resource or metric that does not exist is a failure that says who was meant.
pub(crate) async fn series(
    client: &Client,
    resource: &str,
    ask: &Ask,
) -> Result<Box<RawValue>, Failure> {
    let mut query = vec![
        ("resource", resource.to_owned()),
        ("data", ask.data.clone()),
        ("since", ask.since.to_string()),
        ("until", ask.until.to_string()),
        ("aggregate", ask.aggregate.clone()),
    ];
    query.extend(ask.metric.clone().map(|metric| ("metric", metric)));
    query.extend(
        ask.step
            .map(|step| ("step", forewarn_config::duration::format(step))),
    );
    query.extend(ask.tags.iter().map(|tag| ("tag", tag.clone())));
    match client.get(&["series"], &query).await {
        Err(failure) if failure.is(Code::NotFound) => {
            let metric = ask.metric.as_deref().unwrap_or("score");
            Err(no_metric(client, resource, metric, &ask.data).await)
        }
        other => other,
    }
}

/// `a=b, c=d`.
pub(crate) fn words(tags: &BTreeMap<String, String>) -> String {
    let words: Vec<String> = tags
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    words.join(",")
}

impl Query {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        let now = now();
        let mut ask = Ask {
            data: self.data.clone(),
            metric: self.metric.clone(),
            since: self.since.from(now),
            until: self.until.from(now),
            step: self.step,
            aggregate: self.aggregate.clone(),
            tags: self.tag.clone(),
        };
        if self.metric.is_none() && self.data != "scores" {
            let Some(expression) = expression(&self.subject)? else {
                return Err(Failure::usage(
                    format!("which metric of `{}`?", self.subject),
                    format!(
                        "forewarn query {} METRIC; --data scores has no metric",
                        self.subject
                    ),
                ));
            };
            (ask.aggregate, ask.metric) = (
                expression.aggregate.to_owned(),
                Some(expression.metric.to_owned()),
            );
            return self.over_all(cx, &ask).await;
        }
        let client = cx.server()?;
        let text = series(&client, &self.subject, &ask).await?;
        if cx.out.form() == Form::Json {
            cx.out.document(&text)?;
            return Ok(Answer::Yes);
        }
        let answered: Answered = read(text.get())?;
        let mut table = Table::new(["TIME", "TAGS", "VALUE"]).right([2]);
        for series in &answered.series {
            for point in &series.points {
                table.row([
                    Cell::two(short(point.ts), point.ts.to_string()),
                    Cell::new(words(&series.tags)),
                    number(point.value),
                ]);
            }
        }
        cx.out.say(&format!(
            "{} of {}{}, {} from {}",
            answered.metric,
            self.subject,
            answered
                .unit
                .filter(|unit| unit != "1")
                .map(|unit| format!(" in {unit}"))
                .unwrap_or_default(),
            answered
                .step_seconds
                .map_or("as it came".to_owned(), |step| format!("steps of {step} s")),
            answered.source
        ));
        self.write(cx, &table)
    }

    fn write(&self, cx: &Cx, table: &Table) -> Outcome {
        if self.csv {
            cx.out.line(table.csv().trim_end_matches('\n'))?;
        } else if table.is_empty() {
            cx.out.say("nothing was measured in this span");
        } else {
            cx.out.table(table)?;
        }
        Ok(Answer::Yes)
    }

    /// A metric of all resources: one line per step and resource.
    async fn over_all(&self, cx: &Cx, ask: &Ask) -> Outcome {
        let client = cx.server()?;
        let metric = ask.metric.clone().unwrap_or_default();
        let mut rows: Vec<(Timestamp, String, f64)> = Vec::new();
        let mut has_any = false;
        for resource in resources(&client).await? {
            let answered: Answered = match series(&client, &resource, ask).await {
                Ok(text) => read(text.get())?,
                Err(failure) if failure.is(Code::NotFound) => continue,
                Err(failure) => return Err(failure),
            };
            has_any = true;
            let mut steps: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
            for point in answered.series.iter().flat_map(|series| &series.points) {
                steps
                    .entry(point.ts.micros())
                    .or_default()
                    .push(point.value);
            }
            rows.extend(steps.into_iter().map(|(at, values)| {
                (
                    Timestamp::from_micros(at),
                    resource.clone(),
                    together(&ask.aggregate, &values),
                )
            }));
        }
        if !has_any {
            return Err(Failure::not_found(
                format!("no resource has a metric `{metric}`"),
                "`forewarn query RESOURCE METRIC` says which ones a resource has",
            ));
        }
        rows.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        if cx.out.form() == Form::Json {
            let points: Vec<_> = rows
                .iter()
                .map(|(ts, resource, value)| json!({ "ts": ts, "resource": resource, "value": value }))
                .collect();
            cx.out.document(
                &json!({ "metric": metric, "aggregate": ask.aggregate, "points": points }),
            )?;
            return Ok(Answer::Yes);
        }
        let mut table = Table::new(["TIME", "RESOURCE", "VALUE"]).right([2]);
        for (ts, resource, value) in rows {
            table.row([
                Cell::two(short(ts), ts.to_string()),
                Cell::new(resource),
                number(value),
            ]);
        }
        self.write(cx, &table)
    }
}

/// Six digits for people, all of them for programs.
fn number(value: f64) -> Cell {
    let digits = if value == 0.0 || !value.is_finite() {
        0
    } else {
        // The power of ten is small: values are floats.
        (5 - value.abs().log10().floor() as i32).clamp(0, 12) as usize
    };
    let shown = format!("{value:.digits$}");
    let shown = if shown.contains('.') {
        shown.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        shown
    };
    Cell::two(shown, value.to_string())
}

/// Several series of a resource as one.
fn together(aggregate: &str, values: &[f64]) -> f64 {
    match aggregate {
        "min" => values.iter().copied().fold(f64::INFINITY, f64::min),
        "max" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        _ => values.iter().sum::<f64>() / values.len().max(1) as f64,
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Expression<'a> {
    aggregate: &'a str,
    metric: &'a str,
}

/// Reads `mean(METRIC) by host`; what has no parenthesis is the name of a resource.
fn expression(text: &str) -> Result<Option<Expression<'_>>, Failure> {
    let Some((aggregate, rest)) = text.split_once('(') else {
        return Ok(None);
    };
    let wrong = |what: String| {
        Failure::usage(
            what,
            "write it as 'mean(METRIC) by host', with mean, min or max",
        )
    };
    let Some((metric, group)) = rest.split_once(')') else {
        return Err(wrong(format!("`{text}` has no closing parenthesis")));
    };
    let (aggregate, metric) = (aggregate.trim(), metric.trim());
    if !["mean", "min", "max"].contains(&aggregate) {
        return Err(wrong(format!(
            "`{aggregate}` is not a way to put values together"
        )));
    }
    let group: Vec<&str> = group.split_whitespace().collect();
    if !matches!(group.as_slice(), [] | ["by", "host" | "resource"]) {
        return Err(wrong(format!("`{}` is not understood", group.join(" "))));
    }
    if metric.is_empty() {
        return Err(wrong("no metric is named".to_owned()));
    }
    Ok(Some(Expression { aggregate, metric }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_told_from_names() {
        let read = expression("max( system.cpu.utilization ) by host").expect("sound");
        assert_eq!(
            read,
            Some(Expression {
                aggregate: "max",
                metric: "system.cpu.utilization"
            })
        );
        assert_eq!(expression("web-01"), Ok(None));
        for text in [
            "sum(a)",
            "mean(a",
            "mean()",
            "mean(a) by disk",
            "mean(a) whatever",
        ] {
            assert!(expression(text).is_err(), "{text}");
        }
    }
}
