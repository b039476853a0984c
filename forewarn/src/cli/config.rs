//! `config`: settings are written, checked and shown with the very readers that the services start with.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use forewarn_config::{DEFAULTS, Origin, Settings};
use forewarn_service::ServiceConfig;
use serde_json::json;
use toml::{Table as TomlTable, Value};

use super::Cx;
use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::{Cell, Form, Table, Tone};
use super::settings::{SettingsArgs, wrong};
use crate::roles::Role;

/// Write, check and show settings
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Config {
    /// Write the commented settings file, with every setting and its default
    Init(Init),
    /// Look for mistakes in the settings: all of them, as every service would
    Check(Check),
    /// Show what every setting is, with secrets masked
    Show(Show),
}

/// Write the commented settings file, with every setting and its default
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The file, which must not be there yet; `-` for standard output
    #[arg(default_value = "forewarn.toml", value_name = "FILE")]
    file: PathBuf,
}

/// Look for mistakes in the settings: all of them, as every service would
///
/// Ends with 1 if there are any.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The settings file, as --config
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// End with 3 if there are warnings
    #[arg(long)]
    deny_warnings: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Show what every setting is, with secrets masked
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// Only this section
    #[arg(value_name = "SECTION")]
    section: Option<String>,
    /// With the place that each value comes from
    #[arg(long)]
    origin: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl Config {
    pub(super) fn run(&self, cx: &Cx) -> Outcome {
        match self {
            Self::Init(init) => init.run(cx),
            Self::Check(check) => check.run(cx),
            Self::Show(show) => show.run(cx),
        }
    }
}

impl Init {
    fn run(&self, cx: &Cx) -> Outcome {
        if self.file == Path::new("-") {
            cx.out.line(DEFAULTS.trim_end())?;
            return Ok(Answer::Yes);
        }
        let shown = self.file.display();
        let made = std::fs::File::create_new(&self.file)
            .and_then(|mut file| file.write_all(DEFAULTS.as_bytes()));
        made.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Failure::new(
                Code::Conflict,
                format!("{shown} is there already"),
                "name another file, or `-` to see what it would hold",
            ),
            _ => Failure::new(
                Code::Refused,
                format!("{shown} cannot be written: {error}"),
                "name a file in a folder that is there, and that this user may write",
            ),
        })?;
        cx.out.say(&format!("{shown} has every setting with its default; check it with: forewarn config check {shown}"));
        Ok(Answer::Yes)
    }
}

