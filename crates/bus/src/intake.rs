//! Reading a record for those who are no stage: what it holds, or why it cannot be read.

use forewarn_messages::{Body, DeadLetter, DeadReason, DecodeError, Headers};

use crate::Record;

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A newer writer than this program: wait until this program is upgraded, skipping would lose data.
    TooNew(DecodeError),
    /// Nobody can read it: it belongs into the dead letters.
    Dead {
        /// The class of the problem.
        reason: DeadReason,
        /// The problem in words.
        detail: String,
    },
}

impl Record {
    /// The headers.
    ///
    /// # Errors
    /// [`Unreadable::Dead`] when one that every record has is absent or unreadable.
    pub fn headers(&self) -> Result<Headers, Unreadable> {
        let pairs = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        Headers::from_pairs(pairs).map_err(|error| Unreadable::Dead {
            reason: DeadReason::Header,
            detail: error.to_string(),
        })
    }

    /// The body, by the headers that were read before.
    ///
    /// # Errors
    /// [`Unreadable`] says whether a newer program could read it.
    pub fn body<B: Body>(&self, headers: &Headers) -> Result<B, Unreadable> {
        B::decode(headers, &self.body).map_err(|error| {
            let reason = match &error {
                DecodeError::UnknownVersion { .. } => return Unreadable::TooNew(error),
                DecodeError::UnknownSchema { .. } => DeadReason::UnknownSchema,
                DecodeError::Header { .. } => DeadReason::Header,
                DecodeError::Body { .. } => DeadReason::Body,
            };
            Unreadable::Dead {
                reason,
                detail: error.to_string(),
            }
        })
    }

    /// The letter that sets this record aside.
    #[must_use]
    pub fn dead_letter(&self, stage: &str, reason: DeadReason, detail: String) -> DeadLetter {
        DeadLetter {
            stage: stage.to_owned(),
            topic: self.place.topic.name.to_owned(),
            partition: self.place.partition,
            offset: self.offset,
            reason,
            detail,
            body: DeadLetter::excerpt(&self.body),
        }
    }
}
