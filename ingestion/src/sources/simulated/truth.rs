//! Writes down what really went wrong: a line of JSON for each [`Label`], of which the last one of a fault holds.
//!
//! A file, and not a topic, so that nothing that judges can come across it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use forewarn_simulate::Label;

use crate::seldom::Seldom;

/// The file of labels; made when the first one is written.
#[derive(Debug)]
pub(super) struct TruthFile {
    path: PathBuf,
    complaints: Seldom,
}

impl TruthFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            complaints: Seldom::every(Duration::from_secs(60)),
        }
    }

    /// Appends `labels`. That it could not is told in the log: the simulation goes on, only its evaluation is lost.
    pub(super) fn write(&mut self, labels: &[Label]) {
        if let Err(error) = self.append(labels)
            && let Some(unsaid) = self.complaints.may("truth")
        {
            tracing::warn!(
                path = %self.path.display(), %error, unsaid,
                "cannot write down the simulator's truth: its faults cannot be evaluated"
            );
        }
    }

    fn append(&self, labels: &[Label]) -> io::Result<()> {
        let mut lines = Vec::new();
        for label in labels {
            serde_json::to_writer(&mut lines, label)?;
            lines.push(b'\n');
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Opened each time: a few lines an hour, and whoever moves the file away gets a new one. In one write, so that a
        // line is whole or missing.
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)?;
        file.write_all(&lines)
    }
}
