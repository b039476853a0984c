//! `alerts ack` and `alerts resolve`: what a person decides about alerts, given to the API, which puts it into the log.
//!
//! Every alert is its own command. One that fails does not keep the others from being sent; the first failure is what the
//! program ends with.

use forewarn_store::Timestamp;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Cx;
use super::client::{Client, PAGE, read};
use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::Form;
use super::times::short;

/// Shorter beginnings of ids are not looked for: they would soon mean another alert.
const PART_CHARS_MIN: usize = 6;

const THOSE_THERE_ARE: &str = "`forewarn alerts list --all` shows those there are";

/// Which alerts, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Decide {
    /// The alerts: their ids, or the first characters of them, six at least
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// What to say about it
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

/// What is wanted of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    Acknowledge,
    Resolve,
}

impl Deed {
    fn path(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledged",
            Self::Resolve => "resolved",
        }
    }
}

#[derive(Deserialize)]
struct Alert {
    alert_id: String,
    title: String,
}

#[derive(Deserialize)]
struct Command {
    command_id: String,
    outcome: String,
    detail: Option<String>,
    logged_at: Option<Timestamp>,
}

impl Decide {
    pub(super) async fn run(self, cx: &Cx, deed: Deed) -> Outcome {
        let client = cx.server()?;
        let mut first: Option<Failure> = None;
        let mut documents = Vec::new();
        for id in &self.ids {
            match self.one(cx, &client, deed, id).await {
                Ok(document) => documents.push(document),
                Err(failure) if first.is_none() => first = Some(failure),
                Err(failure) => cx.out.say(&failure.to_string()),
            }
        }
        if cx.out.form() == Form::Json {
            cx.out.document(&json!({ "items": documents }))?;
        }
        match first {
            Some(failure) => Err(failure),
            None => Ok(Answer::Yes),
        }
    }

    async fn one(
        &self,
        cx: &Cx,
        client: &Client,
        deed: Deed,
        id: &str,
    ) -> Result<Box<RawValue>, Failure> {
        let id = find(client, id).await?;
        let decision = json!({ "actor": login(cx), "message": self.message });
        let path = ["api", "v1", "alerts", &id, deed.path()];
        let answer = client.post(&path, &decision).await;
        let (_, text) = answer.map_err(|failure| {
            if failure.is(Code::NotFound) {
                failure.with_remedy(THOSE_THERE_ARE)
            } else {
                failure
            }
        })?;
        let document: Box<RawValue> = read(&text)?;
        if cx.out.form() != Form::Json {
            cx.out.line(&told(&read(&text)?, deed, &id))?;
        }
        Ok(document)
    }
}

fn told(command: &Command, deed: Deed, id: &str) -> String {
    let detail = command.detail.as_deref().unwrap_or_default();
    match (command.outcome.as_str(), command.logged_at) {
        ("done", Some(at)) => format!("{id} {} at {}", deed.done(), short(at)),
        ("done", None) => format!("{id} {}", deed.done()),
        ("pending", _) => format!(
            "{id} is not {} yet: the command is taken and waits for the alerter; see: forewarn sql \"SELECT * FROM alert_commands WHERE command_id = '{}'\"",
            deed.done(),
            command.command_id
        ),
        (_, _) => format!("{id} {detail}"),
    }
}

/// The alert whose id is this, or begins like this: those that need attention come first, since they are meant.
async fn find(client: &Client, id: &str) -> Result<String, Failure> {
    if let Ok(whole) = id.parse::<Uuid>() {
        return Ok(whole.to_string());
    }
    let is_part =
        id.len() >= PART_CHARS_MIN && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if !is_part {
        return Err(Failure::usage(
            format!("`{id}` is no id of an alert"),
            format!(
                "give the id, or its first {PART_CHARS_MIN} characters or more; `forewarn alerts list` shows them"
            ),
        ));
    }
    let part = id.to_ascii_lowercase();
    for states in ["predicted,open,acknowledged", ""] {
        let state = [("state", states.to_owned())];
        let query = if states.is_empty() { &[][..] } else { &state };
        let found: Vec<Alert> = client.list(&["alerts"], query, PAGE).await?.read()?;
        let meant: Vec<Alert> = found
            .into_iter()
            .filter(|alert| alert.alert_id.starts_with(&part))
            .collect();
        match meant.as_slice() {
            [] => {}
            [one] => return Ok(one.alert_id.clone()),
            many => {
                let ids: Vec<String> = many
                    .iter()
                    .map(|one| format!("{} ({})", one.alert_id, one.title))
                    .collect();
                return Err(Failure::usage(
                    format!("the ids of several alerts begin with `{id}`"),
                    format!("give more of it: {}", ids.join(", ")),
                ));
            }
        }
    }
    Err(Failure::not_found(
        format!("there is no alert whose id begins with `{id}`"),
        THOSE_THERE_ARE,
    ))
}

/// Who says so: there is no sign-in yet, so it is the name under which they work on this machine.
fn login(cx: &Cx) -> String {
    ["LOGNAME", "USER", "USERNAME"]
        .iter()
        .find_map(|name| cx.environment.get(name))
        .map_or_else(
            || "forewarn alerts".to_owned(),
            |name| name.chars().take(100).collect(),
        )
}
