//! The problems that more than one page of ingestion has; the document itself is every service's.

use axum::http::{StatusCode, header};
use forewarn_service::Problem;

/// Too much at once, or the log is away: the same request may succeed in a moment.
pub(crate) fn later(name: &'static str, title: &'static str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, name, title).header(header::RETRY_AFTER, "1")
}

/// A body that is larger than allowed. What is left of it is not read.
pub(crate) fn too_large(detail: String) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "the body is too large",
    )
    .detail(detail)
    .remedy("send the samples in several requests, or compressed with gzip")
    .header(header::CONNECTION, "close")
}
