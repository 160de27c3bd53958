//! A proxy of a Subsonic server: queries for similar songs are answered from the library, all others are forwarded.
//!
//! Clients send the server's own credentials, which the server verifies; that is cached for a minute, as a digest. The songs
//! that the server shows a user are listed as that user and matched with tracks in memory, so that users only see what the
//! server shows them.

mod client;
mod form;
mod songs;
mod upstream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Extension, Request, State};
use axum::http::{Method, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::ServeError;
use crate::peer::Peer;
use crate::problem::Problem;
use crate::state::{Shared, lock};
use client::{Login, call, id_of, song_ref};
use form::{Refusal, SubsonicForm, written};
use songs::{LibrarySongs, SongRef};
use upstream::{Upstream, UpstreamError, is_method};
use voisin::EngineError;
use voisin::questions::playlist::{MOST_NEAR_SEEDS, Playlist};
use voisin_base::track::TrackId;

pub use upstream::ServerAddress;

/// Longest form, in bytes: of a request that is answered here, and of a forwarded one.
const LONGEST_FORM: usize = 64 * 1024;
const LONGEST_PASSED: usize = 4 << 20;
/// How long verified credentials are cached, and how many.
const PROVEN_FOR: Duration = Duration::from_mins(1);
const MOST_PROVEN: usize = 1000;
/// Songs of a page of the server's list, and most songs of the list.
const PAGE: &str = "500";
const MOST_SONGS: usize = 500_000;
/// How long a user's list of songs is kept, and how many lists.
const LISTED_FOR: Duration = Duration::from_mins(10);
const MOST_LISTS: usize = 20;
/// Most albums of an artist as seeds, and most tracks in all.
const MOST_ALBUMS: usize = 30;
const MOST_SEEDS: usize = 500;
/// Requests to the server at once, for one answer.
const AT_ONCE: usize = 8;

impl From<UpstreamError> for Refusal {
    fn from(error: UpstreamError) -> Self {
        Self::new(0, error.to_string())
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::new(0, problem.detail())
    }
}

fn not_found() -> Refusal {
    Refusal::new(70, "The requested data was not found.")
}

struct Sidecar {
    state: Shared,
    upstream: Upstream,
    /// Digests of verified credentials, and their expiry.
    proven: Mutex<HashMap<blake3::Hash, Instant>>,
    salt: [u8; 32],
    lists: Mutex<HashMap<ListKey, KeptSongs>>,
}

/// A user, and a music folder of the server; empty for all folders.
type ListKey = (blake3::Hash, String);

/// When the songs were asked for, and the songs once they are there.
type KeptSongs = (Instant, Arc<OnceCell<Arc<ServerSongs>>>);

/// The songs that the server shows a user and the library has.
#[derive(Default)]
struct ServerSongs {
    /// By the server's ids.
    tracks: HashMap<String, TrackId>,
    /// The server's id of each track; the first one of several.
    items: HashMap<TrackId, String>,
}

/// The routes of the Subsonic API.
pub(super) fn router(state: &Shared, server: ServerAddress) -> Result<Router<Shared>, ServeError> {
    let mut salt = [0; 32];
    getrandom::fill(&mut salt).map_err(|_| ServeError::Random)?;
    let sidecar = Sidecar {
        state: Arc::clone(state),
        upstream: Upstream::new(server),
        proven: Mutex::default(),
        salt,
        lists: Mutex::default(),
    };
    Ok(Router::new()
        // Only Subsonic's API: other routes of the server behind are not forwarded.
        .route("/rest/{method}", get(answer).post(answer))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(sidecar)))
}

