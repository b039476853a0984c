//! `commands`: what people decide, in one order, so that who decided what before what is never in doubt.
//!
//! Each command has an id of its own, made by whoever asks. It names the command in whatever comes of it, and a command
//! that is sent twice, because the first answer was lost, is one command.

use forewarn_types::DEFAULT_TENANT;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::envelope::{from_json, to_json, unknown_schema};
use crate::{Body, COMMANDS, DecodeError, Headers, Topic};

/// One command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Train now.
    Train(TrainCommand),
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

fn default_tenant() -> String {
    DEFAULT_TENANT.to_owned()
}

const TRAIN: (&str, u16) = ("train", 1);

impl Body for Command {
    const TOPIC: &'static Topic = &COMMANDS;

    fn schema(&self) -> (&'static str, u16) {
        match self {
            Self::Train(_) => TRAIN,
        }
    }

    fn key(&self) -> String {
        match self {
            Self::Train(command) => command.tenant.clone(),
        }
    }

    fn id(&self, _body: &[u8]) -> Uuid {
        match self {
            Self::Train(command) => command.command_id,
        }
    }

    fn to_json(&self) -> Vec<u8> {
        match self {
            Self::Train(command) => to_json(command),
        }
    }

    fn decode(headers: &Headers, body: &[u8]) -> Result<Self, DecodeError> {
        match headers.schema.as_str() {
            "train" => from_json(headers, TRAIN.1, body).map(Self::Train),
            _ => unknown_schema(headers, Self::TOPIC),
        }
    }
}
