//! The program itself: ready when the ledger is, ends in order, and tells mistakes in its settings.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forewarn_testkit::database::Database;

/// Nothing here may take longer; only a failure waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `forewarn-api`, killed when dropped.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    fn start(url: &str) -> Self {
        // Taken and given back: free for the moment, and the program needs to be told a port of its own.
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let child = Command::new(env!("CARGO_BIN_EXE_forewarn-api"))
            .env("FOREWARN__POSTGRES__URL", url)
            .env("FOREWARN__API__LISTEN", address.to_string())
            .env("FOREWARN__INFLUXDB__URL", "http://127.0.0.1:9")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program");
        Self { child, address }
    }

    /// Status and text of a page; `None` while nobody answers.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        )
        .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let status = text.split(' ').nth(1)?.parse().ok()?;
        Some((status, text))
    }

    async fn until(&self, path: &str, expected: u16, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.get(path);
            if let Some((status, text)) = &found
                && *status == expected
                && text.contains(words)
            {
                return text.clone();
            }
            assert!(
                Instant::now() < deadline,
                "{path}: {found:?}, not {expected} {words}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_is_ready_when_the_schema_is_there_and_ends_in_order() {
    let Some(database) = Database::create("the program forewarn-api").await else {
        return;
    };
    let mut program = Program::start(&database.url);
    // A page from the first moment on, which says what is missing; and nothing is made by it.
    program.until("/live", 200, "true").await;
    program.until("/ready", 503, "alert_history").await;
    program
        .until("/", 503, "The ledger cannot be read now.")
        .await;
    program
        .until("/api/v1/alerts", 503, "urn:forewarn:problem:schema")
        .await;

    database.start().await;
    program.until("/ready", 200, "true").await;
    program
        .until("/", 200, "Nothing has been judged yet.")
        .await;
    program.until("/api/v1/alerts", 200, "\"items\":[]").await;
    let metrics = program
        .until("/metrics", 200, "forewarn_api_requests_total")
        .await;
    assert!(
        metrics.contains("forewarn_api_request_seconds"),
        "{metrics}"
    );

    let told = Command::new("kill")
        .args(["-TERM", &program.child.id().to_string()])
        .status()
        .expect("kill");
    assert!(told.success());
    let deadline = Instant::now() + PATIENCE;
    let code = loop {
        if let Some(status) = program.child.try_wait().expect("a child") {
            break status.code();
        }
        assert!(Instant::now() < deadline, "it does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(code, Some(0));
    database.drop().await;
}

#[test]
fn mistakes_in_the_settings_are_all_told_at_once() {
    let told = Command::new(env!("CARGO_BIN_EXE_forewarn-api"))
        .args([
            "--check",
            "--set",
            "api.listen=nowhere",
            "--set",
            "api.requests_max=0",
        ])
        .args([
            "--set",
            "api.hosts=[\"http://x\"]",
            "--set",
            "api.lissten=x",
        ])
        .output()
        .expect("the program");
    let words = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(2), "{words}");
    for key in ["api.listen", "api.requests_max", "api.hosts", "api.lissten"] {
        assert!(words.contains(key), "{key} is not in: {words}");
    }
}
