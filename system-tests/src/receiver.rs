//! Where the alerter delivers to: a webhook that remembers which deliveries came, and in which order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use forewarn_store::postgres::Session;
use forewarn_testkit::judge::Report;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// A webhook that takes everything.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    came: Arc<Mutex<Vec<Uuid>>>,
}

impl Receiver {
    /// Begins to listen; it ends with the runtime.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(runtime: &Runtime) -> anyhow::Result<Self> {
        let came = Arc::new(Mutex::new(Vec::new()));
        let app = Router::new()
            .route("/", post(take))
            .with_state(Arc::clone(&came));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        runtime.spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, came })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Compares what came with what the outbox says: everything that counts as delivered came, repetitions are no more
    /// than attempts whose outcome was never known, and no transition of an alert came after a later one.
    ///
    /// # Errors
    /// As the ledger says.
    pub async fn compare(&self, session: &Session) -> anyhow::Result<Report> {
        let sql = "SELECT delivery_id, alert_id, sequence, state, \
                   (SELECT count(*) FROM delivery_attempts a WHERE a.delivery_id = d.delivery_id) FROM deliveries d";
        let rows = session.query(sql, &[]).await?;
        let came = self
            .came
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut report = Report::default();
        let mut times: BTreeMap<Uuid, i64> = BTreeMap::new();
        for id in &came {
            *times.entry(*id).or_default() += 1;
        }
        let mut known: BTreeMap<Uuid, (Uuid, i64)> = BTreeMap::new();
        let mut arrived = 0;
        for row in rows {
            let (id, alert, sequence, state, attempts): (Uuid, Uuid, i64, String, i64) =
                (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
            known.insert(id, (alert, sequence));
            let count = times.get(&id).copied().unwrap_or(0);
            match state.as_str() {
                "delivered" if count > 0 => arrived += 1,
                "delivered" => {
                    report.differ(|| format!("delivery {id} counts as delivered and never came"))
                }
                "superseded" => {}
                _ => report.differ(|| format!("delivery {id} is {state}")),
            }
            if count > attempts {
                report
                    .differ(|| format!("delivery {id} came {count} times in {attempts} attempts"));
            }
        }
        let mut told: BTreeMap<Uuid, i64> = BTreeMap::new();
        for id in &came {
            let Some((alert, sequence)) = known.get(id) else {
                report.differ(|| format!("delivery {id} came and is not in the outbox"));
                continue;
            };
            let latest = told.entry(*alert).or_default();
            if sequence < latest {
                report
                    .differ(|| format!("alert {alert}: transition {sequence} came after {latest}"));
            }
            *latest = (*latest).max(*sequence);
        }
        report.agree("deliveries that arrived", arrived);
        Ok(report)
    }
}

async fn take(State(came): State<Arc<Mutex<Vec<Uuid>>>>, headers: HeaderMap) -> StatusCode {
    let id = headers
        .get("idempotency-key")
        .and_then(|id| id.to_str().ok())
        .and_then(|id| id.parse().ok());
    match id {
        Some(id) => {
            came.lock().unwrap_or_else(PoisonError::into_inner).push(id);
            StatusCode::NO_CONTENT
        }
        None => StatusCode::BAD_REQUEST,
    }
}
