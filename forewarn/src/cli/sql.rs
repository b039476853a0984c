//! `sql`: one statement on the ledger, in a transaction that changes nothing.

use std::time::Duration;

use forewarn_store::postgres::{Error, Fault, Holds, Look};
use serde_json::value::RawValue;

use super::Cx;
use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::{Cell, Form, Table, Tone};
use super::settings::{SettingsArgs, away, ledger, open, wrong};
use super::times::span;

/// Run a statement on the ledger, which it cannot change
///
/// The ledger is the PostgreSQL of the settings; where a process has one of its own, the socket in its folder leads there.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    forewarn sql 'SELECT * FROM recent_anomalies LIMIT 10'\n  \
    forewarn sql --csv 'SELECT severity, count(*) FROM alerts GROUP BY 1' > alerts.csv")]
pub(crate) struct Sql {
    /// The statement
    #[arg(value_name = "STATEMENT")]
    statement: String,
    /// Write comma-separated values with headings
    #[arg(long, conflicts_with_all = ["json", "plain"])]
    csv: bool,
    /// Rows at most
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    rows: u32,
    /// PostgreSQL gives up after this time
    #[arg(long, default_value = "30s", value_parser = span, value_name = "SPAN")]
    timeout: Duration,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl Sql {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        let mut settings = cx.settings(&self.settings)?;
        let mut config = ledger(&mut settings);
        config.statement_timeout = self.timeout;
        settings.finish().map_err(|errors| wrong(&errors))?;
        let postgres = open(&config)?;
        let look = postgres
            .look(&self.statement, self.rows as usize)
            .await
            .map_err(|error| failure(error, self.timeout))?;
        if self.csv {
            let table = table(&look);
            cx.out.line(table.csv().trim_end_matches('\n'))?;
        } else if cx.out.form() == Form::Json {
            cx.out.document(&documents(&look))?;
        } else {
            cx.out.table(&table(&look))?;
        }
        if look.more {
            cx.out.say(&format!(
                "there are more than {} rows; --rows shows more of them",
                self.rows
            ));
        } else if cx.out.form() == Form::Table {
            let rows = look.rows.len();
            cx.out
                .say(&format!("{rows} row{}", if rows == 1 { "" } else { "s" }));
        }
        Ok(Answer::Yes)
    }
}

fn failure(error: Error, timeout: Duration) -> Failure {
    let Error::Statement(cause) = &error else {
        return away(error);
    };
    let code = cause.code().map_or("", |code| code.code());
    match code {
        "57014" => Failure::new(
            Code::Unreachable,
            format!(
                "PostgreSQL gave up after {}",
                forewarn_config::duration::format(timeout)
            ),
            "ask for less, or give it longer with --timeout",
        ),
        "25006" => Failure::new(
            Code::Refused,
            error.to_string(),
            "this command only reads; psql on the same address changes things",
        ),
        "42P01" => Failure::not_found(
            error.to_string(),
            "`forewarn sql \"SELECT relname FROM pg_stat_user_tables\"` lists the tables",
        ),
        "42501" | "28000" | "28P01" => Failure::new(
            Code::Unauthorised,
            error.to_string(),
            "use an address whose user may read this",
        ),
        _ if Fault::of(cause) == Fault::Transient => away(error),
        _ => Failure::usage(
            error.to_string(),
            "write one statement; `SELECT * FROM table LIMIT 1` shows the columns of a table",
        ),
    }
}

fn table(look: &Look) -> Table {
    let numbers = look
        .columns
        .iter()
        .enumerate()
        .filter(|(_, (_, holds))| *holds == Holds::Number)
        .map(|(at, _)| at);
    let mut table = Table::new(look.columns.iter().map(|(name, _)| name.clone())).right(numbers);
    for row in &look.rows {
        table.row(row.iter().map(|value| match value {
            Some(value) => Cell::new(value),
            None => Cell::two("-", "").tone(Tone::Dim),
        }));
    }
    table
}

/// Rows as objects, their columns in the order of the statement.
fn documents(look: &Look) -> Vec<Row<'_>> {
    look.rows
        .iter()
        .map(|row| Row(look.columns.iter().zip(row).collect()))
        .collect()
}

struct Row<'a>(Vec<(&'a (String, Holds), &'a Option<String>)>);

impl serde::Serialize for Row<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for ((name, holds), value) in &self.0 {
            match (holds, value) {
                (_, None) => map.serialize_entry(name, &())?,
                (Holds::Bool, Some(value)) => map.serialize_entry(name, &(value == "t"))?,
                // A number keeps every digit; NaN and Infinity are none in JSON, and stay texts.
                (Holds::Number | Holds::Json, Some(value)) => {
                    match RawValue::from_string(value.clone()) {
                        Ok(raw) => map.serialize_entry(name, &raw)?,
                        Err(_) => map.serialize_entry(name, value)?,
                    }
                }
                (Holds::Text, Some(value)) => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}
