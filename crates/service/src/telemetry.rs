//! Log lines for people or machines, a level that can be changed while running, and the recorder of metrics.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::config::LogFormat;

/// Seconds: from a function call to an outage that people notice.
const BUCKETS_SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    120.0,
];

/// Counts and sizes of batches.
const BUCKETS_COUNT: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16_384.0];

/// Libraries that tell of every file they open. Whoever names them in the settings hears them.
const QUIET: &str = "fjall=warn,lsm_tree=warn,refinery_core=warn";

/// The handle that changes what is logged.
#[derive(Clone, Debug)]
pub(crate) struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// Changes it.
    ///
    /// # Errors
    /// When the words are no filter.
    pub(crate) fn set(&self, filter: &str) -> Result<(), String> {
        let filter = parse_filter(filter)?;
        self.0.reload(filter).map_err(|error| error.to_string())
    }
}

/// Reads `info,forewarn_bus=debug`.
///
/// # Errors
/// What is wrong, with an example of what is right.
pub(crate) fn parse_filter(text: &str) -> Result<EnvFilter, String> {
    let wrong = |problem: &str| {
        format!(
            "`{text}` does not say what to log ({problem}); write a level, such as \"info\" or \"info,forewarn_bus=debug\""
        )
    };
    // A lone word that is no level would be taken for a module's name, and silently log that at every level.
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let parts: Vec<_> = text.split(',').map(str::trim).collect();
    for part in &parts {
        if part.is_empty() {
            return Err(wrong("a part of it is empty"));
        }
        let word_only = part.chars().all(|c| c.is_ascii_alphanumeric());
        if word_only && !levels.contains(&part.to_ascii_lowercase().as_str()) {
            return Err(wrong(&format!("`{part}` is not a level")));
        }
    }
    let words = format!("{QUIET},{}", parts.join(","));
    EnvFilter::try_new(words).map_err(|error| wrong(&error.to_string()))
}

/// Begins to log to standard error.
///
/// # Errors
/// When the process logs already.
pub(crate) fn log(filter: &str, format: LogFormat) -> anyhow::Result<LogLevel> {
    let filter = parse_filter(filter).map_err(anyhow::Error::msg)?;
    let (filter, handle) = reload::Layer::new(filter);
    let terminal = std::io::stderr().is_terminal();
    let human = match format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if human {
        lines.with_ansi(terminal).boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .context("cannot begin to log")?;
    // A panic is a log line like any other, so that machines which read the log see it.
    std::panic::set_hook(Box::new(|panic| {
        let words = panic.payload_as_str().unwrap_or("no message");
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "panic: {words}");
    }));
    Ok(LogLevel(handle))
}

/// Begins to record metrics.
///
/// # Errors
/// When the process records them already.
pub(crate) fn record(service: &'static str) -> anyhow::Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS_SECONDS)
        .and_then(|builder| builder.set_buckets(&BUCKETS_COUNT))
        .context("cannot set the buckets of histograms")?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)
        .ok()
        .context("metrics are recorded already")?;
    metrics::describe_gauge!("forewarn_build_info", "Which program this is; always 1.");
    metrics::gauge!("forewarn_build_info", "service" => service, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_exceptions_are_understood_and_typing_mistakes_are_not() {
        for right in [
            "info",
            "WARN",
            "info,forewarn_bus=debug",
            "off",
            "warn, forewarn_bus::kafka=trace",
        ] {
            assert!(parse_filter(right).is_ok(), "{right}");
        }
        for wrong in ["", "inof", "info,verbose", "forewarn_bus=loud"] {
            let problem = parse_filter(wrong).expect_err(wrong);
            assert!(problem.contains("\"info\""), "{problem}");
        }
    }
}
