//! Errors as `application/problem+json` (RFC 9457): a stable `type`, what is wrong, and the remedy.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// An answer that is an error. Boxed, so that results which are hardly ever errors stay small.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    /// The last part of the `type`; never changes its meaning.
    name: &'static str,
    title: &'static str,
    detail: String,
    remedy: String,
    further: Map<String, Value>,
    headers: HeaderMap,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, name: &'static str, title: &'static str) -> Self {
        Self(Box::new(Parts {
            status,
            name,
            title,
            detail: String::new(),
            remedy: String::new(),
            further: Map::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// What is wrong this time.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// What the sender can do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = remedy.into();
        self
    }

    /// A further member of the document.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.0.further.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Too much at once, or the log is away: the same request may succeed in a moment.
    pub(crate) fn later(name: &'static str, title: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, name, title).header(header::RETRY_AFTER, "1")
    }

    /// A body that is larger than allowed. What is left of it is not read.
    pub(crate) fn too_large(detail: String) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "the body is too large",
        )
        .detail(detail)
        .remedy("send the samples in several requests, or compressed with gzip")
        .header(header::CONNECTION, "close")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts {
            status,
            name,
            title,
            detail,
            remedy,
            further,
            headers,
        } = *self.0;
        let mut document = json!({
            "type": format!("urn:forewarn:problem:{name}"),
            "title": title,
            "status": status.as_u16(),
            "detail": detail,
        });
        if !remedy.is_empty() {
            document["remedy"] = Value::String(remedy);
        }
        if let Value::Object(document) = &mut document {
            document.extend(further);
        }
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        (status, headers, content_type, document.to_string()).into_response()
    }
}
