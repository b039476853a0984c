//! The pages over real connections, in front of a log in memory.

mod chaos;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use expect_test::{Expect, expect};
use flate2::Compression;
use flate2::write::GzEncoder;
use forewarn_bus::AppendError;
use forewarn_types::{ResourceKey, StepLength};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::sources::host::HostConfig;
use crate::testing::MemoryLog;

/// Pages that are served, and what stands behind them.
struct Served {
    address: SocketAddr,
    log: Arc<MemoryLog>,
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    document: Value,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("not an answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .expect("a status");
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        Self {
            status,
            headers,
            document: serde_json::from_str(body).unwrap_or(Value::String(body.to_owned())),
        }
    }
}

impl Served {
    async fn new(config: Config) -> Self {
        Self::with(config, true, false).await
    }

    async fn with(config: Config, connected: bool, measures: bool) -> Self {
        Self::beside(config, connected, measures, None).await
    }

    async fn beside(
        config: Config,
        connected: bool,
        measures: bool,
        simulator: Option<Simulator>,
    ) -> Self {
        let log = Arc::new(MemoryLog::default());
        let collector = measures.then(|| {
            let collector = HostCollector::new(
                &HostConfig::default(),
                ResourceKey::new("here"),
                StepLength::SECOND,
            );
            Arc::new(Mutex::new(collector))
        });
        let app = App::new(
            config,
            collector,
            Arc::new(Backlog::new(1)),
            Arc::new(Status::default()),
        );
        let app = Arc::new(match simulator {
            Some(simulator) => app.simulating(simulator),
            None => app,
        });
        if connected {
            // Without partitions nobody can miss a heartbeat.
            app.connect(log.clone(), Arc::new(Heartbeat::new(0)));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, app.router()).await });
        Self { address, log }
    }

    /// Sends one request over a connection of its own.
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let (answer, _) = flood(self.address, &head, body.to_vec(), 1).await;
        Answer::parse(&answer)
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").await
    }

    async fn push(&self, body: impl AsRef<[u8]>) -> Answer {
        self.send(
            "POST",
            "/api/v1/metrics",
            &[("content-type", "application/json")],
            body.as_ref(),
        )
        .await
    }

    fn samples(&self) -> usize {
        self.log
            .batches()
            .iter()
            .map(|batch| batch.samples.len())
            .sum()
    }
}

fn check(answer: &Answer, status: u16, expected: Expect) {
    assert_eq!(answer.status, status, "{}", answer.document);
    expected.assert_eq(&format!("{:#}\n", answer.document));
}

