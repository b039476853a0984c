//! Pages of a list: where the next one begins is told by the last row of this one, not by a count of rows.
//!
//! So rows that come or go in between neither repeat nor hide others, and the thousandth page costs what the first did.
//! A cursor is opaque, and bound to the list and filters that it came from: under others it is refused.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use forewarn_store::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Longer texts are no cursors of ours: the longest key is two names.
const CURSOR_CHARS_MAX: usize = 4_096;

/// Some items of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items, in the order that the endpoint states.
    pub(crate) items: Vec<T>,
    /// Give it as `cursor`, with the same other parameters, for the items after these; null when there are none.
    pub(crate) next: Option<String>,
}

impl<T> Page<T> {
    /// A page of rows; if there are `more`, the last one's key says where the next page begins.
    pub(crate) fn new<K: Serialize>(
        items: Vec<T>,
        more: bool,
        binding: Binding,
        key: impl FnOnce(&T) -> K,
    ) -> Self {
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| Cursor::seal(&key(last), binding));
        Self { items, next }
    }
}

/// The list and filters that a cursor belongs to, as a digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding([u8; 8]);

impl Binding {
    pub(crate) fn of(path: &str, pairs: &[(String, String)]) -> Self {
        let mut pairs: Vec<_> = pairs
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "cursor" | "limit"))
            .collect();
        pairs.sort();
        let mut hasher = blake3::Hasher::new();
        for text in std::iter::once(path).chain(
            pairs
                .iter()
                .flat_map(|(name, value)| [name.as_str(), value.as_str()]),
        ) {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        let mut digest = [0; 8];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Self(digest)
    }
}

/// The place after a row.
pub(crate) struct Cursor;

impl Cursor {
    fn seal<K: Serialize>(key: &K, binding: Binding) -> String {
        // Numbers, texts and ids always have a form in postcard.
        let bytes = postcard::to_stdvec(&(binding, key)).unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The key of the row after which the page begins.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn open<K: DeserializeOwned>(
        text: &str,
        binding: Binding,
    ) -> Result<K, &'static str> {
        const STRANGE: &str = "it is not a cursor of ours";
        if text.len() > CURSOR_CHARS_MAX {
            return Err(STRANGE);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| STRANGE)?;
        let ((found, key), rest): ((Binding, K), _) =
            postcard::take_from_bytes(&bytes).map_err(|_| STRANGE)?;
        if !rest.is_empty() {
            return Err(STRANGE);
        }
        if found != binding {
            return Err("it belongs to another list or other filters");
        }
        Ok(key)
    }
}

/// The row after which a page begins, as PostgreSQL reads it: its moment and its id.
pub(crate) fn place(after: Option<(i64, Uuid)>) -> (Option<String>, Option<Uuid>) {
    after
        .map(|(micros, id)| (Timestamp::from_micros(micros).to_string(), id))
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(path: &str, pairs: &[(&str, &str)]) -> Binding {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Binding::of(path, &pairs)
    }

    #[test]
    fn a_cursor_leads_back_to_its_row_under_the_same_filters_only() {
        let here = binding("/a", &[("state", "open"), ("limit", "5")]);
        let key = (i64::MIN, Uuid::from_u128(7), "ü/".to_owned());
        let page = Page::new(vec![1, 2], true, here, |last| {
            assert_eq!(*last, 2);
            key.clone()
        });
        let next = page.next.expect("there are more");
        let same = binding("/a", &[("limit", "9"), ("cursor", "x"), ("state", "open")]);
        assert_eq!(Cursor::open(&next, same), Ok(key));
        for other in [
            binding("/b", &[("state", "open")]),
            binding("/a", &[]),
            binding("/a", &[("state", "")]),
            binding("/a", &[("stateopen", "")]),
        ] {
            assert!(Cursor::open::<(i64, Uuid, String)>(&next, other).is_err());
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let here = binding("/a", &[]);
        let next = Page::new(vec![1], true, here, |_| 1_i64)
            .next
            .expect("more");
        for text in [
            "",
            "!",
            "AAAA",
            &next[1..],
            &format!("{next}AA"),
            &"A".repeat(9_999),
        ] {
            assert!(Cursor::open::<i64>(text, here).is_err(), "{text}");
        }
        assert!(Page::new(vec![1], false, here, |_| 1_i64).next.is_none());
    }
}
