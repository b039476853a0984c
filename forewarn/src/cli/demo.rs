//! `forewarn demo`: a demonstration from nothing to a foreseen failure, in a folder of its own that goes afterwards.
//!
//! It starts this very program as anybody would start it, and listens to what it tells.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use forewarn_simulate::FaultKind;
use forewarn_store::Timestamp;
use forewarn_types::{AlertState, PredictionState};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::Form;
use super::{Cx, times};
use crate::front::{Happening, Share};

/// From the start to the first fault: initdb, a day of past, eight models, and the quarter of a minute until they judge.
const START_MAX: Duration = Duration::from_secs(300);

/// It is asked to end, and waited for as long as it may take to drain.
const END_MAX: Duration = Duration::from_secs(45);

/// Run the demonstration until something is foreseen, and end
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints one JSON document with --json: what went wrong, how many seconds after its beginning it was an
anomaly, predicted, and told of, why, when the failure was expected, and how that came out.
Ends with 1 when it takes longer than --timeout, or the prediction does not come true.

Examples:
  forewarn demo
  forewarn demo --fault disk-fill --until graded --json")]
pub(super) struct Demo {
    /// What is to go wrong
    #[arg(long, value_name = "KIND", default_value = "memory-leak", value_parser = fault)]
    fault: FaultKind,
    /// How long after the models have begun to judge
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = times::span)]
    at: Duration,
    /// What to wait for; graded: until the prediction has come true, or not
    #[arg(long, value_enum, default_value_t = Until::Alert)]
    until: Until,
    /// How long after the beginning of the fault it may take [default: 3m, with --until graded 12m]
    #[arg(long, value_name = "SPAN", value_parser = times::span)]
    timeout: Option<Duration>,
    /// From which everything random follows
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the folder afterwards, to look into it with the other commands
    #[arg(long)]
    keep: bool,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Until {
    Anomaly,
    Prediction,
    Alert,
    Graded,
}

/// What was seen, in seconds after the beginning of the fault.
#[derive(Debug, Default, Serialize)]
struct Seen {
    fault: String,
    seed: u64,
    resource: Option<String>,
    fault_at: Option<String>,
    anomaly_after_seconds: Option<f64>,
    predicted_after_seconds: Option<f64>,
    alert_after_seconds: Option<f64>,
    alert: Option<String>,
    explanation: Vec<Share>,
    breach_eta: Option<Eta>,
    /// When there was nothing left at all, as the simulator knows.
    breach_after_seconds: Option<f64>,
    graded: Option<Grade>,
}

/// When the failure was expected, in seconds after the beginning of the fault.
#[derive(Debug, Serialize)]
struct Eta {
    p10: Option<f64>,
    p50: Option<f64>,
    p90: Option<f64>,
}

/// How it came out.
#[derive(Debug, Serialize)]
struct Grade {
    state: String,
    lead_seconds: Option<f64>,
    /// Whether the level at which it counts as failed was reached between the 10 % and the 90 % that were said first.
    within_interval: Option<bool>,
}

