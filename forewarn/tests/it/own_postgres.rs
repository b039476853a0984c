//! A PostgreSQL of its own: made at the first start, there again after a kill with everything that was committed, and gone
//! when the program has gone.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forewarn_config::Secret;
use forewarn_store::http;
use forewarn_store::postgres::{Config, Postgres};
use tokio::runtime::Runtime;

const LONG: Duration = Duration::from_secs(60);

/// The program with the alerter alone: it needs PostgreSQL and the log, and nothing else.
struct Program {
    child: Child,
    port: u16,
}

impl Program {
    fn start(home: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(home.join("forewarn.log"))
            .expect("a log");
        let set = |name: &str, value: String| ["--set".to_owned(), format!("{name}={value}")];
        let child = Command::new(env!("CARGO_BIN_EXE_forewarn"))
            .args(["run", "--role", "alerter"])
            .args(set("service.port", port.to_string()))
            .args(set(
                "forewarn.postgres_path",
                pg(home).display().to_string(),
            ))
            .args(set("embedded.path", home.join("log").display().to_string()))
            .current_dir(home)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program runs");
        Self { child, port }
    }

    fn wait_ready(&mut self, runtime: &Runtime, home: &Path) {
        let url = format!("http://127.0.0.1:{}/ready", self.port);
        let client = http::client(LONG).build().expect("a client");
        eventually(home, "it is ready", || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("it ended with {status}: {}", said(home));
            }
            let answer = runtime.block_on(async { client.get(&url).send().await });
            answer.is_ok_and(|answer| answer.status().is_success())
        });
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pg(home: &Path) -> PathBuf {
    home.join("postgres")
}

fn said(home: &Path) -> String {
    let read = |name: &str| fs::read_to_string(home.join(name)).unwrap_or_default();
    format!(
        "{}\n{}",
        read("forewarn.log"),
        read("postgres/postgres.log")
    )
}

fn eventually(home: &Path, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: never\n{}", said(home));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a statement as the program's services would.
fn sql(runtime: &Runtime, home: &Path, statement: &str) -> Vec<i64> {
    let host = pg(home)
        .canonicalize()
        .expect("there")
        .display()
        .to_string();
    let config = Config {
        url: Secret::new(format!(
            "postgres://forewarn@{}/forewarn",
            host.replace('/', "%2F")
        )),
        ..Config::default()
    };
    runtime.block_on(async {
        let postgres = Postgres::open(&config, "test").expect("an address");
        let session = postgres.session().await.expect("a connection");
        let rows = session.query(statement, &[]).await.expect("sound");
        session.give_back();
        rows.iter().map(|row| row.get(0)).collect()
    })
}

fn is_running(home: &Path) -> bool {
    pg(home).join("data/postmaster.pid").exists()
}

#[test]
fn it_makes_its_own_keeps_it_over_kills_and_leaves_none_behind() {
    if forewarn_testkit::servers::postgres("a PostgreSQL of its own").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    // Root gives the cluster to another user, who has to get there.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("ours");
    let home = folder.path();
    let runtime = Runtime::new().expect("a runtime");

    let mut program = Program::start(home);
    program.wait_ready(&runtime, home);
    assert_eq!(
        sql(&runtime, home, "SELECT count(*) FROM alerts"),
        [0],
        "the schema is there"
    );
    // Nobody but the owner of the folder gets to it, and nobody over the network.
    let listens = sql(
        &runtime,
        home,
        "SELECT count(*) FROM pg_settings WHERE name = 'listen_addresses' AND setting <> ''",
    );
    assert_eq!(listens, [0]);
    sql(&runtime, home, "CREATE TABLE kept (id bigint)");
    for round in 0..5 {
        sql(
            &runtime,
            home,
            &format!("INSERT INTO kept VALUES ({round})"),
        );
        // Killed, it has no say; the server goes all the same, and the next start waits for that.
        drop(program);
        program = Program::start(home);
        program.wait_ready(&runtime, home);
        let kept = sql(&runtime, home, "SELECT id FROM kept ORDER BY id");
        assert_eq!(kept, (0..=round).collect::<Vec<i64>>());
    }
    drop(program);
    eventually(home, "the server has gone", || !is_running(home));
}

#[test]
fn without_any_postgresql_it_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = Command::new(env!("CARGO_BIN_EXE_forewarn"))
        .args(["--set", "forewarn.postgres_programs=/nowhere"])
        .current_dir(folder.path())
        .output()
        .expect("the program runs");
    assert_eq!(said.status.code(), Some(70));
    let words = String::from_utf8_lossy(&said.stderr);
    assert!(words.contains("apt-get install postgresql"), "{words}");
}
