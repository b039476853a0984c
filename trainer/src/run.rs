//! The service: a pass every hour, and whenever somebody asks for one.

use std::sync::Arc;
use std::time::Duration;

use forewarn_bus::LogAccess;
use forewarn_service::Context;
use forewarn_store::postgres::Postgres;

use crate::commands::obey;
use crate::desk::Desk;
use crate::pages;
use crate::pass::{PassError, Trainer};

/// After a start the first pass waits a little, so that a restart in a row is no storm.
const FIRST: Duration = Duration::from_secs(60);

/// A pass that broke off is tried again after this time, if the next one is further away.
const AGAIN: Duration = Duration::from_secs(60);

/// How often orders are looked for that another trainer took, or could not serve.
const LOOK: Duration = Duration::from_secs(5);

/// Starts everything and returns; the parts end when the service is asked to stop.
///
/// # Errors
/// When the address cannot be had, or the system gives no thread.
pub async fn run(
    cx: &Context,
    trainer: Trainer,
    config: &crate::Config,
    postgres: Postgres,
    log: LogAccess,
) -> anyhow::Result<()> {
    let desk = Arc::new(Desk::new(postgres));
    let (ready, obeying) = (cx.condition("stores"), cx.watch("commands"));
    let server = cx.listen("trainer.listen", config.listen).await?;
    let port = server.address().port();
    tracing::info!(address = %server.address(), "waiting for commands, POST /train and the hour");
    let pages = pages::router(Arc::clone(&desk)).merge(cx.pages());
    cx.spawn("http", server.run(pages));

    let (runtime, stop) = (tokio::runtime::Handle::current(), cx.stop().clone());
    let (instance, counter) = (cx.instance_on(port), Arc::clone(&desk));
    cx.spawn_thread("commands", move || {
        let log = log.open()?;
        Ok(obey(
            log.as_ref(),
            counter,
            runtime,
            &instance,
            &stop,
            &obeying,
        )?)
    })?;

    ready.met();
    let (stopping, every) = (cx.clone(), config.every);
    cx.spawn("trainer", async move {
        let mut next = tokio::time::Instant::now() + FIRST.min(every);
        loop {
            tokio::select! {
                () = desk.woken() => {}
                () = tokio::time::sleep(LOOK) => {}
                () = stopping.stopped() => return Ok(()),
            }
            // What has begun when the service ends is dropped: nothing of it judges before its last commit.
            let worked = tokio::select! {
                worked = work(&desk, &trainer, &mut next, every) => worked,
                () = stopping.stopped() => return Ok(()),
            };
            match worked {
                Ok(()) => ready.met(),
                Err(error) => {
                    tracing::warn!(%error, "a pass broke off");
                    ready.not_met(error.to_string());
                    tokio::select! {
                        () = tokio::time::sleep(LOOK) => {}
                        () = stopping.stopped() => return Ok(()),
                    }
                }
            }
        }
    });
    Ok(())
}

/// Serves the orders that wait, and makes the hour's pass when it is time.
async fn work(
    desk: &Desk,
    trainer: &Trainer,
    next: &mut tokio::time::Instant,
    every: Duration,
) -> Result<(), crate::training::Error> {
    desk.serve(trainer).await?;
    if tokio::time::Instant::now() < *next {
        return Ok(());
    }
    *next = tokio::time::Instant::now() + AGAIN.min(every);
    match trainer.pass(None).await {
        Ok(summary) => {
            tracing::info!(
                trained = summary.trainings.len(),
                left = summary.left,
                "pass ended"
            );
            if summary.gave_way {
                // Right after the orders.
                *next = tokio::time::Instant::now();
            } else {
                *next = tokio::time::Instant::now() + every;
            }
            Ok(())
        }
        Err(PassError::Store(error)) => Err(error),
        Err(error) => {
            tracing::info!(%error, "no pass");
            Ok(())
        }
    }
}
