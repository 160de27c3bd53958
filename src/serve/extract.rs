//! Extractors of JSON bodies and of tracks in paths.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::problem::Problem;
use voisin::questions::read::{from_arguments, object};
use voisin_base::track::TrackId;

/// Refuses a body without the content type of JSON, which forms of other pages cannot send without a CORS preflight.
fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let plain = kind.split(';').next().unwrap_or_default().trim();
    if plain.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(wrong_type("Content-Type: application/json", kind))
}

/// Refuses content types that a form of any page can send without a CORS preflight.
pub(crate) fn is_file(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let plain = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if matches!(
        plain.as_str(),
        "" | "text/plain" | "application/x-www-form-urlencoded" | "multipart/form-data"
    ) {
        return Err(wrong_type("the Content-Type of an audio file", kind));
    }
    Ok(())
}

fn wrong_type(expected: &str, kind: &str) -> Problem {
    let found = if kind.is_empty() {
        "none".to_owned()
    } else {
        kind.chars().take(100).collect()
    };
    Problem::request(StatusCode::UNSUPPORTED_MEDIA_TYPE, expected, found)
}

/// A whole JSON body.
async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    is_json(request.headers())?;
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection| {
            let status = rejection.status();
            if status == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::request(
                    status,
                    "a body within this route's limit (1 MiB at most)",
                    "a longer one",
                )
            } else {
                Problem::bad(
                    "a whole body, in time",
                    "one that ended early or was too slow",
                )
            }
        })
}

/// The fields of a JSON body; none of an empty one.
pub(crate) async fn fields<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<Map<String, Value>, Problem> {
    let bytes = bytes(request, state).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    Ok(object(&bytes)?)
}

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned + JsonSchema, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Ok(Self(from_arguments(fields(request, state).await?)?))
    }
}

/// The id of a track in a path.
pub(crate) struct PathId(pub(crate) TrackId);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state)
            .await
            .map_or_else(|_| String::new(), |path| path.0);
        // Truncated, since it is in the message.
        let found: String = text.chars().take(50).collect();
        text.parse()
            .map(|id| Self(TrackId(id)))
            .map_err(|_| Problem::bad("the number of a track", format!("{found:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_of_forms_are_refused() {
        let kind = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            headers
        };
        for form in [
            "",
            "text/plain",
            "Text/Plain; charset=utf-8",
            "multipart/form-data; boundary=x",
        ] {
            assert!(
                is_file(&kind(form)).is_err() && is_json(&kind(form)).is_err(),
                "{form}"
            );
        }
        assert!(
            is_file(&kind("audio/mpeg")).is_ok()
                && is_file(&kind("application/octet-stream")).is_ok()
        );
        assert!(is_json(&kind("application/json;charset=utf-8")).is_ok());
        assert!(is_file(&HeaderMap::new()).is_err() && is_json(&HeaderMap::new()).is_err());
    }
}
