//! Which layer wins, and how text from the environment becomes what a field wants.

use std::path::Path;
use std::time::Duration;

use forewarn_config::{Environment, Origin, Settings};

use crate::{Mode, Postgres, Receiver, Sandbox};

#[test]
fn without_a_file_everything_has_its_default() {
    let mut settings =
        Settings::load(None, &Environment::default(), &[]).expect("nothing to go wrong");
    assert_eq!(
        settings.section::<Postgres>("postgres"),
        Postgres::default()
    );
    assert_eq!(settings.finish(), Ok(()));
    assert_eq!(settings.origin("postgres.url"), Origin::Default);
}

#[test]
fn default_file_familiar_name_environment_and_flag_replace_each_other() {
    let sandbox = Sandbox::new();
    let file = "[postgres]\nurl = 'file'\nconnections = 7\n";
    let url = |environment: &[(&str, &str)], flags: &[(&str, &str)]| {
        let mut settings = sandbox.load(file, environment, flags);
        let postgres = settings.section::<Postgres>("postgres");
        settings.finish().expect("no mistakes");
        assert_eq!(postgres.connections, 7, "what is not overridden stays");
        (postgres.url, settings.origin("postgres.url"))
    };
    let familiar = ("DATABASE_URL", "familiar");
    let ours = ("FOREWARN__POSTGRES__URL", "ours");
    let flag = ("postgres.url", "flag");

    let (value, origin) = url(&[], &[]);
    assert_eq!(value, "file");
    assert!(
        matches!(
            origin,
            Origin::File {
                line: 2,
                column: 1,
                ..
            }
        ),
        "{origin}"
    );
    assert_eq!(
        url(&[familiar], &[]),
        ("familiar".into(), Origin::Familiar("DATABASE_URL".into()))
    );
    let ours_wins = (
        "ours".into(),
        Origin::Environment("FOREWARN__POSTGRES__URL".into()),
    );
    assert_eq!(url(&[familiar, ours], &[]), ours_wins);
    assert_eq!(
        url(&[familiar, ours], &[flag]),
        ("flag".into(), Origin::Flag("postgres.url".into()))
    );
}

#[test]
fn an_empty_variable_counts_as_absent() {
    let sandbox = Sandbox::new();
    let mut settings = sandbox.load(
        "",
        &[
            ("DATABASE_URL", ""),
            ("FOREWARN__POSTGRES__CONNECTIONS", ""),
        ],
        &[],
    );
    assert_eq!(
        settings.section::<Postgres>("postgres"),
        Postgres::default()
    );
    settings.finish().expect("no mistakes");
}

#[test]
fn text_becomes_what_the_field_wants() {
    let sandbox = Sandbox::new();
    let environment = [
        ("FOREWARN__POSTGRES__URL", "4711"),
        ("FOREWARN__POSTGRES__CONNECTIONS", "12"),
        ("FOREWARN__POSTGRES__RATIO", "1"),
        ("FOREWARN__POSTGRES__ENABLED", "false"),
        ("FOREWARN__POSTGRES__TIMEOUT", "1h30m"),
        ("FOREWARN__POSTGRES__BUFFER", "1MiB"),
        ("FOREWARN__POSTGRES__PASSWORD", "12345"),
        ("FOREWARN__POSTGRES__SERVERS", "one:9092, two:9092"),
        ("FOREWARN__POSTGRES__LABELS", "{ team = 'a' }"),
        ("FOREWARN__POSTGRES__TLS__VERIFY", "true"),
        ("FOREWARN__POSTGRES__MODE", "replica"),
    ];
    let mut settings = sandbox.load("", &environment, &[]);
    let postgres = settings.section::<Postgres>("postgres");
    settings.finish().expect("no mistakes");
    assert_eq!(postgres.url, "4711");
    assert_eq!(postgres.connections, 12);
    assert_eq!(postgres.ratio, 1.0);
    assert!(!postgres.enabled);
    assert_eq!(postgres.timeout, Duration::from_secs(5400));
    assert_eq!(postgres.buffer, 1 << 20);
    assert_eq!(postgres.password.expect("set").reveal(), "12345");
    assert_eq!(postgres.servers, ["one:9092", "two:9092"]);
    assert_eq!(postgres.labels.get("team").map(String::as_str), Some("a"));
    assert!(postgres.tls.verify);
    assert_eq!(postgres.mode, Mode::Replica);
}

