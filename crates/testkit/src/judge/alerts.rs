//! The alerter's tables as lines: what it wrote, and what the reference says it must have written.

use std::fmt::Write as _;
use std::time::Duration;

use forewarn_alerter::ledger::Ledger;
use forewarn_alerter::rows::{self, AlertRow, CommandRow, HistoryRow};
use forewarn_alerter::{Answer, Decision, Transition};
use forewarn_store::postgres::{Json, Postgres, Session};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What `alert_history`, `alerts` and `alert_commands` hold, but for the relay's own mark.
///
/// # Errors
/// As the ledger says.
pub async fn dump_alerts(session: &Session) -> anyhow::Result<String> {
    let history: Vec<HistoryRow> = select(session, "alert_history").await?;
    let alerts: Vec<AlertRow> = select(session, "alerts").await?;
    let commands: Vec<CommandRow> = select(session, "alert_commands").await?;
    Ok(section("alert_history", &history)
        + &section("alerts", &alerts)
        + &section("alert_commands", &commands))
}

/// What they have to hold.
#[must_use]
pub fn expected_alerts(transitions: &[Transition], answers: &[Answer]) -> String {
    let history: Vec<HistoryRow> = transitions.iter().map(HistoryRow::from).collect();
    let alerts: Vec<AlertRow> = rows::alerts(transitions).into_values().collect();
    let commands: Vec<CommandRow> = rows::commands(answers, transitions).into_values().collect();
    section("alert_history", &history)
        + &section("alerts", &alerts)
        + &section("alert_commands", &commands)
}

/// Where the alerter decided to go on without a partition: facts of the run that the log does not hold.
///
/// # Errors
/// As the ledger says.
pub async fn decisions(postgres: &Postgres) -> anyhow::Result<Vec<Decision>> {
    // Only looks, so it needs neither a name nor a lease.
    Ok(Ledger::new(
        postgres.clone(),
        String::new(),
        Duration::ZERO,
        String::new(),
    )
    .decisions()
    .await?)
}

async fn select<R: DeserializeOwned>(session: &Session, table: &str) -> anyhow::Result<Vec<R>> {
    let rows = session
        .query(&format!("SELECT row_to_json(t) FROM {table} t"), &[])
        .await?;
    Ok(rows
        .iter()
        .map(|row| row.try_get::<_, Json<R>>(0).map(|json| json.0))
        .collect::<Result<_, _>>()?)
}

fn section<R: Serialize>(table: &str, rows: &[R]) -> String {
    let mut text = String::new();
    for row in rows {
        let json = serde_json::to_string(row).expect("rows have text keys only");
        writeln!(text, "{table} {json}").expect("a String takes every write");
    }
    text
}
