//! Lines on the standard error: for people where one looks on, in JSON where a program does.

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

use super::Happening;
use crate::cli::times;

/// In which words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Lines for people.
    Words,
    /// One JSON object a line, like the log's own lines.
    Json,
}

impl Voice {
    /// By who looks on.
    pub(crate) fn of_process(json: bool) -> Self {
        if json || !std::io::stderr().is_terminal() {
            Self::Json
        } else {
            Self::Words
        }
    }
}

/// Tells what happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Show(pub(crate) Voice);

/// With its moment.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    #[serde(flatten)]
    happening: &'a Happening,
}

impl Show {
    /// Tells it. If nobody can hear it, nothing is lost.
    pub(crate) fn tell(self, happening: &Happening) {
        let timestamp = times::now().to_string();
        let text = match self.0 {
            Voice::Json => {
                let line = Line {
                    timestamp,
                    happening,
                };
                serde_json::to_string(&line).ok()
            }
            Voice::Words => match happening {
                Happening::Started { .. } => Some(banner(happening)),
                _ => happening.words().map(|(word, sentence)| {
                    let time = timestamp.get(11..19).unwrap_or(&timestamp);
                    // Names come from outside: none of them may move the cursor.
                    let sentence =
                        sentence.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
                    format!("{time} {word:<8} {sentence}")
                }),
            },
        };
        if let Some(text) = text {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

fn banner(started: &Happening) -> String {
    let Happening::Started {
        version,
        dashboard,
        ingestion,
        demo,
        data,
    } = started
    else {
        return String::new();
    };
    let what = if *demo {
        "one process · this host and a simulated shop of eight"
    } else {
        "one process"
    };
    let mut text = format!(
        "\n  Forewarn {version}   {what} · data in {data}\n\n  \
           Dashboard   {dashboard}/\n  \
           API         {dashboard}/api/docs\n  \
           Push        {ingestion}/api/v1/metrics\n\n  \
           forewarn health · forewarn alerts list · forewarn sql \"SELECT * FROM recent_anomalies\"   (in another terminal)\n"
    );
    if *demo {
        text.push_str(
            "  forewarn chaos inject disk-fill --host queue-01   lets something go wrong in the shop\n  \
             An empty system: forewarn --no-demo --data-dir elsewhere\n",
        );
    }
    text
}
