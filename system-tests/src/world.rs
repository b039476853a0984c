//! A Forewarn of its own for one test: real binaries, own topics, database, buckets, ports and folders.
//!
//! Where there is a script that can restart the servers (`FOREWARN_TEST_SERVERS_CTL`), a test may do that; it is asked
//! for as `<script> restart kafka|influxdb|postgres`.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use forewarn_bus::embedded::{self, EmbeddedLog};
use forewarn_bus::{KafkaLog, Log};

use forewarn_config::{Environment, Settings};
use forewarn_store::embedded::{self as metric_store, EmbeddedMetrics};
use forewarn_store::influxdb::InfluxDb;
use forewarn_store::postgres::Postgres;
use forewarn_store::shelf::{self, Shelf};
use forewarn_testkit::servers;
use tokio::runtime::Runtime;

use crate::binaries::Service;
use crate::process::Process;
use crate::receiver::Receiver;

/// How many partitions every topic of a test has.
pub const PARTITIONS: u32 = 4;
/// A service that is not ready after this long is stuck, even on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// A service that does not stop within its own grace period and some more is stuck.
pub const STOP_LIMIT: Duration = Duration::from_secs(45);

/// The exit code of a service that is to be started again.
const START_AGAIN: i32 = 70;

/// The running system under test.
#[derive(Debug)]
pub struct World {
    name: String,
    /// Where logs, checkpoints and the ledger are; kept when a test fails.
    pub folder: PathBuf,
    /// Where the services keep what they know: the same, or a disk of its own.
    pub disk: PathBuf,
    settings: PathBuf,
    /// The running services.
    pub processes: Vec<Process>,
    /// How often a service ended by itself, to be started again.
    pub ended_by_themselves: u32,
    /// For everything that is asynchronous.
    pub runtime: Runtime,
    /// Where alerts are delivered to.
    pub receiver: Receiver,
    /// For the services' pages.
    pub http: reqwest::Client,
    admin: Postgres,
    servers_ctl: Option<PathBuf>,
}

impl World {
    /// Makes a world that `what` needs; `extra` is TOML with further settings. `None`, after saying so, where the
    /// servers are not there.
    ///
    /// # Errors
    /// When the servers are there but do not do what is asked of them.
    pub fn new(what: &str, extra: &str) -> anyhow::Result<Option<Self>> {
        let (Some(kafka), Some(postgres), Some(influxdb)) = (
            servers::kafka(what),
            servers::postgres(what),
            servers::influxdb(what),
        ) else {
            return Ok(None);
        };
        let name = servers::unique("fw");
        let folder = scratch()?.join(&name);
        std::fs::create_dir_all(&folder).context("make a folder for a test")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let receiver = Receiver::start(&runtime)?;
        let extra = format!(
            "{extra}\n[[receivers]]\nname = \"test\"\ntype = \"webhook\"\nurl = \"{}\"\n",
            receiver.url()
        );
        let text = settings_text(&name, &kafka, &postgres, &influxdb, &extra);
        let settings = folder.join("forewarn.toml");
        std::fs::write(&settings, text)?;
        let admin = open_postgres(&runtime, &postgres)?;
        let world = Self {
            name,
            disk: folder.clone(),
            folder,
            settings,
            processes: Vec::new(),
            ended_by_themselves: 0,
            receiver,
            http: forewarn_store::http::client(Duration::from_secs(10)).build()?,
            runtime,
            admin,
            servers_ctl: std::env::var_os("FOREWARN_TEST_SERVERS_CTL").map(PathBuf::from),
        };
        world.sql_admin(&format!("CREATE DATABASE {}", world.name))?;
        Ok(Some(world))
    }

