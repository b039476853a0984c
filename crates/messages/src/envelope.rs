//! What surrounds every body: headers that say what it is, which record it is, and what caused it.

use forewarn_types::Src;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{Tick, Topic};

/// Names of the headers on the wire.
const SCHEMA: &str = "schema";
const VERSION: &str = "version";
const ID: &str = "id";
const SRC: &str = "src";
const TRACEPARENT: &str = "traceparent";

/// The headers of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Name of the body's schema: `samples`, `tick`, `feature_vector` …
    pub schema: String,
    /// Version of that schema; raised when an old reader could no longer read a new body.
    pub version: u16,
    /// The message's id, from its content (DESIGN.md §2.7).
    pub id: Uuid,
    /// What caused it; absent on root records, whose cause is their own place in the log.
    pub src: Option<Src>,
    /// W3C trace context, carried over from the cause.
    pub traceparent: Option<String>,
}

impl Headers {
    /// The headers as the log stores them.
    #[must_use]
    pub fn to_pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            (SCHEMA, self.schema.clone()),
            (VERSION, self.version.to_string()),
            (ID, self.id.to_string()),
        ];
        if let Some(src) = self.src {
            pairs.push((SRC, src.to_string()));
        }
        if let Some(traceparent) = &self.traceparent {
            pairs.push((TRACEPARENT, traceparent.clone()));
        }
        pairs
    }

    /// Reads the headers of a record.
    ///
    /// # Errors
    /// [`DecodeError::Header`] when one that every record has is absent or unreadable.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, DecodeError> {
        let (mut schema, mut version, mut id, mut src, mut traceparent) =
            (None, None, None, None, None);
        for (name, value) in pairs {
            let text =
                || std::str::from_utf8(value).map_err(|_| DecodeError::header(name, "is not text"));
            match name {
                SCHEMA => schema = Some(text()?.to_owned()),
                VERSION => {
                    version = Some(
                        text()?
                            .parse()
                            .map_err(|_| DecodeError::header(name, "is not a number"))?,
                    )
                }
                ID => {
                    id = Some(
                        text()?
                            .parse()
                            .map_err(|_| DecodeError::header(name, "is not an id"))?,
                    )
                }
                SRC => {
                    src = Some(
                        text()?
                            .parse()
                            .map_err(|_| DecodeError::header(name, "is not a source position"))?,
                    )
                }
                TRACEPARENT => traceparent = Some(text()?.to_owned()),
                // Headers of other tools are none of our business.
                _ => {}
            }
        }
        Ok(Self {
            schema: schema.ok_or_else(|| DecodeError::header(SCHEMA, "is missing"))?,
            version: version.ok_or_else(|| DecodeError::header(VERSION, "is missing"))?,
            id: id.ok_or_else(|| DecodeError::header(ID, "is missing"))?,
            src,
            traceparent,
        })
    }
}

/// A record on its way into the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The key that keeps it in order.
    pub key: String,
    /// What stands before the body.
    pub headers: Headers,
    /// JSON.
    pub body: Vec<u8>,
}

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A header is missing or unreadable.
    #[error("header `{name}` {problem}")]
    Header {
        /// Which one.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The topic holds no such schema.
    #[error("unknown schema `{schema}` on topic `{topic}`")]
    UnknownSchema {
        /// As the header says.
        schema: String,
        /// Where it was found.
        topic: &'static str,
    },
    /// A newer writer: the partition is paused, since skipping would lose data that a newer reader could use.
    #[error(
        "schema `{schema}` has version {found}, this program reads up to {known}: upgrade it before its writers"
    )]
    UnknownVersion {
        /// As the header says.
        schema: String,
        /// As the header says.
        found: u16,
        /// What this program can read.
        known: u16,
    },
    /// The body is not what its schema says.
    #[error("body of schema `{schema}`: {problem}")]
    Body {
        /// As the header says.
        schema: String,
        /// The parser's words.
        problem: String,
    },
}

impl DecodeError {
    fn header(name: &str, problem: &'static str) -> Self {
        Self::Header {
            name: name.chars().take(80).collect(),
            problem,
        }
    }

    /// Whether the record itself is fine and only this program too old for it.
    #[must_use]
    pub const fn is_too_new(&self) -> bool {
        matches!(self, Self::UnknownVersion { .. })
    }
}

/// Everything that one topic can hold: a closed set of schemas.
pub trait Body: Sized {
    /// Where these bodies live.
    const TOPIC: &'static Topic;

    /// Name and current version of this body's schema.
    fn schema(&self) -> (&'static str, u16);

    /// The key that keeps it in order.
    fn key(&self) -> String;

    /// The message's id, given its encoded body.
    fn id(&self, body: &[u8]) -> Uuid;

    /// The body as JSON.
    fn to_json(&self) -> Vec<u8>;

    /// Reads a body by its headers.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong; nothing in a body can make this panic.
    fn decode(headers: &Headers, body: &[u8]) -> Result<Self, DecodeError>;

    /// The record that carries this body, caused by `src`.
    fn seal(&self, src: Option<Src>, traceparent: Option<String>) -> Envelope {
        let body = self.to_json();
        let (schema, version) = self.schema();
        let headers = Headers {
            schema: schema.to_owned(),
            version,
            id: self.id(&body),
            src,
            traceparent,
        };
        Envelope {
            key: self.key(),
            headers,
            body,
        }
    }
}

/// A topic through which the log's clock passes: its bodies can be ticks.
pub trait Ticked: Body {
    /// The tick, if this is one.
    fn tick(&self) -> Option<Tick>;

    /// The tick as a body of this topic.
    fn from_tick(tick: Tick) -> Self;
}

pub(crate) fn to_json<T: Serialize>(body: &T) -> Vec<u8> {
    serde_json::to_vec(body).expect("bodies have text keys only and a Vec takes every write")
}

/// Parses a body whose schema the caller has found to be `schema`, if its version is not newer than `known`.
pub(crate) fn from_json<T: DeserializeOwned>(
    headers: &Headers,
    known: u16,
    body: &[u8],
) -> Result<T, DecodeError> {
    if headers.version > known {
        return Err(DecodeError::UnknownVersion {
            schema: headers.schema.clone(),
            found: headers.version,
            known,
        });
    }
    serde_json::from_slice(body).map_err(|error| DecodeError::Body {
        schema: headers.schema.clone(),
        problem: error.to_string(),
    })
}

pub(crate) fn unknown_schema<T>(
    headers: &Headers,
    topic: &'static Topic,
) -> Result<T, DecodeError> {
    Err(DecodeError::UnknownSchema {
        schema: headers.schema.chars().take(80).collect(),
        topic: topic.name,
    })
}
