//! Lays the layers over each other: compiled-in rules < file < familiar names < `FOREWARN__…` < flags.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::tree::{Node, parse};
use crate::{ConfigError, DEFAULTS, Environment, KeyPath, Origin};

/// Names a settings file when no flag does.
const FILE_VARIABLE: &str = "FOREWARN_CONFIG";

/// The largest settings file that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The whole tree, the file it came from, and what was wrong on the way.
pub(crate) fn assemble(
    named: Option<&Path>,
    environment: &Environment,
    flags: &[(String, String)],
) -> (Node, Option<PathBuf>, Vec<ConfigError>) {
    let (mut root, mut errors) = parse(
        DEFAULTS,
        &Arc::new(PathBuf::from("compiled-in forewarn.toml")),
    );
    forget_origin(&mut root);
    let named = named
        .map(Path::to_owned)
        .or_else(|| environment.get(FILE_VARIABLE).map(PathBuf::from));
    let found = named.or_else(|| {
        environment
            .search_path()
            .into_iter()
            .find(|place| place.is_file())
    });
    if let Some(path) = &found {
        match read(path) {
            Ok(text) => {
                let (file, mistakes) = parse(&text, &Arc::new(path.clone()));
                errors.extend(mistakes);
                root.merge(file);
            }
            Err(problem) => errors.push(ConfigError {
                origin: Origin::Default,
                path: KeyPath::default(),
                problem,
            }),
        }
    }
    for (name, path, text) in environment.familiar() {
        let path = KeyPath::parse(&path);
        // Such a name may be there for another program: without a receiver `slack` there is nothing to set.
        let _ = root.put(&path.0, text, &Origin::Familiar(name.into()));
    }
    let mut put = |dotted: &str, text: &str, origin: Origin| {
        let path = KeyPath::parse(dotted);
        if let Err(problem) = root.put(&path.0, text, &origin) {
            errors.push(ConfigError {
                origin,
                path,
                problem,
            });
        }
    };
    for (name, path, text) in environment.overrides() {
        put(&path, text, Origin::Environment(name.into()));
    }
    for (path, text) in flags {
        put(path, text, Origin::Flag(path.as_str().into()));
    }
    (root, found, errors)
}

fn read(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let fail = |error: std::io::Error| {
        format!("cannot read the settings file {}: {error}", path.display())
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(fail)?;
    if text.len() as u64 == FILE_BYTES_MAX {
        return Err(format!(
            "the settings file {} is larger than 16 MiB; is it the right one?",
            path.display()
        ));
    }
    Ok(text)
}

/// A line in the compiled-in file is of no use to anyone who looks for a setting's origin.
fn forget_origin(node: &mut Node) {
    use crate::tree::Value;
    node.origin = Origin::Default;
    match &mut node.value {
        Value::Table(entries) => entries.values_mut().for_each(forget_origin),
        Value::List(items) => items.iter_mut().for_each(forget_origin),
        _ => {}
    }
}
