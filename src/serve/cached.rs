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
/// Bodies from this length on are compressed on a blocking thread.
const LONG: usize = 64 << 10;

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

/// Adds an `ETag` of its content to a long JSON answer, or replaces it by 304.
pub(crate) async fn remembered(mut answer: Response<Body>, request: &HeaderMap) -> Response<Body> {
    const CONTROL: &str = "private, no-cache";
    let headers = answer.headers();
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/json");
    let is_long = answer
        .body()
        .size_hint()
        .exact()
        .is_some_and(|length| length >= LEAST);
    if answer.status() != StatusCode::OK
        || !is_json
        || !is_long
        // The handler has set a validator.
        || headers.contains_key(header::ETAG)
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
    let all = request
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, "q=1"));
        let weight = weight
            .trim()
            .strip_prefix("q=")
            .and_then(|weight| weight.trim().parse::<f32>().ok());
        // "gzip;q=0" excludes it.
        matches!(name.trim(), "gzip" | "*") && weight.is_some_and(|weight| weight > 0.0)
    })
}

/// Compresses an answer for a client that accepts gzip, if it is text of some length.
pub(crate) async fn packed(mut answer: Response<Body>) -> Response<Body> {
    let headers = answer.headers();
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let is_text = ["application/json", "text/", "image/svg+xml"]
        .iter()
        .any(|text| kind.starts_with(text));
    // Streams have no length.
    let is_long = answer
        .body()
        .size_hint()
        .exact()
        .is_some_and(|length| length >= LEAST);
    if !is_text || !is_long || headers.contains_key(header::CONTENT_ENCODING) {
        return answer;
    }
    let Ok(plain) = to_bytes(std::mem::take(answer.body_mut()), usize::MAX).await else {
        return answer;
    };
    // The best level takes a millisecond for a short body, and saves a third against the fastest.
    let level = if plain.len() < LONG {
        Compression::default()
    } else {
        Compression::fast()
    };
    let pack = {
        let plain = plain.clone();
        move || {
            let mut packer = GzEncoder::new(Vec::with_capacity(plain.len() / 4), level);
            packer.write_all(&plain)?;
            packer.finish()
        }
    };
    let packed = if plain.len() < LONG {
        pack()
    } else {
        tokio::task::spawn_blocking(pack)
            .await
            .unwrap_or_else(|error| Err(error.into()))
    };
    match packed {
        Ok(packed) => {
            *answer.body_mut() = packed.into();
            let headers = answer.headers_mut();
            headers.remove(header::CONTENT_LENGTH);
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Err(_) => *answer.body_mut() = plain.into(),
    }
    answer
        .headers_mut()
        .append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_validator_is_known_by_its_tag() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let validator = Validator::of_file(&file.as_file().metadata().unwrap());
        let tag = validator.0.to_str().unwrap();
        let knows = |tag: &str| validator.is_known(&headers(&[(header::IF_NONE_MATCH, tag)]));
        let weak = format!("\"other\", W/{tag}");
        assert!([tag, &weak, "*"].into_iter().all(knows));
        assert!(!knows("\"other\"") && !validator.is_known(&HeaderMap::new()));
        let parts = |tag: &str| validator.allows_parts(&headers(&[(header::IF_RANGE, tag)]));
        assert!(parts(tag) && validator.allows_parts(&HeaderMap::new()));
        let date = "Thu, 01 Jan 1970 00:00:00 GMT";
        for other in ["\"x\"", date, &format!("W/{tag}")] {
            assert!(!parts(other), "{other}");
        }
        file.as_file().set_len(1).unwrap();
        let changed = Validator::of_file(&file.as_file().metadata().unwrap());
        assert!(!changed.is_known(&headers(&[(header::IF_NONE_MATCH, tag)])));
    }
}
