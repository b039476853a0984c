//! The doors to the real servers and peers: where tests find them, and what happens when they are not there.
//!
//! `cargo test` alone passes on a bare machine and says what it left out; `make test` sets
//! `FOREWARN_TEST_REQUIRE=1`, and then leaving anything out is a failure.

use std::io::Write as _;

/// Kafka's bootstrap servers (`FOREWARN_TEST_KAFKA`), or `None` after saying that `what` is left out.
#[must_use]
pub fn kafka(what: &str) -> Option<String> {
    find("FOREWARN_TEST_KAFKA", what)
}

/// A PostgreSQL URL whose user may create databases (`FOREWARN_TEST_POSTGRES`).
#[must_use]
pub fn postgres(what: &str) -> Option<String> {
    find("FOREWARN_TEST_POSTGRES", what)
}

/// InfluxDB's URL and a token that may create buckets, in the organisation `forewarn`
/// (`FOREWARN_TEST_INFLUXDB`, `FOREWARN_TEST_INFLUXDB_TOKEN`).
#[must_use]
pub fn influxdb(what: &str) -> Option<(String, String)> {
    Some((
        find("FOREWARN_TEST_INFLUXDB", what)?,
        find("FOREWARN_TEST_INFLUXDB_TOKEN", what)?,
    ))
}

/// A Python with the peers that we compare ourselves with (`FOREWARN_TEST_PYTHON`).
#[must_use]
pub fn python(what: &str) -> Option<String> {
    find("FOREWARN_TEST_PYTHON", what)
}

/// Whether a program that `what` needs is installed; says so if not. `make test` installs what it needs.
#[must_use]
pub fn has_tool(tool: &str, what: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join(tool).is_file());
    if !there {
        left_out(what, &format!("`{tool}` is not installed"));
    }
    there
}

/// Says that a test is left out, and why; where nothing may be left out, it fails instead.
///
/// # Panics
/// Where `FOREWARN_TEST_REQUIRE` is set.
pub fn left_out(what: &str, why: &str) {
    assert!(
        std::env::var_os("FOREWARN_TEST_REQUIRE").is_none(),
        "{what}: {why}, and FOREWARN_TEST_REQUIRE forbids to leave it out"
    );
    // Not through `eprintln!`: the test harness keeps that back of a test that passes.
    let _ = std::io::stderr().write_all(format!("left out: {what} ({why})\n").as_bytes());
}

/// A name that no other test and no earlier run has: for topic prefixes, databases and buckets.
#[must_use]
pub fn unique(name: &str) -> String {
    format!("{name}_{}", uuid::Uuid::new_v4().simple())
}

fn find(variable: &str, what: &str) -> Option<String> {
    match std::env::var(variable) {
        Ok(value) if !value.is_empty() => Some(value),
        _ => {
            left_out(what, &format!("{variable} is not set; `make test` sets it"));
            None
        }
    }
}
