//! The door to the log: the one thing that this service appends to, and only for those who ask for a change.
//!
//! Looking must not depend on it, so it is opened beside everything else, again whenever somebody needs it and it is not
//! open; whoever needs it waits a moment, and is then told to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forewarn_bus::{AppendError, Appender, LogAccess};
use forewarn_messages::{Body as _, COMMANDS, Command};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Why a command is not known to be in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// The log is away: it is certainly not there.
    Away,
    /// The log can never take it.
    Refused(String),
    /// It may be there.
    Unknown,
}

/// Opens when it can, and lets commands through.
pub(crate) struct Door {
    log: LogAccess,
    appender: watch::Sender<Option<Arc<dyn Appender>>>,
    /// One attempt at a time: each may take as long as the log's own patience.
    is_opening: AtomicBool,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl Door {
    pub(crate) fn new(log: LogAccess) -> Arc<Self> {
        Arc::new(Self {
            log,
            appender: watch::Sender::new(None),
            is_opening: AtomicBool::new(false),
        })
    }

    /// Begins to open it, unless it is open or being opened.
    pub(crate) fn open(self: &Arc<Self>) {
        if self.appender.borrow().is_some() || self.is_opening.swap(true, Ordering::AcqRel) {
            return;
        }
        let door = Arc::clone(self);
        tokio::spawn(async move {
            let opened = door.log.connect().await;
            match opened.and_then(|log| log.appender()) {
                Ok(appender) => drop(door.appender.send_replace(Some(appender))),
                Err(error) => {
                    tracing::warn!(%error, "commands cannot be taken while the log is away");
                }
            }
            door.is_opening.store(false, Ordering::Release);
        });
    }

    /// Puts a command into the log, until `deadline`.
    pub(crate) async fn send(
        self: &Arc<Self>,
        command: &Command,
        deadline: Instant,
    ) -> Result<(), NotSent> {
        self.open();
        let mut opened = self.appender.subscribe();
        let appender = match timeout_at(deadline, opened.wait_for(Option::is_some)).await {
            Ok(Ok(appender)) => appender.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        let appender = appender.ok_or(NotSent::Away)?;
        let not_sent = |error: AppendError| match error {
            AppendError::Full | AppendError::NoRoom => NotSent::Away,
            AppendError::Refused(why) => NotSent::Refused(why),
            AppendError::Unknown(_) => NotSent::Unknown,
        };
        let receipt = appender
            .append(&COMMANDS, None, None, command.seal(None, None))
            .map_err(not_sent)?;
        // A log that has just gone away needs a moment of its own.
        let deadline = deadline.max(Instant::now() + Duration::from_millis(500));
        match timeout_at(deadline, receipt).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(not_sent(error)),
            Err(_) => Err(NotSent::Unknown),
        }
    }
}
