//! The smallest service, which behaves or misbehaves as the tests of the shell ask it to.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use forewarn_service::{Context, Service};

/// A section that exists; what is in it is this program's own.
const SECTION: &str = "alerter";

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    behaviour: Behaviour,
    /// How long it takes to end.
    #[serde(with = "forewarn_config::duration")]
    drain: Duration,
}

#[derive(Clone, Copy, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Behaviour {
    /// Works until it is stopped.
    #[default]
    Work,
    /// Returns an error before it has begun.
    Refuse,
    /// A thread panics.
    Panic,
    /// A task returns though nobody asked it to.
    Leave,
    /// A loop stops beating.
    Stall,
    /// Has done what there is to do.
    Finish,
    /// Waits for something that never comes before it is complete.
    Dawdle,
}

fn main() -> ExitCode {
    Service::new(
        "probe",
        0,
        "Behaves or misbehaves as the tests of the shell ask it to.",
    )
    .main(|settings| settings.section::<Config>(SECTION), run)
}

async fn run(cx: Context, config: Config) -> anyhow::Result<()> {
    let kafka = cx.condition("kafka");
    kafka.not_met("nobody answers at 127.0.0.1:1");
    cx.condition("postgres").met();
    metrics::counter!("forewarn_probe_steps_total").increment(1);
    tracing::info!(instance = cx.instance(), "probing");
    match config.behaviour {
        Behaviour::Refuse => bail!("there is nothing to probe"),
        Behaviour::Finish => return Ok(()),
        Behaviour::Dawdle => std::future::pending().await,
        _ => {}
    }
    let progress = cx.progress("reader");
    let stop = cx.stop().clone();
    cx.spawn_thread("reader", move || {
        while !stop.is_stopped() {
            match config.behaviour {
                Behaviour::Panic => panic!("out of cheese"),
                Behaviour::Stall => {}
                _ => progress.beat(),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(config.drain);
        Ok(())
    })?;
    if matches!(config.behaviour, Behaviour::Leave) {
        cx.spawn("leaver", async { Ok(()) });
    }
    Ok(())
}