impl Check {
    fn run(&self, cx: &Cx) -> Outcome {
        let mut own = self.settings.clone();
        own.config = self.file.clone().or(own.config);
        if let Some(file) = own.config.as_deref().or(cx.args.config.as_deref())
            && !file.exists()
        {
            return Err(Failure::not_found(
                format!("there is no file {}", file.display()),
                "`forewarn config init` writes one",
            ));
        }
        let overrides: Vec<_> = cx
            .args
            .overrides
            .iter()
            .chain(&own.overrides)
            .cloned()
            .collect();
        let path = own.config.as_deref().or(cx.args.config.as_deref());
        let read = Settings::load(path, &cx.environment, &overrides).and_then(|mut settings| {
            ServiceConfig::read(&mut settings);
            drop(crate::configure(
                &mut settings,
                Role::value_variants(),
                Some(crate::front::Voice::Json),
            ));
            settings.finish().map(|()| settings)
        });
        let (file, mistakes, warnings) = match read {
            Ok(mut settings) => {
                let warnings = warnings(&mut settings, cx);
                (settings.file().map(Path::to_owned), Vec::new(), warnings)
            }
            Err(errors) => (
                path.map(Path::to_owned),
                errors.iter().cloned().collect(),
                Vec::new(),
            ),
        };
        if cx.out.form() == Form::Json {
            let mistakes: Vec<_> = mistakes
                .iter()
                .map(|mistake| {
                    json!({
                        "path": mistake.path.to_string(),
                        "origin": mistake.origin.to_string(),
                        "problem": mistake.problem,
                    })
                })
                .collect();
            cx.out.document(&json!({
                "valid": mistakes.is_empty(), "file": file, "mistakes": mistakes, "warnings": warnings
            }))?;
        } else {
            for mistake in &mistakes {
                cx.out
                    .line(&format!("{} {mistake}", cx.out.paint(Tone::Bad, "error:")))?;
            }
            for warning in &warnings {
                cx.out.line(&format!(
                    "{} {warning}",
                    cx.out.paint(Tone::Warning, "warning:")
                ))?;
            }
            let file = file.map_or("no file, defaults only".to_owned(), |file| {
                file.display().to_string()
            });
            cx.out.line(&match (mistakes.len(), warnings.len()) {
                (0, 0) => format!("the settings are valid ({file})"),
                (0, warnings) => format!(
                    "the settings are valid, with {} ({file})",
                    counted(warnings, "warning")
                ),
                (mistakes, _) => format!("{} ({file})", counted(mistakes, "mistake")),
            })?;
        }
        if !mistakes.is_empty() {
            return Ok(Answer::No);
        }
        if self.deny_warnings && !warnings.is_empty() {
            return Err(Failure::new(
                Code::Refused,
                format!(
                    "{} under --deny-warnings",
                    counted(warnings.len(), "warning")
                ),
                "mend what is warned of, or leave the flag out",
            ));
        }
        Ok(Answer::Yes)
    }
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// What is valid and yet hardly meant.
pub(super) fn warnings(settings: &mut Settings, cx: &Cx) -> Vec<String> {
    let mut warnings = Vec::new();
    let receivers: Vec<forewarn_alerter::ReceiverConfig> = settings.section("receivers");
    if cx.environment.get("SLACK_WEBHOOK_URL").is_some()
        && !receivers.iter().any(|receiver| receiver.name() == "slack")
    {
        warnings.push(
            "SLACK_WEBHOOK_URL is set, and no receiver named `slack` would use it: add one under [[receivers]]".to_owned(),
        );
    }
    if receivers.is_empty() {
        warnings.push(
            "there is no receiver, so nobody is told of anything: add one under [[receivers]]"
                .to_owned(),
        );
    }
    let listens = [
        (
            "api.listen",
            settings.section::<forewarn_api::Config>("api").listen,
        ),
        (
            "ingestion.listen",
            settings
                .section::<forewarn_ingestion::Config>("ingestion")
                .listen,
        ),
        (
            "trainer.listen",
            settings
                .section::<forewarn_trainer::Config>("trainer")
                .listen,
        ),
    ];
    for (key, listen) in listens {
        if !listen.ip().is_loopback() {
            warnings.push(format!(
                "{key} is {listen}: other machines can reach it, and it asks nobody for a password: put a proxy that does in \
                 front of it, or set it to 127.0.0.1:{}",
                listen.port()
            ));
        }
    }
    warnings
}

impl Show {
    fn run(&self, cx: &Cx) -> Outcome {
        let mut settings = cx.settings(&self.settings)?;
        let mut sections = sections(&mut settings)?;
        settings.finish().map_err(|errors| wrong(&errors))?;
        if let Some(wanted) = &self.section {
            let known: Vec<String> = sections.keys().cloned().collect();
            sections.retain(|name, _| name == wanted);
            if sections.is_empty() {
                return Err(Failure::not_found(
                    format!("there is no section [{wanted}]"),
                    super::names::remedy(wanted, &known, ""),
                ));
            }
        }
        if !self.origin {
            if cx.out.form() == Form::Json {
                cx.out.document(&sections)?;
            } else {
                let text = toml::to_string_pretty(&sections)
                    .map_err(|error| Failure::new(Code::Internal, error.to_string(), ""))?;
                cx.out.line(text.trim_end())?;
            }
            return Ok(Answer::Yes);
        }
        let mut leaves = Vec::new();
        for (name, value) in &sections {
            flatten(name.clone(), value, &mut leaves);
        }
        if cx.out.form() == Form::Json {
            let items: Vec<_> = leaves
                .iter()
                .map(|(path, value)| json!({ "path": path, "value": value, "origin": settings.origin(path).to_string() }))
                .collect();
            cx.out.document(&json!({ "items": items }))?;
            return Ok(Answer::Yes);
        }
        let mut table = Table::new(["SETTING", "VALUE", "FROM"]).longest(1);
        for (path, value) in leaves {
            let origin = settings.origin(&path);
            let tone = if origin == Origin::Default {
                Tone::Dim
            } else {
                Tone::Strong
            };
            table.row([
                Cell::new(path),
                Cell::new(value.to_string()),
                Cell::new(origin.to_string()).tone(tone),
            ]);
        }
        cx.out.table(&table)?;
        Ok(Answer::Yes)
    }
}

/// Every section as its owner reads it; secrets are masked by their own type.
fn sections(settings: &mut Settings) -> Result<TomlTable, Failure> {
    let mut table = TomlTable::new();
    macro_rules! put {
        ($($name:literal => $owner:ty),+ $(,)?) => {$(
            let section: $owner = settings.section($name);
            let value = Value::try_from(&section)
                .map_err(|error| Failure::new(Code::Internal, format!("[{}] cannot be shown: {error}", $name), ""))?;
            table.insert($name.to_owned(), value);
        )+};
    }
    put! {
        "log" => forewarn_bus::Config,
        "embedded" => forewarn_bus::embedded::Config,
        "checkpoints" => forewarn_bus::CheckpointConfig,
        "influxdb" => forewarn_store::influxdb::Config,
        "postgres" => forewarn_store::postgres::Config,
        "service" => ServiceConfig,
        "forewarn" => crate::config::Config,
        "ingestion" => forewarn_ingestion::Config,
        "stream_processor" => forewarn_stream_processor::StepConfig,
        "predictor" => forewarn_judge::Config,
        "models" => forewarn_store::shelf::Config,
        "trainer" => forewarn_trainer::Config,
        "alerter" => forewarn_alerter::Config,
        "api" => forewarn_api::Config,
        "rules" => Vec<forewarn_rules::RuleConfig>,
        "receivers" => Vec<forewarn_alerter::ReceiverConfig>,
        "feature_sets" => Vec<forewarn_features::FeatureSetConfig>,
    }
    Ok(table)
}

/// Settings with their paths, down to what one line of a file says.
fn flatten(path: String, value: &Value, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                flatten(format!("{path}.{key}"), value, leaves);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            for (index, value) in items.iter().enumerate() {
                flatten(format!("{path}[{index}]"), value, leaves);
            }
        }
        leaf => leaves.push((path, leaf.clone())),
    }
}