    /// The settings of this world, as the services read them.
    ///
    /// # Errors
    /// When they are wrong.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        Settings::load(Some(&self.settings), &Environment::default(), &[])
            .context("load the settings of the test")
    }

    /// The log, for looking into it.
    ///
    /// # Errors
    /// When Kafka does not answer.
    pub fn log(&self) -> anyhow::Result<Arc<dyn Log>> {
        Ok(Arc::new(self.kafka()?))
    }

    fn kafka(&self) -> anyhow::Result<KafkaLog> {
        let mut settings = self.settings()?;
        Ok(KafkaLog::connect(&settings.section("log"))?)
    }

    /// InfluxDB, for looking into it.
    ///
    /// # Errors
    /// When its address is wrong.
    pub fn influxdb(&self) -> anyhow::Result<InfluxDb> {
        let mut settings = self.settings()?;
        Ok(InfluxDb::open(&settings.section("influxdb"))?)
    }

    /// The bundles of models.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn shelf(&self) -> anyhow::Result<Shelf> {
        let path = self.models_path();
        Ok(Shelf::open(&shelf::Config { path })?)
    }

    /// The ledger, for looking into it.
    ///
    /// # Errors
    /// When its address is wrong.
    pub fn postgres(&self) -> anyhow::Result<Postgres> {
        let mut settings = self.settings()?;
        let config: forewarn_store::postgres::Config = settings.section("postgres");
        let _inside = self.runtime.enter();
        Ok(Postgres::open(&config, "system-tests")?)
    }

    /// Adds a replica of a service, without starting it, and tells its place among the processes.
    ///
    /// # Errors
    /// When no port is free.
    pub fn add(&mut self, service: Service) -> anyhow::Result<usize> {
        let replica = self
            .processes
            .iter()
            .filter(|process| process.service == service)
            .count() as u32;
        let port = free_port()?;
        let name = format!("{}-{replica}", service.name());
        let environment = self.environment(service, port);
        let log = self.folder.join(format!("{name}.log"));
        self.processes.push(Process::new(
            service,
            replica,
            port,
            log,
            self.settings.clone(),
            environment,
        ));
        Ok(self.processes.len() - 1)
    }

    /// Adds and starts one replica of every service, and waits until all are ready.
    ///
    /// # Errors
    /// When one of them does not become ready.
    pub fn start_all(&mut self) -> anyhow::Result<()> {
        for service in Service::ALL {
            let at = self.add(service)?;
            self.processes[at].start()?;
        }
        for at in 0..self.processes.len() {
            self.wait_ready(at)?;
        }
        Ok(())
    }

    fn environment(&self, service: Service, port: u16) -> Vec<(String, String)> {
        // The whole has pages of its own beside those of its parts, wherever there is room.
        let pages = if service == Service::Whole { 0 } else { port };
        let mut environment = vec![
            ("FOREWARN__SERVICE__PORT".to_owned(), pages.to_string()),
            (
                "FOREWARN__CHECKPOINTS__PATH".to_owned(),
                self.disk.join("checkpoints").display().to_string(),
            ),
            (
                "FOREWARN__MODELS__PATH".to_owned(),
                self.models_path().display().to_string(),
            ),
        ];
        let listens: &[(&str, u16)] = match service {
            Service::Ingestion => &[("INGESTION", port)],
            Service::Trainer => &[("TRAINER", port)],
            // Samples come in where the world looks for it; the others are wherever there is room.
            Service::Whole => &[("INGESTION", port), ("TRAINER", 0), ("API", 0)],
            Service::StreamProcessor | Service::Predictor | Service::Alerter => &[],
        };
        environment.extend(listens.iter().map(|(section, port)| {
            (
                format!("FOREWARN__{section}__LISTEN"),
                format!("127.0.0.1:{port}"),
            )
        }));
        if service == Service::Whole {
            environment.extend([
                (
                    "FOREWARN__EMBEDDED__PATH".to_owned(),
                    self.log_path().display().to_string(),
                ),
                (
                    "FOREWARN__METRIC_STORE__PATH".to_owned(),
                    self.metrics_path().display().to_string(),
                ),
                (
                    "FOREWARN__EMBEDDED__PARTITIONS".to_owned(),
                    PARTITIONS.to_string(),
                ),
            ]);
        }
        environment
    }

    /// Where the bundles of models lie.
    #[must_use]
    pub fn models_path(&self) -> PathBuf {
        self.folder.join("models")
    }

    /// Where the log of [`Service::Whole`] lies.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.disk.join("log")
    }

    /// Opens the log of [`Service::Whole`], which must not run.
    ///
    /// # Errors
    /// When it runs, or the folder is damaged.
    pub fn embedded_log(&self) -> anyhow::Result<EmbeddedLog> {
        Ok(EmbeddedLog::open(&embedded::Config {
            path: self.log_path(),
            partitions: PARTITIONS,
            ..embedded::Config::default()
        })?)
    }

    /// Where [`Service::Whole`] has its points.
    #[must_use]
    pub fn metrics_path(&self) -> PathBuf {
        self.disk.join("metrics")
    }

    /// Opens the points of [`Service::Whole`], which must not run.
    ///
    /// # Errors
    /// When it runs, or the folder is damaged.
    pub fn embedded_metrics(&self) -> anyhow::Result<EmbeddedMetrics> {
        Ok(EmbeddedMetrics::open(&metric_store::Config {
            path: self.metrics_path(),
            ..metric_store::Config::default()
        })?)
    }

    /// Does what an orchestrator does: a service that found that only a new process helps (its exit code says so) is
    /// started again.
    ///
    /// # Errors
    /// When one ended in any other way, with the end of its log.
    pub fn supervise(&mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            match process.ended() {
                None => {}
                Some(status) if status.code() == Some(START_AGAIN) => {
                    self.ended_by_themselves += 1;
                    process.start()?;
                }
                Some(status) => bail!(
                    "{} ended with {status}:\n{}",
                    process.name(),
                    process.tail(4_000)
                ),
            }
        }
        Ok(())
    }

    /// Waits until a service takes work.
    ///
    /// # Errors
    /// When it ends or does not become ready in time, with the end of its log.
    pub fn wait_ready(&mut self, at: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            if self.page(at, "/ready").is_ok() {
                return Ok(());
            }
            self.supervise()?;
            let process = &self.processes[at];
            if Instant::now() >= deadline {
                bail!(
                    "{} is not ready after {READY_LIMIT:?}:\n{}",
                    process.name(),
                    process.tail(4_000)
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Gets a page of a service.
    ///
    /// # Errors
    /// When it does not answer with 2xx.
    pub fn page(&self, at: usize, path: &str) -> anyhow::Result<String> {
        let url = format!("http://127.0.0.1:{}{path}", self.processes[at].port);
        self.runtime.block_on(async {
            let answer = self.http.get(url).send().await?.error_for_status()?;
            Ok(answer.text().await?)
        })
    }

    /// The sum of a metric of a service over all its tags; 0 when it has never been touched.
    ///
    /// # Errors
    /// When the page cannot be had.
    pub fn metric(&self, at: usize, name: &str) -> anyhow::Result<f64> {
        let page = self.page(at, "/metrics")?;
        let value = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let rest = if rest.starts_with('{') {
                rest.rsplit_once('}')?.1
            } else {
                rest
            };
            rest.strip_prefix(' ')?
                .split(' ')
                .next()?
                .parse::<f64>()
                .ok()
        };
        Ok(page.lines().filter_map(value).sum())
    }

    /// Where a service's pages are.
    #[must_use]
    pub fn url(&self, at: usize) -> String {
        format!("http://127.0.0.1:{}", self.processes[at].port)
    }

    /// The first process of a service.
    ///
    /// # Panics
    /// When the service was never added.
    #[must_use]
    pub fn place_of(&self, service: Service) -> usize {
        self.processes
            .iter()
            .position(|process| process.service == service)
            .expect("the service was added")
    }

    /// Restarts a server, where there is a script that can. Tells whether it was done.
    ///
    /// # Errors
    /// When the script fails.
    pub fn restart_server(&self, server: &str) -> anyhow::Result<bool> {
        let Some(script) = &self.servers_ctl else {
            return Ok(false);
        };
        let done = Command::new(script)
            .arg("restart")
            .arg(server)
            .output()
            .context("run the servers' script")?;
        if !done.status.success() {
            bail!(
                "restarting {server} failed: {}",
                String::from_utf8_lossy(&done.stderr)
            );
        }
        Ok(true)
    }

    /// What the services said at the end, for a failed test.
    #[must_use]
    pub fn tails(&self) -> String {
        let tail =
            |process: &Process| format!("--- {} ---\n{}\n", process.name(), process.tail(3_000));
        self.processes.iter().map(tail).collect()
    }

    /// Fails when any service panicked or died of a memory error, at any time.
    ///
    /// # Errors
    /// When one did, with its words.
    pub fn check_clean(&self) -> anyhow::Result<()> {
        for process in &self.processes {
            let said = process.said()?;
            if let Some(line) = said
                .lines()
                .find(|line| line.contains("panicked at") || line.contains("SIGSEGV"))
            {
                bail!("{} said: {line}", process.name());
            }
        }
        Ok(())
    }

    /// Stops everything and removes what it kept; a test that fails never comes here, and its folder stays.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn clean_up(mut self) -> anyhow::Result<()> {
        self.processes.clear();
        self.sql_admin(&format!(
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            self.name
        ))?;
        self.runtime.block_on(self.influxdb()?.tear_down())?;
        self.kafka()?.delete_topics()?;
        std::fs::remove_dir_all(&self.folder)?;
        Ok(())
    }

    fn sql_admin(&self, statement: &str) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let session = self.admin.session().await?;
            session
                .batch_execute(statement)
                .await
                .with_context(|| statement.to_owned())?;
            session.give_back();
            Ok(())
        })
    }
}

