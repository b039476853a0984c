//! Every mistake at once, each with its place, its key and a remedy.

use expect_test::expect;

use crate::{Postgres, Receiver, Sandbox};

#[test]
fn all_mistakes_of_all_sections_are_told_at_once() {
    let sandbox = Sandbox::new();
    let file = r#"
[postgres]
connections = "many"
timeuot = "5s"
timeout = 5
buffer = "64 furlongs"
mode = "primry"
ratio = 1
tls = { verify = "yes", cert = 1 }

[influx]
url = "http://localhost:8086"

[[receivers]]
type = "console"
name = "here"
colour = true

[[receivers]]
type = "webhok"
name = "there"

[[receivers]]
type = "webhook"
name = "elsewhere"
url = "http://localhost/"
retries = "three"
tls = { verify = 3 }

[[receivers]]
type = "webhook"
"#;
    let environment = [
        ("FOREWARN__POSTGRES__ENABLED", "maybe"),
        ("FOREWARN__POSTGERS__URL", "x"),
    ];
    let mut settings = sandbox.load(file, &environment, &[("postgres.tls.key.more", "1")]);
    let postgres = settings.section::<Postgres>("postgres");
    assert_eq!(postgres.ratio, 1.0, "what is right is read");
    settings.section::<Vec<Receiver>>("receivers");
    expect![[r#"
        forewarn.toml:3:1: postgres.connections: invalid type: string "many", expected a whole number from 0 to 65535
        forewarn.toml:4:1: postgres.timeuot: there is no such setting, did you mean `timeout`?
        forewarn.toml:5:1: postgres.timeout: invalid type: integer `5`, expected a duration with a unit in quotes, such as "30s" or "1h30m"
        forewarn.toml:6:1: postgres.buffer: `64 furlongs` is not a size; write it with a unit, such as "512B", "64KiB" or "8MiB"
        forewarn.toml:7:1: postgres.mode: `primry` is not a choice, did you mean `primary`?
        forewarn.toml:9:9: postgres.tls.verify: invalid type: string "yes", expected true or false
        forewarn.toml:9:25: postgres.tls.cert: there is no such setting, expected one of `verify`, `key`
        forewarn.toml:11:2: influx: there is no such section, did you mean `influxdb`?
        forewarn.toml:17:1: receivers[0].colour: there is no such setting, expected one of `name`
        forewarn.toml:20:1: receivers[1].type: `webhok` is not a choice, did you mean `webhook`?
        forewarn.toml:27:1: receivers[2].retries: invalid type: string "three", expected a whole number from 0 to 4294967295
        forewarn.toml:28:9: receivers[2].tls.verify: invalid type: integer `3`, expected true or false
        forewarn.toml:30:1: receivers[3].name: it is missing
        environment variable FOREWARN__POSTGERS__URL: postgers: there is no such section, did you mean `postgres`?
        environment variable FOREWARN__POSTGRES__ENABLED: postgres.enabled: invalid type: string "maybe", expected true or false
        --set postgres.tls.key.more: postgres.tls.key: invalid type: map, expected a string in quotes
        16 mistakes in the settings"#]].assert_eq(&sandbox.mistakes(&mut settings));
}

#[test]
fn all_mistakes_of_form_are_told_at_once_without_their_lines() {
    let sandbox = Sandbox::new();
    let file =
        "[postgres]\nurl = \nconnections = 1 2\npassword = \"hunter2\nx = 99999999999999999999\n";
    let errors = sandbox
        .try_load(file, &[], &[])
        .expect_err("not TOML")
        .to_string();
    assert!(!errors.contains("hunter2"), "{errors}");
    expect![[r#"
        forewarn.toml:2:7: string values must be quoted, expected literal string
        forewarn.toml:3:15: string values must be quoted, expected literal string
        forewarn.toml:4:20: invalid basic string, expected `"`
        forewarn.toml:5:1: postgres.x: 99999999999999999999 is beyond the numbers of 64 bits
        4 mistakes in the settings"#]]
    .assert_eq(&sandbox.without_folder(&errors));
}

#[test]
fn an_owner_can_refuse_what_only_it_can_see() {
    let sandbox = Sandbox::new();
    let mut settings = sandbox.load("[postgres]\nconnections = 0\n", &[], &[]);
    settings.checked("postgres", |postgres: &Postgres| {
        assert_eq!(postgres.connections, 0);
        [("connections", "at least one is needed".to_owned())]
    });
    settings.refuse("postgres.tls.key", "a key is needed");
    expect![[r#"
        forewarn.toml:1:2: postgres.tls.key: a key is needed
        forewarn.toml:2:1: postgres.connections: at least one is needed
        2 mistakes in the settings"#]]
    .assert_eq(&sandbox.mistakes(&mut settings));
}

#[test]
fn a_missing_key_does_not_hide_the_other_mistakes() {
    let sandbox = Sandbox::new();
    let file = "[[receivers]]\ntype = 'webhook'\nname = 'a'\nretries = -1\n[[receivers]]\ntype = 'console'\nnam = 'b'\n";
    let mut settings = sandbox.load(file, &[], &[]);
    assert_eq!(settings.section::<Vec<Receiver>>("receivers"), []);
    expect![[r#"
        forewarn.toml:1:1: receivers[0].url: it is missing
        forewarn.toml:4:1: receivers[0].retries: invalid value: integer `-1`, expected a whole number from 0 to 4294967295
        forewarn.toml:5:1: receivers[1].name: it is missing
        forewarn.toml:7:1: receivers[1].nam: there is no such setting, did you mean `name`?
        4 mistakes in the settings"#]]
    .assert_eq(&sandbox.mistakes(&mut settings));
}

#[test]
fn an_element_that_is_not_there_cannot_be_set() {
    let sandbox = Sandbox::new();
    let file = "[[receivers]]\nname = 'a'\ntype = 'console'\n";
    let mut settings = sandbox.load(
        file,
        &[("FOREWARN__RECEIVERS__B__NAME", "b")],
        &[("receivers[1].name", "b")],
    );
    expect![[r#"
        environment variable FOREWARN__RECEIVERS__B__NAME: receivers.b.name: there is no element number or name `b` in the list
        --set receivers[1].name: receivers[1].name: there is no element number or name `1` in the list
        2 mistakes in the settings"#]].assert_eq(&sandbox.mistakes(&mut settings));
}
