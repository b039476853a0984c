//! Sequence numbers are input offsets (DESIGN.md §2.4): where in the log a derived record has its cause.
//!
//! `src` always names the *root*: the record of `system_metrics` that caused it, however many stages lie between.
//! Offsets of a derived topic would not do, since they shift by one with every repetition after a crash,
//! and two runs over the same log would then differ in nothing but their numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Identity of one partition's history: minted when the partition is empty, repeated in every tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogId(pub Uuid);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// How many records one input may cause: the sub-index of a stage's output is
/// the input's own sub-index times this, plus the output's place.
pub const SUB_FANOUT: u64 = 1 << 16;

/// Where a derived record has its cause. Within a partition it only grows, except for repetitions after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Src {
    /// The history that `offset` counts in.
    pub log: LogId,
    /// Partition of `system_metrics`, and so of every topic derived from it.
    pub partition: u32,
    /// Offset of the root record in that partition.
    pub offset: u64,
    /// Place among the records that the root caused.
    pub sub: u64,
}

impl Src {
    /// The cause of everything that a root record leads to.
    #[must_use]
    pub const fn root(log: LogId, partition: u32, offset: u64) -> Self {
        Self {
            log,
            partition,
            offset,
            sub: 0,
        }
    }

    /// The `src` of the `index`-th record that a stage derives from the record with this `src`.
    #[must_use]
    pub const fn derive(self, index: u64) -> Self {
        Self {
            sub: self.sub * SUB_FANOUT + index,
            ..self
        }
    }

    /// Position within its partition's history; comparable only under one log id.
    #[must_use]
    pub const fn position(self) -> (u64, u64) {
        (self.offset, self.sub)
    }
}

impl fmt::Display for Src {
    /// `<log>/<partition>/<offset>/<sub>`: the header's text form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}/{}",
            self.log, self.partition, self.offset, self.sub
        )
    }
}

/// A `src` header that does not have the form `<log>/<partition>/<offset>/<sub>`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a source position of the form log/partition/offset/sub")]
pub struct ParseSrcError(String);

impl FromStr for Src {
    type Err = ParseSrcError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.split('/');
            let src = Self {
                log: LogId(parts.next()?.parse().ok()?),
                partition: parts.next()?.parse().ok()?,
                offset: parts.next()?.parse().ok()?,
                sub: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(src)
        };
        parse().ok_or_else(|| ParseSrcError(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_refuses_the_rest() {
        let src = Src::root(LogId(Uuid::from_u128(7)), 3, 42)
            .derive(1)
            .derive(2);
        assert_eq!(src.to_string().parse(), Ok(src));
        for bad in [
            "",
            "x/1/2/3",
            "00000000000000000000000000000007/1/2",
            "00000000000000000000000000000007/1/2/3/4",
        ] {
            assert!(bad.parse::<Src>().is_err(), "{bad}");
        }
    }

    #[test]
    fn derived_positions_keep_the_order_of_their_causes() {
        let log = LogId(Uuid::from_u128(7));
        let first = Src::root(log, 0, 5).derive(0);
        let second = Src::root(log, 0, 5).derive(1);
        assert!(first.derive(SUB_FANOUT - 1).position() < second.derive(0).position());
        assert!(second.derive(9).position() < Src::root(log, 0, 6).derive(0).derive(0).position());
    }
}