fn open_postgres(runtime: &Runtime, url: &str) -> anyhow::Result<Postgres> {
    let config = forewarn_store::postgres::Config {
        url: forewarn_config::Secret::new(url),
        ..forewarn_store::postgres::Config::default()
    };
    let _inside = runtime.enter();
    Ok(Postgres::open(&config, "system-tests")?)
}

/// Logs of failed tests are where the build is, so that they are found and are never committed.
fn scratch() -> anyhow::Result<PathBuf> {
    let me = std::env::current_exe()?;
    let profile = me
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"))
        .context("no folder above")?;
    Ok(profile.join("system-tests"))
}

fn free_port() -> anyhow::Result<u16> {
    // Somebody else may take it before the service does; then the service says so and the test fails, never silently.
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn settings_text(
    name: &str,
    kafka: &str,
    postgres: &str,
    (influxdb, token): &(String, String),
    extra: &str,
) -> String {
    let database = match postgres.rsplit_once('/') {
        Some((server, _)) => format!("{server}/{name}"),
        None => format!("{postgres}/{name}"),
    };
    format!(
        r#"# Made by a system test.
[log]
servers = "{kafka}"
topic_prefix = "{name}_"
partitions = {PARTITIONS}

[forewarn]
postgres = "server"

[demo]
enabled = "off"

[postgres]
url = "{database}"

[influxdb]
url = "{influxdb}"
token = "{token}"
org = "forewarn"
bucket = "{name}"

{extra}
"#
    )
}
