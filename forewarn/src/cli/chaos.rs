//! `forewarn chaos inject`: lets something go wrong with a simulated resource. Nothing real can be meant by it: the door
//! that it knocks at is only there where a simulator runs, and knows simulated resources alone.

use std::time::Duration;

use forewarn_simulate::FaultKind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::read;
use super::outcome::{Answer, Outcome};
use super::output::Form;
use super::{Cx, demo, import, times};

/// Faults for simulated resources
#[derive(Debug, clap::Subcommand)]
pub(super) enum Chaos {
    /// Let something go wrong with a simulated resource
    Inject(Inject),
}

/// Let something go wrong with a simulated resource
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forewarn chaos inject memory-leak --host web-02 --for 5m
  forewarn chaos inject disk-fill")]
pub(super) struct Inject {
    /// What: memory-leak, disk-fill, cpu-runaway, connection-exhaustion, latency-creep …
    #[arg(value_name = "KIND", value_parser = demo::fault)]
    fault: FaultKind,
    /// Which resource [default: the one that it suits best]
    #[arg(long, value_name = "RESOURCE")]
    host: Option<String>,
    /// How long it takes, or takes to reach its limit [default: as long as its kind usually does]
    #[arg(long = "for", value_name = "SPAN", value_parser = times::span)]
    lasts: Option<Duration>,
    /// The address of ingestion, where the simulator runs [default: port 8001 of the host of --server]
    #[arg(long, value_name = "URL")]
    ingestion: Option<String>,
}

/// What the simulator says to it.
#[derive(Deserialize)]
struct Answered {
    summary: String,
}

impl Chaos {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        let Self::Inject(inject) = self;
        let client = import::ingestion(cx, inject.ingestion.as_deref())?;
        let mut body = json!({ "fault": inject.fault });
        if let Some(host) = &inject.host {
            body["host"] = Value::from(host.as_str());
        }
        if let Some(lasts) = inject.lasts {
            body["for_seconds"] = Value::from(lasts.as_secs());
        }
        let (_, answer) = client.post(&["api", "v1", "chaos"], &body).await?;
        if cx.out.form() == Form::Json {
            cx.out.document(&read::<Value>(&answer)?)?;
        } else {
            let answered: Answered = read(&answer)?;
            cx.out.line(&answered.summary)?;
        }
        Ok(Answer::Yes)
    }
}
