//! Puts records into the log and waits until all of them are acknowledged: what a 2xx answer stands on.

use std::time::Duration;

use forewarn_bus::{AppendError, Appender};
use forewarn_messages::{Envelope, SYSTEM_METRICS};
use futures::future::try_join_all;
use tokio::time::timeout;

/// Why a request is not acknowledged. Sending it again is safe in every case: its samples have the same ids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unacknowledged {
    /// The log's send buffer is full; none or some of the records are on their way.
    #[error("the log's send buffer is full")]
    Full,
    /// The disk under the log is nearly full; none or some of the records are on their way.
    #[error("{0}")]
    NoRoom(String),
    /// Some records may be in the log and some not.
    #[error("the log has not acknowledged all samples: {0}")]
    Unknown(String),
    /// The log will never take one of the records: a defect of ours, since the door lets nothing like that in.
    #[error("the log refuses a record: {0}")]
    Refused(String),
}

impl From<AppendError> for Unacknowledged {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full => Self::Full,
            AppendError::NoRoom => Self::NoRoom(error.to_string()),
            AppendError::Unknown(problem) => Self::Unknown(problem),
            AppendError::Refused(problem) => Self::Refused(problem),
        }
    }
}

/// Appends `records` in their order and waits up to `patience` for all acknowledgements.
///
/// # Errors
/// [`Unacknowledged`] as soon as one record is not taken, or when the time is up.
pub(crate) async fn acknowledge(
    appender: &dyn Appender,
    records: Vec<Envelope>,
    patience: Duration,
) -> Result<(), Unacknowledged> {
    let mut receipts = Vec::with_capacity(records.len());
    for record in records {
        receipts.push(appender.append(&SYSTEM_METRICS, None, None, record)?);
    }
    match timeout(patience, try_join_all(receipts)).await {
        Ok(outcome) => outcome.map(|_| ()).map_err(Into::into),
        Err(_) => Err(Unacknowledged::Unknown(
            "it has not answered in time".into(),
        )),
    }
}
