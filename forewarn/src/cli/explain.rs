//! `explain`: why a failure is expected, when it comes, and what to do first.

use forewarn_store::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::Cx;
use super::client::{Client, read};
use super::names::ensure_resource;
use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::{Form, Tone, clean};
use super::times::{relative, seconds, short, words};

/// Why a failure is expected, when it comes, and what to do first
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The id of a prediction, or the name of a resource for what is expected of it
    #[arg(value_name = "PREDICTION")]
    prediction: String,
}

#[derive(Deserialize)]
struct Prediction {
    prediction_id: String,
    resource: String,
    failure: String,
    subject: String,
    state: String,
    title: String,
    why: String,
    first_action: String,
    opened_at: Timestamp,
    ts: Timestamp,
    p10_at: Option<Timestamp>,
    p50_at: Option<Timestamp>,
    p90_at: Option<Timestamp>,
    baseline_at: Option<Timestamp>,
    probability: f64,
    horizon_seconds: f64,
    used: f64,
    limit_value: f64,
    ended_at: Option<Timestamp>,
    reason: Option<String>,
    lead_seconds: Option<f64>,
    src: String,
}

impl Explain {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        let client = cx.server()?;
        if Uuid::parse_str(&self.prediction).is_ok() {
            let found = client.get(&["predictions", &self.prediction], &[]).await;
            let text = found.map_err(|failure| {
                if failure.is(Code::NotFound) {
                    failure
                        .with_remedy("`forewarn export predictions --since 30d` has the ids of all")
                } else {
                    failure
                }
            })?;
            if cx.out.form() == Form::Json {
                cx.out.document(&text)?;
            } else {
                tell(cx, &read(text.get())?)?;
            }
            return Ok(Answer::Yes);
        }
        self.of_resource(cx, &client).await
    }

    /// What is expected of a resource now.
    async fn of_resource(&self, cx: &Cx, client: &Client) -> Outcome {
        let query = [
            ("resource", self.prediction.clone()),
            ("state", "open".to_owned()),
        ];
        let listing = client.list(&["predictions"], &query, 100).await?;
        if listing.items.is_empty() {
            ensure_resource(client, &self.prediction).await?;
            return Err(Failure::not_found(
                format!("no failure of `{}` is expected", self.prediction),
                "the id of a prediction that has ended explains that one: `forewarn export predictions`",
            ));
        }
        if cx.out.form() == Form::Json {
            cx.out.document(&listing)?;
            return Ok(Answer::Yes);
        }
        for (at, prediction) in listing.read::<Prediction>()?.iter().enumerate() {
            if at > 0 {
                cx.out.line("")?;
            }
            tell(cx, prediction)?;
        }
        Ok(Answer::Yes)
    }
}

fn tell(cx: &Cx, p: &Prediction) -> Result<(), Failure> {
    let now = super::times::now();
    let mut lines = vec![("", cx.out.paint(Tone::Strong, &p.title))];
    if p.state == "open" {
        if let Some(p50) = p.p50_at {
            lines.push(("when", when(p, p50, now)));
        }
        lines.push((
            "probability",
            format!(
                "{:.0} % within {}",
                (p.probability * 100.0).clamp(0.0, 100.0),
                words(p.horizon_seconds)
            ),
        ));
        let linear = p
            .baseline_at
            .map_or("never".to_owned(), |at| relative(at, now));
        lines.push((
            "straight line",
            format!("{linear} (what a line through the last values says)"),
        ));
    } else {
        let ended = p.ended_at.map(short).unwrap_or_default();
        let reason = p.reason.as_deref().unwrap_or("no reason is known");
        let lead = p
            .lead_seconds
            .map(|lead| format!(", {} after it was said first", words(lead)));
        lines.push((
            "ended",
            format!(
                "{} at {ended}: {reason}{}",
                p.state,
                lead.unwrap_or_default()
            ),
        ));
    }
    let share = 100.0 * p.used / p.limit_value;
    if share.is_finite() {
        let unit = matches!(p.failure.as_str(), "disk_full" | "memory_exhaustion").then_some("By");
        let value = |value: f64| super::plot::value(value, unit);
        lines.push((
            "used",
            format!(
                "{share:.0} % of the limit ({} of {})",
                value(p.used),
                value(p.limit_value)
            ),
        ));
    }
    lines.push(("why", p.why.clone()));
    lines.push(("do first", p.first_action.clone()));
    lines.push((
        "said first",
        format!(
            "{} ({}), as of {}",
            short(p.opened_at),
            relative(p.opened_at, now),
            short(p.ts)
        ),
    ));
    lines.push((
        "about",
        format!("{} of {} ({})", p.subject, p.resource, p.failure),
    ));
    lines.push(("id", p.prediction_id.clone()));
    lines.push(("cause", format!("{} (record of system_metrics)", p.src)));
    for (name, text) in lines {
        if name.is_empty() {
            cx.out.line(&text)?;
        } else if cx.out.form() == Form::Plain {
            cx.out.line(&format!("{name}\t{}", clean(&text)))?;
        } else {
            let name = cx.out.paint(Tone::Dim, &format!("{name:<14}"));
            cx.out.line(&format!("  {name}{}", clean(&text)))?;
        }
    }
    Ok(())
}

/// `in 42 min (30 min to 1 h 10 min)`.
fn when(p: &Prediction, p50: Timestamp, now: Timestamp) -> String {
    let span = |at: Timestamp| words(seconds(now, at).max(0.0));
    let latest = p
        .p90_at
        .map_or("longer than the trend supports".to_owned(), span);
    match p.p10_at {
        Some(p10) => format!(
            "{} ({} to {latest}; four times in five)",
            relative(p50, now),
            span(p10)
        ),
        None => relative(p50, now),
    }
}
