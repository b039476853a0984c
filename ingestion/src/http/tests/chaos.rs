//! Faults on demand: into simulated resources, and into nothing else.

use forewarn_simulate::FaultKind;

use super::*;
use crate::sources::simulated;

const START: EventTime = EventTime(1_700_000_000_000);

/// Pages beside a simulator; this host is measured too, as `here`.
async fn simulating(folder: &tempfile::TempDir) -> (Served, Simulator) {
    let config = simulated::Config {
        truth: folder.path().join("truth.jsonl"),
        ..simulated::Config::default()
    };
    let simulator = Simulator::of(&config, START).expect("nothing is planned");
    let served = Served::beside(Config::default(), true, true, Some(simulator.clone())).await;
    (served, simulator)
}

async fn wish(served: &Served, body: &str) -> Answer {
    let headers = [("content-type", "application/json")];
    served
        .send("POST", "/api/v1/chaos", &headers, body.as_bytes())
        .await
}

#[tokio::test]
async fn a_fault_begins_in_a_simulated_resource_and_the_answer_says_when_it_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let (served, simulator) = simulating(&folder).await;
    let _ = simulator.measure(START);
    let body = r#"{"fault":"memory-leak","host":"web-02","for_seconds":300}"#;
    check(
        &wish(&served, body).await,
        200,
        expect![[r#"
            {
              "ends": 1700000511000,
              "fault": "memory-leak",
              "host": "web-02",
              "kind": "server",
              "limit_reached_about": 1700000301000,
              "onset": 1700000001000,
              "spreads_to": [],
              "summary": "memory-leak on web-02 begins now, reaches its limit after about 5m, and has ended after 8m30s at the latest"
            }
        "#]],
    );
    let mut listener = simulator.listen();
    let _ = simulator.measure(START.plus(Duration::from_secs(1)));
    let label = listener.try_recv().expect("it has begun");
    assert_eq!(
        (label.fault, label.resource.as_str()),
        (FaultKind::MemoryLeak, "web-02")
    );
}

#[tokio::test]
async fn without_a_host_it_is_the_one_whom_the_fault_suits_and_neighbours_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (served, _simulator) = simulating(&folder).await;
    check(
        &wish(&served, r#"{"fault":"cascading-failure"}"#).await,
        200,
        expect![[r#"
            {
              "ends": 1700000300000,
              "fault": "cascading-failure",
              "host": "web-02",
              "kind": "server",
              "limit_reached_about": null,
              "onset": 1700000000000,
              "spreads_to": [
                "web-01",
                "web-03"
              ],
              "summary": "cascading-failure on web-02 begins now and has ended after 5m at the latest"
            }
        "#]],
    );
}

#[tokio::test]
async fn without_a_simulator_nothing_can_be_injected() {
    let served = Served::with(Config::default(), true, true).await;
    check(
        &wish(&served, r#"{"fault":"memory-leak","host":"here"}"#).await,
        404,
        expect![[r#"
            {
              "detail": "faults are only ever injected into simulated resources",
              "remedy": "set simulator.enabled to true where nothing depends on what is said",
              "status": 404,
              "title": "no simulator runs here",
              "type": "urn:forewarn:problem:no-simulator"
            }
        "#]],
    );
}

#[tokio::test]
async fn what_cannot_be_injected_is_refused_with_what_could() {
    let folder = tempfile::tempdir().expect("a folder");
    let (served, simulator) = simulating(&folder).await;
    let mut listener = simulator.listen();
    let said = async |body: &str| {
        let answer = wish(&served, body).await;
        let text = |name: &str| {
            answer.document[name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let kind = text("type")
            .rsplit(':')
            .next()
            .unwrap_or_default()
            .to_owned();
        let (detail, remedy) = (text("detail"), text("remedy"));
        format!("{} {kind}: {detail}. {remedy}.\n", answer.status)
    };
    let mut all = String::new();
    for body in [
        r#"{"fault":"memory-leak","host":"here"}"#,
        r#"{"fault":"memory-leak","host":"web-2"}"#,
        r#"{"fault":"memory-leak","host":"production"}"#,
        r#"{"fault":"memory-leek","host":"web-02"}"#,
        r#"{"fault":"disk-fill","host":"db-01"}"#,
        r#"{"fault":"disk-fill","for_seconds":5}"#,
        r#"{"fault":"disk-fill","hosts":"web-02"}"#,
        r#"{"fault":"disk-fill","for_seconds":-5}"#,
        "[",
    ] {
        all += &said(body).await;
    }
    expect![[r#"
        409 real-resource: faults are only ever injected into simulated resources, and this is the host itself. take one of web-01, web-02, web-03, checkout-01, cache-01, queue-01, db-01, lb-01.
        404 unknown-resource: no simulated resource is named `web-2`; faults are only ever injected into simulated resources. did you mean `web-02`? Known are: web-01, web-02, web-03, checkout-01, cache-01, queue-01, db-01, lb-01.
        404 unknown-resource: no simulated resource is named `production`; faults are only ever injected into simulated resources. known are: web-01, web-02, web-03, checkout-01, cache-01, queue-01, db-01, lb-01.
        400 unknown-fault: `memory-leek` is no fault that can be injected. did you mean `memory-leak`? Known are: cpu-runaway, memory-hog, memory-leak, disk-fill, file-descriptor-leak, connection-exhaustion, latency-creep, network-saturation, traffic-surge, frozen-app, cascading-failure, sensor-dropout, counter-reset, cpu-spike.
        409 does-not-fit: `db-01` reports nothing by which a disk-fill could be seen. take one of web-01, web-02, web-03, cache-01, queue-01, lb-01.
        400 length: a fault lasts from 10 to 86400 seconds and begins within 86400, not 5. send another for_seconds, or none for as long as the fault usually takes.
        400 malformed: unknown field `hosts`, expected one of `fault`, `host`, `for_seconds` at line 1 column 28. send {"fault": "memory-leak", "host": "web-02", "for_seconds": 300}; host and for_seconds may be left out.
        400 malformed: invalid value: integer `-5`, expected u64 at line 1 column 37. send {"fault": "memory-leak", "host": "web-02", "for_seconds": 300}; host and for_seconds may be left out.
        400 malformed: EOF while parsing a list at line 1 column 1. send {"fault": "memory-leak", "host": "web-02", "for_seconds": 300}; host and for_seconds may be left out.
    "#]].assert_eq(&all);
    assert_eq!(wish(&served, &" ".repeat(5_000)).await.status, 413);
    assert_eq!(served.get("/api/v1/chaos").await.status, 405);
    let _ = simulator.measure(START);
    assert!(listener.try_recv().is_err(), "nothing was injected");
    assert_eq!(served.samples(), 0);
}

#[tokio::test]
async fn no_more_faults_are_kept_than_there_is_room_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let (served, _simulator) = simulating(&folder).await;
    let body = r#"{"fault":"cpu-spike","host":"web-01"}"#;
    for _ in 0..8 {
        assert_eq!(wish(&served, body).await.status, 200);
    }
    let answer = wish(&served, body).await;
    assert_eq!(answer.status, 409);
    assert_eq!(
        answer.document["type"],
        "urn:forewarn:problem:too-many-faults"
    );
}
