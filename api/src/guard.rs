//! What every request passes and every answer gets: names, sizes, places and time on the way in, headers on the way out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use forewarn_service::site::{asked_host, is_foreign, is_known_host};

use crate::App;
use crate::problem::Problem;

/// Longer ones ask for nothing sensible.
const URI_BYTES_MAX: usize = 8 << 10;

/// After the database and InfluxDB have given up there is not much left to do.
const GRACE: Duration = Duration::from_secs(10);

/// Nothing at all but what is said here: no scripts, no frames, no foreign content.
const CSP: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The status page: its own style sheet, and the empty icon.
pub(crate) const CSP_PAGE: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The viewer: its own scripts, and the styles that they set.
pub(crate) const CSP_VIEWER: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, CSP),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Adds the headers that make an answer harmless; a page's own policy stays.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// While only this machine can reach the pages, or names are given, refuses all others: a foreign web site can make its own
/// name lead here, and would then read the answers through a visitor's browser.
pub(crate) async fn host(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let config = app.config();
    if config.listen.ip().is_loopback() || !config.hosts.is_empty() {
        let name = asked_host(request.uri(), request.headers());
        if !name.is_some_and(|name| is_known_host(name, &config.hosts)) {
            return Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "host",
                "this is not the host that was asked for",
            )
            .detail("the name in the request is none of this machine's")
            .remedy("ask under localhost or an address, or add the name to `api.hosts`")
            .into_response();
        }
    }
    next.run(request).await
}

/// Refuses what a browser sends on behalf of a foreign page: there is no sign-in that would tell it apart.
pub(crate) fn same_site(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    if !is_foreign(uri, headers, &app.config().hosts) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "foreign-page",
        "a page from elsewhere may change nothing here",
    )
    .detail("the request's Origin is not this service")
    .remedy("send it from this service's own pages or from a program; a proxy's name belongs into `api.hosts`"))
}

/// Lets so many requests be worked on at once, each for so long.
pub(crate) async fn limits(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if request.uri().to_string().len() > URI_BYTES_MAX {
        return Problem::new(
            StatusCode::URI_TOO_LONG,
            "uri-too-long",
            "the address is too long",
        )
        .detail(format!("it is longer than {URI_BYTES_MAX} bytes"))
        .remedy("ask for fewer words or tags")
        .into_response();
    }
    let Ok(_place) = app.places().try_acquire() else {
        metrics::counter!("forewarn_api_requests_total", "outcome" => "busy").increment(1);
        return Problem::later("busy", "too many requests at once")
            .detail("`api.requests_max` requests are being worked on")
            .remedy("ask again in a moment")
            .into_response();
    };
    let begun = Instant::now();
    let limit = app.config().query_timeout.saturating_mul(2) + GRACE;
    let response = match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::later("too-slow", "the answer took too long")
            .detail("the request was given up")
            .remedy("ask for less: a shorter time, one resource, a smaller limit")
            .into_response(),
    };
    let outcome = match response.status().as_u16() {
        ..400 => "answered",
        400..500 => "refused",
        _ => "failed",
    };
    metrics::counter!("forewarn_api_requests_total", "outcome" => outcome).increment(1);
    metrics::histogram!("forewarn_api_request_seconds").record(begun.elapsed());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_names_and_the_configured_ones_are_known() {
        let hosts = ["status.example.org".to_owned()];
        let known = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(text));
            let uri = Uri::from_static("/");
            asked_host(&uri, &headers).is_some_and(|name| is_known_host(name, &hosts))
        };
        for name in [
            "localhost:3000",
            "LOCALHOST",
            "127.0.0.1:3000",
            "[::1]:3000",
            "10.1.2.3",
            "Status.Example.org:443",
        ] {
            assert!(known(name), "{name}");
        }
        for name in [
            "evil.example",
            "localhost.evil.example:3000",
            "",
            "127.0.0.1.evil",
        ] {
            assert!(!known(name), "{name}");
        }
        assert!(asked_host(&Uri::from_static("/"), &HeaderMap::new()).is_none());
    }
}
