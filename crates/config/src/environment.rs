//! The environment, read in one place: `FOREWARN__SECTION__KEY`, and the familiar names of the parts around us.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Names that people already have in their environment, and the setting each stands for. A name with `_FILE` behind it
/// is the path of a file with the value. `FOREWARN__SECTION__KEY` is stronger.
///
/// `SLACK_WEBHOOK_URL` is the address of the receiver named `slack`, if there is one.
pub const FAMILIAR_NAMES: &[(&str, &str)] = &[
    ("INFLUXDB_URL", "influxdb.url"),
    ("INFLUXDB_TOKEN", "influxdb.token"),
    ("INFLUXDB_ORG", "influxdb.org"),
    ("INFLUXDB_BUCKET", "influxdb.bucket"),
    ("POSTGRES_URL", "postgres.url"),
    ("DATABASE_URL", "postgres.url"),
    ("KAFKA_BOOTSTRAP_SERVERS", "log.servers"),
    ("SLACK_WEBHOOK_URL", "receivers.slack.url"),
];

/// What begins every name of ours.
const PREFIX: &str = "FOREWARN__";

/// A copy of the environment's variables. Tests build one by hand; [`Environment::of_process`] is the real one.
///
/// An empty variable counts as absent: `X: ${X:-}` in a compose file means "if it is there".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process. One whose value is not UTF-8 is left out, since no setting can hold it.
    #[must_use]
    pub fn of_process() -> Self {
        let readable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::from_iter(std::env::vars_os().filter_map(readable))
    }

    /// The value of a variable, unless it is empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Our own variables: name, path of the setting, value.
    pub(crate) fn overrides(&self) -> impl Iterator<Item = (&str, String, &str)> {
        self.0.iter().filter_map(|(name, value)| {
            let path = name.strip_prefix(PREFIX)?;
            Some((
                name.as_str(),
                path.to_ascii_lowercase().replace("__", "."),
                value.as_str(),
            ))
        })
    }

    /// The familiar variables that are set, the less specific first: name, path of the setting, value.
    pub(crate) fn familiar(&self) -> impl Iterator<Item = (String, String, &str)> {
        FAMILIAR_NAMES.iter().rev().flat_map(move |(name, path)| {
            [("", ""), ("_FILE", "_file")]
                .into_iter()
                .filter_map(move |(suffix, twin)| {
                    let name = format!("{name}{suffix}");
                    let value = self.get(&name)?;
                    Some((name, format!("{path}{twin}"), value))
                })
        })
    }

    /// Where a settings file is looked for when none is named.
    pub(crate) fn search_path(&self) -> Vec<PathBuf> {
        let mut places = vec![PathBuf::from("forewarn.toml")];
        let home = self.get("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(self.get("HOME")?).join(".config")));
        places.extend(home.map(|home| home.join("forewarn/config.toml")));
        places.push(PathBuf::from("/etc/forewarn/forewarn.toml"));
        places
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        Self(variables.filter(|(_, value)| !value.is_empty()).collect())
    }
}
