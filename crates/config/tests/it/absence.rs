//! What must not be there: a second crate that reads the environment. Settings are passed, not global.

use std::path::{Path, PathBuf};

/// Code for tests may look around as it likes.
const FOR_TESTS: [&str; 3] = ["crates/testkit", "system-tests", "benches"];

#[test]
fn only_this_crate_reads_the_environment() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut sources = Vec::new();
    for folder in ["crates", "."] {
        for package in folders(&root.join(folder)) {
            collect(&package.join("src"), &mut sources);
        }
    }
    let ours = Path::new("crates/config");
    let mut read = 0;
    let mut offenders = Vec::new();
    for source in sources {
        let path = source
            .strip_prefix(&root)
            .expect("below the root")
            .to_owned();
        let path = path.strip_prefix(".").unwrap_or(&path).to_owned();
        let exempt =
            path.starts_with(ours) || FOR_TESTS.iter().any(|folder| path.starts_with(folder));
        let text = std::fs::read_to_string(&source).expect("a source file");
        read += 1;
        if !exempt
            && ["env::var(", "env::var_os(", "env::vars(", "env::vars_os("]
                .iter()
                .any(|call| text.contains(call))
        {
            offenders.push(path);
        }
    }
    assert!(
        read > 50,
        "only {read} files were found; is the workspace laid out differently now?"
    );
    assert_eq!(
        offenders,
        Vec::<PathBuf>::new(),
        "take it from forewarn_config::Environment or a setting instead"
    );
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path)
        .expect("a folder of the workspace")
        .filter_map(Result::ok);
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && path.join("Cargo.toml").is_file())
        .collect()
}

fn collect(folder: &Path, sources: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
}
