//! The shell from outside: a real process, its pages, its signals and its exit code.

mod ending;
mod pages;
mod settings;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running `probe` (see `examples/probe.rs`).
struct Probe {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Probe {
    fn start(settings: &[&str]) -> Self {
        let mut command = command();
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut child = command
            .spawn()
            .expect("the example `probe` is built together with the tests");
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().expect("piped"));
        let sink = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut log = sink.lock().expect("no panic holds it");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, log }
    }

    fn log(&self) -> String {
        self.log.lock().expect("no panic holds it").clone()
    }

    /// Waits for a line of the log.
    fn wait_for(&self, words: &str) {
        wait(
            || self.log().contains(words),
            || format!("no line with `{words}` in:\n{}", self.log()),
        );
    }

    /// Where its pages are.
    fn address(&self) -> SocketAddr {
        self.wait_for("health pages");
        let log = self.log();
        let line = log
            .lines()
            .find(|line| line.contains("health pages"))
            .expect("waited for");
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON lines when piped");
        line["address"]
            .as_str()
            .expect("a string")
            .parse()
            .expect("an address")
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill is everywhere").success());
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "it does not end:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.wait().code()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(condition: impl Fn() -> bool, complaint: impl Fn() -> String) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{}", complaint());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The probe with an empty environment, so that nothing around the tests reaches it.
fn command() -> Command {
    let tests = std::env::current_exe().expect("a test has a path");
    let folder: PathBuf = tests
        .ancestors()
        .nth(2)
        .expect("target/debug/deps/it")
        .join("examples/probe");
    let mut command = Command::new(folder);
    command
        .env_clear()
        .current_dir(std::env::temp_dir())
        .stderr(Stdio::piped())
        .stdout(Stdio::null());
    command
}

/// Runs it to its end: exit code and what it said.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = command();
    let mut child = command
        .args(arguments)
        .envs(environment.iter().copied())
        .spawn()
        .expect("built with the tests");
    let mut said = String::new();
    child
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut said)
        .expect("UTF-8");
    (child.wait().expect("our child").code(), said)
}
