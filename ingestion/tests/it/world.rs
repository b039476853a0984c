//! What the tests share: topics of their own on real Kafka, and a small HTTP client.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use forewarn_bus::{Config, KafkaLog, Log, Place};
use forewarn_messages::{Body, Headers, SYSTEM_METRICS, SampleBatch, SystemMetric};
use forewarn_testkit::servers;

/// Nothing here may take longer; only a failure waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Topics of their own, deleted at the end.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) log: KafkaLog,
}

impl World {
    /// `None` where there is no Kafka, after saying what is left out.
    pub(crate) fn new(what: &str) -> Option<Self> {
        let servers = servers::kafka(what)?;
        let topic_prefix = format!("{}_", servers::unique("ingestion"));
        let config = Config {
            servers,
            topic_prefix,
            partitions: 4,
            ..Config::default()
        };
        let log = KafkaLog::connect(&config).expect("a client");
        log.ensure_topics(config.partitions).expect("topics");
        Some(Self { config, log })
    }

    /// All of `system_metrics`, decoded, with the partitions.
    pub(crate) fn records(&self) -> Vec<(u32, SystemMetric)> {
        let mut records = Vec::new();
        for partition in 0..self.config.partitions {
            let place = Place {
                topic: &SYSTEM_METRICS,
                partition,
            };
            let span = self.log.bounds(place).expect("bounds");
            let mut each = |record: forewarn_bus::Record| {
                let pairs = record
                    .headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_slice()));
                let headers = Headers::from_pairs(pairs).expect("headers");
                records.push((
                    partition,
                    SystemMetric::decode(&headers, &record.body).expect("a body"),
                ));
                true
            };
            self.log.read(place, span, &mut each).expect("records");
        }
        records
    }

    /// The batches in `system_metrics`.
    pub(crate) fn batches(&self) -> Vec<SampleBatch> {
        let batch = |(_, record)| {
            if let SystemMetric::Samples(batch) = record {
                Some(batch)
            } else {
                None
            }
        };
        self.records().into_iter().filter_map(batch).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What a failed test leaves behind has a name of its own and harms nobody.
        let _ = self.log.delete_topics();
    }
}

/// Sends a request over a connection of its own; the status and the body of the answer, or `None` without one.
pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Waits until something comes about.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: did not come about");
        std::thread::sleep(Duration::from_millis(50));
    }
}
