//! The client of a Subsonic server: credentials, requests, and parsing of answers.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use axum::body::Bytes;
use axum::http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::form::{OLDEST_VERSION, Refusal, SubsonicForm};
use super::songs::SongRef;
use super::upstream::{ADDRESSES, FORMS, Upstream, forwarded_for};

/// The parameters of credentials.
const CREDENTIALS: [&str; 5] = ["u", "p", "t", "s", "apiKey"];

/// Credentials for a Subsonic server, and the version of its API.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) parameters: Vec<(String, String)>,
    /// The client's address, if the request is not voisin's own: servers count wrong passwords by address.
    client: Option<IpAddr>,
}

impl Login {
    /// The identity of the user, independent of the kind of credentials.
    pub(super) fn user(&self) -> blake3::Hash {
        let named = |wanted: &str| self.parameters.iter().find(|(name, _)| name == wanted);
        // A key takes precedence over a name, since it identifies its user.
        let user = named("apiKey").or(named("u"));
        blake3::hash(format!("{user:?}").as_bytes())
    }

    pub(super) fn of(form: &SubsonicForm) -> Self {
        let credentials = CREDENTIALS
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), form.get(name)?.to_owned())));
        let version = form.get("v").unwrap_or(OLDEST_VERSION);
        let parameters = credentials
            .chain([("v".to_owned(), version.to_owned())])
            .collect();
        Self {
            parameters,
            client: form.client,
        }
    }
}

/// Calls an endpoint of a Subsonic server: by a form, so that no password is in a logged address. A server that does not
/// accept forms is called by addresses from then on.
pub(super) async fn call(
    upstream: &Upstream,
    login: &Login,
    endpoint: &str,
    parameters: &[(&str, &str)],
) -> Result<Value, Refusal> {
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("f", "json"), ("c", "voisin")])
        .extend_pairs(&login.parameters)
        .extend_pairs(parameters)
        .finish();
    let path = format!("/rest/{endpoint}.view");
    let mut headers: Vec<_> = login.client.into_iter().map(forwarded_for).collect();
    let takes = upstream.takes.load(Ordering::Relaxed);
    if takes != ADDRESSES {
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.push((header::CONTENT_TYPE, kind));
        let (status, body) = upstream
            .send(Method::POST, &path, &headers, form.clone().into())
            .await?;
        let answer = read(upstream, endpoint, status, &body);
        // A server that ignores forms reports a missing parameter, or refuses POST.
        let is_unread = matches!(
            status,
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
        ) || matches!(answer, Err(Refusal { code: 10, .. }));
        // If forms were accepted before, the parameter is really missing.
        if takes == FORMS || !is_unread {
            if answer.is_ok() {
                upstream.takes.store(FORMS, Ordering::Relaxed);
            }
            return answer;
        }
    }
    headers.retain(|(name, _)| *name != header::CONTENT_TYPE);
    let path = format!("{path}?{form}");
    let (status, body) = upstream
        .send(Method::GET, &path, &headers, Bytes::new())
        .await?;
    let answer = read(upstream, endpoint, status, &body);
    if answer.is_ok() {
        upstream.takes.store(ADDRESSES, Ordering::Relaxed);
    }
    answer
}

/// Parses a Subsonic server's answer.
fn read(
    upstream: &Upstream,
    endpoint: &str,
    status: StatusCode,
    body: &[u8],
) -> Result<Value, Refusal> {
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    let Some(answer) = answer
        .as_ref()
        .and_then(|answer| answer.get("subsonic-response"))
    else {
        let text = format!(
            "{}/rest/{endpoint}: expected an answer of Subsonic, found status {status}",
            upstream.address
        );
        return Err(Refusal::new(0, text));
    };
    if answer["status"] == "ok" {
        return Ok(answer.clone());
    }
    let message = answer["error"]["message"]
        .as_str()
        .unwrap_or("the server refuses the request")
        .to_owned();
    Err(Refusal {
        code: answer["error"]["code"].as_i64().unwrap_or(0),
        message,
        is_of_server: true,
    })
}

/// A song as a Subsonic server describes it.
pub(super) fn song_ref(song: &Value) -> SongRef {
    let text = |name: &str| song[name].as_str().map(str::to_owned);
    let artists = song["artists"].as_array().into_iter().flatten();
    let artists = artists.filter_map(|artist| artist["name"].as_str().map(str::to_owned));
    SongRef {
        title: text("title").unwrap_or_default(),
        path: text("path"),
        artists: artists.chain(text("artist")).collect(),
        album: text("album"),
        seconds: song["duration"].as_f64(),
    }
}

/// An id as text; some servers have numbers.
pub(super) fn id_of(item: &Value) -> Option<String> {
    let id = item.get("id")?;
    id.as_str()
        .map(str::to_owned)
        .or_else(|| id.as_i64().map(|id| id.to_string()))
}
