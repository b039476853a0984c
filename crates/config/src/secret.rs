//! A value that must never be seen: masked wherever it could be printed.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// A password, token, or address that contains one. `Debug` and `Serialize` print a mask; only [`Secret::reveal`]
/// gives it out.
///
/// In settings every secret `x` may instead be given as `x_file`, the path of a file that holds it (a trailing line
/// break is cut off).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// What is printed instead.
    pub const MASK: &'static str = "********";

    /// Takes a value into hiding.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Give it to the client that needs it, and to nothing that prints.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether nothing was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn mask(&self) -> &'static str {
        if self.0.is_empty() { "" } else { Self::MASK }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.mask())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_string(Hidden)
    }
}

/// Takes a string, and refuses everything else without repeating it.
struct Hidden;

const REFUSAL: &str = "this is a secret, and so a string in quotes";

impl<'de> Visitor<'de> for Hidden {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string in quotes")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Secret, E> {
        Ok(Secret(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Secret, E> {
        Ok(Secret(value))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
        Err(E::custom(REFUSAL))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
        Err(E::custom(REFUSAL))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secret, E> {
        Err(E::custom(REFUSAL))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
        Err(E::custom(REFUSAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_a_mask() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), Secret::MASK);
        assert_eq!(
            serde_json::to_string(&secret).expect("a string"),
            format!("\"{}\"", Secret::MASK)
        );
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn an_empty_secret_is_seen_to_be_empty_in_settings() {
        assert_eq!(
            serde_json::to_string(&Secret::default()).expect("a string"),
            "\"\""
        );
    }

    #[test]
    fn a_secret_of_another_type_is_refused_without_repeating_it() {
        for wrong in ["4711", "47.11", "[4711]", "{ x = 4711 }"] {
            let document = format!("secret = {wrong}");
            let read = toml::from_str::<std::collections::BTreeMap<String, Secret>>(&document);
            let error = read.expect_err("not a string").message().to_owned();
            assert!(!error.contains("47"), "{error}");
        }
    }
}
