//! `monitor`: how everything is doing again and again, and what has changed in between.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::Cx;
use super::client::{Client, read};
use super::health::{Doing, summary};
use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::{Form, Tone};
use super::times::{short, span};

/// Show how everything is doing again and again, until Ctrl-C
///
/// Each round is a line, followed by what has changed since the one before: alerts, expected failures, states.
/// A server that goes away is said and waited for.
#[derive(Debug, clap::Args)]
pub(crate) struct Monitor {
    /// How long to wait between two looks
    #[arg(long, default_value = "30s", value_parser = span, value_name = "SPAN")]
    every: Duration,
    /// Look so many times only
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,
}

#[derive(Deserialize)]
struct Alert {
    alert_id: String,
    severity: String,
    state: String,
    title: String,
}

#[derive(Deserialize)]
struct Prediction {
    prediction_id: String,
    title: String,
}

/// What a look has seen, by its identity: with its tone and line.
type Seen = BTreeMap<String, (Tone, String)>;

impl Monitor {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        let client = cx.server()?;
        let mut before: Option<Seen> = None;
        let mut round = 0_u64;
        loop {
            round += 1;
            match look(cx, &client, before.as_ref()).await {
                Ok(seen) => before = Some(seen),
                // Before the first answer it may be the wrong address; afterwards it is a restart or an outage.
                Err(failure) if before.is_some() && failure.is(Code::Unreachable) => {
                    cx.out.say(&format!(
                        "{}  {}",
                        short(super::times::now()),
                        failure.what()
                    ));
                }
                Err(failure) => return Err(failure),
            }
            if self.rounds.is_some_and(|rounds| round >= rounds) {
                return Ok(Answer::Yes);
            }
            tokio::time::sleep(self.every).await;
        }
    }
}

/// Looks once and tells what is new.
async fn look(cx: &Cx, client: &Client, before: Option<&Seen>) -> Result<Seen, Failure> {
    let text = client
        .get(&["health"], &[("limit", "1000".to_owned())])
        .await?;
    let doing: Doing = read(text.get())?;
    let active = [("state", "predicted,open,acknowledged".to_owned())];
    let open = [("state", "open".to_owned())];
    let alerts = client.list(&["alerts"], &active, 1_000).await?;
    let predictions = client.list(&["predictions"], &open, 1_000).await?;
    let mut seen = Seen::new();
    for alert in alerts.read::<Alert>()? {
        let line = format!(
            "alert     {} {}: {}",
            alert.severity, alert.state, alert.title
        );
        seen.insert(
            format!("a{}", alert.alert_id),
            (Tone::of(&alert.severity), line),
        );
    }
    for prediction in predictions.read::<Prediction>()? {
        let line = format!("expected  {}", prediction.title);
        seen.insert(
            format!("p{}", prediction.prediction_id),
            (Tone::Warning, line),
        );
    }
    for line in &doing.lines {
        if !matches!(line.state.as_str(), "healthy" | "learning") {
            let words = format!("{:<9} {}", line.state, line.resource);
            seen.insert(
                format!("r{}", line.resource),
                (Tone::of(&line.state), words),
            );
        }
    }
    if cx.out.form() == Form::Json {
        // One line, whatever the server's form is.
        cx.out.record(&read::<serde_json::Value>(text.get())?)?;
        return Ok(seen);
    }
    // The line alone: what is next stands among the expected failures.
    let first = summary(cx, &doing).into_iter().next().unwrap_or_default();
    cx.out.line(&format!("{}  {first}", short(doing.now)))?;
    if let Some(why) = &doing.stale {
        cx.out
            .line(&format!("  ! {}", cx.out.paint(Tone::Bad, why)))?;
    }
    let none = Seen::new();
    let before = before.unwrap_or(&none);
    for (id, (tone, words)) in &seen {
        // A title that only counts down is not news; another state or severity is.
        let is_new = match before.get(id) {
            Some((_, told)) => {
                !id.starts_with('p') && told.split(':').next() != words.split(':').next()
            }
            None => true,
        };
        if is_new {
            cx.out
                .line(&format!("  + {}", cx.out.paint(*tone, words)))?;
        }
    }
    for (id, (_, words)) in before {
        if !seen.contains_key(id) {
            cx.out
                .line(&format!("  - {}", cx.out.paint(Tone::Dim, words)))?;
        }
    }
    Ok(seen)
}
