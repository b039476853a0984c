//! `train`: an order to the trainer, which writes it down before it answers; so nothing is lost when either side goes away.

use std::time::Duration;

use forewarn_store::Timestamp;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Cx;
use super::client::{Client, read};
use super::names::{ensure_resource, remedy, resources};
use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::{Cell, Form, Table};
use super::times::{Moment, moment, now, short, span, words};

/// The port of `trainer.listen`, unless the settings choose another.
const PORT: u16 = 8005;

/// Have models trained now
///
/// The trainer writes the order down and works it off, whether anybody waits for it or not. A model judges only if it
/// proves to be at least as good as the one before.
#[derive(Debug, clap::Args)]
pub(crate) struct Train {
    /// Whom to train; nobody named means whoever is due
    #[arg(value_name = "RESOURCE")]
    resources: Vec<String>,
    /// Look for history since then, though nobody has judged it: it was taken in from elsewhere
    #[arg(long, value_parser = moment, value_name = "WHEN")]
    since: Option<Moment>,
    /// Wait until it is done, and end with 1 if no model came of it
    #[arg(long)]
    wait: bool,
    /// How long to wait; the order stays when nobody waits any more
    #[arg(long, default_value = "1h", value_parser = span, value_name = "SPAN")]
    timeout: Duration,
    /// Where the trainer answers [default: the host of --server, port 8005]
    #[arg(long, value_name = "URL")]
    trainer: Option<String>,
}

#[derive(Deserialize)]
struct Summary {
    trainings: Vec<Training>,
    left: usize,
}

#[derive(Deserialize)]
struct Training {
    run_id: String,
    resource: String,
    feature_set: String,
    state: String,
    digest: Option<String>,
    judges_from_ms: Option<i64>,
    reason: Option<String>,
    steps: usize,
}

#[derive(Deserialize)]
struct Taken {
    command_id: String,
}

impl Train {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        let client = Client::with_timeout(
            &self.address(cx)?,
            "--trainer",
            &cx.environment,
            self.timeout,
        )?;
        self.ensure_known(cx).await?;
        let names = (!self.resources.is_empty()).then_some(&self.resources);
        let since = self.since.map(|since| since.from(now()).micros() / 1_000);
        let order = json!({
            "resources": names, "since_ms": since, "actor": "forewarn train", "wait": self.wait,
        });
        if self.wait && cx.out.is_watched() {
            cx.out.say(&format!(
                "waiting for up to {}; the order stays after Ctrl-C",
                words(self.timeout.as_secs_f64())
            ));
        }
        let (status, text) = match client.post(&["train"], &order).await {
            Ok(answer) => answer,
            Err(failure) if failure.is(Code::NotFound) => {
                return Err(self.unknown(cx, failure).await);
            }
            Err(failure) => return Err(failure),
        };
        let document: Box<RawValue> = read(&text)?;
        if cx.out.form() == Form::Json {
            cx.out.document(&document)?;
        }
        if status == StatusCode::ACCEPTED {
            let taken: Taken = read(&text)?;
            if cx.out.form() != Form::Json {
                cx.out.line(&format!(
                    "the order is taken; see: forewarn sql \"SELECT * FROM training_orders WHERE command_id = '{}'\"",
                    taken.command_id
                ))?;
            }
            return Ok(Answer::Yes);
        }
        let summary: Summary = read(&text)?;
        let failed = summary
            .trainings
            .iter()
            .filter(|one| one.state == "failed")
            .count();
        if cx.out.form() != Form::Json {
            tell(cx, &summary)?;
        }
        Ok(Answer::of(failed == 0))
    }

    fn address(&self, cx: &Cx) -> Result<String, Failure> {
        let named = self
            .trainer
            .as_deref()
            .or_else(|| cx.environment.get("FOREWARN_TRAINER"));
        if let Some(named) = named {
            return Ok(named.to_owned());
        }
        let server = cx.server()?;
        Ok(format!(
            "http://{}:{PORT}",
            server.host().unwrap_or("127.0.0.1")
        ))
    }

    /// An order is taken before anybody looks at its names, so they are looked at here, as far as the API can be asked.
    async fn ensure_known(&self, cx: &Cx) -> Result<(), Failure> {
        let Ok(server) = cx.server() else {
            return Ok(());
        };
        for name in &self.resources {
            match ensure_resource(&server, name).await {
                Err(failure) if failure.is(Code::NotFound) => return Err(failure),
                // The trainer knows it better than an API that is away.
                Err(_) => return Ok(()),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Who was meant.
    async fn unknown(&self, cx: &Cx, failure: Failure) -> Failure {
        let known = match cx.server() {
            Ok(server) => resources(&server).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let wrong = self.resources.iter().find(|name| !known.contains(name));
        match wrong.filter(|_| !known.is_empty()) {
            Some(name) => failure.with_remedy(remedy(name, &known, "`forewarn health` lists them")),
            None => failure.with_remedy("`forewarn health` lists the resources"),
        }
    }
}

fn tell(cx: &Cx, summary: &Summary) -> Result<(), Failure> {
    let mut table = Table::new([
        "RESOURCE", "FEATURES", "STATE", "STEPS", "DIGEST", "WHAT", "TRAINING",
    ])
    .right([3])
    .longest(5);
    for one in &summary.trainings {
        let digest = one.digest.as_deref().unwrap_or_default();
        let what = match (&one.reason, one.judges_from_ms) {
            (Some(reason), _) => reason.clone(),
            (None, Some(from)) => {
                format!(
                    "judges from {} on",
                    short(Timestamp::from_micros(from.saturating_mul(1_000)))
                )
            }
            (None, None) => String::new(),
        };
        table.row([
            Cell::new(&one.resource),
            Cell::new(&one.feature_set),
            Cell::word(&one.state),
            Cell::new(one.steps.to_string()),
            Cell::two(digest.get(..12).unwrap_or(digest), digest),
            Cell::new(what),
            Cell::new(&one.run_id),
        ]);
    }
    if table.is_empty() {
        cx.out.say("nobody was due");
    } else {
        cx.out.table(&table)?;
    }
    if summary.left > 0 {
        cx.out.say(&format!(
            "{} more are due; they come first in the next pass",
            summary.left
        ));
    }
    Ok(())
}
