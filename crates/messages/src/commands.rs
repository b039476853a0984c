//! `commands`: what people decide, in one order, so that who decided what before what is never in doubt.
//!
//! Each command has an id of its own, made by whoever asks. It names the command in whatever comes of it, and a command
//! that is sent twice, because the first answer was lost, is one command.
//!
//! The topic has two readers, and each passes over what is for the other ([`Audience`]), whatever its version: the trainer
//! takes `train`, and sets aside what nobody knows; the alerter takes `acknowledge` and `resolve`, and the ticks, which it
//! appends itself while it is active, so that time passes here too.

use forewarn_types::DEFAULT_TENANT;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::envelope::{from_json, to_json, unknown_schema};
use crate::{Body, COMMANDS, DecodeError, Headers, Tick, Ticked, Topic};

/// One command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Train now.
    Train(TrainCommand),
    /// Somebody looks after an alert.
    Acknowledge(AlertCommand),
    /// An alert is over, whatever its condition says.
    Resolve(AlertCommand),
    /// The log's clock.
    Tick(Tick),
}

/// That models be made now, instead of when the trainer would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainCommand {
    /// Which command.
    pub command_id: Uuid,
    /// Whose resources.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// Who wants it: a person's name, or a program's.
    pub actor: String,
    /// Whom to train, due or not; absent means whoever is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Vec<String>>,
    /// History is looked for from here on, in milliseconds since the epoch, though it lies before the first step that was
    /// judged: it was taken in from elsewhere. Absent means that there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
}

/// What somebody decides about one alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertCommand {
    /// Which command.
    pub command_id: Uuid,
    /// Whose alert.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// Which alert.
    pub alert_id: Uuid,
    /// Who decides: a person's name, or a program's.
    pub actor: String,
    /// What they say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl AlertCommand {
    /// Longer names are cut.
    pub const ACTOR_CHARS: usize = 100;
    /// Longer messages are cut.
    pub const MESSAGE_CHARS: usize = 2_000;
}

fn default_tenant() -> String {
    DEFAULT_TENANT.to_owned()
}

/// For whom a record of this topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// It trains.
    Trainer,
    /// It moves alerts.
    Alerter,
    /// It moves time.
    Clock,
}

impl Audience {
    /// By the name of the schema, so that a newer version is passed over too by those whom it does not concern. `None`:
    /// nobody knows it.
    #[must_use]
    pub fn of(schema: &str) -> Option<Self> {
        match schema {
            "train" => Some(Self::Trainer),
            "acknowledge" | "resolve" => Some(Self::Alerter),
            "tick" => Some(Self::Clock),
            _ => None,
        }
    }
}

const TRAIN: (&str, u16) = ("train", 1);
const ACKNOWLEDGE: (&str, u16) = ("acknowledge", 1);
const RESOLVE: (&str, u16) = ("resolve", 1);

impl Body for Command {
    const TOPIC: &'static Topic = &COMMANDS;

    fn schema(&self) -> (&'static str, u16) {
        match self {
            Self::Train(_) => TRAIN,
            Self::Acknowledge(_) => ACKNOWLEDGE,
            Self::Resolve(_) => RESOLVE,
            Self::Tick(_) => Tick::SCHEMA,
        }
    }

    fn key(&self) -> String {
        match self {
            Self::Train(command) => command.tenant.clone(),
            Self::Acknowledge(command) | Self::Resolve(command) => command.alert_id.to_string(),
            Self::Tick(_) => Tick::KEY.to_owned(),
        }
    }

    fn id(&self, body: &[u8]) -> Uuid {
        match self {
            Self::Train(command) => command.command_id,
            Self::Acknowledge(command) | Self::Resolve(command) => command.command_id,
            Self::Tick(_) => forewarn_types::id::message(body),
        }
    }

    fn to_json(&self) -> Vec<u8> {
        match self {
            Self::Train(command) => to_json(command),
            Self::Acknowledge(command) | Self::Resolve(command) => to_json(command),
            Self::Tick(tick) => to_json(tick),
        }
    }

    fn decode(headers: &Headers, body: &[u8]) -> Result<Self, DecodeError> {
        match headers.schema.as_str() {
            "train" => from_json(headers, TRAIN.1, body).map(Self::Train),
            "acknowledge" => from_json(headers, ACKNOWLEDGE.1, body).map(Self::Acknowledge),
            "resolve" => from_json(headers, RESOLVE.1, body).map(Self::Resolve),
            "tick" => from_json(headers, Tick::SCHEMA.1, body).map(Self::Tick),
            _ => unknown_schema(headers, Self::TOPIC),
        }
    }
}

impl Ticked for Command {
    fn tick(&self) -> Option<Tick> {
        if let Self::Tick(tick) = self {
            Some(*tick)
        } else {
            None
        }
    }

    fn from_tick(tick: Tick) -> Self {
        Self::Tick(tick)
    }
}
