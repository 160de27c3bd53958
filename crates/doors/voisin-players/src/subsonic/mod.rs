//! A proxy of a Subsonic server: queries for similar songs are answered from the library, all others are forwarded.
//!
//! It uses the server's ids from `voisin link`. Clients send the server's own credentials, which the server verifies; that is
//! cached for a minute, as a digest. Songs of an answer are fetched from the server as that user, so that users only see what
//! the server shows them.

mod client;
mod form;
mod shown;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Extension, Request, State};
use axum::http::{Method, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::upstream::{ServerAddress, Upstream, UpstreamError, is_method};
pub(super) use client::{Login, call, id_of, song_ref};
pub(super) use form::flag;
use form::{Refusal, SubsonicForm, written};
use shown::{MOST_SHOWN, SHOWN_FOR, ShownSongs};
use voisin_base::track::TrackId;
use voisin_engine::{EngineError, MixOptions, SimilarTrack};
use voisin_http::ServeError;
use voisin_http::peer::Peer;
use voisin_http::problem::Problem;
use voisin_http::state::{RequestContext, Shared, lock, way};
use voisin_library::{PlayerEvent, TrackSet};
use voisin_questions::Mixing;

/// Longest form, in bytes: of a request that is answered here, and of a forwarded one.
const LONGEST_FORM: usize = 64 * 1024;
const LONGEST_PASSED: usize = 4 << 20;
/// How long verified credentials are cached, and how many.
const PROVEN_FOR: Duration = Duration::from_mins(1);
const MOST_PROVEN: usize = 1000;
/// If this many songs of an answer are not cached, all songs are fetched in the background.
const MANY: usize = 5;
/// Songs of a page, when all are fetched.
const PAGE: &str = "500";
/// How long the server's extensions are cached, and the timeout for them.
const OFFERED_FOR: Duration = Duration::from_mins(5);
const OFFER_TIME: Duration = Duration::from_millis(1500);
/// Most albums of an artist as seeds, and most tracks in all.
const MOST_ALBUMS: usize = 30;
const MOST_SEEDS: usize = 500;
/// Most music folders that are cached for users.
const MOST_FOLDERS: usize = 100;
/// Most songs of a scrobble or a like.
const MOST_NOTED: usize = 50;
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
    /// The server's extensions, and the time of their request.
    offered: Mutex<Option<(Instant, Vec<Value>)>>,
    songs: Mutex<ShownSongs>,
    folders: Mutex<ShownFolders>,
}

/// Tracks that the server shows a user in a music folder, and the time of the request.
type ShownFolders = HashMap<(blake3::Hash, String), (Instant, Arc<TrackSet>)>;

