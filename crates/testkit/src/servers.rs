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

/// A name that no other test and no earlier run has: for topic prefixes, databases and buckets.
#[must_use]
pub fn unique(name: &str) -> String {
    format!("{name}_{}", uuid::Uuid::new_v4().simple())
}

fn find(variable: &str, what: &str) -> Option<String> {
    match std::env::var(variable) {
        Ok(value) if !value.is_empty() => Some(value),
        _ if std::env::var_os("FOREWARN_TEST_REQUIRE").is_some() => {
            panic!(
                "{what}: {variable} is not set, and FOREWARN_TEST_REQUIRE forbids to leave it out"
            )
        }
        _ => {
            // Not through `eprintln!`: the test harness keeps that back of a test that passes.
            let words = format!("left out: {what} (set {variable} to run it; `make test` does)\n");
            let _ = std::io::stderr().write_all(words.as_bytes());
            None
        }
    }
}
