//! Plex by its documented HTTP API: songs, for linking, and playlists. The password is the account's token
//! (`X-Plex-Token`).

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::{LinkError, PAGE, Songs};
use crate::songs::SongRef;
use crate::upstream::Upstream;

/// Plex's type of tracks.
const TRACKS: u8 = 10;

/// A server and the user's token.
struct Plex<'a> {
    upstream: &'a Upstream,
    token: HeaderValue,
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

impl<'a> Plex<'a> {
    fn new(upstream: &'a Upstream, token: &str) -> Result<Self, LinkError> {
        let mut token = HeaderValue::from_str(token.trim())
            .map_err(|_| LinkError::Login("expected Plex's token, found other text".to_owned()))?;
        token.set_sensitive(true);
        Ok(Self { upstream, token })
    }

    async fn send(&self, method: Method, path: &str) -> Result<Value, LinkError> {
        let server = &self.upstream.address;
        let headers: [(HeaderName, HeaderValue); 3] = [
            (HeaderName::from_static("x-plex-token"), self.token.clone()),
            (
                HeaderName::from_static("x-plex-client-identifier"),
                HeaderValue::from_static("voisin"),
            ),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
        ];
        let answer = self
            .upstream
            .send(method, path, &headers, Bytes::new())
            .await;
        let (status, body) = answer.map_err(|error| LinkError::Server(error.to_string()))?;
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(LinkError::Login(format!("{server} refuses this token")));
        }
        if !status.is_success() {
            let text = format!("{server} answers {status}: is it a Plex server?");
            return Err(LinkError::Server(text));
        }
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        Ok(answer["MediaContainer"].clone())
    }
}

/// All songs of its music libraries.
pub(super) async fn all_songs(
    upstream: &Upstream,
    token: &str,
    progress: &dyn Fn(usize),
) -> Result<Songs, LinkError> {
    let plex = Plex::new(upstream, token)?;
    let sections = plex.send(Method::GET, "/library/sections").await?;
    let mut songs = Songs::default();
    for section in sections["Directory"].as_array().into_iter().flatten() {
        let (Some("artist"), Some(key)) = (section["type"].as_str(), section["key"].as_str())
        // Sections of films and pictures have no songs.
        else {
            continue;
        };
        let key = encoded(key);
        let mut start = 0;
        loop {
            let path = format!(
                "/library/sections/{key}/all?type={TRACKS}&X-Plex-Container-Start={start}&X-Plex-Container-Size={PAGE}"
            );
            let page = plex.send(Method::GET, &path).await?;
            let items = page["Metadata"].as_array().cloned().unwrap_or_default();
            let before = songs.len();
            for item in &items {
                if let Some(id) = item["ratingKey"].as_str() {
                    songs.add(id.to_owned(), song(item));
                    songs.add_artist(
                        item["grandparentRatingKey"].as_str().map(str::to_owned),
                        &item["grandparentTitle"],
                    );
                }
            }
            start += items.len();
            progress(songs.len());
            // Stops if the server repeats its songs.
            if songs.len() == before {
                break;
            }
        }
    }
    Ok(songs)
}

fn song(item: &Value) -> SongRef {
    let text = |name: &str| item[name].as_str().map(str::to_owned);
    SongRef {
        name: text("title").unwrap_or_default(),
        path: item["Media"][0]["Part"][0]["file"]
            .as_str()
            .map(str::to_owned),
        // The track's own artist, if it differs from the album's.
        artist: text("originalTitle").or_else(|| text("grandparentTitle")),
        album: text("parentTitle"),
        duration: item["duration"]
            .as_f64()
            .map(|milliseconds| milliseconds / 1000.0),
        ..SongRef::default()
    }
}

/// Creates or updates a playlist with these songs; returns its id. `None`: another playlist has this name.
///
/// - `made`: the id of this list's playlist there, and whether another one of its name may be replaced
pub(crate) async fn put(
    upstream: &Upstream,
    token: &str,
    name: &str,
    items: &[&str],
    (made, is_forced): (Option<&str>, bool),
) -> Result<Option<String>, LinkError> {
    let plex = Plex::new(upstream, token)?;
    let identity = plex.send(Method::GET, "/identity").await?;
    // Plex identifies songs by an address with the server's id.
    let machine = identity["machineIdentifier"].as_str().unwrap_or_default();
    let uri = |items: &[&str]| {
        encoded(&format!(
            "server://{machine}/com.plexapp.plugins.library/library/metadata/{}",
            items.join(",")
        ))
    };
    let all = plex
        .send(Method::GET, "/playlists?playlistType=audio&smart=0")
        .await?;
    let all = all["Metadata"].as_array().cloned().unwrap_or_default();
    let ours = all
        .iter()
        .find(|one| made.is_some() && one["ratingKey"].as_str() == made);
    let there = ours.or_else(|| all.iter().find(|one| one["title"] == name));
    if ours.is_none() && there.is_some() && !is_forced {
        return Ok(None);
    }
    let mut parts = items.chunks(PAGE);
    let known = there.and_then(|one| one["ratingKey"].as_str());
    let id = if let Some(id) = known {
        let path = format!("/playlists/{}/items", encoded(id));
        // Emptied and filled again: items can only be added or removed.
        plex.send(Method::DELETE, &path).await?;
        id.to_owned()
    } else {
        let first = parts.next().unwrap_or_default();
        let path = format!(
            "/playlists?type=audio&smart=0&title={}&uri={}",
            encoded(name),
            uri(first)
        );
        let made = plex.send(Method::POST, &path).await?;
        let id = made["Metadata"][0]["ratingKey"].as_str();
        let server = &upstream.address;
        let unnamed = || LinkError::Server(format!("{server} returned no id of the new playlist"));
        id.ok_or_else(unnamed)?.to_owned()
    };
    // The length of an address is limited: the others are added in parts.
    for part in parts {
        let path = format!("/playlists/{}/items?uri={}", encoded(&id), uri(part));
        if let Err(error) = plex.send(Method::PUT, &path).await {
            if known.is_none() {
                // An incomplete new playlist is deleted: its id would be lost, and its name in use the next time.
                let path = format!("/playlists/{}", encoded(&id));
                let _ = plex.send(Method::DELETE, &path).await;
                return Err(error);
            }
            return Err(match error {
                LinkError::Server(text) => LinkError::Server(format!(
                    "{text}; \"{name}\" has only a part of its songs there until it is pushed again"
                )),
                other => other,
            });
        }
    }
    Ok(Some(id))
}
