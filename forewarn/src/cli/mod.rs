//! The command line: what can be asked of a running Forewarn, and done beside one.
//!
//! One file per group of commands. Standard output is the result, standard error is talk, and the exit code is the answer
//! ([`outcome`]). Commands that ask a server know it through its HTTP API alone ([`client`]); local ones read the same
//! settings as the services do.

mod acknowledge;
mod alerts;
mod chaos;
mod client;
mod config;
mod demo;
mod doctor;
mod explain;
mod export;
mod generate;
mod health;
mod import;
mod models;
mod monitor;
mod names;
mod outcome;
mod output;
mod plot;
mod predict;
mod query;
mod rollback;
mod settings;
mod sql;
pub(crate) mod times;
mod topics;
mod train;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use forewarn_config::Environment;
use forewarn_service::Args;

use self::client::Client;
use self::outcome::{Answer, Code, Failure, INTERRUPTED, Outcome};
use self::output::Out;
use self::settings::SettingsArgs;
use crate::front::Voice;
use crate::roles::Role;

/// Where the API answers unless it is said otherwise.
const SERVER: &str = "http://127.0.0.1:3000";

/// Said at the end of `forewarn --help`.
fn after_help() -> String {
    format!(
        "{}\n\nThe services' own codes, and where settings come from: forewarn run --help\n\nVariables:\n  \
         FOREWARN_SERVER     the address of the API, as --server\n  \
         FOREWARN_TRAINER    the address of the trainer, as `train --trainer`\n  \
         FOREWARN_INGESTION  the address of ingestion, as `import --ingestion`\n  \
         FOREWARN_TOKEN      sent along to a server that asks who you are\n  \
         FOREWARN_CONFIG     the settings file, as --config\n  \
         NO_COLOR, CLICOLOR_FORCE",
        outcome::CODES
    )
}

/// Predicts what will fail, when and why. Without a command, all services run in this process
#[derive(Debug, Parser)]
#[command(name = "forewarn", version, after_help = after_help(), max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a command: no simulated shop beside this host, even on an empty folder
    #[arg(long)]
    no_demo: bool,
    #[command(flatten)]
    args: Args,
    #[command(flatten)]
    globals: Globals,
}

/// What holds for every command.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The address of the API [default: http://127.0.0.1:3000]
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// Write the result as JSON: one document, or one a line for what never ends
    #[arg(long, global = true)]
    json: bool,
    /// Write the result as tab-separated lines without headings, as when it is piped
    #[arg(long, global = true, conflicts_with = "json")]
    plain: bool,
    /// When to colour the result; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    color: Colour,
    /// Say nothing but errors beside the result
    #[arg(short, long, global = true)]
    quiet: bool,
    /// The folder of the one process, with its log, measurements and ledger [default: forewarn-data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Globals {
    /// Where everything lies in the folder, as settings.
    fn folders(&self) -> Vec<(String, String)> {
        let Some(folder) = &self.data_dir else {
            return Vec::new();
        };
        let within = |setting: &str, name: &str| {
            (setting.to_owned(), folder.join(name).display().to_string())
        };
        vec![
            within("embedded.path", "log"),
            within("metric_store.path", "metrics"),
            within("forewarn.postgres_path", "postgres"),
            within("checkpoints.path", "checkpoints"),
            within("models.path", "models"),
            within("simulator.truth", "simulator/truth.jsonl"),
        ]
    }
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run some of the services, or all of them; without any command, all of them run
    #[command(after_help = forewarn_service::AFTER_HELP)]
    Run {
        /// Which ones, separated by commas
        #[arg(long = "role", value_delimiter = ',', value_enum, default_values_t = Role::value_variants().to_vec())]
        roles: Vec<Role>,
        #[command(flatten)]
        args: Args,
    },
    /// Run the demonstration until something is foreseen, and end
    Demo(demo::Demo),
    /// Let something go wrong with a simulated resource
    #[command(subcommand)]
    Chaos(chaos::Chaos),
    /// How everything is doing; ends with 1 when Forewarn itself is not well
    Health(health::Health),
    /// What needs attention
    #[command(subcommand)]
    Alerts(alerts::Alerts),
    /// Why a failure is expected, when it comes, and what to do first
    Explain(explain::Explain),
    /// Show how everything is doing again and again, until Ctrl-C
    Monitor(monitor::Monitor),
    /// Read measurements, features or scores
    Query(query::Query),
    /// Look ahead: where a metric is going, and when it reaches its limit
    Predict(predict::Predict),
    /// Write predictions, anomalies or alerts to a file
    Export(export::Export),
    /// Push samples out of files
    #[command(subcommand)]
    Import(import::Import),
    /// The models that judge, how they were made, and the way back
    #[command(subcommand)]
    Models(models::Models),
    /// Have models trained now
    Train(train::Train),
    /// Run a statement on the ledger, which it cannot change
    Sql(sql::Sql),
    /// The topics of the log
    #[command(subcommand)]
    Topics(topics::Topics),
    /// Write, check and show settings
    #[command(subcommand)]
    Config(config::Config),
    /// Look for what is wrong with this installation, and say what to do about it
    Doctor(doctor::Doctor),
    /// Write the script that completes commands in a shell
    Completions(generate::Completions),
    /// Write the manual pages into a folder
    Man(generate::Man),
    /// Which version this is
    Version,
}

