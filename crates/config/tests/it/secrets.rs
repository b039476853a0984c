//! Secrets come from files too, and show up nowhere.

use crate::{Postgres, Receiver, Sandbox};

const CANARY: &str = "c4nary";

#[test]
fn every_secret_has_a_twin_that_names_a_file() {
    let sandbox = Sandbox::new();
    let secret = sandbox.file("secret", "s3cret\r\n\n");
    let path = secret.display().to_string();
    let toml = format!(
        "[postgres]\npassword_file = '{path}'\n[[receivers]]\ntype = 'webhook'\nname = 'a'\nurl_file = '{path}'\n"
    );
    let mut settings = sandbox.load(&toml, &[("FOREWARN__POSTGRES__TLS__KEY_FILE", &path)], &[]);
    let postgres = settings.section::<Postgres>("postgres");
    let receivers = settings.section::<Vec<Receiver>>("receivers");
    settings.finish().expect("no mistakes");
    assert_eq!(postgres.password.expect("set").reveal(), "s3cret");
    assert_eq!(postgres.tls.key.reveal(), "s3cret");
    let [Receiver::Webhook(hook)] = receivers.as_slice() else {
        panic!("{receivers:?}")
    };
    assert_eq!(hook.url.reveal(), "s3cret");
}

#[test]
fn a_familiar_name_has_the_twin_as_well() {
    let sandbox = Sandbox::new();
    let path = sandbox
        .file("url", "postgres://from-file\n")
        .display()
        .to_string();
    let mut settings = sandbox.load(
        "[postgres]\nurl = 'weaker'\n",
        &[("DATABASE_URL_FILE", &path)],
        &[],
    );
    assert_eq!(
        settings.section::<Postgres>("postgres").url,
        "postgres://from-file"
    );
    settings.finish().expect("no mistakes");
}

#[test]
fn of_value_and_twin_the_stronger_layer_wins_and_a_tie_is_a_mistake() {
    let sandbox = Sandbox::new();
    let path = sandbox.file("secret", "from-file").display().to_string();
    let password = |toml: &str, environment: &[(&str, &str)]| {
        let mut settings = sandbox.load(toml, environment, &[]);
        let postgres = settings.section::<Postgres>("postgres");
        settings
            .finish()
            .map(|()| postgres.password.map(|secret| secret.reveal().to_owned()))
    };
    let inline = "[postgres]\npassword = 'inline'\n";
    let twin = format!("[postgres]\npassword_file = '{path}'\n");
    let from_file = Ok(Some("from-file".to_owned()));
    assert_eq!(
        password(inline, &[("FOREWARN__POSTGRES__PASSWORD_FILE", &path)]),
        from_file
    );
    assert_eq!(
        password(&twin, &[("FOREWARN__POSTGRES__PASSWORD", "env")]),
        Ok(Some("env".to_owned()))
    );
    let error = password(&format!("{inline}password_file = '{path}'\n"), &[]).expect_err("both");
    assert!(
        error
            .to_string()
            .contains("both `password` and `password_file` are given"),
        "{error}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let sandbox = Sandbox::new();
    let toml = "[postgres]\npassword_file = 'nowhere/at/all'\n[[receivers]]\ntype = 'webhook'\nname = 'a'\nurl_file = 7\n";
    let mut settings = sandbox.load(toml, &[], &[]);
    settings.section::<Postgres>("postgres");
    settings.section::<Vec<Receiver>>("receivers");
    let errors = sandbox.mistakes(&mut settings);
    assert!(
        errors.contains("postgres.password: cannot read nowhere/at/all: "),
        "{errors}"
    );
    assert!(
        errors.contains("receivers[0].url_file: expected the path of a file that holds `url`"),
        "{errors}"
    );
}

#[test]
fn no_message_repeats_a_secret() {
    let sandbox = Sandbox::new();
    let path = sandbox.file("secret", CANARY).display().to_string();
    let many = sandbox.file("bytes", "x").display().to_string();
    let toml = format!(
        "[postgres]\npassword = ['{CANARY}']\nconnections_file = '{path}'\nmode_file = '{path}'\nservers_file = '{many}'\n\
         [[receivers]]\ntype = 'webhook'\nname = 'a'\nurl = {{ x = '{CANARY}' }}\n\
         [[receivers]]\ntype = 'webhook'\nname = 'b'\nurl = 'u'\nretries_file = '{path}'\n"
    );
    let environment = [
        ("FOREWARN__POSTGRES__TLS__KEY", CANARY),
        ("FOREWARN__POSTGRES__PASSWORD__X", CANARY),
    ];
    let mut settings = sandbox.load(&toml, &environment, &[]);
    let postgres = settings.section::<Postgres>("postgres");
    settings.section::<Vec<Receiver>>("receivers");
    let errors = sandbox.mistakes(&mut settings);
    assert!(!errors.contains(CANARY), "{errors}");
    for key in [
        "postgres.password",
        "postgres.connections",
        "postgres.mode",
        "receivers[0].url",
        "receivers[1].retries",
    ] {
        assert!(errors.contains(key), "{key} is missing in: {errors}");
    }
    assert_eq!(postgres.tls.key.reveal(), CANARY);
    assert!(!format!("{postgres:?}").contains(CANARY));
    assert!(
        !toml::to_string(&postgres)
            .expect("it can be written")
            .contains(CANARY)
    );
}
