//! The service as a whole: its pages answer at once, and it is ready while PostgreSQL answers and holds the schema.

use std::sync::Arc;
use std::time::Duration;

use forewarn_service::Context;

use crate::{App, lacking};

/// How often PostgreSQL is asked, for the readiness page.
const LOOK: Duration = Duration::from_secs(2);

/// Starts everything and returns; the parts end when the service is asked to stop.
///
/// # Errors
/// When the address cannot be had.
pub async fn run(cx: &Context, app: App) -> anyhow::Result<()> {
    let ready = cx.condition("postgres");
    let app = Arc::new(app);
    let listen = app.config().listen;
    let server = cx.listen("api.listen", listen).await?;
    tracing::info!(address = %server.address(), "showing the ledger");
    if !listen.ip().is_loopback() {
        tracing::warn!(
            address = %server.address(),
            "other machines can reach this service, and it asks nobody for a password: put a proxy that does in front of \
             it, or set `api.listen` to 127.0.0.1:3000"
        );
    }
    app.door().open();
    let watched = app.ledger().clone();
    cx.spawn("http", server.run(app.router(cx.pages())));
    let stopping = cx.clone();
    cx.spawn("ledger-watch", async move {
        loop {
            let looked = tokio::select! {
                looked = lacking(&watched) => looked,
                () = stopping.stopped() => return Ok(()),
            };
            match looked {
                None => ready.met(),
                Some(why) => ready.not_met(why),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stopping.stopped() => return Ok(()),
            }
        }
    });
    Ok(())
}
