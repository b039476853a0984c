//! Sizes as people write them: `512B`, `64KiB`, `8MiB`, `1GB`. For `#[serde(with = "forewarn_config::size")]`.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// Bytes of each unit; of the binary ones the greatest first, since sizes are written in them.
const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads `64KiB`.
///
/// # Errors
/// What is wrong, with an example of what is right.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()));
    let size = unit.and_then(|(_, bytes)| number.parse::<u64>().ok()?.checked_mul(*bytes));
    size.ok_or_else(|| {
        format!(
            "`{text}` is not a size; write it with a unit, such as \"512B\", \"64KiB\" or \"8MiB\""
        )
    })
}

/// Writes what [`parse`] reads, in the greatest binary unit without a remainder.
#[must_use]
pub fn format(bytes: u64) -> String {
    let fits = |(name, unit): &&(&str, u64)| {
        name.len() != 2 && bytes >= *unit && bytes.is_multiple_of(*unit)
    };
    UNITS.iter().find(fits).map_or_else(
        || format!("{bytes}B"),
        |(name, unit)| format!("{}{name}", bytes / unit),
    )
}

/// For `#[serde(with)]` on a `u64` or `usize`.
///
/// # Errors
/// Only the serializer's own.
pub fn serialize<T: Copy + TryInto<u64>, S: Serializer>(
    bytes: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    format((*bytes).try_into().unwrap_or(u64::MAX)).serialize(serializer)
}

/// For `#[serde(with)]` on a `u64` or `usize`.
///
/// # Errors
/// When the value is neither a size in quotes nor a whole number of bytes.
pub fn deserialize<'de, T: TryFrom<u64>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let bytes = deserializer.deserialize_any(Written)?;
    T::try_from(bytes).map_err(|_| {
        de::Error::custom(format!(
            "{bytes} bytes are more than this machine can count"
        ))
    })
}

struct Written;

impl Visitor<'_> for Written {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size with a unit in quotes, such as \"64KiB\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        parse(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<u64, E> {
        Ok(bytes)
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<u64, E> {
        u64::try_from(bytes)
            .map_err(|_| E::custom(format!("{bytes} is not a size: it is negative")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["0B", "512B", "64KiB", "8MiB", "3GiB", "1025B"] {
            assert_eq!(format(parse(text).expect(text)), text);
        }
        assert_eq!(parse("5 kb"), Ok(5_000));
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in [
            "",
            "64",
            "KiB",
            "-1B",
            "1.5MiB",
            "64 furlongs",
            "99999999999GiB",
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("\"64KiB\""), "{error}");
        }
    }
}
