//! Questions as clients write them: JSON bodies and queries, read into the same structures.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::track::TrackId;

/// Refuses a body that is not said to be JSON. Forms of other pages cannot say it without being asked where they are from.
pub(super) fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let plain = kind.split(';').next().unwrap_or_default().trim();
    if plain.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(wrong_type("Content-Type: application/json", kind))
}

/// Refuses a body that a form of any page can send, without that its origin is asked about.
pub(super) fn is_file(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let plain = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if matches!(
        plain.as_str(),
        "" | "text/plain" | "application/x-www-form-urlencoded" | "multipart/form-data"
    ) {
        return Err(wrong_type("the Content-Type of an audio file", kind));
    }
    Ok(())
}

fn wrong_type(expected: &str, kind: &str) -> Problem {
    let found = if kind.is_empty() { "none".to_owned() } else { kind.chars().take(100).collect() };
    Problem::request(StatusCode::UNSUPPORTED_MEDIA_TYPE, expected, found)
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        is_json(request.headers())?;
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.status();
            if status == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::request(
                    status,
                    "a body within this question's limit (1 MiB at most)",
                    "a longer one",
                )
            } else {
                Problem::bad("a whole body, in time", "one that ended early or came too slowly")
            }
        })?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Problem::bad("the JSON object that this question takes", error.to_string()))
    }
}

/// The id of a track, as a path has it.
pub(super) struct Id(pub(super) TrackId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state)
            .await
            .map_or_else(|_| String::new(), |path| path.0);
        let found: String = text.chars().take(50).collect();
        text.parse()
            .map(|id| Self(TrackId(id)))
            .map_err(|_| Problem::bad("the number of a track", format!("{found:?}")))
    }
}

/// A query: `?genre=Jazz&genre=Soul&limit=5`.
pub(super) struct Query<T>(pub(super) T);

/// Names that may come several times.
const LISTS: [&str; 10] = [
    "genre",
    "exclude_genre",
    "artist",
    "exclude_artist",
    "folder",
    "licence",
    "tag",
    "not_tag",
    "key",
    "among",
];
/// Names whose value is text even where it looks like a number.
const TEXTS: [&str; 4] = ["query", "year", "bpm", "loudness"];

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// A query that is read into two structures: the names that the first one has, and all others.
pub(super) struct SplitQuery<A, B>(pub(super) A, pub(super) B);

/// Names of options that are no filters.
const OPTIONS: [&str; 13] = [
    "query",
    "limit",
    "after",
    "sort",
    "reverse",
    "words",
    "max_per_artist",
    "min_similarity",
    "include_seed",
    "search",
    "neighbours",
    "precision",
    "among",
];

impl<A: DeserializeOwned, B: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for SplitQuery<A, B> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let all = object(parts.uri.query().unwrap_or_default())?;
        let (options, others) = all.into_iter().partition(|(name, _)| OPTIONS.contains(&name.as_str()));
        Ok(Self(typed(options)?, typed(others)?))
    }
}

fn read<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    typed(object(query)?)
}

fn typed<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, Problem> {
    serde_json::from_value(Value::Object(object))
        .map_err(|error| Problem::bad("the options that this question takes", error.to_string()))
}

fn object(query: &str) -> Result<Map<String, Value>, Problem> {
    let mut object = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let text = || Value::String(value.to_string());
        if LISTS.contains(&&*name) {
            let list = object.entry(&*name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(text());
            }
            continue;
        }
        let value = if TEXTS.contains(&&*name) {
            text()
        } else {
            match serde_json::from_str(&value) {
                Ok(value @ (Value::Bool(_) | Value::Number(_))) => value,
                _ => text(),
            }
        };
        if object.insert(name.to_string(), value).is_some() {
            return Err(Problem::bad(format!("{name} once"), "it several times"));
        }
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        #[serde(default)]
        genre: Vec<String>,
        query: Option<String>,
        limit: Option<usize>,
        exact: Option<bool>,
        detail: Option<String>,
    }

    #[test]
    fn forms_are_told_from_files() {
        let kind = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            headers
        };
        for form in ["", "text/plain", "Text/Plain; charset=utf-8", "multipart/form-data; boundary=x"] {
            assert!(is_file(&kind(form)).is_err() && is_json(&kind(form)).is_err(), "{form}");
        }
        assert!(is_file(&kind("audio/mpeg")).is_ok() && is_file(&kind("application/octet-stream")).is_ok());
        assert!(is_json(&kind("application/json;charset=utf-8")).is_ok());
        assert!(is_file(&HeaderMap::new()).is_err() && is_json(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_query_is_read_like_a_body() {
        let asked: Asked =
            read("genre=Jazz&genre=Drum%20%26%20Bass&query=1999&limit=5&exact=true&detail=fine")
                .ok()
                .unwrap();
        assert_eq!(asked.genre, ["Jazz", "Drum & Bass"]);
        assert_eq!((asked.query.as_deref(), asked.limit, asked.exact), (Some("1999"), Some(5), Some(true)));
        assert_eq!(asked.detail.as_deref(), Some("fine"));
        for wrong in ["limit=-1", "limit=x", "limit=1&limit=2", "nonsense=1", "limit=1e99", "limit=%ff"] {
            assert!(read::<Asked>(wrong).is_err(), "{wrong}");
        }
        assert!(read::<Asked>("").ok().unwrap().genre.is_empty());
    }
}
