//! Finds the key that is to blame when serde does not say.
//!
//! A tagged enum (`type = "threshold"`) is buffered by serde before it is read, and a mistake inside comes back
//! without its path. So each key of the table is left out in turn: the one without which the mistake changes is it.

use serde::de::DeserializeOwned;

use crate::read::{Mistake, Reader, Wrong};
use crate::tree::{Node, Value};
use crate::{KeyPath, Step};

/// Tables deeper than this are blamed as a whole.
const DEPTH_MAX: usize = 4;

/// The path of the node that causes `mistake`, at or below the path that serde gave.
pub(crate) fn culprit<T: DeserializeOwned>(root: &mut Node, mistake: &Mistake) -> KeyPath {
    let mut path = mistake.path.clone();
    for _ in 0..DEPTH_MAX {
        match guilty_key::<T>(root, &path, mistake) {
            Some(key) => path.0.push(Step::Key(key)),
            None => break,
        }
    }
    path
}

fn guilty_key<T: DeserializeOwned>(
    root: &mut Node,
    at: &KeyPath,
    mistake: &Mistake,
) -> Option<String> {
    let Value::Table(entries) = &root.get(&at.0)?.value else {
        return None;
    };
    let keys: Vec<String> = entries
        .iter()
        .filter(|(_, node)| !node.struck)
        .map(|(key, _)| key.clone())
        .collect();
    let tag = tag_of::<T>(root, at, &keys);
    let mut guilty: Vec<String> = Vec::new();
    for key in &keys {
        if without::<T>(root, at, std::slice::from_ref(key)).as_ref() != Some(mistake) {
            guilty.push(key.clone());
        }
    }
    // Without its tag nothing is understood at all, so the tag is to blame only if nobody else is.
    if guilty.len() > 1 {
        guilty.retain(|key| Some(key.as_str()) != tag);
    }
    match guilty.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}

/// The key that chooses among the variants: the one that is missed first in an empty table.
fn tag_of<T: DeserializeOwned>(
    root: &mut Node,
    at: &KeyPath,
    keys: &[String],
) -> Option<&'static str> {
    match without::<T>(root, at, keys)?.wrong {
        Wrong::Missing { key } => Some(key),
        _ => None,
    }
}

/// What is wrong when these keys are left out.
fn without<T: DeserializeOwned>(root: &mut Node, at: &KeyPath, keys: &[String]) -> Option<Mistake> {
    strike(root, at, keys, true);
    let outcome = T::deserialize(Reader(root)).err();
    strike(root, at, keys, false);
    outcome
}

fn strike(root: &mut Node, at: &KeyPath, keys: &[String], struck: bool) {
    for key in keys {
        if let Some(node) = root.get_mut(&at.key(key).0) {
            node.struck = struck;
        }
    }
}