/// The routes of the Subsonic API.
pub fn router(state: &Shared, server: ServerAddress) -> Result<Router<Shared>, ServeError> {
    let mut salt = [0; 32];
    getrandom::fill(&mut salt).map_err(|_| ServeError::Random)?;
    let sidecar = Sidecar {
        state: Arc::clone(state),
        upstream: Upstream::new(server),
        proven: Mutex::default(),
        salt,
        offered: Mutex::default(),
        songs: Mutex::default(),
        folders: Mutex::default(),
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
    let name = name.strip_suffix(".view").unwrap_or(name).to_owned();
    let client = match peer {
        Peer::Address(address) => Some(address),
        Peer::Unix => None,
    };
    let is_own = matches!(
        name.as_str(),
        "getSimilarSongs"
            | "getSimilarSongs2"
            | "getSonicSimilarTracks"
            | "findSonicPath"
            | "getOpenSubsonicExtensions"
    );
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let kind = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let is_form = head.method == Method::POST
        && kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    // Streamed, so that uploads and long songs are not held in memory.
    if !is_own && !is_form {
        let form = SubsonicForm::read(&query, b"").of_client(client);
        let answer = sidecar.pass(Request::from_parts(head, body), &form).await;
        return sidecar.note_later(&name, form, answer);
    }
    let body = if is_form {
        let Ok(body) = to_bytes(body, if is_own { LONGEST_FORM } else { LONGEST_PASSED }).await
        else {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Problem::request(status, "a shorter form", "a longer one").into_response();
        };
        body
    } else {
        Bytes::new()
    };
    let form = SubsonicForm::read(&query, &body).of_client(client);
    if !is_own {
        let answer = sidecar
            .pass(Request::from_parts(head, body.into()), &form)
            .await;
        return sidecar.note_later(&name, form, answer);
    }
    let answer = match name.as_str() {
        "getOpenSubsonicExtensions" => Ok(sidecar.extensions(&form).await),
        "getSimilarSongs" => sidecar.similar_songs(&form, "similarSongs", false).await,
        "getSimilarSongs2" => sidecar.similar_songs(&form, "similarSongs2", true).await,
        "getSonicSimilarTracks" => sidecar.sonic_similar(&form).await,
        _ => sidecar.sonic_path(&form).await,
    };
    written(&form, answer)
}

/// A track of an answer, by the server's id.
struct Match {
    item: String,
    similarity: f32,
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

    /// Stores the plays and likes of a forwarded request in the background.
    fn note_later(
        self: &Arc<Self>,
        name: &str,
        form: SubsonicForm,
        answer: Response<Body>,
    ) -> Response<Body> {
        if matches!(name, "star" | "unstar" | "setRating") {
            // Cached songs have them, too.
            *lock(&self.songs) = ShownSongs::default();
        }
        // False means that it begins to play.
        let is_heard = name == "scrobble" && form.get("submission").and_then(flag) != Some(false);
        if answer.status().is_success()
            && (is_heard || matches!(name, "star" | "unstar" | "setRating"))
        {
            let sidecar = Arc::clone(self);
            let name = name.to_owned();
            // In the background, as it sends requests to the server.
            tokio::spawn(async move {
                if let Err(refusal) = sidecar.note(&name, &form).await {
                    sidecar
                        .state
                        .log(&format!("{name} is not stored: {}", refusal.message));
                }
            });
        }
        answer
    }

    /// Stores plays and likes of a user, after the server has verified the credentials.
    async fn note(&self, name: &str, form: &SubsonicForm) -> Result<(), Refusal> {
        // The server may have accepted the request without a check, so the credentials are verified
        // separately.
        let login = self.login(form).await?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs() as i64);
        let mut times = form
            .all("time")
            .map(|time| time.parse::<i64>().map_or(now, |time| now.min(time / 1000)));
        let mut events = Vec::new();
        for id in form.all("id").take(MOST_NOTED) {
            let what = match (
                name,
                form.get("rating").and_then(|text| text.parse::<u8>().ok()),
            ) {
                ("scrobble", _) => PlayerEvent::Played(times.next().unwrap_or(now)),
                ("star", _) => PlayerEvent::Liked(Some(true)),
                ("unstar", _) => PlayerEvent::Liked(None),
                (_, Some(stars @ 0..=5)) => PlayerEvent::Rated((stars > 0).then_some(stars)),
                _ => continue,
            };
            // The id may be that of an album or a folder.
            let Some(song) = self.song(&login, id).await? else {
                continue;
            };
            events.extend(
                self.known(vec![song])
                    .await?
                    .into_iter()
                    .map(|track| (track, what)),
            );
        }
        if events.is_empty() {
            return Ok(());
        }
        Ok(self.state.note_listening(login.name(), events).await?)
    }

    /// The server's extensions and our own, without authentication and without waiting for a slow server.
    ///
    /// Older servers require authentication, so the request has the client's credentials. The extensions are the same for all
    /// and cached; a refusal may be for this client only, and is not.
    async fn extensions(&self, form: &SubsonicForm) -> Value {
        let known = lock(&self.offered).clone();
        let mut all = match known {
            Some((when, known)) if when.elapsed() < OFFERED_FOR => known,
            known => {
                let login = Login::of(form);
                let request = call(&self.upstream, &login, "getOpenSubsonicExtensions", &[]);
                let answer = tokio::time::timeout(OFFER_TIME, request)
                    .await
                    .ok()
                    .and_then(Result::ok);
                let offered =
                    answer.and_then(|answer| answer["openSubsonicExtensions"].as_array().cloned());
                if let Some(offered) = &offered {
                    *lock(&self.offered) = Some((Instant::now(), offered.clone()));
                }
                offered
                    .or(known.map(|(_, known)| known))
                    .unwrap_or_default()
            }
        };
        // The server may have this extension itself, but its requests are answered here.
        all.retain(|extension| extension["name"] != "sonicSimilarity");
        all.push(json!({"name": "sonicSimilarity", "versions": [1]}));
        json!({ "openSubsonicExtensions": all })
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

    /// The tracks of an id of the server: a song, or the songs of an album or an artist. Songs that were not linked are found
    /// by their metadata from the server.
    async fn tracks_of(
        &self,
        login: &Login,
        id: &str,
        artist_first: bool,
    ) -> Result<Vec<TrackId>, Refusal> {
        let songs = if artist_first {
            self.songs_of_artist(login, id).await?
        } else {
            None
        };
        if let Some(songs) = songs {
            return self.known(songs).await;
        }
        let item = id.to_owned();
        let server = self.upstream.address.clone();
        let linked = self
            .state
            .run(move |_, context| {
                Ok(context
                    .engine
                    .library()
                    .links()
                    .linked_track(server.as_str(), &item)?)
            })
            .await?;
        if let Some(track) = linked {
            // The server decides whether the user may see it.
            let song = self.song(login, id).await?;
            return song.map(|_| vec![track]).ok_or_else(not_found);
        }
        // Clients send ids of songs, albums or artists, without their kind.
        let found = match self.song(login, id).await? {
            Some(song) => {
                // The id was never linked: the song is new, or all ids changed.
                self.state.is_unlinked.store(true, Ordering::Relaxed);
                Some(vec![song])
            }
            None => match self.found(login, "getAlbum", id).await? {
                Some(answer) => Some(
                    answer["album"]["song"]
                        .as_array()
                        .cloned()
                        .unwrap_or_default(),
                ),
                None if artist_first => None,
                None => self.songs_of_artist(login, id).await?,
            },
        };
        match found {
            Some(songs) => self.known(songs).await,
            None => Err(not_found()),
        }
    }

    /// The server's song for this user.
    async fn song(&self, login: &Login, id: &str) -> Result<Option<Value>, Refusal> {
        let user = login.user();
        if let Some(song) = lock(&self.songs).get(user, id) {
            return Ok(Some(song));
        }
        let answer = self.found(login, "getSong", id).await?;
        let song = answer.and_then(|answer| answer.get("song").cloned());
        if let Some(song) = &song {
            lock(&self.songs).put(user, id, song);
        }
        Ok(song)
    }

    /// The tracks of a music folder of the server, if the request has one.
    async fn of_folder(
        &self,
        login: &Login,
        form: &SubsonicForm,
    ) -> Result<Option<Arc<TrackSet>>, Refusal> {
        let Some(folder) = form
            .get("musicFolderId")
            .filter(|folder| !folder.is_empty())
        else {
            return Ok(None);
        };
        let key = (login.user(), folder.to_owned());
        {
            let mut known = lock(&self.folders);
            known.retain(|_, (since, _)| since.elapsed() < SHOWN_FOR);
            if known.len() >= MOST_FOLDERS {
                known.clear();
            }
            if let Some((_, tracks)) = known.get(&key) {
                return Ok(Some(Arc::clone(tracks)));
            }
        }
        let mut items: HashSet<String> = HashSet::new();
        let mut before = 0_usize;
        while before < MOST_SHOWN {
            let page = self
                .page(login, before, &[("musicFolderId", folder)])
                .await?;
            before += page.len();
            items.extend(page.iter().filter_map(id_of));
            if page.is_empty() {
                break;
            }
        }
        let server = self.upstream.address.clone();
        let tracks = self.state.run(move |_, context| {
            let library = context.engine.library();
            let linked = library.links().linked_tracks(server.as_str())?.to_vec();
            let known = library.links().items_of(server.as_str(), &linked)?;
            Ok(known
                .into_iter()
                .filter(|(_, item)| items.contains(item))
                .map(|(track, _)| track)
                .collect())
        });
        let tracks: Arc<TrackSet> = Arc::new(tracks.await?);
        lock(&self.folders).insert(key, (Instant::now(), Arc::clone(&tracks)));
        Ok(Some(tracks))
    }

    /// A page of the songs that the server shows this user.
    async fn page(
        &self,
        login: &Login,
        before: usize,
        more: &[(&str, &str)],
    ) -> Result<Vec<Value>, Refusal> {
        let offset = before.to_string();
        let parameters = [
            ("query", ""),
            ("songCount", PAGE),
            ("songOffset", &offset),
            ("artistCount", "0"),
            ("albumCount", "0"),
        ];
        let answer = call(
            &self.upstream,
            login,
            "search3",
            &[&parameters, more].concat(),
        )
        .await?;
        Ok(answer["searchResult3"]["song"]
            .as_array()
            .cloned()
            .unwrap_or_default())
    }

    /// Fetches all songs that the server shows this user, page by page.
    async fn fill(&self, login: &Login) {
        let mut before = 0_usize;
        while before < MOST_SHOWN {
            // Only a cache: without it songs are fetched one by one.
            let Ok(page) = self.page(login, before, &[]).await else {
                return;
            };
            let mut songs = lock(&self.songs);
            for (id, song) in page.iter().filter_map(|song| Some((id_of(song)?, song))) {
                songs.put(login.user(), &id, song);
            }
            before += page.len();
            if page.is_empty() {
                return;
            }
        }
    }

    /// A song of the server, and its track.
    async fn end_of_path(
        &self,
        login: &Login,
        id: &str,
    ) -> Result<(Value, Option<TrackId>), Refusal> {
        let song = self.song(login, id).await?.ok_or_else(not_found)?;
        Ok((song.clone(), self.known(vec![song]).await?.first().copied()))
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
            .flat_map(|answer| {
                stream::iter(
                    answer["album"]["song"]
                        .as_array()
                        .cloned()
                        .unwrap_or_default(),
                )
            })
            .take(MOST_SEEDS)
            .collect()
            .await;
        Ok(Some(songs))
    }

    /// The tracks of songs of the server, as far as the library has them.
    async fn known(&self, songs: Vec<Value>) -> Result<Vec<TrackId>, Refusal> {
        let server = self.upstream.address.clone();
        let tracks = self.state.run(move |_, context| {
            let library = context.engine.library();
            let mut tracks = Vec::new();
            for song in &songs {
                let linked = id_of(song)
                    .map(|id| library.links().linked_track(server.as_str(), &id))
                    .transpose()?;
                match linked.flatten() {
                    Some(track) => tracks.push(track),
                    None => tracks.extend(song_ref(song).find(library)?.map(|(track, _)| track)),
                }
            }
            Ok(tracks)
        });
        Ok(tracks.await?)
    }

    /// A mix from these tracks, of those that the server has.
    ///
    /// - `folder`: the tracks that may be in it; `None`: all
    /// - `is_sorted`: nearest first, not in the mix's order
    async fn near(
        &self,
        login: &Login,
        tracks: Vec<TrackId>,
        count: usize,
        folder: Option<Arc<TrackSet>>,
        is_sorted: bool,
    ) -> Result<Vec<Match>, Refusal> {
        if tracks.is_empty() || count == 0 {
            return Ok(Vec::new());
        }
        let server = self.upstream.address.clone();
        let user = Mixing::of_listener(login.name());
        let found = self.state.run(move |state, context| {
            state.index(context)?;
            let seeds = tracks.iter().map(|track| context.engine.seed_of(*track));
            let seeds = seeds.collect::<Result<Vec<_>, EngineError>>()?;
            let among = match &folder {
                Some(folder) => (**folder).clone(),
                None => context
                    .engine
                    .library()
                    .links()
                    .linked_tracks(server.as_str())?,
            };
            let among = Some(among);
            let options = MixOptions {
                limit: count,
                among,
                filter: state.mixes.filters.filter(context.engine, &seeds)?,
                ..state.mixes.mixing.clone().over(&user).options()
            };
            let mut found = context.engine.mix(&seeds, &options)?;
            if is_sorted {
                found.sort_by(SimilarTrack::nearer);
            }
            let found: Vec<(TrackId, f32)> = found
                .into_iter()
                .map(|near| (near.track.id, near.similarity))
                .collect();
            matches(context, &server, &found)
        });
        Ok(found.await?)
    }

    /// The server's entries of an answer's songs for this user, without those that it does not show.
    async fn entries(self: &Arc<Self>, login: &Login, matches: Vec<Match>) -> Vec<(Value, f32)> {
        let fills = {
            let mut songs = lock(&self.songs);
            let known = songs.of(login.user());
            let unknown = matches
                .iter()
                .filter(|found| !known.songs.contains_key(&found.item))
                .count();
            let fills = unknown >= MANY && !known.is_filled;
            // Before it is filled, so that the next answer does not start it again.
            known.is_filled |= fills;
            fills
        };
        if fills {
            let sidecar = Arc::clone(self);
            let login = login.clone();
            tokio::spawn(async move { sidecar.fill(&login).await });
        }
        stream::iter(matches)
            .map(|found| async move {
                Some((self.song(login, &found.item).await.ok()??, found.similarity))
            })
            .buffered(AT_ONCE)
            .filter_map(|entry| async { entry })
            .collect()
            .await
    }

    async fn similar_songs(
        self: &Arc<Self>,
        form: &SubsonicForm,
        name: &str,
        artist_first: bool,
    ) -> Result<Value, Refusal> {
        let login = self.login(form).await?;
        let id = form.required("id")?;
        let count = form.count(50)?;
        let tracks = self.tracks_of(&login, id, artist_first).await?;
        let folder = self.of_folder(&login, form).await?;
        let found = self.near(&login, tracks, count, folder, false).await?;
        let entries = self.entries(&login, found).await;
        let songs: Vec<Value> = entries.into_iter().map(|(song, _)| song).collect();
        Ok(json!({ name: {"song": songs} }))
    }

    async fn sonic_similar(self: &Arc<Self>, form: &SubsonicForm) -> Result<Value, Refusal> {
        let login = self.login(form).await?;
        let id = form.required("id")?;
        let count = form.count(10)?;
        let tracks = self.tracks_of(&login, id, false).await?;
        let folder = self.of_folder(&login, form).await?;
        let found = self.near(&login, tracks, count, folder, true).await?;
        Ok(sonic_matches(self.entries(&login, found).await))
    }

    /// A path from one song to another, with both as in the request, whatever other ids their tracks have.
    async fn sonic_path(self: &Arc<Self>, form: &SubsonicForm) -> Result<Value, Refusal> {
        let login = self.login(form).await?;
        let start = form.required("startSongId")?;
        let end = form.required("endSongId")?;
        let count = form.count(25)?.max(2);
        let (first, from) = self.end_of_path(&login, start).await?;
        if start == end {
            return Ok(sonic_matches(vec![(first, 1.0)]));
        }
        let (last, to) = self.end_of_path(&login, end).await?;
        // A track without a vector has no path.
        let (Some(from), Some(to)) = (from, to) else {
            return Ok(sonic_matches(Vec::new()));
        };
        let server = self.upstream.address.clone();
        // The path uses all tracks; between its ends, those of other folders are left out.
        let folder = self.of_folder(&login, form).await?;
        let found = self.state.run_explored(move |_, context, explored| {
            if from == to {
                return Ok((1.0, Vec::new()));
            }
            let found = way(explored, from, to, count)?;
            let similarity = found.last().map_or(0.0, |(_, similarity)| *similarity);
            let mut inner = found.get(1..found.len() - 1).unwrap_or_default().to_vec();
            inner.retain(|(track, _)| folder.as_ref().is_none_or(|folder| folder.contains(*track)));
            Ok((similarity, matches(context, &server, &inner)?))
        });
        let (similarity, inner) = found.await?;
        let mut all = vec![(first, 1.0)];
        all.extend(self.entries(&login, inner).await);
        all.push((last, similarity));
        Ok(sonic_matches(all))
    }
}

/// The server's ids of tracks, in their order, without those that it does not have.
fn matches(
    context: &mut RequestContext,
    server: &ServerAddress,
    found: &[(TrackId, f32)],
) -> Result<Vec<Match>, Problem> {
    let ids: Vec<TrackId> = found.iter().map(|(track, _)| *track).collect();
    let mut items = context
        .engine
        .library()
        .links()
        .items_of(server.as_str(), &ids)?;
    let matches = found.iter().filter_map(|(track, similarity)| {
        Some(Match {
            item: items.remove(track)?,
            similarity: similarity.clamp(0.0, 1.0),
        })
    });
    Ok(matches.collect())
}

fn sonic_matches(entries: Vec<(Value, f32)>) -> Value {
    let entries = entries.into_iter();
    let matches: Vec<Value> = entries
        .map(|(entry, similarity)| json!({"entry": entry, "similarity": similarity}))
        .collect();
    json!({ "sonicMatch": matches })
}
