//! The demonstration as somebody sees it who tries Forewarn for the first time: everything real, on an empty folder.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

fn forewarn() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forewarn"));
    command.stdin(Stdio::null()).env_clear();
    command
}

/// From nothing to a failure that is foreseen, told of and explained.
#[test]
fn a_failure_is_foreseen_told_of_and_explained() {
    let output = forewarn()
        .args(["demo", "--json", "--until", "alert", "--timeout", "4m"])
        .output()
        .expect("the program runs");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{talk}");
    for word in [
        "history",
        "models   8 resources",
        "fault    web-02",
        "anomaly",
        "PREDICT",
    ] {
        assert!(talk.contains(word), "{word}: {talk}");
    }
    let seen: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(
        (seen["fault"].as_str(), seen["resource"].as_str()),
        (Some("memory-leak"), Some("web-02"))
    );
    let after = |key: &str| {
        seen[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key}: {seen}"))
    };
    assert!(after("anomaly_after_seconds") >= 0.0);
    assert!(after("predicted_after_seconds") > 0.0);
    assert!(after("alert_after_seconds") >= after("predicted_after_seconds"));
    let eta = &seen["breach_eta"];
    assert!(eta["p10"].as_f64() < eta["p50"].as_f64(), "{seen}");
    let metrics: Vec<&str> = seen["explanation"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|part| part["metric"].as_str())
        .collect();
    assert!(
        metrics.iter().any(|metric| metric.starts_with("memory.")),
        "{seen}"
    );
}

/// A program that is ended with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn on(folder: &Path) -> Command {
    let mut command = forewarn();
    command.args(["--no-demo", "--data-dir"]).arg(folder);
    for listen in ["api.listen", "ingestion.listen", "trainer.listen"] {
        command.args(["--set", &format!("{listen}=127.0.0.1:0")]);
    }
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = free.expect("a free port").port();
    command
        .args(["--set", &format!("service.port={port}")])
        .current_dir(folder.parent().expect("it lies somewhere"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

#[test]
fn without_a_demonstration_there_is_this_host_and_one_process_to_a_folder() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("data");
    let mut first = Running(on(&folder).spawn().expect("the program runs"));
    let stderr = first.0.stderr.take().expect("a pipe");
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    let started = lines.find_map(|line| {
        let line: Value = serde_json::from_str(&line).ok()?;
        (line["event"] == "started").then_some(line)
    });
    let started = started.expect("it says where everything is");
    assert_eq!(started["demo"], false);
    assert_eq!(started["data"], folder.display().to_string());

    let second = on(&folder).output().expect("the program runs");
    let told = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(70), "{told}");
    assert!(told.contains("belongs to another process"), "{told}");
    assert!(!fs::exists(folder.join("log.demo")).expect("it can be asked"));
}
