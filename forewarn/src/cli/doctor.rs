//! `doctor`: looks at everything that an installation stands on, and says what to do about what is wrong.
//!
//! It changes nothing, and every look is bounded in time: what does not answer is a finding too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum as _;
use forewarn_bus::{KafkaLog, Log as BusLog};
use forewarn_config::Settings;
use forewarn_messages::SYSTEM_METRICS;
use forewarn_service::ServiceConfig;
use forewarn_store::postgres::{
    Config as PostgresConfig, Error as PostgresError, Postgres, schema_version,
};
use forewarn_store::{Timestamp, http};
use serde::Serialize;
use serde_json::{Value, json};

use super::Cx;
use super::config::warnings;
use super::outcome::{Answer, Outcome};
use super::output::{Cell, Form, Table, Tone};
use super::settings::{LogSettings, SettingsArgs, ledger, log};
use super::times::{now, seconds};
use crate::config::{Config, Ledger, Log};
use crate::roles::Role;

/// What is on this machine or near it answers within this time, or is not well.
const PATIENCE: Duration = Duration::from_secs(3);

/// The client of Kafka asks several times.
const KAFKA_PATIENCE: Duration = Duration::from_secs(12);

/// Below so much free space there should be a look at the disk before it is urgent.
const SPACE_LOW: u64 = 1 << 30;

/// Clocks further apart make interactive work confusing; ten times as far they make it wrong.
const CLOCKS_APART: f64 = 2.0;

/// Look for what is wrong with this installation, and say what to do about it
///
/// Ends with 1 if something does not work; warnings leave it at 0.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// How a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Warning,
    Failed,
}

