//! `alerts`: what needs attention, and who sees to it.

use forewarn_config::nearest;
use forewarn_store::Timestamp;
use serde::Deserialize;

use super::Cx;
use super::acknowledge::{Decide, Deed};
use super::names::ensure_resource;
use super::outcome::{Answer, Failure, Outcome};
use super::output::{Cell, Form, Table};
use super::times::{Moment, moment, now, relative};

/// From the least to the most severe.
const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

/// What needs attention
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Alerts {
    /// List alerts: those that need attention, the latest first
    List(List),
    /// Say that an alert is being looked after: nobody is told of it again unless it gets worse
    Ack(Decide),
    /// Say that an alert is over: its condition says nothing more until it has ceased and begins anew
    Resolve(Decide),
}

/// List alerts: those that need attention, the latest first
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only these states: predicted, open, acknowledged, resolved, silenced, dismissed
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "predicted,open,acknowledged",
        value_name = "STATES"
    )]
    state: Vec<String>,
    /// In any state
    #[arg(long, conflicts_with = "state")]
    all: bool,
    /// Only these severities: high,critical, or '>=high'
    #[arg(long, value_name = "SEVERITIES")]
    severity: Option<String>,
    /// Only about this resource
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// Only of this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only those that began at this moment or later: 1h, 7d, 2026-01-31T12:00:00Z
    #[arg(long, value_parser = moment, allow_hyphen_values = true, value_name = "WHEN")]
    since: Option<Moment>,
    /// How many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    limit: u32,
}

#[derive(Deserialize)]
struct Alert {
    alert_id: String,
    rule: String,
    severity: String,
    state: String,
    resource: String,
    title: String,
    began_at: Timestamp,
    opened_at: Option<Timestamp>,
}

impl Alerts {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        match self {
            Self::List(list) => list.run(cx).await,
            Self::Ack(decide) => decide.run(cx, Deed::Acknowledge).await,
            Self::Resolve(decide) => decide.run(cx, Deed::Resolve).await,
        }
    }
}

impl List {
    async fn run(self, cx: &Cx) -> Outcome {
        let mut query = Vec::new();
        if !self.all {
            query.push(("state", self.state.join(",")));
        }
        if let Some(severity) = &self.severity {
            query.push(("severity", severities(severity)?));
        }
        let since = self.since.map(|since| since.from(now()).to_string());
        for (name, value) in [
            ("resource", &self.resource),
            ("rule", &self.rule),
            ("since", &since),
        ] {
            query.extend(value.clone().map(|value| (name, value)));
        }
        let client = cx.server()?;
        let listing = client
            .list(&["alerts"], &query, self.limit as usize)
            .await?;
        if listing.items.is_empty()
            && let Some(resource) = &self.resource
        {
            ensure_resource(&client, resource).await?;
        }
        if cx.out.form() == Form::Json {
            cx.out.document(&listing)?;
            return Ok(Answer::Yes);
        }
        let now = now();
        let mut table = Table::new([
            "SEVERITY", "STATE", "RESOURCE", "BEGAN", "TITLE", "RULE", "ID",
        ])
        .longest(4);
        for alert in listing.read::<Alert>()? {
            let began = alert.opened_at.unwrap_or(alert.began_at);
            table.row([
                Cell::word(&alert.severity),
                Cell::word(&alert.state),
                Cell::new(alert.resource),
                Cell::two(relative(began, now), began.to_string()),
                Cell::new(alert.title),
                Cell::new(alert.rule),
                Cell::id(alert.alert_id),
            ]);
        }
        if table.is_empty() {
            cx.out.say("no alert");
        } else {
            cx.out.table(&table)?;
        }
        if listing.next.is_some() {
            cx.out.say(&format!(
                "there are more than {}; --limit shows more of them",
                self.limit
            ));
        }
        Ok(Answer::Yes)
    }
}

/// `high,critical`, or `>=high`, as the API wants them.
fn severities(text: &str) -> Result<String, Failure> {
    let wrong = |word: &str| {
        let known = SEVERITIES.join(", ");
        Failure::usage(
            format!("`{word}` is no severity"),
            match nearest(word, SEVERITIES) {
                Some(near) => format!("did you mean `{near}`? There are {known}"),
                None => format!("there are {known}, and '>=high' for high and critical"),
            },
        )
    };
    if let Some(least) = text.trim().strip_prefix(">=").map(str::trim) {
        let at = SEVERITIES
            .iter()
            .position(|known| *known == least)
            .ok_or_else(|| wrong(least))?;
        return Ok(SEVERITIES[at..].join(","));
    }
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    match words.iter().find(|word| !SEVERITIES.contains(word)) {
        Some(word) => Err(wrong(word)),
        None => Ok(words.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_words_or_from_one_on() {
        assert_eq!(severities(">=high").as_deref(), Ok("high,critical"));
        assert_eq!(severities(" low, info").as_deref(), Ok("low,info"));
        let wrong = severities(">=hgh").expect_err("misspelt");
        assert!(
            wrong.remedy().starts_with("did you mean `high`?"),
            "{wrong}"
        );
        assert!(severities("").is_err());
    }
}
