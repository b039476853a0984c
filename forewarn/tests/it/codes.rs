//! Every exit code, provoked.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Cli, Told, json, nobody, problem, told};

fn health(status: &str, stale: Option<&str>) -> Told {
    json(
        200,
        &json!({
            "status": status, "now": "2026-11-21T12:00:00+00:00", "stale": stale, "resources": {"healthy": 2},
            "active_alerts": {"high": 1}, "open_predictions": 0, "next_failure": null, "newest_step_at": null,
            "alerter_at": null, "lines": [], "lines_left_out": 0
        }),
    )
}

#[test]
fn zero_is_yes_and_one_is_no() {
    let server = told(|asked| match asked {
        asked if asked.starts_with("GET /stale/") => {
            health("stale", Some("No alerter has worked."))
        }
        asked if asked.starts_with("GET /ok/") => health("ok", None),
        asked if asked.starts_with("GET /attention/") => health("attention", None),
        "GET /ready" => json(200, &json!({"ready": true})),
        "GET /not" => json(
            503,
            &json!({"ready": false, "lacking": [{"condition": "kafka", "reason": "away"}]}),
        ),
        _ => problem(
            503,
            "ledger-away",
            "PostgreSQL does not answer",
            "ask again in a moment",
        ),
    });
    let cli = |path: &str| Cli::asking(&format!("{}{path}", server.url()));
    for path in ["/ok", "/attention"] {
        let said = cli(path).run(&["health"]);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    let quiet = cli("/ok").run(&["health", "--quiet"]);
    assert_eq!(
        (quiet.code, quiet.out.as_str(), quiet.err.as_str()),
        (Some(0), "", "")
    );
    assert_eq!(
        cli("/attention")
            .run(&["health", "--fail-on-attention"])
            .code,
        Some(1)
    );
    cli("/stale")
        .run(&["health"])
        .is(1, "No alerter has worked.");
    let away = cli("/away").run(&["health", "-q"]);
    away.is(
        1,
        "error: PostgreSQL does not answer\n help: ask again in a moment",
    );
    // A page of any service.
    let page =
        |path: &str| Cli::new().run(&["health", "--url", &format!("{}{path}", server.url())]);
    page("/ready").is(0, r#"{"ready":true}"#);
    page("/not").is(1, "kafka");
    // Settings with mistakes.
    let cli = Cli::new();
    fs::write(cli.home().join("forewarn.toml"), "[api]\nlissten = 1\n").expect("written");
    cli.run(&["config", "check"])
        .is(1, "did you mean `listen`?");
}

#[test]
fn two_is_a_mistake_of_whoever_asks() {
    let cli = Cli::asking(&nobody());
    cli.run(&["helth"]).is(2, "'health'");
    cli.run(&["alerts", "list", "--severity", "hgh"])
        .is(2, "did you mean `high`?");
    cli.run(&["alerts", "ack", "web-01"])
        .is(2, "`web-01` is no id of an alert");
    cli.run(&["alerts", "list", "--since", "yesterday"])
        .is(2, "a span before now");
    cli.run(&["query", "web-01"]).is(2, "which metric");
    cli.run(&["predict", "web-01", "cpu_usage", "--limit", "NaN"])
        .is(2, "in digits");
    cli.run(&["health", "--server", "localhost"])
        .is(2, "with its scheme");
    cli.run(&["health", "--json", "--plain"])
        .is(2, "cannot be used with");
    cli.run(&["--set", "api.listen=x", "health"])
        .is(2, "leave them out");
    cli.run(&["sql", "SELECT 1", "--set", "postgres.url=x"])
        .is(2, "postgres://");
    let server = told(|_| {
        problem(
            400,
            "parameters",
            "`state`: `opn` is not one of its words",
            "did you mean `open`?",
        )
    });
    Cli::asking(&server.url())
        .run(&["alerts", "list", "--state", "opn"])
        .is(2, "help: did you mean `open`?");
}

#[test]
fn three_is_a_refusal() {
    let cli = Cli::new();
    let open = ["config", "check", "--set", "api.listen=0.0.0.0:3000"];
    cli.run(&open).is(0, "warning: api.listen is 0.0.0.0:3000");
    cli.run(&[&open[..], &["--deny-warnings"]].concat())
        .is(3, "under --deny-warnings");
    cli.run(&["config", "init", "nowhere/forewarn.toml"])
        .is(3, "cannot be written");
    let server = told(|_| {
        problem(
            421,
            "host",
            "the name in the request is none of this machine's",
            "ask under localhost",
        )
    });
    Cli::asking(&server.url())
        .run(&["health"])
        .is(3, "ask under localhost");
}

#[test]
fn four_is_nobody_who_answers() {
    let cli = Cli::asking(&nobody());
    for command in [
        &["health"][..],
        &["alerts", "list"],
        &["models", "list"],
        &["explain", "web-01"],
        &["monitor"],
        &["query", "web-01", "cpu_usage"],
        &["predict", "web-01", "cpu_usage"],
        &["export", "alerts"],
    ] {
        let said = cli.run(command);
        said.is(4, "help: start it with `forewarn`, or name another address with --server or FOREWARN_SERVER");
        assert_eq!(said.err.lines().count(), 2, "{said:?}");
    }
    fs::write(cli.home().join("a.csv"), "time,metric,value\n1,a,2\n").expect("written");
    let import = ["import", "csv", "a.csv", "--resource", "x"];
    cli.run(&[&import[..], &["--ingestion", &nobody()]].concat())
        .is(4, "--ingestion or FOREWARN_INGESTION");
    cli.run(&["train", "web-01", "--trainer", &nobody()])
        .is(4, "--trainer or FOREWARN_TRAINER");
    cli.run(&[
        "sql",
        "SELECT 1",
        "--set",
        "postgres.url=postgres://x@127.0.0.1:9/x",
    ])
    .is(4, "PostgreSQL cannot be reached");
    // Somebody listens and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", mute.local_addr().expect("an address"));
    let train = ["train", "--wait", "--timeout", "200ms", "--trainer"];
    cli.run(&[&train[..], &[address.as_str()]].concat())
        .is(4, "does not answer in time");
    // Somebody answers who is not Forewarn, or cannot answer.
    let server = told(|asked| match asked {
        asked if asked.contains("alerts") => (404, "text/html", "<h1>not here</h1>".to_owned()),
        asked if asked.contains("models") => (200, "text/html", "<h1>hello</h1>".to_owned()),
        _ => problem(
            503,
            "metrics-away",
            "InfluxDB does not answer",
            "ask again in a moment",
        ),
    });
    let cli = Cli::asking(&server.url());
    cli.run(&["alerts", "list"]).is(4, "not as Forewarn does");
    cli.run(&["models", "list"]).is(4, "is not understood");
    cli.run(&["query", "web-01", "cpu_usage"])
        .is(4, "InfluxDB does not answer");
}

#[test]
fn five_is_a_server_that_asks_who_you_are() {
    let server = told(|_| (401, "text/plain", "who are you?".to_owned()));
    // What may be secret in an address is not repeated.
    let address = server.url().replace("http://", "http://me:secret@");
    let said = Cli::asking(&address).run(&["health"]);
    said.is(5, "FOREWARN_TOKEN");
    assert!(!said.err.contains("secret"), "{said:?}");
}

#[test]
fn six_is_something_that_is_not_there() {
    let server = told(|asked| match asked {
        asked if asked.contains("/resources?resource=") => {
            json(200, &json!({"items": [], "next": null}))
        }
        asked if asked.contains("/resources?") => json(
            200,
            &json!({"items": [{"resource": "web-01"}, {"resource": "db-01"}], "next": null}),
        ),
        asked if asked.contains("/predictions/") => {
            problem(404, "not-found", "there is no prediction", "see /api/v1")
        }
        asked if asked.contains("/series?") => {
            problem(404, "not-found", "nothing is known", "see /api/v1")
        }
        asked if asked.starts_with("POST /train") => problem(
            404,
            "unknown-resource",
            "no resource called web-1 has been judged",
            "SELECT resource FROM resources",
        ),
        _ => json(200, &json!({"items": [], "next": null})),
    });
    let cli = Cli::asking(&server.url()).with("FOREWARN_TRAINER", &server.url());
    for command in [
        &["alerts", "list", "--resource", "web-1"][..],
        &["models", "list", "--resource", "web-1"],
        &["explain", "web-1"],
        &["query", "web-1", "cpu_usage"],
        &["predict", "web-1", "cpu_usage"],
        &["export", "alerts", "--resource", "web-1"],
        &["train", "web-1"],
    ] {
        cli.run(command).is(6, "did you mean `web-01`?");
    }
    cli.run(&["alerts", "ack", "00000000"])
        .is(6, "`forewarn alerts list --all` shows");
    let id = "00000000-0000-8000-8000-000000000001";
    let unknown = told(|_| problem(404, "not-found", "there is no alert", "see /api/v1"));
    Cli::asking(&unknown.url())
        .run(&["alerts", "resolve", id])
        .is(6, "`forewarn alerts list --all` shows");
    cli.run(&["explain", id]).is(6, "there is no prediction");
    cli.run(&["topics", "tail", "sytem_metrics"])
        .is(6, "did you mean `system_metrics`?");
    cli.run(&["topics", "list"]).is(6, "there is no log in");
    cli.run(&["config", "check", "none.toml"])
        .is(6, "there is no file");
    cli.run(&["config", "show", "allerter"])
        .is(6, "did you mean `alerter`?");
}

#[test]
fn seven_is_a_conflict() {
    let cli = Cli::new();
    cli.run(&["config", "init"]).is(0, "forewarn.toml");
    cli.run(&["config", "init"]).is(7, "is there already");
    let server = told(|_| problem(409, "conflict", "it is acknowledged already", ""));
    let said = Cli::asking(&server.url()).run(&["alerts", "list"]);
    said.is(7, "it is acknowledged already");
    assert_eq!(said.err, "error: it is acknowledged already\n");
    let server = told(|asked| match asked {
        asked if asked.starts_with("POST /api/v1/alerts/") => {
            problem(409, "alert-over", "the alert is resolved", "")
        }
        asked => panic!("{asked}"),
    });
    let id = "00000000-0000-8000-8000-000000000001";
    Cli::asking(&server.url())
        .run(&["alerts", "ack", id])
        .is(7, "the alert is resolved");
}

#[test]
fn ctrl_c_ends_a_loop_cleanly() {
    let server = told(|asked| match asked {
        asked if asked.contains("/health") => health("ok", None),
        _ => json(200, &json!({"items": [], "next": null})),
    });
    let mut child = Cli::asking(&server.url())
        .command(&["monitor", "--every", "50ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut first = [0; 20];
    let mut out = child.stdout.take().expect("piped");
    out.read_exact(&mut first).expect("a line comes");
    assert_eq!(&first, b"2026-11-21 12:00:00Z");
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.expect("kill").success());
    // The pipe has to be emptied, or the loop would wait for it.
    let rest = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    let deadline = Instant::now() + Duration::from_secs(30);
    let status = loop {
        match child.try_wait().expect("a child") {
            Some(status) => break status,
            None => assert!(Instant::now() < deadline, "it does not end"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(130));
    let mut err = String::new();
    child
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut err)
        .expect("text");
    assert_eq!(err, "");
    let _ = rest.join();
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let cli = Cli::new();
    let mut child = cli
        .command(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
