//! One line per notification on the standard output, for the terminal and for whatever collects it.

use std::io::{IsTerminal as _, Write as _};

use async_trait::async_trait;
use forewarn_types::Severity;
use serde::{Deserialize, Serialize};

use super::{Notification, Notifier, NotifyError};

/// `type = "console"`: lines on the standard output.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Unique name.
    pub name: String,
    /// Only alerts at least as bad are told: `info`, `low`, `medium`, `high` or `critical`.
    #[serde(default = "super::everything")]
    pub min_severity: Severity,
}

impl Config {
    pub(super) fn build(&self) -> Console {
        Console {
            colour: std::io::stdout().is_terminal(),
        }
    }
}

/// Writes lines.
#[derive(Debug)]
pub struct Console {
    colour: bool,
}

#[async_trait]
impl Notifier for Console {
    async fn notify(&self, notification: &Notification) -> Result<(), NotifyError> {
        let line = line(notification, self.colour);
        // Whoever reads this may not: a full pipe must block no thread that others need.
        let written = tokio::task::spawn_blocking(move || {
            // One call, so that lines of several threads do not mix.
            std::io::stdout().lock().write_all(line.as_bytes())
        });
        written
            .await
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(|error| NotifyError::Transient {
                reason: format!("the standard output takes nothing: {error}"),
                retry_after: None,
            })
    }
}

/// `12:58:44 HIGH     predicted  web-02  / will be full in about 3 min (2–5 min)`, times in UTC.
fn line(notification: &Notification, colour: bool) -> String {
    let at = notification.logged_at.to_string();
    let time = at.get(11..19).unwrap_or(&at);
    let resource = &notification.resource;
    let prefix = format!("{resource}: ");
    let headline = notification
        .title
        .strip_prefix(&prefix)
        .unwrap_or(&notification.title);
    let severity = notification.severity.as_str().to_uppercase();
    let (on, off) = match (colour, notification.is_resolved(), notification.severity) {
        (false, _, _) => ("", ""),
        (true, true, _) => ("\u{1b}[32m", "\u{1b}[0m"),
        (true, false, Severity::Critical | Severity::High) => ("\u{1b}[1;31m", "\u{1b}[0m"),
        (true, false, Severity::Medium) => ("\u{1b}[33m", "\u{1b}[0m"),
        (true, false, Severity::Low | Severity::Info) => ("\u{1b}[36m", "\u{1b}[0m"),
    };
    // Names come from outside: none of them may move the cursor or begin a line.
    let plain = |text: &str| text.replace(char::is_control, "\u{fffd}");
    format!(
        "{time} {on}{severity:<8}{off} {:<9}  {}  {}\n",
        notification.to_state,
        plain(resource),
        plain(headline)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifiers::webhook::tests::notification;

    #[test]
    fn a_line_is_readable_and_cannot_be_broken() {
        let mut sample = notification();
        assert_eq!(
            line(&sample, false),
            "12:58:44 HIGH     predicted  web-02  / will be full in about 3 min (2–5 min)\n"
        );
        assert!(line(&sample, true).contains("\u{1b}[1;31mHIGH"));
        sample.title = "web-02: /a\n\u{1b}[2Jb is full".into();
        assert_eq!(line(&sample, false).lines().count(), 1);
        assert!(!line(&sample, false).contains('\u{1b}'));
    }
}
