//! Finds the services' binaries: beside the program that runs the test, in `target/<profile>/`.

use std::path::PathBuf;

use anyhow::{Context, bail};

/// The services, by the names of their folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Takes samples in; holds the recorder.
    Ingestion,
    /// Closes steps.
    StreamProcessor,
    /// Judges; holds the projector.
    Predictor,
    /// Raises alerts.
    Alerter,
    /// Makes models.
    Trainer,
    /// All of them in one process, on a log of its own.
    Whole,
}

impl Service {
    /// Those that work on the log, in the order of the flow.
    pub const ALL: [Self; 4] = [
        Self::Ingestion,
        Self::StreamProcessor,
        Self::Predictor,
        Self::Alerter,
    ];

    /// The folder's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingestion => "ingestion",
            Self::StreamProcessor => "stream-processor",
            Self::Predictor => "predictor",
            Self::Alerter => "alerter",
            Self::Trainer => "trainer",
            Self::Whole => "whole",
        }
    }

    fn binary(self) -> String {
        match self {
            Self::Whole => "forewarn".to_owned(),
            part => format!("forewarn-{}", part.name()),
        }
    }
}

/// Where the binary of a service is.
///
/// # Errors
/// When it is not there, with the command that builds it.
pub fn find(service: Service) -> anyhow::Result<PathBuf> {
    let me = std::env::current_exe().context("the running program has no path")?;
    // target/<profile>/deps/<test> or target/<profile>/<binary>
    let profile = me
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"))
        .context("no folder above")?;
    let path = profile.join(service.binary());
    if !path.is_file() {
        bail!(
            "{} is not there: run `cargo build --workspace` first",
            path.display()
        );
    }
    Ok(path)
}