impl Demo {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        let folder = Folder::make(self.keep)?;
        let mut child = self.start(&folder.path)?;
        let outcome = self.watch(cx, &mut child, &folder.path).await;
        let ended = end(&mut child).await;
        if self.keep {
            cx.out
                .say(&format!("the folder: {}", folder.path.display()));
        }
        let (seen, is_seen) = outcome?;
        ended?;
        if cx.out.form() == Form::Json {
            cx.out.document(&seen)?;
        } else {
            cx.out.line(&seen.sentence())?;
        }
        Ok(if is_seen { Answer::Yes } else { Answer::No })
    }

    /// The program itself, as anybody would start it, on ports that are free.
    fn start(&self, folder: &Path) -> Result<Child, Failure> {
        let mut settings = BTreeMap::from([
            ("demo.enabled", "on".to_owned()),
            ("demo.seed", self.seed.to_string()),
            ("demo.fault", self.fault.name().to_owned()),
            ("demo.after", forewarn_config::duration::format(self.at)),
            ("ingestion.host.enabled", "false".to_owned()),
        ]);
        for listen in ["api.listen", "ingestion.listen", "trainer.listen"] {
            settings.insert(listen, format!("127.0.0.1:{}", free_port()?));
        }
        settings.insert("service.port", free_port()?.to_string());
        let program = std::env::current_exe().map_err(|error| broken(&error))?;
        let mut command = Command::new(program);
        command.arg("--json").arg("--data-dir").arg(folder);
        for (key, value) in settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command
            // Settings that lie about are for another Forewarn.
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().map_err(|error| broken(&error))
    }

    /// Listens until what was wanted is seen, or it takes too long.
    async fn watch(
        &self,
        cx: &Cx,
        child: &mut Child,
        folder: &Path,
    ) -> Result<(Seen, bool), Failure> {
        let stderr = child.stderr.take().ok_or_else(|| {
            Failure::new(
                Code::Internal,
                "the demonstration has no voice".to_owned(),
                "",
            )
        })?;
        let mut lines = BufReader::new(stderr).lines();
        let mut seen = Seen {
            fault: self.fault.name().to_owned(),
            seed: self.seed,
            ..Seen::default()
        };
        let patience = self.timeout.unwrap_or(match self.until {
            Until::Graded => Duration::from_secs(720),
            _ => Duration::from_secs(180),
        });
        let mut deadline = Instant::now() + START_MAX;
        cx.out
            .say("starting; the fleet gets a day of past, and models made of it");
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(next) = tokio::time::timeout(left, next(&mut lines)).await else {
                if seen.fault_at.is_none() {
                    let words = format!("it did not begin within {} s", START_MAX.as_secs());
                    return Err(Failure::new(
                        Code::Unreachable,
                        words,
                        "try again with --keep, and look into its log",
                    ));
                }
                return Ok((seen, false));
            };
            let Some((at, happening)) = next? else {
                return Err(ended_by_itself(folder));
            };
            if let Some((word, sentence)) = happening.words() {
                cx.out.say(&format!(
                    "{} {word:<8} {sentence}",
                    at.get(11..19).unwrap_or(&at)
                ));
            }
            if seen.take(self.fault, &at, &happening) {
                deadline = Instant::now() + patience;
            }
            if seen.has(self.until, self.fault) {
                let is_good = seen
                    .graded
                    .as_ref()
                    .is_none_or(|grade| matches!(grade.state.as_str(), "confirmed" | "detected"));
                return Ok((seen, is_good));
            }
        }
    }
}

impl Seen {
    /// Takes in what happened; whether it was the beginning of the fault.
    fn take(&mut self, kind: FaultKind, told_at: &str, happening: &Happening) -> bool {
        let mine = |resource: &String| self.resource.as_ref() == Some(resource);
        match happening {
            Happening::Fault {
                resource,
                fault,
                at,
                ..
            } if self.resource.is_none() && fault == kind.name() => {
                self.resource = Some(resource.clone());
                self.fault_at = Some(at.clone());
                return true;
            }
            Happening::Anomaly {
                resource, parts, ..
            } if mine(resource) && self.anomaly_after_seconds.is_none() => {
                self.anomaly_after_seconds = self.after(told_at);
                if self.explanation.is_empty() {
                    self.explanation.clone_from(parts);
                }
            }
            Happening::Prediction {
                resource,
                failure,
                p10_seconds,
                p50_seconds,
                p90_seconds,
                parts,
                ..
            } if mine(resource)
                && self.predicted_after_seconds.is_none()
                && kind.failure() == Some(*failure) =>
            {
                self.predicted_after_seconds = self.after(told_at);
                if let Some(after) = self.predicted_after_seconds {
                    self.breach_eta = Some(Eta {
                        p10: p10_seconds.map(|seconds| after + seconds),
                        p50: p50_seconds.map(|seconds| after + seconds),
                        p90: p90_seconds.map(|seconds| after + seconds),
                    });
                }
                if !parts.is_empty() {
                    self.explanation.clone_from(parts);
                }
            }
            Happening::Alert {
                resource,
                state,
                title,
                ..
            } if mine(resource)
                && self.alert_after_seconds.is_none()
                && (*state == AlertState::Predicted
                    || (*state == AlertState::Open && kind.failure().is_none())) =>
            {
                self.alert_after_seconds = self.after(told_at);
                self.alert = Some(title.clone());
            }
            Happening::Breach { resource, at, .. } if mine(resource) => {
                self.breach_after_seconds = self.after(at);
            }
            Happening::Graded {
                resource,
                failure,
                state,
                lead_seconds,
                ..
            } if mine(resource)
                && kind.failure() == Some(*failure)
                && *state != PredictionState::Withdrawn =>
            {
                let eta = self.breach_eta.as_ref();
                let since = self.predicted_after_seconds;
                let within =
                    eta.and_then(|eta| Some((eta.p10?, eta.p90?, since? + (*lead_seconds)?)));
                self.graded = Some(Grade {
                    state: state.as_str().to_owned(),
                    lead_seconds: *lead_seconds,
                    within_interval: within.map(|(soon, late, came)| (soon..=late).contains(&came)),
                });
            }
            // What ends in no failure is detected or not.
            Happening::FaultEnded { resource, .. }
                if mine(resource) && kind.failure().is_none() =>
            {
                let state = if self.alert_after_seconds.is_some() {
                    "detected"
                } else {
                    "missed"
                };
                self.graded = Some(Grade {
                    state: state.to_owned(),
                    lead_seconds: None,
                    within_interval: None,
                });
            }
            _ => {}
        }
        false
    }

