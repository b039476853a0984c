//! The settings of all sections, handed out as typed structs; mistakes are collected until [`Settings::finish`].

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::blame::culprit;
use crate::errors::{in_plain_words, suggestion};
use crate::layers::assemble;
use crate::read::{Mistake, Reader, Wrong};
use crate::tree::{Node, Value};
use crate::{ConfigError, ConfigErrors, Environment, KeyPath, Origin};

/// Every section there is. All services share one file, so a service passes over the sections that it does not read,
/// but a section that nobody reads is a mistake.
pub const SECTIONS: &[&str] = &[
    "log",
    "checkpoints",
    "influxdb",
    "postgres",
    "service",
    "ingestion",
    "stream_processor",
    "predictor",
    "alerter",
    "api",
    "rules",
    "receivers",
    "feature_sets",
    "models",
    "trainer",
    "forewarn",
    "embedded",
    "metric_store",
    "simulator",
    "demo",
];

/// After so many mistakes in one section the rest is left for the next run.
const MISTAKES_MAX: usize = 100;

/// All settings, in layers.
#[derive(Clone, Debug)]
pub struct Settings {
    root: Node,
    file: Option<PathBuf>,
    errors: Vec<ConfigError>,
}

impl Settings {
    /// Finds the values: compiled in < file (`path`, else `FOREWARN_CONFIG`, else the first of `./forewarn.toml`,
    /// `~/.config/forewarn/config.toml`, `/etc/forewarn/forewarn.toml`) < familiar names < `FOREWARN__SECTION__KEY`
    /// < `flags` (dotted path and value).
    ///
    /// # Errors
    /// When the file cannot be read or is not TOML; everything else waits for [`Settings::finish`].
    pub fn load(
        path: Option<&Path>,
        environment: &Environment,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigErrors> {
        let (root, file, errors) = assemble(path, environment, flags);
        // What follows from a broken file would only hide what is broken.
        if errors.iter().any(|error| error.path.0.is_empty()) {
            return Err(ConfigErrors::new(errors));
        }
        let mut settings = Self { root, file, errors };
        settings.check_sections();
        Ok(settings)
    }

    /// The file that was read, if any.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Reads a section into its owner's struct (`[[rules]]` into a `Vec`). What is not set keeps its `Default`.
    /// Mistakes are remembered, their settings take the default, and reading goes on, so that all are found.
    pub fn section<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        let Some(mut node) = self.take(name) else {
            return T::default();
        };
        let path = KeyPath::parse(name);
        let mut value = None;
        for _ in 0..MISTAKES_MAX {
            match T::deserialize(Reader(&node)) {
                Ok(read) => {
                    value = Some(read);
                    break;
                }
                Err(mistake) => {
                    if !self.settle::<T>(&mut node, &path, mistake) {
                        break;
                    }
                }
            }
        }
        self.put_back(name, node);
        value.unwrap_or_default()
    }

