//! In front of a Subsonic server: what sounds alike is answered from the library, everything else is handed on.
//!
//! The server's ids are those that `voisin link` noted. Whoever asks shows the server's own name and password, which the
//! server proves; that it did is remembered for a minute, as a digest. Songs of an answer are fetched from the server as that
//! user, so nobody sees what the server would not show.

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
pub(super) use client::{Login, ask, id_of, song_ref};
use form::{Refusal, SubsonicForm, written};
use shown::{MOST_SHOWN, SHOWN_FOR, ShownSongs};
use voisin_base::track::TrackId;
use voisin_engine::{EngineError, MixOptions, SimilarTrack};
use voisin_http::ServeError;
use voisin_http::peer::Peer;
use voisin_http::problem::Problem;
use voisin_http::state::{RequestContext, Shared, lock, way};
use voisin_library::{Told, TrackSet};
use voisin_questions::Mixing;

/// Longest form, in bytes: of a question that is answered here, and of one that is handed on.
const LONGEST_FORM: usize = 64 * 1024;
const LONGEST_PASSED: usize = 4 << 20;
/// How long it is remembered that the server knew a name and password, and of how many.
const PROVEN_FOR: Duration = Duration::from_mins(1);
const MOST_PROVEN: usize = 1000;
/// So many unknown songs in one answer, and all are asked for behind it.
const MANY: usize = 5;
/// Songs of a page, where all are asked for.
const PAGE: &str = "500";
/// How long it holds what the server offers, and how long it may take to say it.
const OFFERED_FOR: Duration = Duration::from_mins(5);
const OFFER_TIME: Duration = Duration::from_millis(1500);
/// Albums of an artist that are seeds, and tracks in all.
const MOST_ALBUMS: usize = 30;
const MOST_SEEDS: usize = 500;
/// Folders of music that are known of users.
const MOST_FOLDERS: usize = 100;
/// Songs of one message of what was heard or liked.
const MOST_TOLD: usize = 50;
/// Questions to the server at once, for one answer.
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
    /// Digests of what the server has proven, and until when that holds.
    proven: Mutex<HashMap<blake3::Hash, Instant>>,
    salt: [u8; 32],
    /// The server's extensions, and when they were asked for.
    offered: Mutex<Option<(Instant, Vec<Value>)>>,
    songs: Mutex<ShownSongs>,
    folders: Mutex<ShownFolders>,
}

/// Tracks that the server shows a user in a folder of music, and when that was asked.
type ShownFolders = HashMap<(blake3::Hash, String), (Instant, Arc<TrackSet>)>;

