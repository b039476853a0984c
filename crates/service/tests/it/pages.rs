//! What the pages say.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use expect_test::expect;

use crate::{DEADLINE, Probe, wait};

/// Status and body. Written out by hand: an HTTP client is more than these tests need.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("a timeout can be set");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

#[test]
fn ready_names_what_is_lacking() {
    let probe = Probe::start(&[]);
    let address = probe.address();
    wait(
        || !ask(address, "GET", "/ready", "").1.contains("starting"),
        || probe.log(),
    );
    let (status, body) = ask(address, "GET", "/ready", "");
    assert_eq!(status, 503);
    expect![[r#"{"lacking":[{"condition":"kafka","reason":"nobody answers at 127.0.0.1:1"}],"ready":false}"#]].assert_eq(&body);
}

#[test]
fn while_it_drains_it_is_alive_but_not_ready() {
    let probe = Probe::start(&["alerter.drain=1h", "service.drain=1h"]);
    let address = probe.address();
    probe.signal("TERM");
    probe.wait_for("to finish what is begun");
    let (status, body) = ask(address, "GET", "/ready", "");
    assert_eq!(status, 503);
    assert!(body.contains("the service is stopping"), "{body}");
    assert_eq!(ask(address, "GET", "/live", "").0, 200);
}

#[test]
fn live_names_the_loop_that_is_late() {
    let probe = Probe::start(&[
        "alerter.behaviour=stall",
        "service.late_after=50ms",
        "service.stalled_after=1h",
    ]);
    let address = probe.address();
    wait(|| ask(address, "GET", "/live", "").0 == 503, || probe.log());
    let (_, body) = ask(address, "GET", "/live", "");
    assert!(body.contains(r#""loop":"reader""#), "{body}");
}

#[test]
fn metrics_tell_of_the_service_and_its_process() {
    let probe = Probe::start(&[]);
    let address = probe.address();
    wait(
        || {
            ask(address, "GET", "/metrics", "")
                .1
                .contains("forewarn_probe_steps_total 1")
        },
        || probe.log(),
    );
    let (status, body) = ask(address, "GET", "/metrics", "");
    assert_eq!(status, 200);
    let version = env!("CARGO_PKG_VERSION");
    let build = format!("forewarn_build_info{{service=\"probe\",version=\"{version}\"}} 1");
    assert!(body.contains(&build), "{body}");
    #[cfg(target_os = "linux")]
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_cpu_seconds_total",
    ] {
        assert!(
            body.contains(&format!("\n{name} ")),
            "{name} is missing in:\n{body}"
        );
    }
}

#[test]
fn the_log_level_can_be_changed_and_nonsense_is_refused() {
    let mut probe = Probe::start(&[]);
    let address = probe.address();
    let (status, body) = ask(address, "PUT", "/log-level", "inof");
    assert_eq!(status, 400);
    assert!(body.contains("is not a level"), "{body}");
    assert_eq!(ask(address, "PUT", "/log-level", "debug").0, 200);
    probe.signal("TERM");
    assert_eq!(probe.exit_code(), Some(0));
    // Said at `debug` only.
    probe.wait_for("\"level\":\"DEBUG\"");
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let probe = Probe::start(&[]);
    assert_eq!(
        ask(probe.address(), "PUT", "/log-level", &"x".repeat(20_000)).0,
        413
    );
}