async fn answer(
    State(sidecar): State<Arc<Sidecar>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response<Body> {
    let path = request.uri().path();
    let name = path.rsplit('/').next().unwrap_or_default();
    if !is_method(name) {
        return Problem::bad(
            "the name of a method: letters and digits",
            format!("\"{path}\""),
        )
        .into_response();
    }
    // Old clients send the suffix, newer ones do not.
    let name = name.strip_suffix(".view").unwrap_or(name);
    let client = match peer {
        Peer::Address(address) => Some(address),
        Peer::Unix => None,
    };
    let own = match name {
        "getSimilarSongs" => Some("similarSongs"),
        "getSimilarSongs2" => Some("similarSongs2"),
        _ => None,
    };
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let kind = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let is_form = head.method == Method::POST
        && kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    // Streamed, so that uploads and long songs are not held in memory.
    if own.is_none() && !is_form {
        let form = SubsonicForm::read(&query, b"").of_client(client);
        return sidecar.pass(Request::from_parts(head, body), &form).await;
    }
    let body = if is_form {
        let longest = own.map_or(LONGEST_PASSED, |_| LONGEST_FORM);
        let Ok(body) = to_bytes(body, longest).await else {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Problem::request(status, "a shorter form", "a longer one").into_response();
        };
        body
    } else {
        Bytes::new()
    };
    let form = SubsonicForm::read(&query, &body).of_client(client);
    let Some(list) = own else {
        let request = Request::from_parts(head, body.into());
        return sidecar.pass(request, &form).await;
    };
    written(&form, sidecar.similar_songs(&form, list).await)
}

impl Sidecar {
    /// Forwards a request. Errors have the client's format.
    async fn pass(&self, request: Request, form: &SubsonicForm) -> Response<Body> {
        let base = self.state.guard.base_path.as_str();
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let target = target.strip_prefix(base).unwrap_or(target).to_owned();
        match self
            .upstream
            .pass(request, &target, form.client, base)
            .await
        {
            Ok(answer) => answer,
            Err(error) => written(form, Err(error.into())),
        }
    }

    /// Verifies credentials with the server.
    async fn login(&self, form: &SubsonicForm) -> Result<Login, Refusal> {
        let login = Login::of(form);
        if form.get("apiKey").is_none() {
            form.required("u")?;
        }
        // With a random key, so that passwords cannot be guessed from a digest in a memory dump.
        let mut hasher = blake3::Hasher::new_keyed(&self.salt);
        for (name, value) in &login.parameters {
            // With lengths, so that the encoding of name and value is unambiguous.
            hasher
                .update(&(name.len() as u64).to_le_bytes())
                .update(name.as_bytes());
            hasher
                .update(&(value.len() as u64).to_le_bytes())
                .update(value.as_bytes());
        }
        let digest = hasher.finalize();
        if lock(&self.proven)
            .get(&digest)
            .is_some_and(|until| *until > Instant::now())
        {
            return Ok(login);
        }
        call(&self.upstream, &login, "ping", &[]).await?;
        let mut proven = lock(&self.proven);
        proven.retain(|_, until| *until > Instant::now());
        if proven.len() >= MOST_PROVEN {
            proven.clear();
        }
        proven.insert(digest, Instant::now() + PROVEN_FOR);
        Ok(login)
    }

    /// The tracks of an id of the server: a song, or the songs of an album or an artist.
    async fn tracks_of(
        &self,
        login: &Login,
        id: &str,
        artist_first: bool,
        known: &ServerSongs,
    ) -> Result<Vec<TrackId>, Refusal> {
        if artist_first && let Some(songs) = self.songs_of_artist(login, id).await? {
            return Ok(known.tracks_of(&songs));
        }
        if let Some(track) = known.tracks.get(id) {
            return Ok(vec![*track]);
        }
        // Clients send ids of songs, albums or artists, without their kind. A song is one that the library lacks.
        if self.found(login, "getSong", id).await?.is_some() {
            return Ok(Vec::new());
        }
        let songs = match self.found(login, "getAlbum", id).await? {
            Some(answer) => Some(songs_of_album(&answer)),
            None if artist_first => None,
            None => self.songs_of_artist(login, id).await?,
        };
        songs
            .map(|songs| known.tracks_of(&songs))
            .ok_or_else(not_found)
    }

    /// The songs that the server shows this user in a music folder.
    async fn songs(
        self: &Arc<Self>,
        login: &Login,
        folder: &str,
    ) -> Result<Arc<ServerSongs>, Refusal> {
        let list = {
            let mut lists = lock(&self.lists);
            lists.retain(|_, (since, _)| since.elapsed() < LISTED_FOR);
            if lists.len() >= MOST_LISTS {
                lists.clear();
            }
            let key = (login.user(), folder.to_owned());
            let new = || (Instant::now(), Arc::default());
            Arc::clone(&lists.entry(key).or_insert_with(new).1)
        };
        let sidecar = Arc::clone(self);
        let login = login.clone();
        let folder = folder.to_owned();
        // In a task of its own, which goes on if the client hangs up meanwhile.
        let reading = tokio::spawn(async move {
            let read = || sidecar.read_songs(&login, &folder);
            list.get_or_try_init(read).await.cloned()
        });
        reading
            .await
            .unwrap_or_else(|_| Err(Problem::fault().into()))
    }

    async fn read_songs(&self, login: &Login, folder: &str) -> Result<Arc<ServerSongs>, Refusal> {
        let mut songs: HashMap<String, SongRef> = HashMap::new();
        let mut before = 0;
        while before < MOST_SONGS {
            let page = self.page(login, before, folder).await?;
            let known = songs.len();
            let named = page.iter().filter_map(|song| Some((id_of(song)?, song)));
            songs.extend(named.map(|(id, song)| (id, song_ref(song))));
            before += page.len();
            // A server that ignores the offset sends its first page again.
            if songs.len() == known {
                break;
            }
        }
        let found = self.state.run(move |_, context| {
            let library = LibrarySongs::of(context.engine.library())?;
            let mut known = ServerSongs::default();
            for (id, song) in &songs {
                if let Some(track) = library.find(song) {
                    let item = known.items.entry(track).or_insert_with(|| id.clone());
                    if id < item {
                        item.clone_from(id);
                    }
                    known.tracks.insert(id.clone(), track);
                }
            }
            Ok(known)
        });
        Ok(Arc::new(found.await?))
    }

    /// A page of the songs that the server shows this user.
    async fn page(
        &self,
        login: &Login,
        before: usize,
        folder: &str,
    ) -> Result<Vec<Value>, Refusal> {
        let offset = before.to_string();
        let mut parameters = vec![
            ("query", ""),
            ("songCount", PAGE),
            ("songOffset", &offset),
            ("artistCount", "0"),
            ("albumCount", "0"),
        ];
        if !folder.is_empty() {
            parameters.push(("musicFolderId", folder));
        }
        let answer = call(&self.upstream, login, "search3", &parameters).await?;
        Ok(answer["searchResult3"]["song"]
            .as_array()
            .cloned()
            .unwrap_or_default())
    }

    /// The server's entry of an id; `None` if there is none of this kind, which servers report in different ways.
    async fn found(
        &self,
        login: &Login,
        endpoint: &str,
        id: &str,
    ) -> Result<Option<Value>, Refusal> {
        match call(&self.upstream, login, endpoint, &[("id", id)]).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Refusal {
                // 70 is "not found"; some servers return 0 or 10 for an id of another kind.
                code: 0 | 10 | 70,
                is_of_server: true,
                ..
            }) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    async fn songs_of_artist(
        &self,
        login: &Login,
        id: &str,
    ) -> Result<Option<Vec<Value>>, Refusal> {
        let Some(answer) = self.found(login, "getArtist", id).await? else {
            return Ok(None);
        };
        let albums = answer["artist"]["album"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ids: Vec<String> = albums.iter().filter_map(id_of).take(MOST_ALBUMS).collect();
        let songs = stream::iter(ids)
            .map(|id| async move { self.found(login, "getAlbum", &id).await })
            // In order, so that the same artist has the same seeds.
            .buffered(AT_ONCE)
            .filter_map(|answer| async { answer.ok().flatten() })
            .flat_map(|answer| stream::iter(songs_of_album(&answer)))
            .take(MOST_SEEDS)
            .collect()
            .await;
        Ok(Some(songs))
    }

    /// The server's ids of tracks that go on after these.
    ///
    /// - `among`: the songs that may be among them
    async fn near(
        &self,
        tracks: Vec<TrackId>,
        count: usize,
        among: Arc<ServerSongs>,
    ) -> Result<Vec<String>, Refusal> {
        if tracks.is_empty() || count == 0 {
            return Ok(Vec::new());
        }
        let found = self.state.run_indexed(move |state, context| {
            state.follow(context)?;
            let seeds = tracks.iter().take(MOST_NEAR_SEEDS);
            let seeds = seeds.map(|track| context.engine.seed_of(*track));
            let seeds = seeds.collect::<Result<Vec<_>, EngineError>>()?;
            let songs = among.items.keys().copied().collect();
            let list = Playlist::after(&seeds, count, songs);
            let (collection, list) = list.of_library(&mut context.engine, &seeds, &[])?;
            let ids = list.rows.iter().map(|&row| collection.ids[row]);
            Ok(ids.filter_map(|id| among.items.get(&id).cloned()).collect())
        });
        Ok(found.await?)
    }

    async fn similar_songs(
        self: &Arc<Self>,
        form: &SubsonicForm,
        name: &str,
    ) -> Result<Value, Refusal> {
        // The second method is for artists.
        let artist_first = name == "similarSongs2";
        let login = self.login(form).await?;
        let id = form.required("id")?;
        let count = form.count(50)?;
        let known = self.songs(&login, "").await?;
        let tracks = self.tracks_of(&login, id, artist_first, &known).await?;
        let among = match form.get("musicFolderId") {
            None | Some("") => known,
            Some(folder) => self.songs(&login, folder).await?,
        };
        let items = self.near(tracks, count, among).await?;
        // As the server describes them now; without those that it no longer shows.
        let songs: Vec<Value> = stream::iter(items)
            .map(|item| {
                let login = &login;
                async move { self.found(login, "getSong", &item).await }
            })
            .buffered(AT_ONCE)
            .filter_map(|answer| async move { answer.ok()??.get("song").cloned() })
            .collect()
            .await;
        Ok(json!({ name: {"song": songs} }))
    }
}

impl ServerSongs {
    /// The tracks of songs of the server, as far as the library has them.
    fn tracks_of(&self, songs: &[Value]) -> Vec<TrackId> {
        let ids = songs.iter().filter_map(id_of);
        ids.filter_map(|id| self.tracks.get(&id).copied()).collect()
    }
}

fn songs_of_album(answer: &Value) -> Vec<Value> {
    answer["album"]["song"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}
