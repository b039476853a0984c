//! What is made of the tree of commands itself: scripts for shells, manual pages, and the version.

use std::path::PathBuf;

use clap_complete::Shell;
use serde_json::json;

use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::Form;
use super::{Cx, tree};

/// Write the script that completes commands in a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: forewarn completions bash > /etc/bash_completion.d/forewarn")]
pub(crate) struct Completions {
    /// For which shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Write the manual pages into a folder
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: forewarn man /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// The folder, which is made if need be
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Completions {
    pub(super) fn run(&self, cx: &Cx) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut tree(), "forewarn", &mut script);
        cx.out.line(String::from_utf8_lossy(&script).trim_end())?;
        Ok(Answer::Yes)
    }
}

impl Man {
    pub(super) fn run(&self, cx: &Cx) -> Outcome {
        let failed = |error: std::io::Error| {
            Failure::new(
                Code::Refused,
                format!("{} cannot be written: {error}", self.folder.display()),
                "name a folder that this user may write",
            )
        };
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        clap_mangen::generate_to(tree(), &self.folder).map_err(failed)?;
        cx.out
            .say(&format!("the pages are in {}", self.folder.display()));
        Ok(Answer::Yes)
    }
}

/// Which version this is.
pub(super) fn version(cx: &Cx) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    if cx.out.form() == Form::Json {
        cx.out
            .document(&json!({ "name": "forewarn", "version": version }))?;
    } else {
        cx.out.line(&format!("forewarn {version}"))?;
    }
    Ok(Answer::Yes)
}
