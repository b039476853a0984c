//! Puts the parts together: one thread that leads, one task that relays, one task per receiver.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use forewarn_bus::Log;
use forewarn_rules::RuleSet;
use forewarn_service::Context;
use forewarn_store::postgres::Postgres;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::ledger::Ledger;
use crate::outbox::{Outbox, deliver};
use crate::{Config, Lead, Receiver, relay};

/// Starts the alerter's parts in the service's shell.
///
/// # Errors
/// When the database cannot be used or the system gives no thread.
pub async fn run(
    cx: &Context,
    config: Config,
    rules: RuleSet,
    receivers: Vec<Receiver>,
    log: Arc<dyn Log>,
    postgres: Postgres,
) -> anyhow::Result<()> {
    let leading = cx.watch("alerter");
    let outbox = Outbox::new(postgres.clone(), config.patience());
    let names: Vec<&str> = receivers
        .iter()
        .map(|receiver| receiver.name.as_str())
        .collect();
    let dropped = outbox
        .drop_strangers(&names)
        .await
        .context("cannot look into the outbox")?;
    if dropped > 0 {
        tracing::warn!(
            dropped,
            "gave up notifications to receivers that are no longer configured"
        );
    }
    let holder = format!("{}-{}", std::process::id(), uuid::Uuid::new_v4().simple());
    let ledger = Ledger::new(
        postgres.clone(),
        holder,
        config.lease,
        rules.digest().to_owned(),
    );
    let is_active = Arc::new(AtomicBool::new(false));
    let mut committed = Vec::new();

    for receiver in &receivers {
        let wake = Arc::new(Notify::new());
        committed.push(Arc::clone(&wake));
        let name = format!("receiver {}", receiver.name);
        let progress = cx.progress(&name);
        let (outbox, receiver, stopped) = (outbox.clone(), receiver.clone(), cx.clone());
        cx.spawn(name, async move {
            deliver(
                outbox,
                receiver,
                wake,
                || progress.beat(),
                stopped.stopped(),
            )
            .await;
            Ok(())
        });
    }

    let wake = Arc::new(Notify::new());
    committed.push(Arc::clone(&wake));
    let progress = cx.progress("relay");
    let (relay_log, active, stopped) = (Arc::clone(&log), Arc::clone(&is_active), cx.clone());
    cx.spawn("relay", async move {
        relay::relay(
            relay_log,
            postgres,
            active,
            wake,
            || progress.beat(),
            stopped.stopped(),
        )
        .await;
        Ok(())
    });

    let lead = Lead {
        log,
        ledger,
        rules: Arc::new(rules),
        config,
        receivers,
        is_active,
        committed,
    };
    let (runtime, stop) = (Handle::current(), cx.stop().clone());
    cx.spawn_thread("alerter", move || lead.run(&runtime, &stop, &leading))
}