/// What the process is to do.
pub(crate) enum Task {
    /// Run services.
    Serve(Serve),
    /// Nothing more: a command has done its work.
    Done(ExitCode),
}

/// Which services to run, and who looks on.
#[derive(Debug)]
pub(crate) struct Serve {
    pub(crate) roles: Vec<Role>,
    pub(crate) args: Args,
    /// In which form whoever started it is told what happens; none for parts of a larger whole, whose logs say enough.
    pub(crate) front: Option<Voice>,
    /// Whether a simulated shop may come with it.
    pub(crate) may_demo: bool,
}

/// Reads the arguments, and does what they ask for unless it is to run services.
pub(crate) fn task() -> Task {
    let Cli {
        command,
        no_demo,
        globals,
        mut args,
    } = Cli::parse();
    // What is set by name is stronger.
    args.overrides.splice(0..0, globals.folders());
    let command = match command {
        None => {
            return Task::Serve(Serve {
                roles: Role::value_variants().to_vec(),
                args,
                front: Some(Voice::of_process(globals.json)),
                may_demo: !no_demo,
            });
        }
        Some(Command::Run { roles, args: own }) => {
            return Task::Serve(Serve {
                roles,
                args: settings::over(args, own),
                front: None,
                may_demo: false,
            });
        }
        Some(command) => command,
    };
    let environment = Environment::of_process();
    let cx = Cx {
        out: Out::of(&globals, &environment),
        globals,
        environment,
        args,
    };
    Task::Done(cx.run(command))
}

/// What commands share.
#[derive(Debug)]
pub(crate) struct Cx {
    pub(crate) out: Out,
    pub(crate) environment: Environment,
    globals: Globals,
    /// The arguments before the command.
    args: Args,
}

impl Cx {
    fn run(&self, command: Command) -> ExitCode {
        match self.outcome(command) {
            Ok(Some(Answer::Yes)) => ExitCode::SUCCESS,
            Ok(Some(Answer::No)) => ExitCode::from(Code::Negative as u8),
            Ok(None) => ExitCode::from(INTERRUPTED),
            Err(failure) => {
                if !failure.is_silent() {
                    // If nobody can hear it, the exit code still says it.
                    let _ = writeln!(std::io::stderr(), "{failure}");
                }
                failure.exit_code()
            }
        }
    }

    /// What the command comes to; `None` if it was interrupted.
    fn outcome(&self, command: Command) -> Result<Option<Answer>, Failure> {
        // What needs neither a network nor a clock needs no runtime.
        match &command {
            Command::Config(config) => return config.run(self).map(Some),
            Command::Completions(completions) => return completions.run(self).map(Some),
            Command::Man(man) => return man.run(self).map(Some),
            Command::Version => return generate::version(self).map(Some),
            _ => {}
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Code::Internal, error.to_string(), ""))?;
        let outcome = runtime.block_on(async {
            tokio::select! {
                outcome = self.perform(command) => outcome.map(Some),
                _ = tokio::signal::ctrl_c() => Ok(None),
            }
        });
        // A thread that waits for a server that does not answer is not waited for.
        runtime.shutdown_background();
        outcome
    }

    async fn perform(&self, command: Command) -> Outcome {
        match command {
            Command::Demo(demo) => demo.run(self).await,
            Command::Chaos(chaos) => chaos.run(self).await,
            Command::Health(health) => health.run(self).await,
            Command::Alerts(alerts) => alerts.run(self).await,
            Command::Explain(explain) => explain.run(self).await,
            Command::Monitor(monitor) => monitor.run(self).await,
            Command::Query(query) => query.run(self).await,
            Command::Predict(predict) => predict.run(self).await,
            Command::Export(export) => export.run(self).await,
            Command::Import(import) => import.run(self).await,
            Command::Models(models) => models.run(self).await,
            Command::Train(train) => train.run(self).await,
            Command::Sql(sql) => sql.run(self).await,
            Command::Topics(topics) => topics.run(self).await,
            Command::Doctor(doctor) => doctor.run(self).await,
            Command::Run { .. }
            | Command::Config(_)
            | Command::Completions(_)
            | Command::Man(_)
            | Command::Version => Ok(Answer::Yes),
        }
    }

    /// The server that `--server` or `FOREWARN_SERVER` names.
    fn server(&self) -> Result<Client, Failure> {
        if self.args.config.is_some() || !self.args.overrides.is_empty() || self.args.check {
            return Err(Failure::usage(
                "--config, --set and --check say how services run, and this command asks one that runs",
                "leave them out; --server says which one is asked",
            ));
        }
        self.client()
    }

    /// The same for commands that read settings too.
    fn client(&self) -> Result<Client, Failure> {
        Client::new(self.address(), "--server", &self.environment)
    }

    fn address(&self) -> &str {
        self.globals
            .server
            .as_deref()
            .or_else(|| self.environment.get("FOREWARN_SERVER"))
            .unwrap_or(SERVER)
    }

    /// The settings that the arguments before and behind the command lead to.
    fn settings(&self, own: &SettingsArgs) -> Result<forewarn_config::Settings, Failure> {
        settings::load(&self.args, own, &self.environment)
    }
}

/// The whole tree of commands.
fn tree() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_is_sound() {
        super::tree().debug_assert();
    }
}
