//! Errors as `application/problem+json` (RFC 9457): a stable `type`, what is wrong, and the remedy.
//!
//! The document is the same from every service, so that whoever reads one can read all; which kinds of problems there
//! are, and in which words, is each service's own business.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// An answer that is an error. Boxed, so that results which are hardly ever errors stay small.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    name: &'static str,
    title: &'static str,
    detail: String,
    remedy: String,
    /// Kept as text: their own members stay in the order in which their types have them.
    further: Vec<(String, Box<RawValue>)>,
    headers: HeaderMap,
}

impl Problem {
    /// A problem of a kind: `name` ends its `type` and never changes its meaning, `title` is the kind in words.
    #[must_use]
    pub fn new(status: StatusCode, name: &'static str, title: &'static str) -> Self {
        Self(Box::new(Parts {
            status,
            name,
            title,
            detail: String::new(),
            remedy: String::new(),
            further: Vec::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// What is wrong this time.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// What the one who asks can do about it; nothing but to wait unless it is said.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = remedy.into();
        self
    }

    /// A further member of the document. A value that has no form in JSON is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: &impl Serialize) -> Self {
        if let Ok(value) = to_raw_value(value) {
            self.0.further.push((name.to_owned(), value));
        }
        self
    }

    /// A header beside the content type.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.headers.insert(name, HeaderValue::from_static(value));
        self
    }
}

impl Serialize for Parts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_map(None)?;
        document.serialize_entry("type", &format!("urn:forewarn:problem:{}", self.name))?;
        document.serialize_entry("title", self.title)?;
        document.serialize_entry("status", &self.status.as_u16())?;
        document.serialize_entry("detail", &self.detail)?;
        if !self.remedy.is_empty() {
            document.serialize_entry("remedy", &self.remedy)?;
        }
        for (name, value) in &self.further {
            document.serialize_entry(name, value)?;
        }
        document.end()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Texts, numbers and what already is JSON always have a form in JSON.
        let body = serde_json::to_string(&self.0).unwrap_or_default();
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.0.status, self.0.headers, content_type, body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    async fn check(problem: Problem, expected: Expect) {
        let answer = problem.into_response();
        let mut text = format!("{}\n", answer.status());
        for (name, value) in answer.headers() {
            text += &format!("{name}: {}\n", value.to_str().expect("text"));
        }
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
        text += std::str::from_utf8(&body.expect("a body")).expect("text");
        expected.assert_eq(&text);
    }

    #[tokio::test]
    async fn the_document_says_what_is_known_and_nothing_else() {
        let bare = Problem::new(StatusCode::NOT_FOUND, "not-found", "there is no such page");
        check(
            bare,
            expect![[r#"
                404 Not Found
                content-type: application/problem+json
                {"type":"urn:forewarn:problem:not-found","title":"there is no such page","status":404,"detail":""}"#]],
        )
        .await;
        let full = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many at once")
            .detail("9 of \"9\"")
            .remedy("ask again")
            .with("refused", &2)
            .with("refusals", &["a", "b"])
            .header(header::RETRY_AFTER, "1");
        check(
            full,
            expect![[r#"
                503 Service Unavailable
                content-type: application/problem+json
                retry-after: 1
                {"type":"urn:forewarn:problem:busy","title":"too many at once","status":503,"detail":"9 of \"9\"","remedy":"ask again","refused":2,"refusals":["a","b"]}"#]],
        )
        .await;
    }
}
