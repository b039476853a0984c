//! The program itself: it measures this host, keeps the log's clock, and two of it say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus, Stdio};

use forewarn_messages::{SampleBatch, SystemMetric};
use forewarn_types::EventTime;
use uuid::Uuid;

use crate::world::{World, send, until};

/// A running `forewarn-ingestion`, killed when dropped.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    fn start(world: &World) -> Self {
        // Taken and given back: free for the moment, and the program needs to be told a port of its own.
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let child = Command::new(env!("CARGO_BIN_EXE_forewarn-ingestion"))
            .env("FOREWARN__LOG__SERVERS", &world.config.servers)
            .env("FOREWARN__LOG__TOPIC_PREFIX", &world.config.topic_prefix)
            .env(
                "FOREWARN__LOG__PARTITIONS",
                world.config.partitions.to_string(),
            )
            .env("FOREWARN__INGESTION__LISTEN", address.to_string())
            .env("FOREWARN__INGESTION__HOST__RESOURCE", "this-host")
            // Nobody answers there: the recorder waits, and nothing else does.
            .env("FOREWARN__INFLUXDB__URL", "http://127.0.0.1:9")
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program");
        Self { child, address }
    }

    fn status_of(&self, path: &str) -> Option<u16> {
        send(self.address, "GET", path, "").map(|(status, _)| status)
    }

    /// Asks it to end, and waits until it has.
    fn stop(mut self) -> ExitStatus {
        let told = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(told.success());
        until("the program ends", || {
            self.child.try_wait().expect("a child")
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ids of this host's samples by the moment they were measured at.
fn measured(batches: &[SampleBatch]) -> BTreeMap<EventTime, Vec<BTreeSet<Uuid>>> {
    let mut moments: BTreeMap<EventTime, Vec<BTreeSet<Uuid>>> = BTreeMap::new();
    for batch in batches.iter().filter(|batch| batch.source == "host") {
        moments
            .entry(batch.time)
            .or_default()
            .push(batch.sample_ids().collect());
    }
    moments
}

#[test]
fn two_replicas_on_one_host_make_the_same_samples_and_end_in_order() {
    let Some(world) = World::new("two ingestion replicas on real Kafka") else {
        return;
    };
    let programs = [Program::start(&world), Program::start(&world)];
    for program in &programs {
        until("ready", || {
            (program.status_of("/ready") == Some(200)).then_some(())
        });
        assert_eq!(
            program.status_of("/health"),
            Some(200),
            "without InfluxDB too"
        );
    }
    let common = until("five moments measured by both", || {
        let moments = measured(&world.batches());
        let both: Vec<_> = moments
            .into_iter()
            .filter(|(_, sets)| sets.len() == 2)
            .collect();
        (both.len() >= 5).then_some(both)
    });
    for (at, sets) in &common {
        assert_eq!(at.millis() % 1_000, 0, "whole seconds");
        assert_eq!(sets[0], sets[1], "at {at}");
        assert!(sets[0].len() > 20);
    }
    let (status, answer) = send(programs[0].address, "POST", "/collect", "").expect("an answer");
    assert_eq!(status, 200, "{answer}");
    let between = world
        .batches()
        .iter()
        .filter(|batch| batch.time.millis() % 1_000 != 0)
        .count();
    assert!(between <= 1, "asked for once");

    for program in programs {
        assert_eq!(program.stop().code(), Some(0));
    }
}

#[test]
fn the_logs_clock_ticks_in_every_partition_under_one_identity_each() {
    let Some(world) = World::new("the log's clock on real Kafka") else {
        return;
    };
    let program = Program::start(&world);
    let ticks = until("three ticks in every partition", || {
        let mut ticks: BTreeMap<u32, Vec<(Uuid, bool)>> = BTreeMap::new();
        for (partition, record) in world.records() {
            if let SystemMetric::Tick(tick) = record {
                ticks
                    .entry(partition)
                    .or_default()
                    .push((tick.log.0, tick.genesis));
            }
        }
        let enough = ticks.len() == world.config.partitions as usize
            && ticks.values().all(|ticks| ticks.len() >= 4);
        enough.then_some(ticks)
    });
    for ticks in ticks.values() {
        assert!(ticks[0].1, "the first record mints the identity");
        assert!(
            ticks[1..]
                .iter()
                .all(|(log, genesis)| *log == ticks[0].0 && !genesis)
        );
    }
    let identities: BTreeSet<Uuid> = ticks.values().map(|ticks| ticks[0].0).collect();
    assert_eq!(identities.len(), ticks.len(), "each partition has its own");
    assert_eq!(program.stop().code(), Some(0));
}

#[test]
fn mistakes_in_the_settings_are_all_told_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("forewarn.toml");
    std::fs::write(&file, "[ingestion]\nlisten = \"nowhere\"\nrequests_max = 0\n[ingestion.host]\nintervall = \"1s\"\n")
        .expect("a file");
    let told = Command::new(env!("CARGO_BIN_EXE_forewarn-ingestion"))
        .args(["--check", "--config"])
        .arg(&file)
        .output()
        .expect("the program");
    let words = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(2), "{words}");
    for key in [
        "ingestion.listen",
        "ingestion.requests_max",
        "ingestion.host.intervall",
    ] {
        assert!(words.contains(key), "{key} is not in: {words}");
    }
}
