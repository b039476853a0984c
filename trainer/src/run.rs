//! The service: a pass every hour, and whenever somebody asks for one.

use std::time::Duration;

use forewarn_service::Context;
use tokio::sync::{mpsc, oneshot};

use crate::pages;
use crate::pass::{PassError, Summary, Trainer};

/// After a start the first pass waits a little, so that a restart in a row is no storm.
const FIRST: Duration = Duration::from_secs(60);

/// A pass that broke off is tried again after this time, if the next one is further away.
const AGAIN: Duration = Duration::from_secs(60);

/// Orders that may wait; more are refused.
const ORDERS: usize = 16;

/// Somebody wants a pass.
pub(crate) struct Order {
    /// For whom; nobody named means whoever is due.
    pub(crate) resources: Option<Vec<String>>,
    /// Where the answer goes; the one who asked may be gone by then.
    pub(crate) answer: oneshot::Sender<Result<Summary, PassError>>,
}

/// Starts everything and returns; the parts end when the service is asked to stop.
///
/// # Errors
/// When the address cannot be had.
pub async fn run(cx: &Context, trainer: Trainer, config: &crate::Config) -> anyhow::Result<()> {
    let (orders, mut waiting) = mpsc::channel::<Order>(ORDERS);
    let server = cx.listen("trainer.listen", config.listen).await?;
    tracing::info!(address = %server.address(), "waiting for POST /train, and for the hour");
    cx.spawn("http", server.run(pages::router(orders).merge(cx.pages())));

    let ready = cx.condition("stores");
    ready.met();
    let (stopping, every) = (cx.clone(), config.every);
    cx.spawn("trainer", async move {
        let mut next = tokio::time::Instant::now() + FIRST.min(every);
        loop {
            let order = tokio::select! {
                order = waiting.recv() => order,
                () = tokio::time::sleep_until(next) => None,
                () = stopping.stopped() => return Ok(()),
            };
            let wanted = order.as_ref().and_then(|order| order.resources.as_deref());
            // What a pass has begun when the service ends is dropped: nothing of it judges before its last commit.
            let made = tokio::select! {
                made = trainer.pass(wanted) => made,
                () = stopping.stopped() => return Ok(()),
            };
            let now = tokio::time::Instant::now();
            match &made {
                Ok(summary) => {
                    ready.met();
                    tracing::info!(
                        trained = summary.trainings.len(),
                        left = summary.left,
                        "pass ended"
                    );
                }
                Err(PassError::Store(error)) => {
                    tracing::warn!(%error, "a pass broke off");
                    ready.not_met(error.to_string());
                }
                Err(error) => tracing::info!(%error, "no pass"),
            }
            match order {
                Some(order) => drop(order.answer.send(made)),
                None if made.is_ok() => next = now + every,
                None => next = now + AGAIN.min(every),
            }
        }
    });
    Ok(())
}