/// What was found about a part.
#[derive(Debug, Serialize)]
struct Finding {
    state: State,
    part: &'static str,
    what: String,
    /// What to do about it.
    remedy: String,
}

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, part: &'static str, what: impl Into<String>) {
        self.add(State::Ok, part, what, "");
    }

    fn warn(&mut self, part: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(State::Warning, part, what, remedy);
    }

    fn fail(&mut self, part: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(State::Failed, part, what, remedy);
    }

    fn add(
        &mut self,
        state: State,
        part: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Finding {
            state,
            part,
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    fn count(&self, state: State) -> usize {
        self.0
            .iter()
            .filter(|finding| finding.state == state)
            .count()
    }
}

/// What of the settings is looked at.
struct Installation {
    own: Config,
    log: LogSettings,
    postgres: PostgresConfig,
    influxdb: forewarn_store::influxdb::Config,
    /// Folders that are written to.
    folders: Vec<PathBuf>,
    /// Where the services answer, with their names.
    pages: Vec<(&'static str, SocketAddr)>,
}

impl Doctor {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        let mut findings = Findings::default();
        match cx.settings(&self.settings) {
            Ok(mut settings) => {
                let installation = examine_settings(cx, &mut settings, &mut findings);
                examine_folders(&installation, &mut findings);
                examine_log(&installation, &mut findings).await;
                examine_postgres(&installation, &mut findings).await;
                examine_influxdb(&installation, &mut findings).await;
                examine_services(&installation, &mut findings).await;
            }
            Err(failure) => findings.fail(
                "settings",
                failure.what(),
                "mend the file; nothing else can be looked at without it",
            ),
        }
        show(cx, &findings)?;
        Ok(Answer::of(findings.count(State::Failed) == 0))
    }
}

fn show(cx: &Cx, findings: &Findings) -> Result<(), super::outcome::Failure> {
    let (ok, warnings, failed) = (
        findings.count(State::Ok),
        findings.count(State::Warning),
        findings.count(State::Failed),
    );
    match cx.out.form() {
        Form::Json => cx.out.document(&json!({
            "ok": ok, "warnings": warnings, "failed": failed, "findings": findings.0
        })),
        Form::Plain => {
            let mut table = Table::default();
            for finding in &findings.0 {
                let state = match finding.state {
                    State::Ok => "ok",
                    State::Warning => "warning",
                    State::Failed => "failed",
                };
                table.row([state, finding.part, &finding.what, &finding.remedy].map(Cell::new));
            }
            cx.out.table(&table)
        }
        Form::Table => {
            for finding in &findings.0 {
                let (sign, tone) = match finding.state {
                    State::Ok => ("✔", Tone::Good),
                    State::Warning => ("!", Tone::Warning),
                    State::Failed => ("✘", Tone::Bad),
                };
                let (what, sign) = (
                    super::output::clean(&finding.what),
                    cx.out.paint(tone, sign),
                );
                cx.out
                    .line(&format!("{sign} {:<16} {what}", finding.part))?;
                if !finding.remedy.is_empty() {
                    cx.out
                        .line(&format!("                   → {}", finding.remedy))?;
                }
            }
            cx.out
                .line(&format!("{ok} ok, {warnings} to look at, {failed} failed"))
        }
    }
}

fn examine_settings(cx: &Cx, settings: &mut Settings, findings: &mut Findings) -> Installation {
    ServiceConfig::read(settings);
    drop(crate::configure(
        settings,
        Role::value_variants(),
        Some(crate::front::Voice::Json),
    ));
    let service: ServiceConfig = settings.section("service");
    let api: forewarn_api::Config = settings.section("api");
    let ingestion: forewarn_ingestion::Config = settings.section("ingestion");
    let trainer: forewarn_trainer::Config = settings.section("trainer");
    let models: forewarn_store::shelf::Config = settings.section("models");
    let influxdb: forewarn_store::influxdb::Config = settings.section("influxdb");
    let own: Config = settings.section("forewarn");
    let log = log(settings);
    let postgres = ledger(settings);
    let file = settings
        .file()
        .map_or("defaults only, no file".to_owned(), |file| {
            file.display().to_string()
        });
    match settings.finish() {
        Ok(()) => findings.ok("settings", format!("valid ({file})")),
        Err(errors) => {
            let first = errors
                .iter()
                .next()
                .map(ToString::to_string)
                .unwrap_or_default();
            let more = errors.iter().count() - 1;
            let more = if more > 0 {
                format!(", and {more} more")
            } else {
                String::new()
            };
            findings.fail(
                "settings",
                format!("{first}{more}"),
                "forewarn config check",
            );
        }
    }
    for warning in warnings(settings, cx) {
        let (what, remedy) = warning.rsplit_once(": ").unwrap_or((&warning, ""));
        findings.warn("settings", what, remedy);
    }
    let receivers: Vec<forewarn_alerter::ReceiverConfig> = settings.section("receivers");
    let names: Vec<&str> = receivers
        .iter()
        .map(forewarn_alerter::ReceiverConfig::name)
        .collect();
    let console = |receiver: &forewarn_alerter::ReceiverConfig| {
        matches!(receiver, forewarn_alerter::ReceiverConfig::Console(_))
    };
    if receivers.iter().all(console) {
        findings.warn(
            "receivers",
            "alerts are written to the log of the alerter, and nobody is told",
            "add a webhook under [[receivers]]",
        );
    } else {
        findings.ok("receivers", names.join(", "));
    }
    let mut folders = vec![models.path];
    if own.log == Log::Embedded {
        folders.push(log.embedded.path.clone());
    }
    if own.postgres == Ledger::Embedded {
        folders.push(own.postgres_path.clone());
    }
    let health = |port: u16| SocketAddr::new(service.address, service.port.unwrap_or(port));
    // With a port of its own choice, whoever answers there is the one process.
    let mut pages = vec![
        ("forewarn", health(8_000)),
        ("ingestion", ingestion.listen),
        ("stream-processor", health(8_002)),
        ("predictor", health(8_003)),
        ("alerter", health(8_004)),
        ("trainer", trainer.listen),
        ("api", api.listen),
    ];
    let mut seen = Vec::new();
    pages.retain(|(_, address)| {
        let is_new = !seen.contains(address);
        seen.push(*address);
        is_new
    });
    Installation {
        own,
        log,
        postgres,
        influxdb,
        folders,
        pages,
    }
}

/// Whether what is written has a place to go to.
fn examine_folders(installation: &Installation, findings: &mut Findings) {
    let mut seen = Vec::new();
    for folder in &installation.folders {
        let there = nearest_there(folder);
        if let Err(error) = rustix::fs::access(&there, rustix::fs::Access::WRITE_OK) {
            findings.fail(
                "folder",
                format!("{} cannot be written: {error}", there.display()),
                format!(
                    "run as its owner, or choose another folder than {}",
                    folder.display()
                ),
            );
        }
        let Ok(space) = rustix::fs::statvfs(&there) else {
            continue;
        };
        if seen.contains(&space.f_fsid) {
            continue;
        }
        seen.push(space.f_fsid);
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let what = format!("{:.1} GB free for {}", free as f64 / 1e9, folder.display());
        let least = installation.log.embedded.free_bytes_min as u64;
        if free < least {
            findings.fail(
                "disk",
                what,
                "make room: below this nothing is taken in any more (embedded.free_bytes_min)",
            );
        } else if free < SPACE_LOW.max(2 * least) {
            findings.warn("disk", what, "make room before it is urgent");
        } else {
            findings.ok("disk", what);
        }
    }
}

/// The folder, or the nearest above it that is there.
fn nearest_there(folder: &Path) -> PathBuf {
    let there = folder.ancestors().find(|folder| folder.is_dir());
    there.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

async fn examine_log(installation: &Installation, findings: &mut Findings) {
    if installation.own.log == Log::Embedded {
        let path = &installation.log.embedded.path;
        if path.is_dir() {
            findings.ok("log", format!("in the folder {}", path.display()));
        } else {
            findings.ok(
                "log",
                format!(
                    "will be in the folder {}, which is not there yet",
                    path.display()
                ),
            );
        }
        return;
    }
    let config = installation.log.kafka.clone();
    let servers = config.servers.clone();
    let asked = tokio::task::spawn_blocking(move || {
        KafkaLog::connect(&config)?.partitions(&SYSTEM_METRICS)
    });
    match tokio::time::timeout(KAFKA_PATIENCE, asked).await {
        Ok(Ok(Ok(partitions))) => findings.ok(
            "log",
            format!("Kafka at {servers}, {partitions} partitions"),
        ),
        Ok(Ok(Err(error @ forewarn_bus::BusError::Topic { .. }))) => {
            findings.warn(
                "log",
                error.to_string(),
                "start the services, which make the topics",
            );
        }
        Ok(Ok(Err(error))) => findings.fail(
            "log",
            error.to_string(),
            "start Kafka, or set [log] servers",
        ),
        Ok(Err(error)) => findings.fail("log", error.to_string(), "see the log of Kafka"),
        Err(_) => findings.fail(
            "log",
            format!("Kafka at {servers} does not answer"),
            "start Kafka, or set [log] servers",
        ),
    }
}

async fn examine_postgres(installation: &Installation, findings: &mut Findings) {
    let config = PostgresConfig {
        connect_timeout: PATIENCE,
        statement_timeout: PATIENCE,
        ..installation.postgres.clone()
    };
    let looked = async {
        let postgres = Postgres::open(&config, "forewarn-doctor")?;
        let sql = "SELECT current_setting('server_version'), to_json(clock_timestamp())::text, \
                   to_regclass('refinery_schema_history')::text";
        let asked = now();
        let basics = postgres.look(sql, 1).await?;
        let applied = match &basics
            .rows
            .first()
            .and_then(|row| row.get(2).cloned().flatten())
        {
            Some(_) => Some(
                postgres
                    .look("SELECT max(version) FROM refinery_schema_history", 1)
                    .await?,
            ),
            None => None,
        };
        Ok::<_, PostgresError>((asked, basics, applied))
    };
    let own = installation.own.postgres == Ledger::Embedded;
    match looked.await {
        Ok((asked, basics, applied)) => {
            let field = |index: usize| {
                basics
                    .rows
                    .first()
                    .and_then(|row| row.get(index).cloned().flatten())
            };
            let version = field(0).unwrap_or_default();
            let version = version.split(' ').next().unwrap_or_default().to_owned();
            let known = schema_version();
            let applied: Option<i64> = applied
                .and_then(|look| look.rows.first()?.first()?.clone())
                .and_then(|text| text.parse().ok());
            match applied {
                Some(applied) if applied == known => {
                    findings.ok("postgresql", format!("{version}, schema {applied}"));
                }
                Some(applied) if applied > known => findings.warn(
                    "postgresql",
                    format!("{version}, schema {applied}, and this program knows {known}"),
                    "upgrade this program to that of the services",
                ),
                other => findings.warn(
                    "postgresql",
                    format!("{version}, schema {} of {known}", other.unwrap_or(0)),
                    "start the services, which bring it up to date",
                ),
            }
            let theirs: Option<Timestamp> =
                field(1).and_then(|text| text.trim_matches('"').parse().ok());
            if let Some(theirs) = theirs {
                let apart = seconds(asked, theirs).abs();
                let what = format!("{apart:.1} s apart from PostgreSQL's");
                if apart > 10.0 * CLOCKS_APART {
                    findings.fail("clock", what, "let both machines take their time from NTP");
                } else if apart > CLOCKS_APART {
                    findings.warn("clock", what, "let both machines take their time from NTP");
                } else {
                    findings.ok("clock", what);
                }
            }
        }
        Err(error) if own => {
            match crate::postgres::find_programs(installation.own.postgres_programs.as_deref()) {
                Ok((programs, major)) => findings.warn(
                    "postgresql",
                    format!(
                        "its own does not run now; the programs of PostgreSQL {major} are in {}",
                        programs.display()
                    ),
                    "start it: forewarn",
                ),
                Err(missing) => findings.fail("postgresql", error.to_string(), missing.to_string()),
            }
        }
        Err(error) => findings.fail(
            "postgresql",
            error.to_string(),
            "start it, or say where it is: DATABASE_URL, [postgres] url",
        ),
    }
}

async fn examine_influxdb(installation: &Installation, findings: &mut Findings) {
    const WITHOUT: &str = "charts and trained models need it: INFLUXDB_URL, INFLUXDB_TOKEN; everything else works without";
    // An address may hold a password, and is not repeated.
    match answer(&format!(
        "{}/ping",
        installation.influxdb.url.trim_end_matches('/')
    ))
    .await
    {
        Some((status, _)) if status < 400 => findings.ok("influxdb", "it answers"),
        Some((status, _)) => findings.warn("influxdb", format!("it answers {status}"), WITHOUT),
        None => findings.warn("influxdb", "it does not answer", WITHOUT),
    }
}

async fn examine_services(installation: &Installation, findings: &mut Findings) {
    let mut silent = Vec::new();
    let mut answering = Vec::new();
    for (name, listen) in &installation.pages {
        let ip = match listen.ip() {
            ip if !ip.is_unspecified() => ip,
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let address = SocketAddr::new(ip, listen.port());
        match answer(&format!("http://{address}/ready")).await {
            Some((status, text)) => answering.push((*name, address, status, text)),
            None => silent.push((*name, address)),
        }
    }
    if answering.is_empty() {
        findings.warn(
            "services",
            "none runs here; their ports are free",
            "start them: forewarn",
        );
        return;
    }
    let one_process = answering.iter().any(|(name, ..)| *name == "forewarn");
    for (name, address, status, text) in answering {
        let document: Value = serde_json::from_str(&text).unwrap_or_default();
        match document.get("ready").and_then(Value::as_bool) {
            Some(true) if status == 200 => findings.ok(name, format!("ready at {address}")),
            Some(_) => {
                let lacking: Vec<String> = document
                    .get("lacking")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .map(|one| {
                        let word = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
                        format!("{}: {}", word("condition"), word("reason"))
                    })
                    .collect();
                findings.fail(name, format!("not ready: {}", lacking.join("; ")), "see its log; what it lacks is named");
            }
            None => findings.fail(
                name,
                format!("another program answers at {address}"),
                "stop that one, or choose another port (api.listen, ingestion.listen, trainer.listen, service.port)",
            ),
        }
    }
    for (name, address) in silent {
        // In one process the other pages tell of all; in several there is no process for all.
        let expected = match name {
            "forewarn" => false,
            "stream-processor" | "predictor" | "alerter" => !one_process,
            _ => true,
        };
        if expected {
            findings.warn(
                name,
                format!("it does not answer at {address}"),
                "start it, unless it runs elsewhere",
            );
        }
    }
}

/// Status and text of a page, if anybody answers.
async fn answer(url: &str) -> Option<(u16, String)> {
    let client = http::client(PATIENCE).build().ok()?;
    let mut response = client.get(url).send().await.ok()?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        // These pages are short; another program's need not be.
        if body.len() > 1 << 20 {
            break;
        }
    }
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}
