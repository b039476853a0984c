//! Hands a typed struct out of the tree, and remembers on the way where a mistake lies.

use std::fmt;

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};

use crate::tree::{Node, Value, parse_inline};
use crate::{KeyPath, Step};

/// The largest file that is read for a secret; a certificate fits, a mistaken path to a log does not fill memory.
const SECRET_FILE_BYTES_MAX: u64 = 1 << 20;

/// What is wrong, kept apart so that it can be told with the right remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// A key that nobody reads.
    UnknownKey {
        key: String,
        known: &'static [&'static str],
    },
    /// A word that is none of the choices.
    UnknownChoice {
        word: String,
        known: &'static [&'static str],
    },
    /// A key that has to be there.
    Missing { key: &'static str },
    /// The file of a secret cannot be used; the words name the file and hold nothing of it.
    File(String),
    /// Anything else, in words.
    Other(String),
}

/// A mistake and the path to it, relative to where reading began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) path: KeyPath,
    pub(crate) wrong: Wrong,
}

impl Mistake {
    fn here(wrong: Wrong) -> Self {
        Self {
            path: KeyPath::default(),
            wrong,
        }
    }

    fn below(mut self, step: Step) -> Self {
        self.path.0.insert(0, step);
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wrong {
            Wrong::UnknownKey { key, .. } => write!(f, "unknown key `{key}`"),
            Wrong::UnknownChoice { word, .. } => write!(f, "unknown choice `{word}`"),
            Wrong::Missing { key } => write!(f, "`{key}` is missing"),
            Wrong::File(words) | Wrong::Other(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(words: T) -> Self {
        Self::here(Wrong::Other(words.to_string()))
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::here(Wrong::UnknownKey {
            key: key.to_owned(),
            known,
        })
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::here(Wrong::UnknownChoice {
            word: word.to_owned(),
            known,
        })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::here(Wrong::Missing { key })
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::here(Wrong::Other(format!(
            "`{key}` is given twice, under two of its names; keep one"
        )))
    }
}

/// Reads one node. Everything is copied out, so that the node's life does not matter to what is made of it.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'n>(pub(crate) &'n Node);

impl Reader<'_> {
    fn text(self) -> Option<String> {
        match &self.0.value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// A list or table written in the environment as TOML writes it.
    fn inline(self, opening: char) -> Option<Node> {
        let text = self.text()?;
        text.trim_start()
            .starts_with(opening)
            .then(|| parse_inline(text.trim(), &self.0.origin))
            .flatten()
    }
}

/// The content of a secret's file.
fn file_content(path: &std::path::Path) -> Result<String, Mistake> {
    use std::io::Read as _;
    let fail = |problem: String| {
        Mistake::here(Wrong::File(format!(
            "cannot read {}: {problem}",
            path.display()
        )))
    };
    let file = std::fs::File::open(path).map_err(|error| fail(error.to_string()))?;
    let mut content = Vec::new();
    file.take(SECRET_FILE_BYTES_MAX + 1)
        .read_to_end(&mut content)
        .map_err(|error| fail(error.to_string()))?;
    if content.len() as u64 > SECRET_FILE_BYTES_MAX {
        return Err(fail(
            "it is larger than 1 MiB, and so hardly a secret".into(),
        ));
    }
    let mut content =
        String::from_utf8(content).map_err(|_| fail("it is not text in UTF-8".into()))?;
    content.truncate(content.trim_end_matches(['\n', '\r']).len());
    Ok(content)
}

/// For a type that may come as text: parses it, or lets the visitor complain about the text in its own words.
macro_rules! scalar {
    ($($method:ident, $visit:ident, $kind:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            match self.text() {
                Some(text) => match text.trim().parse::<$kind>() {
                    Ok(value) => visitor.$visit(value),
                    Err(_) => visitor.visit_string(text),
                },
                None => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.0.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(text) => visitor.visit_str(text),
            Value::Text(text) => {
                if let Some(node) = self.inline('[').or_else(|| self.inline('{')) {
                    return Reader(&node).deserialize_any(visitor);
                }
                let word = text.trim();
                if let Ok(value) = word.parse() {
                    visitor.visit_bool(value)
                } else if let Ok(value) = word.parse() {
                    visitor.visit_i64(value)
                } else if let Ok(value) = word.parse() {
                    visitor.visit_f64(value)
                } else {
                    visitor.visit_str(text)
                }
            }
            // Its content must never be repeated, so whatever the visitor says about it is replaced.
            Value::File(path) => visitor
                .visit_string(file_content(path)?)
                .map_err(|_: Mistake| {
                    Mistake::here(Wrong::File(format!(
                        "the content of {} is not what belongs here",
                        path.display()
                    )))
                }),
            Value::List(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Value::Table(entries) => {
                let entries = entries.iter().filter(|(_, node)| !node.struck);
                visitor.visit_map(Entries {
                    entries: Box::new(entries),
                    value: None,
                })
            }
        }
    }

    scalar! {
        deserialize_bool, visit_bool, bool;
        deserialize_i8, visit_i64, i64;
        deserialize_i16, visit_i64, i64;
        deserialize_i32, visit_i64, i64;
        deserialize_i64, visit_i64, i64;
        deserialize_u8, visit_u64, u64;
        deserialize_u16, visit_u64, u64;
        deserialize_u32, visit_u64, u64;
        deserialize_u64, visit_u64, u64;
        deserialize_f32, visit_f64, f64;
        deserialize_f64, visit_f64, f64;
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.text() {
            Some(text) => visitor.visit_string(text),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        if let Some(node) = self.inline('[') {
            return Reader(&node).deserialize_any(visitor);
        }
        match self.text() {
            Some(text) => {
                // In a variable a list of words is written with commas.
                let words = text
                    .split(',')
                    .map(str::trim)
                    .filter(|word| !word.is_empty());
                let words = words
                    .map(|word| Node::new(self.0.origin.clone(), Value::Text(word.to_owned())));
                let words: Vec<_> = words.collect();
                visitor.visit_seq(Items(words.iter().enumerate()))
            }
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.inline('{') {
            Some(node) => Reader(&node).deserialize_any(visitor),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match &self.0.value {
            Value::String(word) | Value::Text(word) => {
                let word: StrDeserializer<'_, Mistake> = word.as_str().into_deserializer();
                visitor.visit_enum(word)
            }
            Value::Table(entries) => {
                let mut entries = entries.iter().filter(|(_, node)| !node.struck);
                match (entries.next(), entries.next()) {
                    (Some((choice, node)), None) => visitor.visit_enum(Choice { choice, node }),
                    _ => Err(Mistake::here(Wrong::Other(format!(
                        "expected exactly one of `{}`",
                        known.join("`, `")
                    )))),
                }
            }
            _ => Err(Mistake::here(Wrong::Other(format!(
                "expected one of `{}`",
                known.join("`, `")
            )))),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { i128 u128 bytes byte_buf unit_struct }
}

/// The elements of a list that are not struck; they keep their number.
struct Items<'n>(std::iter::Enumerate<std::slice::Iter<'n, Node>>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Mistake> {
        let Some((index, node)) = self.0.by_ref().find(|(_, node)| !node.struck) else {
            return Ok(None);
        };
        seed.deserialize(Reader(node))
            .map(Some)
            .map_err(|mistake| mistake.below(Step::Index(index)))
    }
}

/// The entries of a table that are not struck.
struct Entries<'n> {
    entries: Box<dyn Iterator<Item = (&'n String, &'n Node)> + 'n>,
    value: Option<(&'n String, &'n Node)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mistake> {
        self.value = self.entries.next();
        let Some((key, _)) = self.value else {
            return Ok(None);
        };
        seed.deserialize(StringDeserializer::<Mistake>::new(key.clone()))
            .map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Mistake> {
        let (key, node) = self
            .value
            .take()
            .ok_or_else(|| de::Error::custom("a value was asked for before its key"))?;
        seed.deserialize(Reader(node))
            .map_err(|mistake| mistake.below(Step::Key(key.clone())))
    }
}

/// A choice with content: `{ webhook = { … } }`.
struct Choice<'n> {
    choice: &'n str,
    node: &'n Node,
}

impl<'de, 'n> EnumAccess<'de> for Choice<'n> {
    type Error = Mistake;
    type Variant = ChoiceContent<'n>;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, ChoiceContent<'n>), Mistake> {
        let word: StrDeserializer<'_, Mistake> = self.choice.into_deserializer();
        Ok((
            seed.deserialize(word)?,
            ChoiceContent {
                choice: self.choice,
                node: self.node,
            },
        ))
    }
}

/// What belongs to a choice.
struct ChoiceContent<'n> {
    choice: &'n str,
    node: &'n Node,
}

impl ChoiceContent<'_> {
    fn inside(&self, mistake: Mistake) -> Mistake {
        mistake.below(Step::Key(self.choice.to_owned()))
    }
}

impl<'de> de::VariantAccess<'de> for ChoiceContent<'_> {
    type Error = Mistake;

    fn unit_variant(self) -> Result<(), Mistake> {
        Err(self.inside(Mistake::here(Wrong::Other(
            "nothing belongs inside it; write just the word".into(),
        ))))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mistake> {
        seed.deserialize(Reader(self.node))
            .map_err(|mistake| self.inside(mistake))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mistake> {
        Reader(self.node)
            .deserialize_seq(visitor)
            .map_err(|mistake| self.inside(mistake))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        Reader(self.node)
            .deserialize_map(visitor)
            .map_err(|mistake| self.inside(mistake))
    }
}
