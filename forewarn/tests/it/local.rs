//! Commands that need no server: settings, the doctor, scripts and pages.

use std::fs;
use std::time::Duration;

use forewarn_bus::Log as _;
use forewarn_bus::embedded::{Config as LogConfig, EmbeddedLog};
use forewarn_messages::{ALERT_EVENTS, Envelope, Headers};
use serde_json::{Value, json};

use crate::support::Cli;

#[test]
fn settings_are_written_checked_and_shown_with_their_origin() {
    let cli = Cli::new()
        .with("INFLUXDB_TOKEN", "very-secret")
        .with("FOREWARN__ALERTER__CYCLE", "x");
    cli.run(&["config", "init"]).is(0, "every setting");
    let said = cli.run(&["config", "check", "--json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let document: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(document["valid"], false);
    assert_eq!(document["mistakes"][0]["path"], "alerter.cycle");
    assert_eq!(
        document["mistakes"][0]["origin"],
        "environment variable FOREWARN__ALERTER__CYCLE"
    );

    let cli = Cli::new()
        .with("INFLUXDB_TOKEN", "very-secret")
        .with("SLACK_WEBHOOK_URL", "https://hooks.example/very-secret");
    let path = cli.home().join("my.toml");
    fs::write(
        &path,
        "[api]\nlisten = \"127.0.0.1:3001\"\n\n[[rules]]\ntype = \"silence\"\nname = \"quiet\"\n",
    )
    .expect("written");
    cli.run(&["config", "check", "my.toml"])
        .is(0, "valid, with 1 warning (my.toml)");
    let shown = cli.run(&[
        "config",
        "show",
        "--config",
        "my.toml",
        "--set",
        "trainer.every=2h",
    ]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(!shown.out.contains("very-secret"), "{shown:?}");
    let table: toml::Table = toml::from_str(&shown.out).expect("TOML");
    assert_eq!(table["api"]["listen"].as_str(), Some("127.0.0.1:3001"));
    assert_eq!(table["rules"].as_array().map(Vec::len), Some(1));

    let origins = cli.run(&[
        "--config",
        "my.toml",
        "config",
        "show",
        "--origin",
        "--set",
        "trainer.every=2h",
    ]);
    assert!(!origins.out.contains("very-secret"), "{origins:?}");
    let line = |path: &str| -> Vec<String> {
        let line = origins
            .out
            .lines()
            .find(|line| line.starts_with(&format!("{path}\t")));
        line.unwrap_or_else(|| panic!("{path}: {origins:?}"))
            .split('\t')
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        line("api.listen")[1..],
        ["\"127.0.0.1:3001\"", "my.toml:2:1"]
    );
    assert_eq!(
        line("trainer.every")[1..],
        ["\"2h\"", "--set trainer.every"]
    );
    assert_eq!(
        line("influxdb.token")[2],
        "environment variable INFLUXDB_TOKEN"
    );
    assert_eq!(line("rules[0].name")[2], "my.toml:6:1");
    assert_eq!(line("trainer.trees")[1..], ["100", "default"]);
    let section = cli.run(&["config", "show", "trainer", "--json"]).json();
    assert_eq!(section["trainer"]["trees"], json!(100));
    assert_eq!(section.as_object().map(serde_json::Map::len), Some(1));
}

#[test]
fn what_is_shown_is_read_back_as_the_same() {
    let cli = Cli::new();
    let shown = cli.run(&["config", "show", "alerter"]);
    fs::write(cli.home().join("again.toml"), &shown.out).expect("written");
    cli.run(&["config", "check", "again.toml"]).is(0, "valid");
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let cli = Cli::new();
    // Other programs of this machine may have the usual ports.
    let mut args = vec!["doctor", "--json"];
    let ports = [
        "service.port=39471",
        "api.listen=127.0.0.1:39472",
        "ingestion.listen=127.0.0.1:39473",
        "trainer.listen=127.0.0.1:39474",
        "influxdb.url=http://127.0.0.1:9",
    ];
    args.extend(ports.iter().flat_map(|port| ["--set", port]));
    let own = [
        "--set",
        "forewarn.postgres=server",
        "--set",
        "postgres.url=postgres://x:very-secret@127.0.0.1:9/x",
    ];
    args.extend(own);
    let said = cli.run(&args);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(!said.out.contains("very-secret"), "{said:?}");
    let document: Value = serde_json::from_str(&said.out).expect("JSON");
    let finding = |part: &str| {
        let findings = document["findings"].as_array().expect("a list");
        let found = findings.iter().find(|finding| finding["part"] == part);
        found
            .unwrap_or_else(|| panic!("{part}: {document}"))
            .clone()
    };
    assert_eq!(finding("settings")["state"], "ok");
    assert_eq!(finding("receivers")["state"], "warning");
    assert_eq!(finding("log")["state"], "ok");
    assert_eq!(finding("postgresql")["state"], "failed");
    assert!(
        finding("postgresql")["remedy"]
            .as_str()
            .is_some_and(|remedy| remedy.contains("DATABASE_URL"))
    );
    assert_eq!(finding("influxdb")["state"], "warning");
    assert_eq!(finding("services")["remedy"], "start them: forewarn");
    assert!(
        document["findings"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|finding| {
                finding["state"] == "ok"
                    || finding["remedy"]
                        .as_str()
                        .is_some_and(|remedy| !remedy.is_empty())
            })
    );

    fs::write(cli.home().join("forewarn.toml"), "[trainer]\ntrees = 1\n").expect("written");
    let said = cli.run(&args);
    assert!(
        said.out.contains("trainer.trees: must be 10 to 1000"),
        "{said:?}"
    );
}

#[test]
fn scripts_pages_and_the_version_are_made() {
    let cli = Cli::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = cli.run(&["completions", shell]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.out.contains("rollback"), "{shell}");
    }
    cli.run(&["completions", "bsh"]).is(2, "bash");
    cli.run(&["man", "pages/man1"]).is(0, "pages/man1");
    for page in [
        "forewarn.1",
        "forewarn-alerts-list.1",
        "forewarn-models-rollback.1",
    ] {
        let text = fs::read_to_string(cli.home().join("pages/man1").join(page)).expect(page);
        assert!(text.contains(".TH forewarn"), "{page}");
    }
    let version = cli.run(&["version", "--json"]).json();
    assert_eq!(
        version,
        json!({"name": "forewarn", "version": env!("CARGO_PKG_VERSION")})
    );
}

#[test]
fn the_log_of_a_process_is_read_when_that_process_does_not_run() {
    let cli = Cli::new();
    let config = LogConfig {
        path: cli.home().join("forewarn-data/log"),
        ..LogConfig::default()
    };
    let log = EmbeddedLog::open(&config).expect("a folder");
    let appender = log.appender().expect("a log");
    for (key, schema) in [("a", "transition"), ("", "tick"), ("b", "transition")] {
        let headers = Headers {
            schema: schema.to_owned(),
            version: 1,
            id: uuid::Uuid::from_u128(7),
            src: None,
            traceparent: None,
        };
        let envelope = Envelope {
            key: key.to_owned(),
            headers,
            body: br#"{"said":"\u001b[31m"}"#.to_vec(),
        };
        let receipt = appender.append(&ALERT_EVENTS, Some(0), None, envelope);
        drop(receipt.expect("there is room"));
    }
    appender
        .flush(Duration::from_secs(30))
        .expect("it is written");
    drop(appender);
    for command in [&["topics", "list"][..], &["topics", "tail", "alert_events"]] {
        cli.run(command).is(3, "is open in a process that runs");
    }
    drop(log);
    let topics = cli.run(&["topics", "list"]);
    assert!(
        topics.out.contains("alert_events\t1\t3\talert id\t"),
        "{topics:?}"
    );
    let tail = cli.run(&["topics", "tail", "alert_events"]);
    let keys: Vec<Value> = tail
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["key"].clone())
        .collect();
    assert_eq!(keys, ["a", "b"], "{tail:?}");
    assert!(!tail.out.contains('\x1b'), "{tail:?}");
    assert_eq!(
        cli.run(&["topics", "tail", "alert_events", "--ticks"])
            .out
            .lines()
            .count(),
        3
    );
    assert_eq!(
        cli.run(&["topics", "tail", "alert_events", "-n", "1"])
            .out
            .matches("\"key\":\"b\"")
            .count(),
        1
    );
    assert_eq!(
        cli.run(&["topics", "tail", "alert_events", "--key", "a"])
            .out
            .lines()
            .count(),
        1
    );
    cli.run(&["topics", "tail", "alert_events", "--key", "c"])
        .is(0, "no such record");
    cli.run(&["topics", "tail", "alert_events", "--follow"])
        .is(3, "forewarn monitor");
}
