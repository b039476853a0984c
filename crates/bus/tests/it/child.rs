//! A process of its own, so that it can be killed: this test binary, started again with a role.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use forewarn_bus::{
    CheckpointConfig, Checkpoints, Config, Event, KafkaLog, Log, StageOptions, Start, StopFlag,
    Subscription, run_stage,
};
use forewarn_messages::SYSTEM_METRICS;

use crate::toy::Toy;

const ROLE: &str = "FOREWARN_BUS_TEST_ROLE";
const SETTINGS: &str = "FOREWARN_BUS_TEST_SETTINGS";
const INSTANCE: &str = "FOREWARN_BUS_TEST_INSTANCE";
const FOLDER: &str = "FOREWARN_BUS_TEST_FOLDER";

/// A process that ends by `kill -9` and in no other way.
pub(crate) struct Victim(Child);

impl Victim {
    /// Joins the group `moves` and reads what it gets; returns once it has partitions.
    pub(crate) fn member(config: &Config, instance: &str) -> Self {
        let mut victim = Self::start("member", config, instance, Path::new(""));
        victim.wait_for("assigned");
        victim
    }

    /// Runs the toy stage with its checkpoints in `folder`.
    pub(crate) fn stage(config: &Config, instance: &str, folder: &Path) -> Self {
        Self::start("stage", config, instance, folder)
    }

    fn start(role: &str, config: &Config, instance: &str, folder: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "child::play_a_role",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(ROLE, role)
            .env(SETTINGS, serde_json::to_string(config).unwrap())
            .env(INSTANCE, instance)
            .env(FOLDER, folder)
            .stdout(if role == "member" {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .spawn()
            .unwrap();
        Self(child)
    }

    fn wait_for(&mut self, word: &str) {
        let lines = BufReader::new(self.0.stdout.as_mut().unwrap()).lines();
        assert!(
            lines.map_while(Result::ok).any(|line| line.contains(word)),
            "the child never said `{word}`"
        );
    }

    /// Whether it was still at work when it was killed.
    pub(crate) fn kill(mut self) -> bool {
        let alive = self.0.try_wait().unwrap().is_none();
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        alive
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Already gone after `kill`; a failed test leaves none behind.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "a role for other tests, which start it in a process of its own"]
#[allow(clippy::print_stdout, reason = "how the child tells its parent")]
fn play_a_role() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let config: Config = serde_json::from_str(&std::env::var(SETTINGS).unwrap()).unwrap();
    let instance = std::env::var(INSTANCE).unwrap();
    let log = KafkaLog::connect(&config).unwrap();
    if role == "stage" {
        let path = std::env::var(FOLDER).unwrap().into();
        let checkpoints = Checkpoints::open(&CheckpointConfig {
            path,
            ..CheckpointConfig::default()
        })
        .unwrap();
        let ended = run_stage(
            Arc::new(log),
            &checkpoints,
            |_| Toy::default(),
            &options(&instance),
            &StopFlag::new(),
            &(),
        );
        panic!("a stage that nobody stops ended: {ended:?}");
    }
    let subscription = Subscription {
        group: "moves".into(),
        instance,
        topics: vec![&SYSTEM_METRICS],
    };
    let mut consumer = log.subscribe(subscription).unwrap();
    loop {
        match consumer.poll(Duration::from_millis(100)).unwrap() {
            Event::Assigned(places) => {
                for place in places {
                    consumer.start(place, Start::Earliest).unwrap();
                    println!("assigned {place}");
                }
            }
            Event::Revoked(places) | Event::Lost(places) => consumer.release(&places).unwrap(),
            _ => {}
        }
    }
}

/// Checkpoints often enough for many in a short test.
pub(crate) fn options(instance: &str) -> StageOptions {
    StageOptions {
        checkpoint_every: Duration::from_millis(300),
        ..StageOptions::new(instance)
    }
}
