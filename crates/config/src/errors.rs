//! What is wrong with the settings, all of it, in words that name the key, the place and the remedy.

use std::fmt;

use crate::{KeyPath, Origin};

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where the value came from.
    pub origin: Origin,
    /// Which setting; empty when the file as a whole is meant.
    pub path: KeyPath,
    /// What is wrong, and the remedy.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        if !self.path.0.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)
    }
}

/// Every mistake that was found, by place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Sorts them the way a person corrects them: the file from top to bottom, then environment and flags.
    pub(crate) fn new(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by(|a, b| {
            let place = |error: &ConfigError| (error.origin.rank(), error.origin.position());
            place(a).cmp(&place(b)).then_with(|| a.path.cmp(&b.path))
        });
        errors.dedup();
        Self(errors)
    }

    /// The mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.0 {
            writeln!(f, "{error}")?;
        }
        match self.0.len() {
            1 => f.write_str("1 mistake in the settings"),
            many => write!(f, "{many} mistakes in the settings"),
        }
    }
}

/// `, did you mean …?` when one of the known words is near, else the known words, if they are few.
pub(crate) fn suggestion<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    if let Some(candidate) = nearest(word, known.clone()) {
        return format!(", did you mean `{candidate}`?");
    }
    let known: Vec<_> = known.into_iter().collect();
    match known.as_slice() {
        [] => ", nothing is expected here".to_owned(),
        words if words.len() <= 24 => format!(", expected one of `{}`", words.join("`, `")),
        _ => String::new(),
    }
}

/// What somebody meant who wrote `word`: the nearest of the known words, the first of those that are equally near; none
/// when all are far.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may be wrong, as in rustc; further away a suggestion confuses more than it helps.
    let wrong_max = word.chars().count().max(3) / 3;
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= wrong_max)
        .map(|(_, candidate)| candidate)
}

/// Serde names Rust's types; people who write settings need not know them.
pub(crate) fn in_plain_words(problem: String) -> String {
    let types = [
        ("u8", "a whole number from 0 to 255"),
        ("u16", "a whole number from 0 to 65535"),
        ("u32", "a whole number from 0 to 4294967295"),
        ("u64", "a whole number, 0 or more"),
        ("usize", "a whole number, 0 or more"),
        ("i8", "a whole number from -128 to 127"),
        ("i16", "a whole number from -32768 to 32767"),
        ("i32", "a whole number from -2147483648 to 2147483647"),
        ("i64", "a whole number"),
        ("f32", "a number"),
        ("f64", "a number"),
        ("a boolean", "true or false"),
        ("a string", "a string in quotes"),
        ("a sequence", "a list in square brackets"),
        ("a map", "a table"),
    ];
    let named = |(name, words): &(&str, &str)| {
        let start = problem.strip_suffix(name)?.strip_suffix("expected ")?;
        Some(format!("{start}expected {words}"))
    };
    types.iter().find_map(named).unwrap_or(problem)
}
