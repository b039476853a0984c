//! The HTTP API as commands ask it: one address, bounded answers, and problems turned into failures with a remedy.

use std::error::Error as _;
use std::time::Duration;

use forewarn_config::{Environment, Secret};
use forewarn_store::http;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::outcome::{Code, Failure};

/// A page of the API is a few megabytes at most; anything longer is not one.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The server gives up on its stores well before.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Items that one request asks for: the most that the API gives.
pub(crate) const PAGE: usize = 1_000;

/// A server at an address.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Secret>,
    /// The flag that names the address, for remedies.
    flag: &'static str,
}

/// What a problem document says that is of use here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    remedy: String,
}

/// Some items of a list, as the API gives them.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<String>,
}

/// A list as far as it was asked for.
pub(crate) type Listing = Page<Box<RawValue>>;

impl Listing {
    /// The items, as far as a command looks into them.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<Vec<T>, Failure> {
        self.items.iter().map(|item| read(item.get())).collect()
    }
}

impl Client {
    /// For the server at `address`, which `flag` names.
    pub(crate) fn new(
        address: &str,
        flag: &'static str,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        Self::with_timeout(address, flag, environment, TIMEOUT)
    }

    pub(crate) fn with_timeout(
        address: &str,
        flag: &'static str,
        environment: &Environment,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let base = Url::parse(address)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                Failure::usage(
                    format!("`{address}` is no address of a server"),
                    format!("write it with its scheme, such as {flag} http://127.0.0.1:3000"),
                )
            })?;
        let http = http::client(timeout).build().map_err(|error| {
            Failure::new(Code::Internal, format!("no HTTP client: {error}"), "")
        })?;
        Ok(Self {
            http,
            base,
            token: environment.get("FOREWARN_TOKEN").map(Secret::new),
            flag,
        })
    }

    /// The address, without what may be secret in it.
    pub(crate) fn address(&self) -> String {
        let mut shown = self.base.clone();
        // Only addresses without a host refuse this.
        let _ = shown.set_password(None);
        let _ = shown.set_username("");
        shown.as_str().trim_end_matches('/').to_owned()
    }

    pub(crate) fn host(&self) -> Option<&str> {
        self.base.host_str()
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let request = self.http.request(method, self.url(path));
        match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }

    /// The text of `/api/v1/…`; a slash within a part of `path` is none between parts.
    pub(crate) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Box<RawValue>, Failure> {
        let path = [&["api", "v1"], path].concat();
        let request = self.request(Method::GET, &path).query(query);
        let (_, text) = self.ask(request).await?;
        read(&text)
    }

    /// Posts a document; answers with the status and the text.
    pub(crate) async fn post(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<(StatusCode, String), Failure> {
        self.ask(self.request(Method::POST, path).json(body)).await
    }

    /// Asks for a page outside the API, whatever its status is.
    pub(crate) async fn look(&self) -> Result<(StatusCode, String), Failure> {
        let request = self.request(Method::GET, &[]);
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        let status = response.status();
        Ok((status, self.text(response).await?))
    }

    /// As many items of a list as `most`, over as many pages as that takes.
    pub(crate) async fn list(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        most: usize,
    ) -> Result<Listing, Failure> {
        let mut all = Page {
            items: Vec::new(),
            next: None,
        };
        loop {
            let limit = (most - all.items.len()).min(PAGE);
            let page = self.page(path, query, limit, all.next.as_deref()).await?;
            all.items.extend(page.items);
            all.next = page.next;
            if all.next.is_none() || all.items.len() >= most {
                return Ok(all);
            }
        }
    }

    /// One page.
    pub(crate) async fn page(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Listing, Failure> {
        let mut query = query.to_vec();
        query.push(("limit", limit.to_string()));
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        read(self.get(path, &query).await?.get())
    }

    async fn ask(&self, request: RequestBuilder) -> Result<(StatusCode, String), Failure> {
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        let status = response.status();
        let text = self.text(response).await?;
        if status.is_success() {
            return Ok((status, text));
        }
        Err(self.refused(status, &text))
    }

    async fn text(&self, mut response: Response) -> Result<String, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.failed(&error))?
        {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(Failure::new(
                    Code::Unreachable,
                    format!("{} answers with more than 64 MiB", self.address()),
                    format!("see whether {} leads to Forewarn", self.flag),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    fn refused(&self, status: StatusCode, text: &str) -> Failure {
        let code = match status.as_u16() {
            401 | 403 => Code::Unauthorised,
            404 => Code::NotFound,
            409 => Code::Conflict,
            400 | 414 | 422 => Code::Usage,
            421 => Code::Refused,
            _ => Code::Unreachable,
        };
        let problem: Option<Problem> = serde_json::from_str(text).ok();
        match problem.filter(|problem| !problem.title.is_empty()) {
            Some(problem) if problem.detail.is_empty() => {
                Failure::new(code, problem.title, problem.remedy).spoken()
            }
            Some(problem) => Failure::new(code, problem.detail, problem.remedy).spoken(),
            None if code == Code::Unauthorised => Failure::new(
                code,
                format!("{} asks who you are ({status})", self.address()),
                "set FOREWARN_TOKEN to a token that it takes",
            ),
            None => Failure::new(
                if code == Code::NotFound {
                    Code::Unreachable
                } else {
                    code
                },
                format!(
                    "{} answers {status}, and not as Forewarn does",
                    self.address()
                ),
                format!("see whether {} leads to Forewarn's API", self.flag),
            ),
        }
    }

    fn failed(&self, error: &reqwest::Error) -> Failure {
        let address = self.address();
        if error.is_timeout() {
            return Failure::new(
                Code::Unreachable,
                format!("{address} does not answer in time"),
                "see its /live page and its log",
            );
        }
        // The deepest cause is the system's word; what is around it repeats the address, which may hold a password.
        let mut cause = error.source();
        while let Some(deeper) = cause.and_then(|cause| cause.source()) {
            cause = Some(deeper);
        }
        let cause = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
        let what = if error.is_connect() {
            format!("nothing answers at {address}{cause}")
        } else {
            format!("{address} broke off{cause}")
        };
        Failure::new(
            Code::Unreachable,
            what,
            format!(
                "start it with `forewarn`, or name another address with {} or {}",
                self.flag,
                match self.flag {
                    "--trainer" => "FOREWARN_TRAINER",
                    "--ingestion" => "FOREWARN_INGESTION",
                    _ => "FOREWARN_SERVER",
                }
            ),
        )
    }
}

/// Reads an answer.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::new(
            Code::Unreachable,
            format!("the server's answer is not understood: {error}"),
            "see whether the address leads to Forewarn's API, of the same version as this program",
        )
    })
}
