//! Settings as people meet them: layers, mistakes, secrets.

mod absence;
mod layers;
mod mistakes;
mod secrets;
mod shipped;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use forewarn_config::{Environment, Secret, Settings};
use serde::{Deserialize, Serialize};

/// What a service's section looks like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Postgres {
    url: String,
    connections: u16,
    ratio: f64,
    enabled: bool,
    #[serde(with = "forewarn_config::duration")]
    timeout: Duration,
    #[serde(with = "forewarn_config::size")]
    buffer: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<Secret>,
    servers: Vec<String>,
    labels: BTreeMap<String, String>,
    tls: Tls,
    mode: Mode,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            url: "postgres://localhost".into(),
            connections: 4,
            ratio: 0.5,
            enabled: true,
            timeout: Duration::from_secs(5),
            buffer: 65_536,
            password: None,
            servers: vec!["a".into()],
            labels: BTreeMap::new(),
            tls: Tls::default(),
            mode: Mode::Primary,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tls {
    verify: bool,
    key: Secret,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Primary,
    Replica,
}

/// A tagged list, as rules and receivers are.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Receiver {
    Console(Console),
    Webhook(Webhook),
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Console {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    name: String,
    url: Secret,
    #[serde(default)]
    retries: u32,
    #[serde(default)]
    tls: Tls,
}

/// A settings file in a folder of its own.
struct Sandbox(tempfile::TempDir);

impl Sandbox {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("a file in the temporary folder");
        path
    }

    fn load(&self, toml: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Settings {
        self.try_load(toml, environment, flags)
            .expect("a file that can be read")
    }

    fn try_load(
        &self,
        toml: &str,
        environment: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Settings, forewarn_config::ConfigErrors> {
        let path = self.file("forewarn.toml", toml);
        let environment = Environment::from_iter(environment.iter().copied());
        let flags: Vec<_> = flags
            .iter()
            .map(|(path, value)| ((*path).to_owned(), (*value).to_owned()))
            .collect();
        Settings::load(Some(&path), &environment, &flags)
    }

    /// The messages of a run, with the folder's name taken out.
    fn mistakes(&self, settings: &mut Settings) -> String {
        let errors = settings.finish().expect_err("mistakes");
        self.without_folder(&errors.to_string())
    }

    fn without_folder(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}
