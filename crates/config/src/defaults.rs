//! The commented `forewarn.toml` at the root of the repository: documentation of every setting, and the home of the
//! rules and receivers that are active when nobody writes any.
//!
//! The truth about a default is the `Default` impl of its owner's `Config`. A commented-out setting (`#key = value`,
//! without a space, so that it differs from prose) repeats it for people, and a test compares the two.

use std::collections::BTreeSet;

use crate::KeyPath;

/// The file's text.
pub const DEFAULTS: &str = include_str!("../../../forewarn.toml");

/// Marks a setting that has no default: what stands there is an example.
const UNSET: &str = "# unset";

/// What the file says about the settings.
#[derive(Clone, Debug)]
pub struct Documented {
    /// Every section with the defaults as the file states them; rules and receivers as they are active.
    pub sections: toml::Table,
    /// Settings that have no default, with an example in their place: `influxdb.token`.
    pub examples: BTreeSet<String>,
}

impl Documented {
    /// The same without the examples: what has to equal the owners' `Default`.
    #[must_use]
    pub fn defaults(&self) -> toml::Table {
        let mut sections = self.sections.clone();
        for path in &self.examples {
            let mut keys = path.split('.').peekable();
            let mut table = &mut sections;
            while let Some(key) = keys.next() {
                if keys.peek().is_none() {
                    table.remove(key);
                    break;
                }
                match table.get_mut(key).and_then(toml::Value::as_table_mut) {
                    Some(inner) => table = inner,
                    None => break,
                }
            }
        }
        sections
    }
}

/// The commented-out settings of [`DEFAULTS`] under their sections.
///
/// # Errors
/// When the file, with its settings uncommented, is not TOML: which line, and why.
pub fn documented_defaults() -> Result<Documented, toml::de::Error> {
    let text = uncommented(DEFAULTS);
    let sections = toml::from_str(&text)?;
    let mut examples = BTreeSet::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.split(']').next())
        {
            section = name.trim_start_matches('[').to_owned();
        } else if line.trim_end().ends_with(UNSET)
            && let Some((key, _)) = line.split_once('=')
        {
            examples.insert(KeyPath::parse(&section).key(key.trim()).to_string());
        }
    }
    Ok(Documented { sections, examples })
}

/// Takes the `#` from settings and sections, and leaves prose (`# …`) alone.
fn uncommented(text: &str) -> String {
    let setting = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    let lines = text.lines().map(|line| {
        line.strip_prefix('#')
            .filter(|rest| setting(rest))
            .unwrap_or(line)
    });
    lines.collect::<Vec<_>>().join("\n")
}
