//! `dead_letters`: what could not be read, kept as it came, with the reason. Nothing is lost silently.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::envelope::{from_json, to_json, unknown_schema};
use crate::{Body, DEAD_LETTERS, DecodeError, Headers, Topic};

/// Why a record went here; a bounded set, so that it can tell metrics apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// A header is missing or unreadable.
    Header,
    /// The topic holds no such schema.
    UnknownSchema,
    /// The body is not what its schema says.
    Body,
    /// Readable, but a stage could not work on it; a defect of ours.
    Panic,
    /// A store refused it for good.
    RefusedByStore,
}

impl DeadReason {
    /// The word used in messages and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::UnknownSchema => "unknown_schema",
            Self::Body => "body",
            Self::Panic => "panic",
            Self::RefusedByStore => "refused_by_store",
        }
    }
}

/// A record that could not be read or stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Who gave up on it: `stream-processor`, `recorder` …
    pub stage: String,
    /// Where it was.
    pub topic: String,
    /// Where it was.
    pub partition: u32,
    /// Where it was.
    pub offset: u64,
    /// The class of the problem.
    pub reason: DeadReason,
    /// The problem in words.
    pub detail: String,
    /// The body as text; bytes that are not UTF-8 are replaced, and it is cut at [`DeadLetter::BODY_LIMIT`].
    pub body: String,
}

impl DeadLetter {
    /// How much of a body is kept, in bytes.
    pub const BODY_LIMIT: usize = 64 * 1024;

    /// The kept form of a body.
    #[must_use]
    pub fn excerpt(body: &[u8]) -> String {
        String::from_utf8_lossy(&body[..body.len().min(Self::BODY_LIMIT)]).into_owned()
    }
}

const DEAD_LETTER: (&str, u16) = ("dead_letter", 1);

impl Body for DeadLetter {
    const TOPIC: &'static Topic = &DEAD_LETTERS;

    fn schema(&self) -> (&'static str, u16) {
        DEAD_LETTER
    }

    fn key(&self) -> String {
        format!("{}/{}", self.topic, self.partition)
    }

    fn id(&self, _body: &[u8]) -> Uuid {
        // One id per place in the log: giving up on it twice is giving up on it once.
        forewarn_types::id::message(
            format!(
                "{}/{}/{}/{}",
                self.stage, self.topic, self.partition, self.offset
            )
            .as_bytes(),
        )
    }

    fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    fn decode(headers: &Headers, body: &[u8]) -> Result<Self, DecodeError> {
        match headers.schema.as_str() {
            "dead_letter" => from_json(headers, DEAD_LETTER.1, body),
            _ => unknown_schema(headers, Self::TOPIC),
        }
    }
}
