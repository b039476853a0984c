//! What a person sees who makes a mistake before the service starts.

use expect_test::expect;

use crate::run;

#[test]
fn all_mistakes_are_told_on_a_bare_terminal() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("forewarn.toml");
    std::fs::write(
        &file,
        "[service]\nlog_level = 'inof'\nport = 80000\n[alerter]\nbehavior = 'work'\n",
    )
    .expect("written");
    let file = file.display().to_string();
    let environment = [("FOREWARN__SERVICE__STALLED_AFTER", "1s")];
    let (code, said) = run(
        &["--config", &file, "--set", "alerter.drain=soon"],
        &environment,
    );
    assert_eq!(code, Some(2));
    expect![[r#"
        forewarn.toml:2:1: service.log_level: `inof` does not say what to log (`inof` is not a level); write a level, such as "info" or "info,forewarn_bus=debug"
        forewarn.toml:3:1: service.port: invalid value: integer `80000`, expected a whole number from 0 to 65535
        forewarn.toml:5:1: alerter.behavior: there is no such setting, did you mean `behaviour`?
        environment variable FOREWARN__SERVICE__STALLED_AFTER: service.stalled_after: it must be at least service.late_after (10s)
        --set alerter.drain: alerter.drain: `soon` is not a duration; write it with units, such as "500ms", "30s", "1h30m" or "7d"
        5 mistakes in the settings
    "#]].assert_eq(&said.replace(&format!("{}/", folder.path().display()), ""));
}

#[test]
fn check_only_checks() {
    assert_eq!(
        run(&["--check"], &[]),
        (
            Some(0),
            "the settings are valid (no file, defaults only)\n".into()
        )
    );
    assert_eq!(
        run(&["--check", "--set", "service.drain=0s"], &[]).0,
        Some(2)
    );
}

#[test]
fn arguments_that_are_not_understood_end_with_2() {
    assert_eq!(run(&["--confg", "x"], &[]).0, Some(2));
    assert_eq!(run(&["--set", "nothing"], &[]).0, Some(2));
}

#[test]
fn an_address_that_is_taken_names_the_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let (code, said) = run(&["--set", &format!("service.port={port}")], &[]);
    assert_eq!(code, Some(70));
    assert!(
        said.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{said}"
    );
    assert!(
        said.contains("choose another with `service.port`"),
        "{said}"
    );
}

#[test]
fn a_replica_is_named_by_setting_or_by_host_and_port() {
    let (_, said) = run(
        &[
            "--set",
            "alerter.behaviour=finish",
            "--set",
            "service.instance=left",
        ],
        &[],
    );
    assert!(said.contains(r#""instance":"left""#), "{said}");
    let (_, said) = run(&["--set", "alerter.behaviour=finish"], &[]);
    assert!(said.contains(r#"-0","#), "host and port: {said}");
    assert_eq!(
        run(&["--check", "--set", "service.instance=a b"], &[]).0,
        Some(2)
    );
}
