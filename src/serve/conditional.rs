//! Conditional requests (`ETag`) and compression of answers.

use std::fs::Metadata;
use std::io::Write as _;
use std::time::SystemTime;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Shorter bodies are not compressed: they fit one packet.
const LEAST: u64 = 1200;

/// The validator of a resource: its `ETag`.
#[derive(Debug, Clone)]
pub(crate) struct Validator(HeaderValue);

impl Validator {
    fn new(tag: &str) -> Self {
        Self(HeaderValue::from_str(tag).unwrap_or(HeaderValue::from_static("\"\"")))
    }

    /// Of a file on the disk: it counts as unchanged while its length and time are.
    pub(crate) fn of_file(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok();
        let since = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let nanoseconds = since.unwrap_or_default().as_nanos();
        Self::new(&format!("\"{:x}-{nanoseconds:x}\"", metadata.len()))
    }

    /// Of bytes. Weak, since they may be sent compressed.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self::new(&format!("W/\"{}\"", &blake3::hash(bytes).to_hex()[..16]))
    }

    /// Whether the client has this version already.
    pub(crate) fn is_known(&self, request: &HeaderMap) -> bool {
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let own_tag = opaque(self.0.to_str().unwrap_or_default());
        request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|tag| tag.trim() == "*" || opaque(tag) == own_tag)
    }

    /// Whether a part may be sent: not to a client with parts of another version.
    pub(crate) fn allows_parts(&self, request: &HeaderMap) -> bool {
        // A strong comparison: parts of two versions must never be joined.
        request
            .get(header::IF_RANGE)
            .is_none_or(|wanted| *wanted == self.0)
    }

    /// Sets the validator and the cache control of an answer.
    ///
    /// - `control`: the value of Cache-Control
    pub(crate) fn put(&self, answer: &mut Response<Body>, control: &'static str) {
        let headers = answer.headers_mut();
        headers.insert(header::ETAG, self.0.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
    }

    /// The answer to a client that has this version (304).
    pub(crate) fn unchanged(&self, control: &'static str) -> Response<Body> {
        let mut answer = StatusCode::NOT_MODIFIED.into_response();
        self.put(&mut answer, control);
        answer
    }
}

/// Whether an answer is text of some length, by the start of its type. Streams have no length.
fn is_long(answer: &Response<Body>, kinds: &[&str]) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let length = answer.body().size_hint().exact();
    kinds.iter().any(|text| kind.starts_with(text)) && length.is_some_and(|length| length >= LEAST)
}

/// Adds an `ETag` of its content to a long JSON answer, or replaces it by 304.
pub(crate) async fn remembered(mut answer: Response<Body>, request: &HeaderMap) -> Response<Body> {
    const CONTROL: &str = "private, no-cache";
    if answer.status() != StatusCode::OK
        || !is_long(&answer, &["application/json"])
        // The handler has set a validator.
        || answer.headers().contains_key(header::ETAG)
    {
        return answer;
    }
    let Ok(bytes) = to_bytes(std::mem::take(answer.body_mut()), usize::MAX).await else {
        return answer;
    };
    let state = Validator::of_bytes(&bytes);
    if state.is_known(request) {
        return state.unchanged(CONTROL);
    }
    *answer.body_mut() = bytes.into();
    state.put(&mut answer, CONTROL);
    answer
}

/// Whether the client accepts gzip.
pub(crate) fn takes_gzip(request: &HeaderMap) -> bool {
    let all = request.get_all(header::ACCEPT_ENCODING).iter();
    let all = all.filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        name.trim() == "gzip" && weight.trim() != "q=0"
    })
}

/// Compresses an answer for a client that accepts gzip, if it is text of some length.
pub(crate) async fn packed(mut answer: Response<Body>) -> Response<Body> {
    let is_text = is_long(&answer, &["application/json", "text/", "image/svg+xml"]);
    if !is_text || answer.headers().contains_key(header::CONTENT_ENCODING) {
        return answer;
    }
    let Ok(plain) = to_bytes(std::mem::take(answer.body_mut()), usize::MAX).await else {
        return answer;
    };
    let pack = {
        let plain = plain.clone();
        move || {
            let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
            packer.write_all(&plain)?;
            packer.finish()
        }
    };
    let packed = tokio::task::spawn_blocking(pack).await;
    let headers = answer.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(Ok(packed)) = packed {
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        *answer.body_mut() = packed.into();
    } else {
        *answer.body_mut() = plain.into();
    }
    answer
}
