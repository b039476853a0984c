//! Senders as they should be: each sends its batches in order, the same bytes again and again until they are
//! acknowledged, and only then writes them into the ledger.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use forewarn_messages::SampleBatch;
use forewarn_testkit::generate::{Recording, Sent};
use forewarn_testkit::ledger::Ledger;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// What the senders have done so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests that wait for their answer.
    pub in_flight: AtomicU64,
    /// Requests that had to be made again.
    pub repeated: AtomicU64,
    /// Batches that were acknowledged.
    pub acknowledged: AtomicU64,
    /// Samples in them.
    pub samples: AtomicU64,
}

/// All senders of a recording, one per host.
#[derive(Debug)]
pub struct Senders {
    /// What they have done so far.
    pub counts: Arc<Counts>,
    hurry: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Senders {
    /// Starts to send. Each host's batches go to one of `urls`, a repeated one to the next; `pause` lies between two
    /// batches of a host.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn start(
        runtime: &Runtime,
        http: &reqwest::Client,
        urls: Vec<String>,
        recording: &Recording,
        ledger: &Path,
        pause: Duration,
    ) -> anyhow::Result<Self> {
        let counts = Arc::new(Counts::default());
        let hurry = Arc::new(AtomicBool::new(false));
        let ledger = Arc::new(Mutex::new(Ledger::open(ledger).context("open the ledger")?));
        let mut tasks = Vec::new();
        for (index, (host, batches)) in by_host(recording).into_iter().enumerate() {
            let sender = Sender {
                host,
                http: http.clone(),
                urls: urls.clone(),
                next_url: index,
                counts: Arc::clone(&counts),
                ledger: Arc::clone(&ledger),
            };
            tasks.push(runtime.spawn(sender.run(batches, pause, Arc::clone(&hurry))));
        }
        Ok(Self {
            counts,
            hurry,
            tasks,
        })
    }

    /// Whether some of them still have something to send.
    #[must_use]
    pub fn are_busy(&self) -> bool {
        self.tasks.iter().any(|task| !task.is_finished())
    }

    /// Leaves out the pauses from now on.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    /// Waits until everything is acknowledged.
    ///
    /// # Errors
    /// When a batch was refused, or not all are acknowledged within `limit`.
    pub fn finish(self, runtime: &Runtime, limit: Duration) -> anyhow::Result<Arc<Counts>> {
        self.hurry();
        runtime.block_on(async {
            for task in self.tasks {
                tokio::time::timeout(limit, task)
                    .await
                    .context("the senders are not done in time")???;
            }
            anyhow::Ok(())
        })?;
        Ok(self.counts)
    }
}

/// The batches of each host, in the order of sending.
#[must_use]
pub fn by_host(recording: &Recording) -> Vec<(String, Vec<Sent>)> {
    let mut hosts: Vec<(String, Vec<Sent>)> = Vec::new();
    for sent in &recording.sent {
        let key = sent.batch.resource.log_key();
        match hosts.iter_mut().find(|(name, _)| *name == key) {
            Some((_, batches)) => batches.push(sent.clone()),
            None => hosts.push((key, vec![sent.clone()])),
        }
    }
    hosts
}

struct Sender {
    host: String,
    http: reqwest::Client,
    urls: Vec<String>,
    next_url: usize,
    counts: Arc<Counts>,
    ledger: Arc<Mutex<Ledger>>,
}

impl Sender {
    async fn run(
        mut self,
        batches: Vec<Sent>,
        pause: Duration,
        hurry: Arc<AtomicBool>,
    ) -> anyhow::Result<()> {
        for (number, sent) in (0_u64..).zip(batches) {
            self.send(&sent.batch)
                .await
                .with_context(|| format!("batch {number} of {}", self.host))?;
            // Synced while holding the lock: a few milliseconds, and the order of entries does not matter.
            self.ledger
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .acknowledged(&self.host, number..number + 1)
                .context("write the ledger")?;
            self.counts.acknowledged.fetch_add(1, Ordering::Relaxed);
            self.counts
                .samples
                .fetch_add(sent.batch.samples.len() as u64, Ordering::Relaxed);
            if !hurry.load(Ordering::Relaxed) {
                tokio::time::sleep(pause).await;
            }
        }
        Ok(())
    }

    async fn send(&mut self, batch: &SampleBatch) -> anyhow::Result<()> {
        let body = serde_json::to_vec(&crate::push::request(batch))?;
        let mut wait = Duration::from_millis(20);
        loop {
            let url = format!(
                "{}/api/v1/metrics",
                self.urls[self.next_url % self.urls.len()]
            );
            let request = self
                .http
                .post(url)
                .header("Content-Type", "application/json")
                .body(body.clone());
            self.counts.in_flight.fetch_add(1, Ordering::Relaxed);
            let answer = request.send().await;
            self.counts.in_flight.fetch_sub(1, Ordering::Relaxed);
            match answer {
                Ok(answer) if answer.status().is_success() => {
                    let said: serde_json::Value = answer.json().await.unwrap_or_default();
                    return crate::push::check(&said, batch);
                }
                Ok(answer)
                    if answer.status().is_client_error() && answer.status().as_u16() != 429 =>
                {
                    let status = answer.status();
                    anyhow::bail!(
                        "refused with {status}: {}",
                        answer.text().await.unwrap_or_default()
                    );
                }
                // Down, busy, or it died before it could answer: the batch may be in the log or not. Again, then.
                Ok(_) | Err(_) => {
                    self.counts.repeated.fetch_add(1, Ordering::Relaxed);
                    self.next_url += 1;
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_millis(500));
                }
            }
        }
    }
}
