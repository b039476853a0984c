//! What is acknowledged is in the log, under the right ids.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use forewarn_bus::Log;
use forewarn_ingestion::{App, Backlog, Config, Heartbeat, Status};
use forewarn_types::{EventTime, ResourceKey, SeriesKey, id};

use crate::world::{World, send};

/// Serves the pages in front of the log, until the process ends.
fn serve(world: &World) -> SocketAddr {
    let app = App::new(
        Config::default(),
        None,
        Arc::new(Backlog::new(1)),
        Arc::new(Status::default()),
    );
    app.connect(
        world.log.appender().expect("an appender"),
        Arc::new(Heartbeat::new(0)),
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("a socket");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            axum::serve(listener, Arc::new(app).router()).await
        })
    });
    address
}

#[test]
fn acknowledged_samples_are_in_the_log_under_the_ids_of_their_series_and_times() {
    let Some(world) = World::new("pushed samples on real Kafka") else {
        return;
    };
    let address = serve(&world);
    let now = jiff::Timestamp::now().as_millisecond();
    let mut expected = BTreeSet::new();
    for resource in 0..5 {
        let samples: Vec<String> = (0..40)
            .map(|i| {
                let (host, time) = (format!("h{}", i % 4), now - i * 10);
                let series = SeriesKey {
                    resource: ResourceKey::new(format!("shop-{resource}")),
                    metric: "orders".into(),
                    tags: [("host".to_owned(), host.clone())].into(),
                };
                expected.insert(id::sample(&series, EventTime(time)));
                format!(
                    r#"{{"metric":"orders","tags":{{"host":"{host}"}},"value":{i},"time":{time}}}"#
                )
            })
            .collect();
        let bad = r#"{"metric":"orders","value":"NaN"}"#;
        let body = format!(
            r#"{{"resource":"shop-{resource}","samples":[{},{bad}]}}"#,
            samples.join(",")
        );
        let (status, answer) = send(address, "POST", "/api/v1/metrics", &body).expect("an answer");
        assert_eq!(status, 207, "{answer}");
        // A sender that did not hear the answer sends the same again.
        assert_eq!(
            send(address, "POST", "/api/v1/metrics", &body)
                .expect("an answer")
                .0,
            207
        );
    }
    let batches = world.batches();
    let found: Vec<_> = batches
        .iter()
        .flat_map(|batch| batch.sample_ids().collect::<Vec<_>>())
        .collect();
    assert_eq!(found.len(), 2 * expected.len(), "sent twice");
    assert_eq!(
        found.into_iter().collect::<BTreeSet<_>>(),
        expected,
        "and the same samples each time"
    );
}

#[test]
fn a_batch_that_is_larger_than_a_record_may_be_arrives_whole() {
    let Some(world) = World::new("large pushes on real Kafka") else {
        return;
    };
    let address = serve(&world);
    let samples: Vec<String> = (0..30_000)
        .map(|i| format!(r#"{{"metric":"m{i}","value":{i}}}"#))
        .collect();
    let body = format!(r#"{{"resource":"big","samples":[{}]}}"#, samples.join(","));
    let (status, answer) = send(address, "POST", "/api/v1/metrics", &body).expect("an answer");
    assert_eq!(
        (status, answer.as_str()),
        (200, r#"{"accepted":30000,"refused":0}"#)
    );
    let batches = world.batches();
    assert!(batches.len() > 1);
    assert_eq!(
        batches
            .iter()
            .map(|batch| batch.samples.len())
            .sum::<usize>(),
        30_000
    );
}