    fn has(&self, until: Until, kind: FaultKind) -> bool {
        match until {
            Until::Anomaly => self.anomaly_after_seconds.is_some(),
            Until::Prediction => self.predicted_after_seconds.is_some(),
            Until::Alert => {
                self.alert_after_seconds.is_some()
                    && (kind.failure().is_none() || self.predicted_after_seconds.is_some())
            }
            Until::Graded => {
                // The truth may come a moment later than the grade.
                self.graded.is_some()
                    && (kind.failure().is_none() || self.breach_after_seconds.is_some())
            }
        }
    }

    fn after(&self, at: &str) -> Option<f64> {
        let from: Timestamp = self.fault_at.as_ref()?.parse().ok()?;
        let to: Timestamp = at.parse().ok()?;
        Some((times::seconds(from, to) * 10.0).round() / 10.0)
    }

    fn sentence(&self) -> String {
        let after = |seconds: Option<f64>| {
            seconds.map_or_else(|| "not".to_owned(), |seconds| format!("after {seconds} s"))
        };
        let mut text = format!(
            "{} on {}: anomaly {}, predicted {}, alert {}",
            self.fault,
            self.resource.as_deref().unwrap_or("nobody"),
            after(self.anomaly_after_seconds),
            after(self.predicted_after_seconds),
            after(self.alert_after_seconds),
        );
        if let Some(breach) = self.breach_after_seconds {
            text.push_str(&format!(", limit reached after {breach} s"));
        }
        if let Some(grade) = &self.graded {
            text.push_str(&format!("; {}", grade.state));
            if let Some(lead) = grade.lead_seconds {
                text.push_str(&format!(", {} ahead", times::words(lead)));
            }
        }
        text
    }
}

/// The next thing that happened, and when it was told; none at the end.
async fn next(
    lines: &mut Lines<BufReader<ChildStderr>>,
) -> Result<Option<(String, Happening)>, Failure> {
    while let Some(line) = lines.next_line().await.map_err(|error| broken(&error))? {
        let Ok(value) = serde_json::from_str::<serde_json::Value>(&line) else {
            continue;
        };
        let at = value["timestamp"].as_str().unwrap_or_default().to_owned();
        if value.get("event").is_some()
            && let Ok(happening) = serde_json::from_value(value)
        {
            return Ok(Some((at, happening)));
        }
    }
    Ok(None)
}

/// Asks it to end, and waits until it has.
async fn end(child: &mut Child) -> Result<(), Failure> {
    if let Some(process) = child.id().and_then(|id| i32::try_from(id).ok())
        && let Some(process) = rustix::process::Pid::from_raw(process)
    {
        // Who has ended already cannot be asked.
        let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
    }
    match tokio::time::timeout(END_MAX, child.wait()).await {
        Ok(_) => Ok(()),
        Err(_) => child.kill().await.map_err(|error| broken(&error)),
    }
}

/// A folder that goes when it is not needed any more.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make(keep: bool) -> Result<Self, Failure> {
        let name = format!("forewarn-demo-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).map_err(|error| broken(&error))?;
        Ok(Self { path, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed now is in the folder for such things.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A kind of fault by its name.
pub(super) fn fault(name: &str) -> Result<FaultKind, String> {
    name.parse().map_err(|_| {
        let guess = forewarn_config::nearest(name, FaultKind::NAMES.iter().copied());
        let guess = guess
            .map(|guess| format!("did you mean `{guess}`? "))
            .unwrap_or_default();
        format!("{guess}there are {}", FaultKind::NAMES.join(", "))
    })
}

/// Somebody else may take it before the program does; then that says so.
fn free_port() -> Result<u16, Failure> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.map(|address| address.port())
        .map_err(|error| broken(&error))
}

fn broken(error: &std::io::Error) -> Failure {
    Failure::new(
        Code::Internal,
        format!("the demonstration cannot run: {error}"),
        "",
    )
}

fn ended_by_itself(folder: &Path) -> Failure {
    Failure::new(
        Code::Internal,
        "the demonstration ended by itself".to_owned(),
        format!(
            "run `forewarn --data-dir {}` and see what it says",
            folder.display()
        ),
    )
}