/// `count` samples of one resource, each of its own series.
fn body_of(count: usize) -> String {
    let samples: Vec<String> = (0..count)
        .map(|i| format!(r#"{{"metric":"m{i}","value":{i}}}"#))
        .collect();
    format!(r#"{{"resource":"shop","samples":[{}]}}"#, samples.join(","))
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("a Vec takes every write");
    encoder.finish().expect("a Vec takes every write")
}

#[tokio::test]
async fn good_samples_are_acknowledged_when_the_log_has_them() {
    let served = Served::new(Config::default()).await;
    let answer = served.push(body_of(3)).await;
    check(
        &answer,
        200,
        expect![[r#"
            {
              "accepted": 3,
              "refused": 0
            }
        "#]],
    );
    assert_eq!(answer.headers["content-type"], "application/json");
    let batches = served.log.batches();
    assert_eq!(
        (
            batches.len(),
            batches[0].resource.resource.as_str(),
            batches[0].source.as_str()
        ),
        (1, "shop", "push")
    );
}

#[tokio::test]
async fn good_samples_are_kept_and_the_others_are_named() {
    let served = Served::new(Config::default()).await;
    let body = r#"{"resource":"shop","samples":[{"metric":"a","value":1},{"metric":"cpu_usage","value":65}]}"#;
    check(
        &served.push(body).await,
        207,
        expect![[r#"
        {
          "accepted": 1,
          "refusals": [
            {
              "batch": 0,
              "detail": "65 is not a ratio, `system.cpu.utilization` goes from 0 to 1",
              "field": "value",
              "reason": "range",
              "remedy": "say `\"unit\": \"%\"` if this is a percentage",
              "sample": 1
            }
          ],
          "refused": 1
        }
    "#]],
    );
    assert_eq!(served.samples(), 1);
}

#[tokio::test]
async fn a_request_without_a_good_sample_is_an_error_that_should_not_be_repeated() {
    let served = Served::new(Config::default()).await;
    let answer = served
        .push(r#"{"resource":"shop","samples":[{"metric":"a","value":null}]}"#)
        .await;
    check(
        &answer,
        400,
        expect![[r#"
        {
          "accepted": 0,
          "detail": "all 1 samples are refused, each for its own reason",
          "refusals": [
            {
              "batch": 0,
              "detail": "null is not a finite number",
              "field": "value",
              "reason": "not_finite",
              "remedy": "leave the sample out: a missing value is a gap, and gaps are seen",
              "sample": 0
            }
          ],
          "refused": 1,
          "remedy": "see `refusals`; the other fields of their samples may be fine",
          "status": 400,
          "title": "no sample can be taken",
          "type": "urn:forewarn:problem:no-good-sample"
        }
    "#]],
    );
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    check(
        &served
            .push("{\"resource\":\"a\",\n\"samples\":[{\"metric\":\"a\",\"value\":NaN}]}")
            .await,
        400,
        expect![[r#"
        {
          "detail": "expected value at line 2 column 34",
          "remedy": "JSON has no NaN: leave the sample out, since a missing value is a gap",
          "status": 400,
          "title": "the body cannot be read",
          "type": "urn:forewarn:problem:malformed"
        }
    "#]],
    );
    assert_eq!(served.samples(), 0);
}

#[tokio::test]
async fn large_batches_become_several_records_of_bounded_size() {
    let served = Served::new(Config::default()).await;
    let answer = served.push(body_of(20_000)).await;
    assert_eq!(
        (answer.status, &answer.document["accepted"]),
        (200, &json!(20_000))
    );
    assert!(served.log.batches().len() > 1);
    assert_eq!(served.samples(), 20_000);
    let answer = served.push(body_of(100_001)).await;
    assert_eq!(
        (answer.status, &answer.document["type"]),
        (413, &json!("urn:forewarn:problem:too-many-samples"))
    );
    assert_eq!(served.samples(), 20_000);
}

#[tokio::test]
async fn an_answer_waits_for_the_log_and_says_when_the_outcome_is_unknown() {
    let config = Config {
        acknowledge_within: Duration::from_millis(50),
        ..Config::default()
    };
    let served = Served::new(config).await;
    served.log.set_silent(true);
    let answer = served.push(body_of(1)).await;
    check(
        &answer,
        503,
        expect![[r#"
        {
          "detail": "the log has not acknowledged all samples: it has not answered in time",
          "remedy": "send the same request again; samples that were taken count once",
          "status": 503,
          "title": "the samples may or may not be in the log",
          "type": "urn:forewarn:problem:unknown-outcome"
        }
    "#]],
    );
    assert_eq!(answer.headers["retry-after"], "1");

    served.log.set_silent(false);
    served
        .log
        .answer_next([Err(AppendError::Unknown("the connection broke".into()))]);
    let answer = served.push(body_of(1)).await;
    assert_eq!(
        (answer.status, &answer.document["type"]),
        (503, &json!("urn:forewarn:problem:unknown-outcome"))
    );

    served.log.set_full(true);
    let answer = served.push(body_of(1)).await;
    assert_eq!(
        (answer.status, &answer.document["type"]),
        (503, &json!("urn:forewarn:problem:log-full"))
    );
    assert_eq!(answer.headers["retry-after"], "1");
}

#[tokio::test]
async fn nothing_is_taken_in_while_the_log_is_away() {
    let served = Served::with(Config::default(), false, true).await;
    for answer in [
        served.push(body_of(1)).await,
        served.send("POST", "/collect", &[], b"").await,
    ] {
        assert_eq!(
            (answer.status, &answer.document["type"]),
            (503, &json!("urn:forewarn:problem:log-away"))
        );
        assert_eq!(answer.headers["retry-after"], "1");
    }
    let health = served.get("/health").await;
    assert_eq!(
        (health.status, &health.document["status"]),
        (503, &json!("degraded"))
    );
}

#[tokio::test]
async fn compressed_bodies_are_read_and_bombs_are_not() {
    let served = Served::new(Config::default()).await;
    let push = async |body: Vec<u8>, coding: &str| {
        let headers = [
            ("content-type", "application/json; charset=utf-8"),
            ("content-encoding", coding),
        ];
        served
            .send("POST", "/api/v1/metrics", &headers, &body)
            .await
    };
    assert_eq!(push(gzip(body_of(5).as_bytes()), "gzip").await.status, 200);
    assert_eq!(served.samples(), 5);

    let bomb = gzip(&vec![b' '; 200 << 20]);
    assert!(bomb.len() < 1 << 20);
    check(
        &push(bomb, "gzip").await,
        413,
        expect![[r#"
        {
          "detail": "the body has more than 33554432 bytes when decompressed",
          "remedy": "send the samples in several requests, or compressed with gzip",
          "status": 413,
          "title": "the body is too large",
          "type": "urn:forewarn:problem:too-large"
        }
    "#]],
    );
    check(
        &push(b"not gzip".to_vec(), "gzip").await,
        400,
        expect![[r#"
        {
          "detail": "the compressed body cannot be read: unexpected end of file",
          "remedy": "send all of it, or without `content-encoding`",
          "status": 400,
          "title": "the body is not gzip",
          "type": "urn:forewarn:problem:gzip"
        }
    "#]],
    );
    let answer = push(gzip(&gzip(b"{}")), "gzip, gzip").await;
    check(
        &answer,
        415,
        expect![[r#"
        {
          "detail": "the content encoding has \"gzip\"",
          "remedy": "send it plain, or compressed once with gzip",
          "status": 415,
          "title": "this compression is not understood",
          "type": "urn:forewarn:problem:content-encoding"
        }
    "#]],
    );
    assert_eq!(answer.headers["accept-encoding"], "gzip");
    assert_eq!(push(Vec::new(), "zstd").await.status, 415);
}

#[tokio::test]
async fn a_senders_trace_goes_along_with_its_records_if_it_is_one() {
    let served = Served::new(Config::default()).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (sent, kept) in [(trace, Some(trace)), ("00-nonsense", None)] {
        let headers = [("traceparent", sent)];
        let body = body_of(1);
        let answer = served
            .send("POST", "/api/v1/metrics", &headers, body.as_bytes())
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(served.log.last_trace().as_deref(), kept);
    }
}

/// Writes a head and then `piece` over and over until nobody listens; returns the answer and how much was written.
async fn flood(address: SocketAddr, head: &str, piece: Vec<u8>, pieces: usize) -> (String, usize) {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut reading, mut writing) = stream.into_split();
    let written = Arc::new(AtomicUsize::new(0));
    let writer = tokio::spawn({
        let (head, written) = (head.to_owned(), Arc::clone(&written));
        async move {
            writing.write_all(head.as_bytes()).await?;
            for _ in 0..pieces {
                writing.write_all(&piece).await?;
                written.fetch_add(piece.len(), Ordering::Relaxed);
            }
            // The sender stays: ending its side would be taken for a broken connection.
            std::future::pending::<std::io::Result<()>>().await
        }
    });
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = reading.read(&mut buffer).await {
        answer.extend_from_slice(&buffer[..read]);
    }
    writer.abort();
    (
        String::from_utf8_lossy(&answer).into_owned(),
        written.load(Ordering::Relaxed),
    )
}

#[tokio::test]
async fn a_body_of_100_mb_is_refused_without_being_read() {
    const MEGABYTE: usize = 1 << 20;
    let served = Served::new(Config::default()).await;
    let head = "POST /api/v1/metrics HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";

    let announced = format!("{head}content-length: {}\r\n\r\n", 100 * MEGABYTE);
    let (answer, written) = flood(served.address, &announced, vec![b' '; MEGABYTE], 100).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(written < 50 * MEGABYTE, "{written} bytes were taken");

    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n");
    let mut piece = format!("{MEGABYTE:x}\r\n").into_bytes();
    piece.extend(vec![b' '; MEGABYTE]);
    piece.extend(b"\r\n");
    let (answer, written) = flood(served.address, &chunked, piece, 100).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(written < 50 * MEGABYTE, "{written} bytes were taken");

    // The others are served as before.
    assert_eq!(served.push(body_of(1)).await.status, 200);
}

#[tokio::test]
async fn a_body_that_never_ends_is_not_waited_for() {
    let config = Config {
        receive_within: Duration::from_millis(50),
        ..Config::default()
    };
    let served = Served::new(config).await;
    let head = "POST /api/v1/metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{";
    let (answer, _) = flood(served.address, head, Vec::new(), 0).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn all_bodies_together_stay_within_their_budget() {
    let config = Config {
        bodies_total_max: 64 << 10,
        ..Config::default()
    };
    let served = Served::new(config).await;
    let answer = served.push(" ".repeat(1 << 20)).await;
    assert_eq!(
        (answer.status, &answer.document["type"]),
        (503, &json!("urn:forewarn:problem:busy"))
    );
    let answer = served.push(body_of(10)).await;
    assert_eq!(
        answer.status, 200,
        "the memory is given back: {}",
        answer.document
    );
}

#[tokio::test]
async fn requests_in_the_wrong_form_are_told_the_right_one() {
    let served = Served::new(Config::default()).await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    check(
        &served
            .send("POST", "/api/v1/metrics", &form, body_of(1).as_bytes())
            .await,
        415,
        expect![[r#"
        {
          "detail": "the content type is \"application/x-www-form-urlencoded\"",
          "remedy": "send JSON with `content-type: application/json`",
          "status": 415,
          "title": "only JSON is understood here",
          "type": "urn:forewarn:problem:content-type"
        }
    "#]],
    );
    check(
        &served.get("/api/v1/metrics").await,
        405,
        expect![[r#"
        {
          "detail": "GET is not understood at /api/v1/metrics",
          "remedy": "see the list at /",
          "status": 405,
          "title": "this page is asked for in another way",
          "type": "urn:forewarn:problem:method"
        }
    "#]],
    );
    check(
        &served.get("/api/v2/metrics").await,
        404,
        expect![[r#"
        {
          "detail": "nothing answers at /api/v2/metrics",
          "remedy": "see the list at /",
          "status": 404,
          "title": "there is no such page",
          "type": "urn:forewarn:problem:not-found"
        }
    "#]],
    );
    let untyped = served
        .send("POST", "/api/v1/metrics", &[], body_of(1).as_bytes())
        .await;
    assert_eq!(untyped.status, 200, "saying nothing about the type is fine");
}

#[tokio::test]
async fn a_collection_can_be_asked_for() {
    let served = Served::with(Config::default(), true, true).await;
    let answer = served.send("POST", "/collect", &[], b"").await;
    assert_eq!(
        (answer.status, &answer.document["resource"]),
        (200, &json!("here"))
    );
    assert!(served.samples() > 20);
    assert_eq!(answer.document["samples"], json!(served.samples()));

    let without = Served::new(Config::default()).await;
    check(
        &without.send("POST", "/collect", &[], b"").await,
        409,
        expect![[r#"
        {
          "detail": "the host collector is switched off",
          "remedy": "set ingestion.host.enabled to true",
          "status": 409,
          "title": "this host is not measured",
          "type": "urn:forewarn:problem:collector-off"
        }
    "#]],
    );
}

#[tokio::test]
async fn the_first_pages_say_what_this_is_and_how_it_is_doing() {
    let served = Served::new(Config::default()).await;
    served.push(r#"{"resource":"shop","samples":[{"metric":"a","value":1},{"metric":"b","value":null}]}"#).await;
    let index = served.get("/").await;
    assert_eq!(
        (index.status, &index.document["name"]),
        (200, &json!("forewarn-ingestion"))
    );
    let mut health = served.get("/health").await;
    health.document["uptime_seconds"] = json!("…");
    check(
        &health,
        200,
        expect![[r#"
        {
          "host": null,
          "log": {
            "problem": null,
            "reachable": true
          },
          "recorder": {
            "problem": null
          },
          "samples": {
            "accepted": 1,
            "active_pushed_series": 1,
            "refused": 1
          },
          "status": "ok",
          "uptime_seconds": "…"
        }
    "#]],
    );
}
