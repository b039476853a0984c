//! Where a setting stands and where its value came from: the two things every message about it has to say.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a value came from, from the weakest layer to the strongest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Compiled in.
    Default,
    /// Written in a file.
    File {
        /// Which one, as it was named.
        path: Arc<PathBuf>,
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
    },
    /// A familiar name such as `INFLUXDB_TOKEN` in the environment.
    Familiar(Arc<str>),
    /// `FOREWARN__SECTION__KEY` in the environment.
    Environment(Arc<str>),
    /// `--set section.key=value`.
    Flag(Arc<str>),
}

impl Origin {
    /// Orders the layers: a value of a higher rank replaces one of a lower rank.
    pub(crate) const fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Familiar(_) => 2,
            Self::Environment(_) => 3,
            Self::Flag(_) => 4,
        }
    }

    /// For sorting messages: files from top to bottom, then the rest.
    pub(crate) const fn position(&self) -> (usize, usize) {
        match self {
            Self::File { line, column, .. } => (*line, *column),
            _ => (0, 0),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Familiar(name) | Self::Environment(name) => {
                write!(f, "environment variable {name}")
            }
            Self::Flag(path) => write!(f, "--set {path}"),
        }
    }
}

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Into a table.
    Key(String),
    /// Into a list, counted from 0.
    Index(usize),
}

/// The path of a setting: `ingestion.max_body`, `rules[2].severity`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(pub Vec<Step>);

impl KeyPath {
    /// Reads `section.key.key`; an element of a list is `rules[2]`, or goes by its number or name: `rules.2`.
    #[must_use]
    pub fn parse(dotted: &str) -> Self {
        let mut steps = Vec::new();
        for part in dotted.split('.').map(str::trim) {
            let indexed = part.strip_suffix(']').and_then(|part| part.split_once('['));
            match indexed.and_then(|(key, index)| Some((key, index.parse().ok()?))) {
                Some((key, index)) => steps.extend([Step::Key(key.to_owned()), Step::Index(index)]),
                None => steps.push(Step::Key(part.to_owned())),
            }
        }
        Self(steps)
    }

    /// This path and one key more.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Key(key.to_owned()));
        path
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
