//! The settings as a tree whose every node knows where it came from. Files are parsed into it once, with spans.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{ConfigError, KeyPath, Origin, Step};

/// A value and its origin.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it came from.
    pub(crate) origin: Origin,
    /// What it is.
    pub(crate) value: Value,
    /// Found wrong and reported: not read any more, so that the rest can be checked.
    pub(crate) struck: bool,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(String),
    /// From the environment or a flag: its type is what the field wants.
    Text(String),
    /// The path of a file that holds the value of a secret.
    File(PathBuf),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Node {
    pub(crate) const fn new(origin: Origin, value: Value) -> Self {
        Self {
            origin,
            value,
            struck: false,
        }
    }

    /// The node at `path`, or `None`. A key also finds an element of a list by its number or its `name`.
    pub(crate) fn get(&self, path: &[Step]) -> Option<&Self> {
        let Some((step, rest)) = path.split_first() else {
            return Some(self);
        };
        let child = match (&self.value, step) {
            (Value::Table(entries), Step::Key(key)) => entries.get(key)?,
            (Value::List(items), Step::Index(index)) => items.get(*index)?,
            (Value::List(items), Step::Key(name)) => items.get(position(items, name)?)?,
            _ => return None,
        };
        child.get(rest)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, path: &[Step]) -> Option<&mut Self> {
        let Some((step, rest)) = path.split_first() else {
            return Some(self);
        };
        let child = match (&mut self.value, step) {
            (Value::Table(entries), Step::Key(key)) => entries.get_mut(key)?,
            (Value::List(items), Step::Index(index)) => items.get_mut(*index)?,
            (Value::List(items), Step::Key(name)) => {
                let index = position(items, name)?;
                items.get_mut(index)?
            }
            _ => return None,
        };
        child.get_mut(rest)
    }

    /// Lays a stronger file over this one: tables key by key, everything else as a whole.
    pub(crate) fn merge(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Table(below), Value::Table(above)) => {
                for (key, node) in above {
                    match below.get_mut(&key) {
                        Some(known) => known.merge(node),
                        None => drop(below.insert(key, node)),
                    }
                }
                self.origin = over.origin;
            }
            (_, value) => *self = Self::new(over.origin, value),
        }
    }

    /// Puts `text` at `path`, making the tables on the way.
    ///
    /// # Errors
    /// When the path leads into a list and names none of its elements.
    pub(crate) fn put(&mut self, path: &[Step], text: &str, origin: &Origin) -> Result<(), String> {
        let Some((step, rest)) = path.split_first() else {
            *self = Self::new(origin.clone(), Value::Text(text.to_owned()));
            return Ok(());
        };
        if let Value::List(items) = &mut self.value {
            let (index, named) = match step {
                Step::Index(index) => (Some(*index), index.to_string()),
                Step::Key(key) => (position(items, key), key.clone()),
            };
            return match index.and_then(|index| items.get_mut(index)) {
                Some(item) => item.put(rest, text, origin),
                None => Err(format!(
                    "there is no element number or name `{named}` in the list"
                )),
            };
        }
        let Step::Key(key) = step else {
            return Err("there is no list here".to_owned());
        };
        if !matches!(self.value, Value::Table(_)) {
            *self = Self::new(origin.clone(), Value::Table(BTreeMap::new()));
        }
        let Value::Table(entries) = &mut self.value else {
            return Ok(());
        };
        let empty = || Self::new(origin.clone(), Value::Table(BTreeMap::new()));
        let child = entries.entry(key.clone()).or_insert_with(empty);
        child.put(rest, text, origin)
    }
}

/// An element of a list by its number, or by what its key `name` says.
fn position(items: &[Node], key: &str) -> Option<usize> {
    let named = |item: &Node| match &item.value {
        Value::Table(entries) => {
            matches!(entries.get("name").map(|name| &name.value), Some(Value::String(name)) if name == key)
        }
        _ => false,
    };
    key.parse()
        .ok()
        .filter(|index| *index < items.len())
        .or_else(|| items.iter().position(named))
}

/// Parses a file; all mistakes of form are found in one go.
pub(crate) fn parse(text: &str, path: &Arc<PathBuf>) -> (Node, Vec<ConfigError>) {
    let place = |offset: usize| {
        let (line, column) = line_and_column(text, offset);
        Origin::File {
            path: Arc::clone(path),
            line,
            column,
        }
    };
    let (table, mistakes) = DeTable::parse_recoverable(text);
    let mut errors: Vec<_> = mistakes
        .iter()
        .map(|mistake| ConfigError {
            origin: place(mistake.span().map_or(0, |span| span.start)),
            path: KeyPath::default(),
            // Only the words: the line itself may hold a secret.
            problem: mistake.message().replace('\n', ", "),
        })
        .collect();
    let root = convert_table(
        table.get_ref(),
        &place,
        place(table.span().start),
        &KeyPath::default(),
        &mut errors,
    );
    (root, errors)
}

fn convert_table(
    table: &DeTable<'_>,
    place: &dyn Fn(usize) -> Origin,
    origin: Origin,
    path: &KeyPath,
    errors: &mut Vec<ConfigError>,
) -> Node {
    let entries = table.iter().map(|(key, value)| {
        let name = key.get_ref().to_string();
        // A mistake is shown at the key: there the eye finds it, and there it is corrected.
        let node = convert(
            value,
            place,
            place(key.span().start),
            &path.key(&name),
            errors,
        );
        (name, node)
    });
    Node::new(origin, Value::Table(entries.collect()))
}

fn convert(
    value: &Spanned<DeValue<'_>>,
    place: &dyn Fn(usize) -> Origin,
    origin: Origin,
    path: &KeyPath,
    errors: &mut Vec<ConfigError>,
) -> Node {
    let value = match value.get_ref() {
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Datetime(moment) => Value::String(moment.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => {
                let problem = format!("{number} is beyond the numbers of 64 bits");
                errors.push(ConfigError {
                    origin: origin.clone(),
                    path: path.clone(),
                    problem,
                });
                Value::Integer(0)
            }
        },
        // The parser has checked the form; Rust reads every float of TOML.
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    let mut path = path.clone();
                    path.0.push(Step::Index(index));
                    convert(item, place, place(item.span().start), &path, errors)
                })
                .collect(),
        ),
        DeValue::Table(table) => return convert_table(table, place, origin, path, errors),
    };
    Node::new(origin, value)
}

/// Reads a value as TOML writes it, for lists and tables in the environment: `["a", "b"]`, `{ a = 1 }`.
pub(crate) fn parse_inline(text: &str, origin: &Origin) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    let mut errors = Vec::new();
    let node = convert(
        &value,
        &|_| origin.clone(),
        origin.clone(),
        &KeyPath::default(),
        &mut errors,
    );
    errors.is_empty().then_some(node)
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |line| line.chars().count())
        + 1;
    (line, column)
}
