//! `forewarn-bench`: how fast the pipeline is from end to end, on the real servers. `make bench` calls it.
//!
//! Prints a line per figure and puts the same lines into the document that `--write` names. Build with `--release`,
//! and build the services the same way: figures of a debug build say nothing.

mod latency;
mod report;
mod throughput;
mod training;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

/// Measures the pipeline from end to end.
#[derive(Debug, Parser)]
struct Args {
    /// Messages of 40 samples that the stream-processor has to work off
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// Hosts that send every second while the latency is measured
    #[arg(long, default_value_t = 50)]
    hosts: usize,
    /// For how many seconds they send
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What the benchmark of the features printed, to be put into the document too
    #[arg(long, value_name = "FILE", requires = "write")]
    features: Option<PathBuf>,
    /// What the benchmark of the isolation forest printed, likewise
    #[arg(long, value_name = "FILE", requires = "write")]
    forest: Option<PathBuf>,
    /// Only what a training costs, which needs no server
    #[arg(long)]
    training_only: bool,
    /// The document that takes the figures
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "figures are for the terminal"
)]
fn main() -> ExitCode {
    let args = Args::parse();
    let measured = (|| {
        let trained = training::measure()?;
        for line in &trained {
            println!("{line}");
        }
        if let Some(path) = &args.write {
            for (title, printed, measured) in [
                ("Features", &args.features, &[][..]),
                ("Isolation forest", &args.forest, &trained),
            ] {
                let Some(printed) = printed else { continue };
                let printed = std::fs::read_to_string(printed)
                    .with_context(|| format!("read {}", printed.display()))?;
                let mut figures = vec![report::machine()];
                figures.extend(printed.lines().filter(|l| !l.is_empty()).map(str::to_owned));
                figures.extend_from_slice(measured);
                report::write(path, title, &figures)?;
            }
        }
        if args.training_only {
            return Ok(());
        }
        let mut lines = vec![report::machine()];
        lines.extend(throughput::measure(args.messages)?);
        lines.extend(latency::measure(args.hosts, args.seconds)?);
        for line in &lines {
            println!("{line}");
        }
        if let Some(path) = &args.write {
            report::write(path, "From end to end", &lines)?;
        }
        anyhow::Ok(())
    })();
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}
