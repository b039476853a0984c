//! `forewarn-faults`: kill -9 at random instants on the real servers, as often as asked; the stores must equal the
//! reference. `make faults KILLS=100` calls it.

use std::process::ExitCode;

use clap::Parser;
use forewarn_system_tests::exactness::{self, Plan};

/// Kills services at random instants while work is in flight, and judges what the stores hold in the end.
#[derive(Debug, Parser)]
struct Args {
    /// Effective kills, over all services.
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// Repeats an earlier run's hosts, faults and instants.
    #[arg(long)]
    seed: Option<u64>,
}

#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a report is for the terminal"
)]
fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(exactness::fresh_seed);
    let plan = Plan {
        kills: args.kills,
        seed,
    };
    match exactness::run(plan, &|words| println!("{words}")) {
        Ok(Some(outcome)) => {
            println!("{outcome}");
            if outcome.verdict.is_clean() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Ok(None) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}
