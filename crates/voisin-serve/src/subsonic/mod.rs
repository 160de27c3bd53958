//! In front of a Subsonic server: what sounds alike is answered from the library, everything else is handed on.
//!
//! The server's ids are those that `voisin link` noted. Whoever asks shows the server's own name and password, which the
//! server proves; that it did is remembered for a minute, as a digest. Songs of an answer are fetched from the server as that
//! user, so nobody sees what the server would not show.

mod form;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Extension, Request, State};
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::any;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::guard::Peer;
use super::problem::Problem;
use super::songs::{ArtistRef, SongRef};
use super::state::{RequestContext, Shared, lock, way};
use super::upstream::{ServerAddress, Upstream, UpstreamError};
use form::{API_VERSION, Refusal, SubsonicForm, written};
use voisin::{EngineError, SimilarOptions};
use voisin_base::track::TrackId;

/// Longest form, in bytes.
const LONGEST_FORM: usize = 64 * 1024;
/// How long it is remembered that the server knew a name and password, and of how many.
const PROVEN_FOR: Duration = Duration::from_mins(1);
const MOST_PROVEN: usize = 1000;
/// Albums of an artist that are seeds, and tracks in all.
const MOST_ALBUMS: usize = 30;
const MOST_SEEDS: usize = 500;
/// Questions to the server at once, for one answer.
const AT_ONCE: usize = 8;
/// The parameters that say who asks.
const CREDENTIALS: [&str; 5] = ["u", "p", "t", "s", "apiKey"];

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

/// Who asks a Subsonic server: the parameters that say it.
#[derive(Debug, Clone)]
pub(super) struct Login(Vec<(String, String)>);

impl Login {
    pub(super) fn new(user: &str, password: &str) -> Self {
        let hex: String = password.bytes().map(|byte| format!("{byte:02x}")).collect();
        Self(vec![("u".to_owned(), user.to_owned()), ("p".to_owned(), format!("enc:{hex}"))])
    }

    fn of(form: &SubsonicForm) -> Self {
        let said =
            CREDENTIALS.iter().filter_map(|name| Some(((*name).to_owned(), form.get(name)?.to_owned())));
        Self(said.collect())
    }
}

/// Asks a Subsonic server: as a form, so that no password is part of an address that is logged.
pub(super) async fn ask(
    upstream: &Upstream,
    login: &Login,
    endpoint: &str,
    parameters: &[(&str, &str)],
) -> Result<Value, Refusal> {
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("f", "json"), ("v", API_VERSION), ("c", "voisin")])
        .extend_pairs(&login.0)
        .extend_pairs(parameters)
        .finish();
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    let path = format!("/rest/{endpoint}.view");
    let (status, body) =
        upstream.ask(Method::POST, &path, &[(header::CONTENT_TYPE, kind)], form.into()).await?;
    let answer: Option<Value> = serde_json::from_slice(&body).ok();
    let Some(answer) = answer.as_ref().and_then(|answer| answer.get("subsonic-response")) else {
        let text = format!("{}/rest/{endpoint} answers {status}, and not as Subsonic does", upstream.address);
        return Err(Refusal::new(0, text));
    };
    if answer["status"] == "ok" {
        return Ok(answer.clone());
    }
    let message = answer["error"]["message"].as_str().unwrap_or("the server refuses it").to_owned();
    Err(Refusal { code: answer["error"]["code"].as_i64().unwrap_or(0), message, is_of_server: true })
}

/// A song as a Subsonic server describes it.
pub(super) fn song_ref(song: &Value) -> SongRef {
    let text = |name: &str| song[name].as_str().map(str::to_owned);
    let isrc = text("isrc").or_else(|| song["isrc"][0].as_str().map(str::to_owned));
    let artists = song["artists"].as_array().into_iter().flatten();
    let artists = artists.filter_map(|artist| Some(ArtistRef { name: artist["name"].as_str()?.to_owned() }));
    SongRef {
        name: text("title").unwrap_or_default(),
        mbid: text("musicBrainzId"),
        isrc,
        path: text("path"),
        artist: text("artist"),
        artists: artists.collect(),
        album: text("album"),
        duration: song["duration"].as_f64(),
        duration_ms: None,
    }
}

/// Ids are text; some servers write numbers.
pub(super) fn id_of(item: &Value) -> Option<String> {
    let id = item.get("id")?;
    id.as_str().map(str::to_owned).or_else(|| id.as_i64().map(|id| id.to_string()))
}

struct Sidecar {
    state: Shared,
    upstream: Upstream,
    /// Digests of what the server has proven, and until when that holds.
    proven: Mutex<HashMap<blake3::Hash, Instant>>,
    salt: [u8; 32],
}

