//! Whether a request that changes something comes from a page that somebody else made: a browser sends it with whatever
//! its user may do, and asks nobody.
//!
//! Programs other than browsers send no `Origin`, and are not meant here. There is no sign-in yet, so this is what keeps a
//! foreign web site from acting through a visitor's browser.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header};

/// The authority that a request was sent to: `localhost:3000`.
fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(header::HOST)?.to_str().ok(),
    }
}

/// The name without the port: of `[::1]:3000`, `localhost:3000`, `localhost`.
fn name(authority: &str) -> Option<&str> {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    }
}

/// The name under which a service was asked.
#[must_use]
pub fn asked_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    name(authority(uri, headers)?)
}

/// Whether a name can only be this machine's: an address, `localhost`, or one of `hosts`. Any other may lead here because
/// somebody made it do so.
#[must_use]
pub fn is_known_host(name: &str, hosts: &[String]) -> bool {
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

/// Whether a browser sends this on behalf of a page that is none of this service's own. `hosts` are the service's names
/// besides this machine's; a proxy that passes requests on under another name than it was asked for has to be one.
#[must_use]
pub fn is_foreign(uri: &Uri, headers: &HeaderMap, hosts: &[String]) -> bool {
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    if let Some(site) = headers.get("sec-fetch-site").map(text)
        && !matches!(site.as_str(), "same-origin" | "none")
    {
        return true;
    }
    let Some(origin) = headers.get(header::ORIGIN).map(text) else {
        return false;
    };
    // `null` for pages that nobody answers for.
    let Some((_, of_page)) = origin.split_once("://") else {
        return true;
    };
    let Some(page) = name(of_page).filter(|page| is_known_host(page, hosts)) else {
        return true;
    };
    let is_here = authority(uri, headers).is_some_and(|here| here.eq_ignore_ascii_case(of_page));
    !is_here && !hosts.iter().any(|host| host.eq_ignore_ascii_case(page))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn foreign(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let hosts = ["status.example.org".to_owned()];
        is_foreign(&Uri::from_static("/"), &headers, &hosts)
    }

    #[test]
    fn programs_and_our_own_pages_may_and_foreign_pages_may_not() {
        let here = ("host", "localhost:3000");
        assert!(!foreign(&[here]));
        assert!(!foreign(&[here, ("origin", "http://localhost:3000")]));
        assert!(!foreign(&[
            here,
            ("origin", "http://localhost:3000"),
            ("sec-fetch-site", "same-origin")
        ]));
        assert!(!foreign(&[
            ("host", "[::1]:3000"),
            ("origin", "http://[::1]:3000")
        ]));
        // Behind a proxy that keeps the name to itself.
        assert!(!foreign(&[
            ("host", "api:3000"),
            ("origin", "https://status.example.org")
        ]));
        for origin in [
            "http://evil.example",
            "http://localhost:8080",
            "http://localhost.evil.example:3000",
            "null",
            "",
        ] {
            assert!(foreign(&[here, ("origin", origin)]), "{origin}");
        }
        assert!(foreign(&[here, ("sec-fetch-site", "cross-site")]));
        assert!(foreign(&[here, ("sec-fetch-site", "same-site")]));
        // A foreign name that was made to lead here.
        assert!(foreign(&[
            ("host", "evil.example:3000"),
            ("origin", "http://evil.example:3000")
        ]));
    }
}
