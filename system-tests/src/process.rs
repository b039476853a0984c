//! One running service: started, killed, asked how it is.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

use crate::binaries::{self, Service};

/// A replica of a service.
#[derive(Debug)]
pub struct Process {
    /// Which service.
    pub service: Service,
    /// Which of its replicas, from 0.
    pub replica: u32,
    /// Where its pages are served.
    pub port: u16,
    log: PathBuf,
    settings: PathBuf,
    environment: Vec<(String, String)>,
    /// What it is called with, before the settings.
    pub arguments: Vec<String>,
    child: Option<Child>,
    /// How often it was started.
    pub starts: u32,
}

impl Process {
    pub(crate) fn new(
        service: Service,
        replica: u32,
        port: u16,
        log: PathBuf,
        settings: PathBuf,
        environment: Vec<(String, String)>,
    ) -> Self {
        Self {
            service,
            replica,
            port,
            log,
            settings,
            environment,
            arguments: Vec::new(),
            child: None,
            starts: 0,
        }
    }

    /// What to call it in reports.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}", self.service.name(), self.replica)
    }

    /// Starts it. Its output is appended to its log.
    ///
    /// # Errors
    /// When the binary is not there or cannot be run.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .context("open the log of a service")?;
        let mut command = Command::new(binaries::find(self.service)?);
        command.args(&self.arguments);
        command.arg("--config").arg(&self.settings);
        // Nothing of the developer's own environment reaches the services of a test.
        command.env_clear();
        command.envs(
            ["PATH", "HOME", "TMPDIR"]
                .into_iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
        command.envs(self.environment.iter().cloned());
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(
            command
                .spawn()
                .with_context(|| format!("start {}", self.name()))?,
        );
        self.starts += 1;
        Ok(())
    }

    /// Whether it runs.
    pub fn is_alive(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// How it ended, if it did so by itself.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child
            .as_mut()
            .and_then(|child| child.try_wait().ok().flatten())
    }

    /// Kills it as the kernel would (SIGKILL). Returns whether it ran until then.
    pub fn kill(&mut self) -> bool {
        let Some(mut child) = self.child.take() else {
            return false;
        };
        let ran = matches!(child.try_wait(), Ok(None));
        // An error means that it is gone already.
        let _ = child.kill();
        let _ = child.wait();
        ran
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it has not ended within `limit`; it is killed then.
    pub fn stop(&mut self, limit: std::time::Duration) -> anyhow::Result<std::process::ExitStatus> {
        let child = self.child.as_mut().context("it is not running")?;
        let told = Command::new("kill")
            .arg("-TERM")
            .arg(child.id().to_string())
            .status()
            .context("run kill")?;
        anyhow::ensure!(told.success(), "kill -TERM failed");
        let deadline = std::time::Instant::now() + limit;
        loop {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(status);
            }
            if std::time::Instant::now() >= deadline {
                self.kill();
                anyhow::bail!(
                    "{} did not stop within {limit:?}:\n{}",
                    self.name(),
                    self.tail(4_000)
                );
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self, bytes: u64) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
            let mut end = Vec::new();
            file.read_to_end(&mut end)?;
            Ok(String::from_utf8_lossy(&end).into_owned())
        };
        read().unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// Everything it has said.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn said(&self) -> std::io::Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
