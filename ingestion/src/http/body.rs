//! Takes in a request's body within limits: bytes as sent, bytes after decompression, bytes of all requests, and time.
//!
//! The order of the checks (RELIABILITY.md §4.13): what the headers say, then the size as it streams in, then the size
//! as it is decompressed. Nothing is read beyond a limit, so a body of 100 MB costs no more than the limit.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use flate2::read::MultiGzDecoder;
use forewarn_service::Problem;
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem;

/// Memory is lent in pieces of this size.
const PIECE: usize = 16 << 10;

/// What all requests together may hold in memory.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(
            (bytes / PIECE).clamp(1, Semaphore::MAX_PERMITS),
        )))
    }

    /// A loan of nothing yet.
    pub(crate) fn lease(&self) -> Lease {
        Lease {
            budget: self.clone(),
            held: None,
            pieces: 0,
        }
    }
}

/// What one request holds of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: Budget,
    held: Option<OwnedSemaphorePermit>,
    pieces: usize,
}

impl Lease {
    /// Holds `bytes` from now on, if it held less. Never waits: requests that wait for each other's memory never end.
    fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let wanted = bytes.div_ceil(PIECE).saturating_sub(self.pieces);
        if wanted == 0 {
            return Ok(());
        }
        let pieces = u32::try_from(wanted).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(&self.budget.0).try_acquire_many_owned(pieces) else {
            return Err(problem::later("busy", "too many large requests at once")
                .detail("the memory for the bodies of requests is in use")
                .remedy("send it again in a moment"));
        };
        self.pieces += wanted;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

/// A body as it was sent.
#[derive(Debug)]
pub(crate) struct Received {
    bytes: Vec<u8>,
    gzip: bool,
    lease: Lease,
}

/// Takes in the body, at most `max` bytes of it and within `time`.
pub(crate) async fn receive(
    headers: &HeaderMap,
    body: Body,
    budget: &Budget,
    max: usize,
    time: Duration,
) -> Result<Received, Problem> {
    check_type(headers)?;
    let gzip = is_gzip(headers)?;
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = announced.filter(|length| *length > max as u64) {
        return Err(problem::too_large(format!(
            "the body has {length} bytes, the most are {max}"
        )));
    }
    let mut lease = budget.lease();
    let mut bytes = Vec::new();
    let mut stream = body.into_data_stream();
    let reading = async {
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| {
                Problem::new(StatusCode::BAD_REQUEST, "body", "the body cannot be read")
                    .detail("the connection broke before the body's end")
                    .remedy("send it again")
            })?;
            if bytes.len() + chunk.len() > max {
                return Err(problem::too_large(format!(
                    "the body has more than {max} bytes"
                )));
            }
            lease.grow(bytes.len() + chunk.len())?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout(time, reading).await {
        Ok(read) => read?,
        Err(_) => {
            let limit = forewarn_config::duration::format(time);
            return Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "slow",
                "the body comes too slowly",
            )
            .detail(format!("the body was not there within {limit}"))
            .remedy("send less at once")
            .header(header::CONNECTION, "close"));
        }
    }
    Ok(Received { bytes, gzip, lease })
}

impl Received {
    /// How long it is as sent.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it is compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.gzip
    }

    /// The plain body, at most `max` bytes of it, and the loan to keep as long as the body.
    pub(crate) fn decode(mut self, max: usize) -> Result<(Vec<u8>, Lease), Problem> {
        if !self.gzip {
            return Ok((self.bytes, self.lease));
        }
        let sent = self.bytes.len();
        let mut plain = Vec::new();
        let mut decoder = MultiGzDecoder::new(self.bytes.as_slice());
        let mut piece = vec![0; PIECE];
        loop {
            let read = decoder.read(&mut piece).map_err(|error| {
                Problem::new(StatusCode::BAD_REQUEST, "gzip", "the body is not gzip")
                    .detail(format!("the compressed body cannot be read: {error}"))
                    .remedy("send all of it, or without `content-encoding`")
            })?;
            if read == 0 {
                break;
            }
            if plain.len() + read > max {
                return Err(problem::too_large(format!(
                    "the body has more than {max} bytes when decompressed"
                )));
            }
            self.lease.grow(sent + plain.len() + read)?;
            plain.extend_from_slice(&piece[..read]);
        }
        Ok((plain, self.lease))
    }
}

/// JSON, or nothing said about it.
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or_default();
    let essence = text
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
    {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "content-type",
        "only JSON is understood here",
    )
    .detail(format!("the content type is {essence:?}"))
    .remedy("send JSON with `content-type: application/json`")
    .header(header::ACCEPT, "application/json"))
}

/// Plain or gzip, and only once: a body that is compressed several times over is an attack.
fn is_gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    let mut gzip = false;
    let codings = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','));
    for coding in codings.map(|coding| coding.trim().to_ascii_lowercase()) {
        match coding.as_str() {
            "" | "identity" => {}
            "gzip" | "x-gzip" if !gzip => gzip = true,
            _ => {
                return Err(Problem::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "content-encoding",
                    "this compression is not understood",
                )
                .detail(format!("the content encoding has {coding:?}"))
                .remedy("send it plain, or compressed once with gzip")
                .header(header::ACCEPT_ENCODING, "gzip"));
            }
        }
    }
    Ok(gzip)
}