#[test]
fn a_list_may_be_written_as_in_toml_too() {
    let sandbox = Sandbox::new();
    let mut settings = sandbox.load("", &[], &[("postgres.servers", r#"["x", "y,z"]"#)]);
    assert_eq!(
        settings.section::<Postgres>("postgres").servers,
        ["x", "y,z"]
    );
    settings.finish().expect("no mistakes");
}

#[test]
fn an_element_of_a_list_is_found_by_its_number_or_name() {
    let sandbox = Sandbox::new();
    let file = "[[receivers]]\nname = 'a'\ntype = 'console'\n[[receivers]]\nname = 'hook'\ntype = 'webhook'\nurl = 'u'\n";
    // Digits only: as a tagged enum it is first taken for a number, and then for the string that is wanted.
    let environment = [
        ("FOREWARN__RECEIVERS__1__RETRIES", "3"),
        ("FOREWARN__RECEIVERS__HOOK__URL", "4711"),
    ];
    let mut settings = sandbox.load(file, &environment, &[]);
    let receivers = settings.section::<Vec<Receiver>>("receivers");
    settings.finish().expect("no mistakes");
    let Receiver::Webhook(hook) = &receivers[1] else {
        panic!("{receivers:?}")
    };
    assert_eq!((hook.retries, hook.url.reveal()), (3, "4711"));
}

#[test]
fn a_familiar_name_fills_in_a_receiver_if_there_is_one() {
    let sandbox = Sandbox::new();
    let environment = [("SLACK_WEBHOOK_URL", "https://hooks")];
    let mut settings = sandbox.load("", &environment, &[]);
    settings
        .finish()
        .expect("the name may be there for another program");
    let file = "[[receivers]]\nname = 'slack'\ntype = 'webhook'\n";
    let mut settings = sandbox.load(file, &environment, &[]);
    let receivers = settings.section::<Vec<Receiver>>("receivers");
    settings.finish().expect("no mistakes");
    let [Receiver::Webhook(slack)] = receivers.as_slice() else {
        panic!("{receivers:?}")
    };
    assert_eq!(slack.url.reveal(), "https://hooks");
}

#[test]
fn a_file_is_named_by_a_variable_or_found_at_home() {
    let sandbox = Sandbox::new();
    let named = sandbox.file("named.toml", "[postgres]\nconnections = 5\n");
    let environment = Environment::from_iter([("FOREWARN_CONFIG", named.display().to_string())]);
    let mut settings = Settings::load(None, &environment, &[]).expect("the file is there");
    assert_eq!(settings.section::<Postgres>("postgres").connections, 5);
    assert_eq!(settings.file(), Some(named.as_path()));

    std::fs::create_dir(sandbox.0.path().join("forewarn")).expect("a folder");
    let home = sandbox.file("forewarn/config.toml", "[postgres]\nconnections = 6\n");
    let environment =
        Environment::from_iter([("XDG_CONFIG_HOME", sandbox.0.path().display().to_string())]);
    let mut settings = Settings::load(None, &environment, &[]).expect("the file is there");
    assert_eq!(settings.section::<Postgres>("postgres").connections, 6);
    assert_eq!(settings.file(), Some(home.as_path()));
}

#[test]
fn a_named_file_has_to_be_there() {
    let error = Settings::load(
        Some(Path::new("nowhere.toml")),
        &Environment::default(),
        &[],
    )
    .expect_err("no file");
    assert!(
        error
            .to_string()
            .starts_with("cannot read the settings file nowhere.toml: "),
        "{error}"
    );
}
