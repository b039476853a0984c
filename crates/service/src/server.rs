//! Answers HTTP within limits: so many connections, so long for a request's head, and an orderly end.
//!
//! `axum::serve` has no such limits, so the loop around hyper is written out here, once for all services.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::Context;

/// Further callers wait in the system's queue.
const CONNECTIONS_MAX: usize = 1024;

/// A request's head has to arrive within this time, which also ends connections that are kept without use.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// When no connection can be accepted (too many open files), trying at once again would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address that is taken, ready to answer.
#[derive(Debug)]
pub struct Server {
    cx: Context,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    pub(crate) async fn bind(
        cx: Context,
        setting: &str,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let remedy = match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "another program listens there: end it, or choose another"
                }
                std::io::ErrorKind::AddrNotAvailable => {
                    "this machine does not have that address: choose another"
                }
                std::io::ErrorKind::PermissionDenied => {
                    "ports below 1024 are for root: choose another"
                }
                _ => "choose another",
            };
            anyhow::Error::new(error).context(format!(
                "cannot listen on {address}; {remedy} with `{setting}`"
            ))
        })?;
        let address = listener
            .local_addr()
            .context("cannot tell the address that was taken")?;
        Ok(Self {
            cx,
            listener,
            address,
        })
    }

    /// Where it answers; the port is a real one even if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the service has to end; then takes no new connection, and ends when the open requests are answered.
    ///
    /// # Errors
    /// None today; the signature is that of a component.
    pub async fn run(self, app: Router) -> anyhow::Result<()> {
        let stop = self.cx.clone();
        self.run_until(app, async move { stop.stopped().await })
            .await
    }

    pub(crate) async fn run_until(
        self,
        app: Router,
        end: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT);
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        tokio::pin!(end);
        loop {
            let next = async {
                // The semaphore is never closed.
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (place, self.listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                next = next => next,
                () = &mut end => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    // Answers are small; waiting to fill a packet only delays them.
                    let _ = stream.set_nodelay(true);
                    let connection = http.serve_connection(
                        TokioIo::new(stream),
                        TowerToHyperService::new(app.clone()),
                    );
                    let connection = graceful.watch(connection);
                    tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "connection broke");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        graceful.shutdown().await;
        Ok(())
    }
}
