//! The wish to end: one flag that threads look at and tasks wait for.

use std::time::Instant;

use forewarn_bus::StopFlag;
use tokio::sync::watch;

/// Set once, for everybody.
#[derive(Debug)]
pub(crate) struct Stop {
    /// For loops over the log, which are threads.
    flag: StopFlag,
    /// For tasks; holds when it was asked for.
    since: watch::Sender<Option<Instant>>,
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self {
            flag: StopFlag::new(),
            since: watch::Sender::new(None),
        }
    }

    /// Asks everybody to end. Only the first call counts, and returns true.
    pub(crate) fn ask(&self) -> bool {
        self.flag.stop();
        self.since.send_if_modified(|since| {
            let first = since.is_none();
            since.get_or_insert_with(Instant::now);
            first
        })
    }

    pub(crate) const fn flag(&self) -> &StopFlag {
        &self.flag
    }

    /// Since when; `None` as long as nobody asked.
    pub(crate) fn since(&self) -> Option<Instant> {
        *self.since.borrow()
    }

    /// Resolves when somebody asks, at once if somebody has.
    pub(crate) async fn asked(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.since.subscribe().wait_for(Option::is_some).await;
    }
}