    /// Reads a section as [`Settings::section`] does, and adds what its owner finds wrong with the values: each mistake
    /// as the key within the section and what is wrong.
    pub fn checked<T, M>(&mut self, name: &str, mistakes: impl FnOnce(&T) -> M) -> T
    where
        T: DeserializeOwned + Default,
        M: IntoIterator<Item = (&'static str, String)>,
    {
        let config: T = self.section(name);
        for (key, problem) in mistakes(&config) {
            self.refuse(&format!("{name}.{key}"), problem);
        }
        config
    }

    /// Makes something of a section, and adds what its maker finds wrong: each mistake as its path and what is wrong.
    /// `T`'s default stands in, so that the mistakes of other sections are found too.
    pub fn made<C, T, M>(&mut self, name: &str, make: impl FnOnce(C) -> Result<T, Vec<M>>) -> T
    where
        C: DeserializeOwned + Default,
        T: Default,
        M: Into<(String, String)>,
    {
        make(self.section(name)).unwrap_or_else(|mistakes| {
            for (path, problem) in mistakes.into_iter().map(Into::into) {
                self.refuse(&path, problem);
            }
            T::default()
        })
    }

    /// Adds a mistake that only the owner can see, such as two settings that do not go together.
    pub fn refuse(&mut self, path: &str, problem: impl Into<String>) {
        let path = KeyPath::parse(path);
        let origin = self.find(&path);
        self.errors.push(ConfigError {
            origin,
            path,
            problem: problem.into(),
        });
    }

    /// Where a setting's value comes from.
    #[must_use]
    pub fn origin(&self, path: &str) -> Origin {
        self.root
            .get(&KeyPath::parse(path).0)
            .map_or(Origin::Default, |node| node.origin.clone())
    }

    /// Ends reading.
    ///
    /// # Errors
    /// Every mistake of every section that was read, and every section that does not exist.
    pub fn finish(&mut self) -> Result<(), ConfigErrors> {
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(ConfigErrors::new(std::mem::take(&mut self.errors)))
    }

    /// The origin of the nearest thing there is: a missing key is reported at its table.
    fn find(&self, path: &KeyPath) -> Origin {
        let there = (0..=path.0.len())
            .rev()
            .find_map(|length| self.root.get(&path.0[..length]));
        there.map_or(Origin::Default, |node| node.origin.clone())
    }

    fn take(&mut self, name: &str) -> Option<Node> {
        match &mut self.root.value {
            Value::Table(sections) => sections.remove(name),
            _ => None,
        }
    }

    fn put_back(&mut self, name: &str, node: Node) {
        if let Value::Table(sections) = &mut self.root.value {
            sections.insert(name.to_owned(), node);
        }
    }

    fn check_sections(&mut self) {
        let Value::Table(sections) = &self.root.value else {
            return;
        };
        for (name, node) in sections {
            if !SECTIONS.contains(&name.as_str()) {
                let problem = format!(
                    "there is no such section{}",
                    suggestion(name, SECTIONS.iter().copied())
                );
                let path = KeyPath::parse(name);
                self.errors.push(ConfigError {
                    origin: node.origin.clone(),
                    path,
                    problem,
                });
            }
        }
    }

    /// Mends or reports one mistake; returns whether it is worth reading again.
    fn settle<T: DeserializeOwned>(
        &mut self,
        section: &mut Node,
        path: &KeyPath,
        mistake: Mistake,
    ) -> bool {
        let place = match &mistake.wrong {
            Wrong::UnknownKey { key, known } => {
                match take_from_file(section, &mistake.path, key, known) {
                    Twin::Taken => return true,
                    Twin::Refused(problem) => {
                        self.report(section, path, &mistake.path.key(key), problem);
                        return true;
                    }
                    Twin::No => mistake.path.key(key),
                }
            }
            Wrong::Missing { key } => mistake.path.key(key),
            Wrong::UnknownChoice { .. } | Wrong::File(_) | Wrong::Other(_) => {
                culprit::<T>(section, &mistake)
            }
        };
        let problem = match mistake.wrong {
            Wrong::Missing { .. } => {
                // If it was there and was struck, it has been reported under its own name.
                if section.get(&place.0).is_none() {
                    let origin = section
                        .get(&mistake.path.0)
                        .map_or(Origin::Default, |table| table.origin.clone());
                    self.errors.push(ConfigError {
                        origin,
                        path: join(path, &place),
                        problem: "it is missing".into(),
                    });
                }
                return strike(section, &mistake.path);
            }
            Wrong::UnknownKey { key, known } => {
                format!(
                    "there is no such setting{}",
                    suggestion(&key, known.iter().copied())
                )
            }
            _ if retry_as_string(section, &place) => return true,
            // What serde says may repeat what the file of a secret holds.
            Wrong::UnknownChoice { .. } | Wrong::Other(_) if holds_file(section, &place) => {
                FILE_REFUSED.to_owned()
            }
            Wrong::UnknownChoice { word, known } => {
                format!(
                    "`{word}` is not a choice{}",
                    suggestion(&word, known.iter().copied())
                )
            }
            Wrong::File(words) => words,
            Wrong::Other(words) => in_plain_words(words),
        };
        self.report(section, path, &place, problem)
    }

    /// Writes a mistake down and strikes what it is about.
    fn report(
        &mut self,
        section: &mut Node,
        path: &KeyPath,
        place: &KeyPath,
        problem: String,
    ) -> bool {
        let origin = section
            .get(&place.0)
            .map_or(Origin::Default, |node| node.origin.clone());
        self.errors.push(ConfigError {
            origin,
            path: join(path, place),
            problem,
        });
        strike(section, place)
    }
}

fn join(path: &KeyPath, below: &KeyPath) -> KeyPath {
    KeyPath(path.0.iter().chain(&below.0).cloned().collect())
}

/// Leaves a node out from now on; false when that cannot help, because it is the section itself or already left out.
fn strike(section: &mut Node, place: &KeyPath) -> bool {
    if place.0.is_empty() {
        return false;
    }
    match section.get_mut(&place.0) {
        Some(node) if !node.struck => {
            node.struck = true;
            true
        }
        _ => false,
    }
}

/// Said instead of anything that could repeat a secret.
const FILE_REFUSED: &str = "the content of its file is not what belongs here";

enum Twin {
    No,
    Taken,
    Refused(String),
}

/// `x_file` where `x` is known: the value of `x` is what that file holds.
fn take_from_file(section: &mut Node, table: &KeyPath, key: &str, known: &[&str]) -> Twin {
    let Some(plain) = key
        .strip_suffix("_file")
        .filter(|plain| known.contains(plain))
    else {
        return Twin::No;
    };
    let Some(Node {
        value: Value::Table(entries),
        ..
    }) = section.get_mut(&table.0)
    else {
        return Twin::No;
    };
    let Some(twin) = entries.get(key) else {
        return Twin::No;
    };
    let (Value::String(path) | Value::Text(path)) = &twin.value else {
        return Twin::Refused(format!("expected the path of a file that holds `{plain}`"));
    };
    let from_file = Node::new(twin.origin.clone(), Value::File(PathBuf::from(path)));
    match entries
        .get(plain)
        .filter(|other| !other.struck)
        .map(|other| other.origin.rank())
    {
        Some(rank) if rank == twin.origin.rank() => {
            return Twin::Refused(format!("both `{plain}` and `{key}` are given; keep one"));
        }
        // The stronger layer has the value itself.
        Some(rank) if rank > twin.origin.rank() => {}
        _ => drop(entries.insert(plain.to_owned(), from_file)),
    }
    entries.remove(key);
    Twin::Taken
}

/// Text whose guessed type was not wanted is tried as a plain string. True if something was changed.
fn retry_as_string(section: &mut Node, place: &KeyPath) -> bool {
    let Some(node) = section.get_mut(&place.0) else {
        return false;
    };
    let Value::Text(text) = &node.value else {
        return false;
    };
    node.value = Value::String(text.clone());
    true
}

/// Whether the value, or anything in this table, comes out of a secret's file.
fn holds_file(section: &Node, place: &KeyPath) -> bool {
    fn any(node: &Node) -> bool {
        match &node.value {
            Value::File(_) => true,
            Value::Table(entries) => entries.values().any(any),
            Value::List(items) => items.iter().any(any),
            _ => false,
        }
    }
    section.get(&place.0).is_some_and(any)
}