/// The routes of a Subsonic server.
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
        // No more methods than Subsonic has: what else a server behind offers is not offered here.
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
    // Old clients write the suffix, newer ones do not.
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
    // Streamed through unread: an upload or a long song must not lie in memory here.
    if !is_own && !is_form {
        let form = SubsonicForm::read(&query, b"").of_client(client);
        let answer = sidecar.pass(Request::from_parts(head, body), &form).await;
        return sidecar.overheard(&name, form, answer);
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
        return sidecar.overheard(&name, form, answer);
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
    /// Hands a question on. Where that fails it is told as the client reads it.
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

    /// Notes behind an answer what its question says of songs: what was heard, and what is liked.
    fn overheard(
        self: &Arc<Self>,
        name: &str,
        form: SubsonicForm,
        answer: Response<Body>,
    ) -> Response<Body> {
        if matches!(name, "star" | "unstar" | "setRating") {
            // Known songs depend on it too.
            *lock(&self.songs) = ShownSongs::default();
        }
        // "false" says only that it begins to play.
        let is_heard = name == "scrobble" && form.get("submission") != Some("false");
        if answer.status().is_success()
            && (is_heard || matches!(name, "star" | "unstar" | "setRating"))
        {
            let sidecar = Arc::clone(self);
            let name = name.to_owned();
            // The client has its answer already, and noting asks the server again.
            tokio::spawn(async move {
                if let Err(refusal) = sidecar.note(&name, &form).await {
                    sidecar
                        .state
                        .say(&format!("{name} is not noted: {}", refusal.message));
                }
            });
        }
        answer
    }

    /// Notes what a user tells of songs, once the server has proven who that is.
    async fn note(&self, name: &str, form: &SubsonicForm) -> Result<(), Refusal> {
        // A success of the server may be that of a request it did not check: the login is proven by
        // itself.
        let login = self.login(form).await?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs() as i64);
        let mut times = form
            .all("time")
            .map(|time| time.parse::<i64>().ok().map(|time| time / 1000));
        let mut events = Vec::new();
        for id in form.all("id").take(MOST_TOLD) {
            let what = match (
                name,
                form.get("rating").and_then(|text| text.parse::<u8>().ok()),
            ) {
                ("scrobble", _) => Told::Heard(times.next().flatten().unwrap_or(now).min(now)),
                ("star", _) => Told::Liked(Some(true)),
                ("unstar", _) => Told::Liked(None),
                (_, Some(stars @ 0..=5)) => Told::Rated((stars > 0).then_some(stars)),
                _ => continue,
            };
            // An album or a folder may have this id, too.
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

    /// The server's extensions and our own. It asks nobody who they are, and waits for no slow server.
    ///
    /// Older servers tell it only to whom they know, so it is asked as the client. An answer is the same for all and is
    /// kept; a refusal may be this client's alone, and is not.
    async fn extensions(&self, form: &SubsonicForm) -> Value {
        let known = lock(&self.offered).clone();
        let mut all = match known {
            Some((when, known)) if when.elapsed() < OFFERED_FOR => known,
            known => {
                let login = Login::of(form);
                let request = ask(&self.upstream, &login, "getOpenSubsonicExtensions", &[]);
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
        // A server may offer it itself; its questions are answered here all the same.
        all.retain(|extension| extension["name"] != "sonicSimilarity");
        all.push(json!({"name": "sonicSimilarity", "versions": [1]}));
        json!({ "openSubsonicExtensions": all })
    }

    /// Lets the server prove who asks.
    async fn login(&self, form: &SubsonicForm) -> Result<Login, Refusal> {
        let login = Login::of(form);
        if form.get("apiKey").is_none() {
            form.required("u")?;
        }
        // Salted at random: a password cannot be tried out against a digest in a memory dump.
        let mut hasher = blake3::Hasher::new_keyed(&self.salt);
        for (name, value) in &login.parameters {
            // With lengths, so that name and value cannot be shifted into each other.
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
        ask(&self.upstream, &login, "ping", &[]).await?;
        let mut proven = lock(&self.proven);
        proven.retain(|_, until| *until > Instant::now());
        if proven.len() >= MOST_PROVEN {
            proven.clear();
        }
        proven.insert(digest, Instant::now() + PROVEN_FOR);
        Ok(login)
    }

    /// The tracks of the library that an id of the server stands for: a song, or the songs of an album or an artist.
    /// Songs that were not linked are found by what the server says of them.
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
            .ask(move |_, context| {
                Ok(context
                    .engine
                    .library()
                    .links()
                    .linked_track(server.as_str(), &item)?)
            })
            .await?;
        if let Some(track) = linked {
            // The server decides who may see it.
            let song = self.song(login, id).await?;
            return song.map(|_| vec![track]).ok_or_else(not_found);
        }
        // Clients send ids of songs, albums and artists alike, and nothing tells which it is.
        let found = match self.song(login, id).await? {
            Some(song) => {
                // The server has it under an id that was never linked: it is new there, or all ids are.
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

    /// A song, as the server shows it to this user.
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

    /// The tracks that are in a folder of the server's music, where one is named.
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
        let tracks = self.state.ask(move |_, context| {
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

    /// Songs that the server shows this user, a page of them.
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
        let answer = ask(
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

    /// Asks for all songs that the server shows this user, a page after the other.
    async fn fill(&self, login: &Login) {
        let mut before = 0_usize;
        while before < MOST_SHOWN {
            // In the background and for speed alone: without it songs are asked for one by one.
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

    /// A song of the server, and the track that it is.
    async fn end_of_path(
        &self,
        login: &Login,
        id: &str,
    ) -> Result<(Value, Option<TrackId>), Refusal> {
        let song = self.song(login, id).await?.ok_or_else(not_found)?;
        Ok((song.clone(), self.known(vec![song]).await?.first().copied()))
    }

    /// The server's entry of an id; `None` where it has nothing of this kind under it. How servers say so differs.
    async fn found(
        &self,
        login: &Login,
        endpoint: &str,
        id: &str,
    ) -> Result<Option<Value>, Refusal> {
        match ask(&self.upstream, login, endpoint, &[("id", id)]).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Refusal {
                // 70 is "not found"; others answer 0 or 10 where the id is of another kind.
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
            // In order, so that the same artist gives the same seeds.
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

    /// The tracks that songs of the server are, as far as the library has them.
    async fn known(&self, songs: Vec<Value>) -> Result<Vec<TrackId>, Refusal> {
        let server = self.upstream.address.clone();
        let tracks = self.state.ask(move |_, context| {
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

    /// Tracks to go on with after these, of those known to the server.
    ///
    /// - `folder`: the tracks that may come, where not all may
    /// - `is_sorted`: nearest first, not as it is to be heard
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
        let found = self.state.ask(move |state, context| {
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

    /// The songs of an answer, as the server describes them to this user. What it does not show is left out.
    async fn entries(self: &Arc<Self>, login: &Login, matches: Vec<Match>) -> Vec<(Value, f32)> {
        let fills = {
            let mut songs = lock(&self.songs);
            let known = songs.of(login.user());
            let unknown = matches
                .iter()
                .filter(|found| !known.songs.contains_key(&found.item))
                .count();
            let fills = unknown >= MANY && !known.is_filled;
            // Before it is filled, so that the next answer does not begin it once more.
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

    /// From one song to another. Both are part of the answer as they were asked for, whatever else stands for them.
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
        // A track that is not analysed has no way to anywhere.
        let (Some(from), Some(to)) = (from, to) else {
            return Ok(sonic_matches(Vec::new()));
        };
        let server = self.upstream.address.clone();
        // The way is that of all music; its ends are what was asked for, and what lies elsewhere is left out between them.
        let folder = self.of_folder(&login, form).await?;
        let found = self.state.ask_explored(move |_, context, explored| {
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

/// The server's ids of tracks, in their order, without those that it does not know.
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
