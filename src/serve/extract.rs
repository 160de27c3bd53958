//! Extractors of JSON bodies and of tracks in paths.

use axum::body::{self, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::limits::{BODY_TIME, LONGEST_BODY, LONGEST_SESSION};
use super::problem::Problem;
use voisin::questions::read::{from_arguments, object};
use voisin_base::track::TrackId;

/// The content type of a request, without its parameters.
fn content_type(headers: &HeaderMap) -> String {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let plain = kind.split(';').next().unwrap_or_default();
    plain.trim().to_ascii_lowercase()
}

/// Refuses a body without the content type of JSON, which forms of other pages cannot send without a CORS preflight.
fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    match content_type(headers).as_str() {
        "application/json" => Ok(()),
        kind => Err(wrong_type("Content-Type: application/json", kind)),
    }
}

/// Refuses content types that a form of any page can send without a CORS preflight.
pub(crate) fn is_file(headers: &HeaderMap) -> Result<(), Problem> {
    match content_type(headers).as_str() {
        kind
        @ ("" | "text/plain" | "application/x-www-form-urlencoded" | "multipart/form-data") => {
            Err(wrong_type("the Content-Type of an audio file", kind))
        }
        _ => Ok(()),
    }
}

fn wrong_type(expected: &str, kind: &str) -> Problem {
    let found: String = kind.chars().take(100).collect();
    let found = if found.is_empty() { "none" } else { &found };
    Problem::request(StatusCode::UNSUPPORTED_MEDIA_TYPE, expected, found)
}

/// A whole body of a request that needs no token, within [`BODY_TIME`]: a stranger could otherwise hold a connection with an
/// endless one.
pub(crate) async fn body_in_time(body: body::Body, most: u64) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(BODY_TIME, body::to_bytes(body, most as usize)).await;
    let late = |_| Problem::bad("a whole body, in time", "one that was too slow");
    read.map_err(late)?.map_err(|_| too_long(most))
}

fn too_long(most: u64) -> Problem {
    let expected = format!("a whole body of at most {most} bytes");
    let found = "a longer one, or one that ended early";
    Problem::request(StatusCode::PAYLOAD_TOO_LARGE, expected, found)
}

/// The fields of a JSON body; none of an empty one.
pub(crate) async fn fields<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<Map<String, Value>, Problem> {
    is_json(request.headers())?;
    let bytes = Bytes::from_request(request, state).await;
    let bytes = bytes.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_long(LONGEST_BODY),
        _ => Problem::bad("a whole body", "one that ended early"),
    })?;
    read_fields(&bytes)
}

fn read_fields(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    Ok(object(bytes)?)
}

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned + JsonSchema, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Ok(Self(from_arguments(fields(request, state).await?)?))
    }
}

/// A JSON body of a request that needs no token.
pub(crate) struct ShortBody<T>(pub(crate) T);

impl<T: DeserializeOwned + JsonSchema, S: Send + Sync> FromRequest<S> for ShortBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        is_json(request.headers())?;
        let bytes = body_in_time(request.into_body(), LONGEST_SESSION).await?;
        Ok(Self(from_arguments(read_fields(&bytes)?)?))
    }
}

/// The id of a track in a path.
pub(crate) struct PathId(pub(crate) TrackId);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let text = path.map(|path| path.0).unwrap_or_default();
        // Truncated, since it is in the message.
        let found: String = text.chars().take(50).collect();
        let id = text.parse().map(|id| Self(TrackId(id)));
        id.map_err(|_| Problem::bad("the number of a track", format!("{found:?}")))
    }
}
