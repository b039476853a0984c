//! Ways of telling people: one file each, one variant of [`ReceiverConfig`], one arm of [`ReceiverConfig::build`].
//!
//! A notifier makes a single attempt. Order, retries, time limits over attempts and the record of what was told belong
//! to the outbox ([`crate::outbox`]), so every notifier gets them for free.

pub mod console;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use forewarn_store::Timestamp;
use forewarn_types::Severity;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Tells one receiver about one transition.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Makes one attempt, bounded in time.
    ///
    /// # Errors
    /// [`NotifyError`] says whether it makes sense to try again. It never holds an address or a secret.
    async fn notify(&self, notification: &Notification) -> Result<(), NotifyError>;
}

/// Why a receiver was not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// It may go well later.
    #[error("{reason}")]
    Transient {
        /// In words.
        reason: String,
        /// When the receiver wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It will be refused again.
    #[error("{reason}")]
    Permanent {
        /// In words.
        reason: String,
    },
}

/// One entry of `[[receivers]]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReceiverConfig {
    /// Lines on the standard output.
    Console(console::Config),
    /// JSON to an HTTP endpoint.
    Webhook(webhook::Config),
}

/// Whom to tell, and of what.
#[derive(Clone)]
pub struct Receiver {
    /// Unique; part of every delivery's id.
    pub name: String,
    /// Only alerts at least as bad are told.
    pub min_severity: Severity,
    /// How many notifications may be on their way at once.
    pub parallel: usize,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How to tell.
    pub notifier: Arc<dyn Notifier>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("name", &self.name)
            .field("min_severity", &self.min_severity)
            .finish_non_exhaustive()
    }
}

/// Notifications on their way to one webhook at once.
const WEBHOOK_PARALLEL: usize = 4;
/// A line is written at once, or the terminal is stuck.
const CONSOLE_TIMEOUT: Duration = Duration::from_secs(1);

impl ReceiverConfig {
    /// The receiver's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Console(config) => &config.name,
            Self::Webhook(config) => &config.name,
        }
    }

    /// Builds the receiver.
    ///
    /// # Errors
    /// The field that is wrong, and the remedy.
    pub fn build(&self) -> Result<Receiver, (&'static str, String)> {
        let name = self.name().to_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 100 || !name.chars().all(plain) {
            return Err((
                "name",
                "is 1 to 100 letters, digits, `-`, `_` or `.`".into(),
            ));
        }
        Ok(match self {
            Self::Console(config) => Receiver {
                name,
                min_severity: config.min_severity,
                // Lines in the order of their alerts.
                parallel: 1,
                timeout: CONSOLE_TIMEOUT,
                notifier: Arc::new(config.build()),
            },
            Self::Webhook(config) => Receiver {
                name,
                min_severity: config.min_severity,
                parallel: WEBHOOK_PARALLEL,
                timeout: config.timeout,
                notifier: Arc::new(config.build()?),
            },
        })
    }
}

/// What there is to tell about one transition of one alert.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[allow(
    missing_docs,
    reason = "as in the tables alerts, alert_history and deliveries"
)]
pub struct Notification {
    pub delivery_id: Uuid,
    pub receiver: String,
    pub alert_id: Uuid,
    pub sequence: i64,
    pub tenant: String,
    pub rule: String,
    pub severity: Severity,
    pub from_state: Option<String>,
    pub to_state: String,
    pub resource: String,
    pub kind: String,
    pub subject: String,
    pub failure: Option<String>,
    pub prediction_id: Option<Uuid>,
    pub title: String,
    pub reason: Option<String>,
    pub details: Value,
    pub began_at: Timestamp,
    pub opened_at: Option<Timestamp>,
    pub logged_at: Timestamp,
    pub reopened: i64,
}

impl Notification {
    /// Whether the alert is over.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        self.to_state == "resolved"
    }
}

/// Lowest severity that is told unless a receiver says otherwise: all.
const fn everything() -> Severity {
    Severity::Info
}
