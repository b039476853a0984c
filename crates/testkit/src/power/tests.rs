//! The recorder and the disk, on a program whose every sync is known.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::process::Command;

use super::*;

const FOLDER: &str = "FOREWARN_TESTKIT_POWER";

/// What a folder holds: contents by path, `None` for folders.
fn contents(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if path.is_dir() {
                found.insert(name, None);
                folders.push(path);
            } else {
                found.insert(name, Some(fs::read(&path).unwrap()));
            }
        }
    }
    found
}

#[test]
#[ignore = "a role for another test, which starts it in a process of its own"]
fn write_a_little() {
    let Ok(root) = std::env::var(FOLDER) else {
        return;
    };
    let root = PathBuf::from(root);
    let sync = |path: &Path| File::open(path).unwrap().sync_all().unwrap();
    let tell = |words: &str| std::io::stderr().write_all(words.as_bytes()).unwrap();
    fs::create_dir(root.join("a")).unwrap();
    let mut kept = File::create(root.join("a/kept")).unwrap();
    kept.write_all(b"first ").unwrap();
    kept.sync_data().unwrap();
    sync(&root.join("a"));
    sync(&root);
    tell("told first\n");
    kept.write_all(&[b'x'; 2_000]).unwrap();
    kept.sync_data().unwrap();
    tell("told second\n");
    kept.write_all(b"never").unwrap();
    // Its data are synced, its name is not.
    let named = File::create(root.join("a/new")).unwrap();
    named.write_at(b"data", 10).unwrap();
    named.set_len(12).unwrap();
    named.sync_all().unwrap();
    fs::rename(root.join("a/new"), root.join("a/newer")).unwrap();
    fs::remove_file(root.join("old")).unwrap();
    tell("told third\n");
}

fn recorded() -> Option<(tempfile::TempDir, Recording)> {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("old"), b"old").unwrap();
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args([
        "--exact",
        "power::tests::write_a_little",
        "--ignored",
        "--nocapture",
    ]);
    program.env(FOLDER, root.path().canonicalize().unwrap());
    let recording = record("the recorder of a power failure", &program, root.path()).unwrap()?;
    Some((root, recording))
}

fn at(recording: &Recording, cut: usize, unsynced: Unsynced) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let folder = tempfile::tempdir().unwrap();
    let mut draw = Draw::new(7, "power");
    recording
        .rebuild(cut, unsynced, &mut draw, folder.path())
        .unwrap();
    contents(folder.path())
}

#[test]
fn only_what_was_synced_is_certain() {
    let Some((root, recording)) = recorded() else {
        return;
    };
    let end = recording.end();
    let told: Vec<&str> = recording.told_before(end).collect();
    assert_eq!(told, ["first", "second", "third"]);
    // The recorder has missed nothing: what it saw makes the folder as it is.
    assert_eq!(at(&recording, end, Unsynced::Kept), contents(root.path()));

    let text = |data: &[u8]| Some(data.to_vec());
    let second = [b"first ".as_slice(), &[b'x'; 2_000]].concat();
    let certain = BTreeMap::from([
        ("old".into(), text(b"old")),
        ("a".into(), None),
        ("a/kept".into(), text(&second)),
    ]);
    assert_eq!(at(&recording, end, Unsynced::Lost), certain);
    // At any place: what was told is there.
    for cut in 0..=end {
        let told = recording.told_before(cut).count();
        for unsynced in Unsynced::ALL {
            let found = at(&recording, cut, unsynced);
            let kept = found
                .get(Path::new("a/kept"))
                .cloned()
                .flatten()
                .unwrap_or_default();
            assert!(
                told < 1 || kept.starts_with(b"first "),
                "{cut} {unsynced:?}"
            );
            assert!(told < 2 || kept.starts_with(&second), "{cut} {unsynced:?}");
        }
    }
}

#[test]
fn without_a_sync_what_it_made_certain_is_not() {
    let Some((_root, recording)) = recorded() else {
        return;
    };
    let end = recording.end();
    let no_data = at(&recording.clone().without_data_syncs(), end, Unsynced::Lost);
    assert_eq!(no_data.get(Path::new("a/kept")), Some(&Some(Vec::new())));
    let no_names = at(&recording.without_folder_syncs(), end, Unsynced::Lost);
    assert_eq!(no_names.get(Path::new("a")), None);
}