/// The routes of a Subsonic server.
pub(super) fn router(state: &Shared, server: ServerAddress) -> Result<Router<Shared>, getrandom::Error> {
    let mut salt = [0; 32];
    getrandom::fill(&mut salt)?;
    let sidecar =
        Sidecar { state: Arc::clone(state), upstream: Upstream::new(server), proven: Mutex::default(), salt };
    Ok(Router::new()
        .route("/rest/{*path}", any(answer))
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
    let name = name.strip_suffix(".view").unwrap_or(name).to_owned();
    let is_own = matches!(
        name.as_str(),
        "getSimilarSongs"
            | "getSimilarSongs2"
            | "getSonicSimilarTracks"
            | "findSonicPath"
            | "getOpenSubsonicExtensions"
    );
    if !is_own {
        return sidecar.pass(request, peer).await;
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_form = kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let body = if is_form && request.method() == Method::POST {
        let Ok(body) = to_bytes(request.into_body(), LONGEST_FORM).await else {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Problem::request(status, "a form of at most 64 KiB", "a longer one").into_response();
        };
        body
    } else {
        Bytes::new()
    };
    let form = SubsonicForm::read(&query, &body);
    let answer = match name.as_str() {
        "getOpenSubsonicExtensions" => Ok(sidecar.extensions().await),
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
    async fn pass(&self, request: Request, peer: Peer) -> Response<Body> {
        let base = self.state.guard.base_path.as_str();
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let target = target.strip_prefix(base).unwrap_or(target).to_owned();
        let client: Option<IpAddr> = match peer {
            Peer::Address(address) => Some(address),
            Peer::Unix => None,
        };
        match self.upstream.pass(request, &target, client).await {
            Ok(answer) => answer,
            Err(error) => {
                let next = "start the server behind this one; its address is among this one's options";
                Problem::new(StatusCode::BAD_GATEWAY, error.to_string(), next).into_response()
            }
        }
    }

    /// What the server offers, and what is offered before it. It asks nobody who they are.
    async fn extensions(&self) -> Value {
        let own = "getOpenSubsonicExtensions";
        let known = ask(&self.upstream, &Login(Vec::new()), own, &[]).await.ok();
        let known = known.as_ref().and_then(|answer| answer["openSubsonicExtensions"].as_array());
        let mut all: Vec<Value> = known.cloned().unwrap_or_default();
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
        let mut hasher = blake3::Hasher::new_keyed(&self.salt);
        for (name, value) in &login.0 {
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
            hasher.update(&(value.len() as u64).to_le_bytes()).update(value.as_bytes());
        }
        let digest = hasher.finalize();
        if lock(&self.proven).get(&digest).is_some_and(|until| *until > Instant::now()) {
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
    async fn tracks_of(&self, login: &Login, id: &str, artist_first: bool) -> Result<Vec<TrackId>, Refusal> {
        let songs = if artist_first { self.songs_of_artist(login, id).await? } else { None };
        if let Some(songs) = songs {
            return self.known(songs).await;
        }
        let (item, server) = (id.to_owned(), self.upstream.address.clone());
        let linked = self
            .state
            .ask(move |_, context| Ok(context.engine.library().linked_track(server.as_str(), &item)?))
            .await?;
        if let Some(track) = linked {
            // The server decides who may see it.
            ask(&self.upstream, login, "getSong", &[("id", id)]).await?;
            return Ok(vec![track]);
        }
        let found = match self.found(login, "getSong", id).await? {
            Some(answer) => Some(vec![answer["song"].clone()]),
            None => match self.found(login, "getAlbum", id).await? {
                Some(answer) => Some(answer["album"]["song"].as_array().cloned().unwrap_or_default()),
                None if artist_first => None,
                None => self.songs_of_artist(login, id).await?,
            },
        };
        match found {
            Some(songs) => self.known(songs).await,
            None => Err(Refusal::new(70, "The requested data was not found.")),
        }
    }

    /// What the server says of an id; `None` where it has nothing of this kind under it. How servers say so differs.
    async fn found(&self, login: &Login, endpoint: &str, id: &str) -> Result<Option<Value>, Refusal> {
        match ask(&self.upstream, login, endpoint, &[("id", id)]).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Refusal { code: 0 | 10 | 70, is_of_server: true, .. }) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    async fn songs_of_artist(&self, login: &Login, id: &str) -> Result<Option<Vec<Value>>, Refusal> {
        let Some(answer) = self.found(login, "getArtist", id).await? else { return Ok(None) };
        let albums = answer["artist"]["album"].as_array().cloned().unwrap_or_default();
        let ids: Vec<String> = albums.iter().filter_map(id_of).take(MOST_ALBUMS).collect();
        let songs = stream::iter(ids)
            .map(|id| async move { self.found(login, "getAlbum", &id).await })
            .buffered(AT_ONCE)
            .filter_map(|answer| async { answer.ok().flatten() })
            .flat_map(|answer| stream::iter(answer["album"]["song"].as_array().cloned().unwrap_or_default()))
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
                let linked = id_of(song).map(|id| library.linked_track(server.as_str(), &id)).transpose()?;
                match linked.flatten() {
                    Some(track) => tracks.push(track),
                    None => tracks.extend(song_ref(song).find(library)?.map(|(track, _)| track)),
                }
            }
            Ok(tracks)
        });
        Ok(tracks.await?)
    }

    /// What sounds like these tracks and is known to the server.
    async fn near(&self, tracks: Vec<TrackId>, count: usize) -> Result<Vec<Match>, Refusal> {
        if tracks.is_empty() {
            return Ok(Vec::new());
        }
        let server = self.upstream.address.clone();
        let found = self.state.ask(move |state, context| {
            state.index(context)?;
            let seeds = tracks.iter().map(|track| context.engine.seed_of(*track));
            let seeds = seeds.collect::<Result<Vec<_>, EngineError>>()?;
            let among = Some(context.engine.library().linked_tracks(server.as_str())?);
            let options = SimilarOptions { limit: count, among, ..SimilarOptions::default() };
            let found = context.engine.similar(&seeds, &options)?;
            let found: Vec<(TrackId, f32)> =
                found.into_iter().map(|near| (near.track.id, near.similarity)).collect();
            matches(context, &server, &found)
        });
        Ok(found.await?)
    }

    /// The songs of an answer, as the server describes them to this user. What it does not show is left out.
    async fn entries(&self, login: &Login, matches: Vec<Match>) -> Vec<(Value, f32)> {
        stream::iter(matches)
            .map(|found| async move {
                let answer = ask(&self.upstream, login, "getSong", &[("id", &found.item)]).await.ok()?;
                Some((answer.get("song")?.clone(), found.similarity))
            })
            .buffered(AT_ONCE)
            .filter_map(|entry| async { entry })
            .collect()
            .await
    }

    async fn similar_songs(
        &self,
        form: &SubsonicForm,
        name: &str,
        artist_first: bool,
    ) -> Result<Value, Refusal> {
        let login = self.login(form).await?;
        let (id, count) = (form.required("id")?, form.count(50)?);
        let tracks = self.tracks_of(&login, id, artist_first).await?;
        let entries = self.entries(&login, self.near(tracks, count).await?).await;
        let songs: Vec<Value> = entries.into_iter().map(|(song, _)| song).collect();
        Ok(json!({ name: {"song": songs} }))
    }

    async fn sonic_similar(&self, form: &SubsonicForm) -> Result<Value, Refusal> {
        let login = self.login(form).await?;
        let (id, count) = (form.required("id")?, form.count(10)?);
        let tracks = self.tracks_of(&login, id, false).await?;
        Ok(sonic_matches(self.entries(&login, self.near(tracks, count).await?).await))
    }

    async fn sonic_path(&self, form: &SubsonicForm) -> Result<Value, Refusal> {
        let login = self.login(form).await?;
        let (start, end) = (form.required("startSongId")?, form.required("endSongId")?);
        let count = form.count(25)?.max(2);
        let from = self.tracks_of(&login, start, false).await?;
        let to = self.tracks_of(&login, end, false).await?;
        // What is not analysed has no way to anywhere.
        let (Some(&from), Some(&to)) = (from.first(), to.first()) else {
            return Ok(sonic_matches(Vec::new()));
        };
        let server = self.upstream.address.clone();
        let found = self.state.ask_explored(move |_, context, explored| {
            let found = way(explored, from, to, count)?;
            matches(context, &server, &found)
        });
        Ok(sonic_matches(self.entries(&login, found.await?).await))
    }
}

/// The server's ids of tracks, in their order, without those that it does not know.
fn matches(
    context: &mut RequestContext,
    server: &ServerAddress,
    found: &[(TrackId, f32)],
) -> Result<Vec<Match>, Problem> {
    let ids: Vec<TrackId> = found.iter().map(|(track, _)| *track).collect();
    let mut items = context.engine.library().items_of(server.as_str(), &ids)?;
    let matches = found.iter().filter_map(|(track, similarity)| {
        Some(Match { item: items.remove(track)?, similarity: similarity.clamp(0.0, 1.0) })
    });
    Ok(matches.collect())
}

fn sonic_matches(entries: Vec<(Value, f32)>) -> Value {
    let entries = entries.into_iter();
    let matches: Vec<Value> =
        entries.map(|(entry, similarity)| json!({"entry": entry, "similarity": similarity})).collect();
    json!({ "sonicMatch": matches })
}
