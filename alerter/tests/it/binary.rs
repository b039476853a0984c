//! The program itself: lines on its standard output, and nothing lost or repeated however often it is killed.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::alerter::{PARTITIONS, World};
use crate::support::wait;

/// A running alerter, killed without a word when dropped.
pub(crate) struct Program {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// What it logs.
    log: PathBuf,
}

impl Program {
    pub(crate) fn start(config: &std::path::Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_forewarn-alerter"))
            .arg("--config")
            .arg(config)
            .stdout(Stdio::piped())
            .stderr(Stdio::from(
                std::fs::File::options()
                    .create(true)
                    .append(true)
                    .open(config.with_extension("log"))
                    .expect("a file"),
            ))
            .spawn()
            .expect("it can be started");
        let (output, lines) = (
            child.stdout.take().expect("it is piped"),
            Arc::<Mutex<Vec<String>>>::default(),
        );
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                kept.lock().expect("nobody panics with it").push(line);
            }
        });
        Self {
            child,
            lines,
            log: config.with_extension("log"),
        }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("nobody panics with it").clone()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SIGKILL: nothing of it runs any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(40).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            eprintln!("the alerter's last words:\n{}", last.join("\n"));
        }
    }
}

/// The program's settings, in a file.
pub(crate) fn settings(world: &World) -> PathBuf {
    let path = std::env::temp_dir().join(format!("{}.toml", world.log.topic_prefix));
    std::fs::write(&path, text(world)).expect("a file");
    path
}

fn text(world: &World) -> String {
    format!(
        r#"
        [log]
        servers = "{}"
        partitions = {PARTITIONS}
        topic_prefix = "{}"
        [postgres]
        url = "{}"
        [service]
        port = 0
        [alerter]
        cooldown = "0s"
        interval = "0s"
        lease = "3s"
        [[rules]]
        type = "threshold"
        name = "busy"
        metric = "disk.busy"
        operator = ">"
        value = 0.8
        [[receivers]]
        type = "console"
        name = "console"
        "#,
        world.log.servers, world.log.topic_prefix, world.database.url
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_at_work_again_and_again_it_tells_everything_once() {
    let Some(mut world) = World::new("kill -9 of the alerter").await else {
        return;
    };
    let path = settings(&world);

    // Most records are ticks: it is the reading that is killed, and one worker has to tell all of it in time.
    world.every = 6;
    let mut told = Vec::new();
    let mut in_the_middle = 0;
    for round in 0..6_u64 {
        world
            .append(round * 300..(round + 1) * 300, round % 2 == 1)
            .await;
        let before = world.history().await.len();
        let mut program = Program::start(&path);
        wait("the alerter to write something", async || {
            world.history().await.len() > before
        })
        .await;
        assert!(program.is_running(), "it ended by itself");
        told.extend(program.lines());
        drop(program);
        in_the_middle += usize::from(world.history().await.len() < world.expected().len());
    }
    assert!(
        in_the_middle >= 3,
        "only {in_the_middle} of 6 kills met work in flight"
    );

    let program = Program::start(&path);
    let expected = world.expected();
    wait("the alerter to catch up", async || {
        world.history().await.len() >= expected.len()
    })
    .await;
    let unsettled =
        "SELECT delivery_id::text FROM deliveries WHERE state IN ('pending', 'sending')";
    wait("everything to be told", async || {
        world.database.lines(unsettled).await.is_empty()
    })
    .await;
    assert_eq!(world.history().await, expected);
    told.extend(program.lines());
    drop(program);
    let line = told.first().expect("something was told");
    assert!(
        line.contains("MEDIUM") && line.contains("disk.busy is"),
        "{line}"
    );
    std::fs::remove_file(path.with_extension("log")).expect("it is there");
    std::fs::remove_file(&path).expect("it is there");
    world.end().await;
}
