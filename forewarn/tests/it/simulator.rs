//! A simulated fleet in one process: its samples are in the log, and a fault that somebody asks for is in the truth.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

/// The program with ingestion alone: the simulator needs the log, and nothing else.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    fn start(home: &Path, further: &[&str]) -> Self {
        let free = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("an address")
        };
        let (address, pages) = (free(), free());
        let log = fs::File::create(home.join("forewarn.log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_forewarn"))
            .args(["run", "--role", "ingestion"])
            .args(["--set", &format!("ingestion.listen={address}")])
            .args(["--set", &format!("service.port={}", pages.port())])
            .args(["--set", "ingestion.host.resource=this-host"])
            // Nobody answers there: the recorder waits, and nothing else does.
            .args(["--set", "influxdb.url=http://127.0.0.1:9"])
            .args(further)
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program runs");
        Self { child, address }
    }

    /// Status and body of the answer, or `None` without one.
    fn ask(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(LONG)).ok()?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + body).as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// How many samples are in the log.
    fn accepted(&self) -> u64 {
        let page = self.ask("GET", "/metrics", "").map(|(_, text)| text);
        let text = page.unwrap_or_default();
        let is_it = |line: &&str| {
            line.starts_with("forewarn_ingestion_samples_accepted_total")
                && line.contains("source=\"simulator\"")
        };
        let line = text.lines().find(is_it);
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn eventually<T>(home: &Path, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        let said = || fs::read_to_string(home.join("forewarn.log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "{what}: never\n{}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_fleet_is_measured_and_a_fault_that_is_asked_for_is_in_the_truth() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path();
    let program = Program::start(home, &["--set", "simulator.enabled=true"]);
    // Three seconds of eight resources, twenty series each and more on average.
    eventually(home, "samples are in the log", || {
        (program.accepted() > 3 * 8 * 20).then_some(())
    });
    let order = r#"{"fault":"cpu-spike","host":"web-01","for_seconds":30}"#;
    let (status, answer) = program
        .ask("POST", "/api/v1/chaos", order)
        .expect("an answer");
    assert_eq!(status, 200, "{answer}");
    assert!(
        answer.contains("cpu-runaway on web-01 begins now"),
        "{answer}"
    );
    let truth = eventually(home, "the truth is written down", || {
        fs::read_to_string(home.join("forewarn-data/simulator/truth.jsonl")).ok()
    });
    let begins = r#"{"resource":"web-01","fault":"cpu-runaway","subject":"cpu","onset":"#;
    assert!(truth.starts_with(begins), "{truth}");
    let real = r#"{"fault":"cpu-spike","host":"this-host"}"#;
    let (status, answer) = program
        .ask("POST", "/api/v1/chaos", real)
        .expect("an answer");
    assert!(
        status == 409 && answer.contains("real-resource"),
        "{answer}"
    );
}

#[test]
fn a_host_with_the_name_of_a_simulated_resource_is_not_mixed_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path();
    let name = "ingestion.host.resource=db-01";
    let mut program = Program::start(home, &["--set", "simulator.enabled=true", "--set", name]);
    let status = eventually(home, "it ends", || {
        program.child.try_wait().expect("a child")
    });
    assert!(!status.success());
    let said = fs::read_to_string(home.join("forewarn.log")).expect("it has a log");
    assert!(
        said.contains("has the name of a simulated resource"),
        "{said}"
    );
}
