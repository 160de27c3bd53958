//! A proxy of a Subsonic server: queries for similar songs are answered from the library, all others are forwarded.
//!
//! Clients send the server's own credentials, which the server verifies. The songs that the server shows a user are listed as
//! that user and matched with tracks in memory, so that users only see what the server shows them.

mod client;
mod form;
mod server_songs;
mod upstream;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Request, State};
use axum::http::{Response, header};
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::access::Caller;
use crate::extract::body_in_time;
use crate::limits::LONGEST_BODY;
use crate::problem::Problem;
use crate::state::{Shared, lock};
use client::{Login, call};
use form::{Refusal, SubsonicForm, written};
use server_songs::{ListedSong, ServerSongs};
use upstream::{Upstream, is_method};
use voisin::EngineError;
use voisin::questions::playlist::{MOST_NEAR_SEEDS, Playlist};
use voisin_base::track::TrackId;
use voisin_library::PathLookup;

pub use upstream::ServerAddress;

/// Songs of a page of the server's list, and most songs of the list.
const PAGE: &str = "500";
const MOST_SONGS: usize = 500_000;
/// How long a user's list of songs is kept, and how many lists.
const LISTED_FOR: Duration = Duration::from_mins(10);
const MOST_LISTS: usize = 20;
/// Requests to the server at once, for one answer.
const AT_ONCE: usize = 8;

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::new(0, problem.detail())
    }
}

struct Sidecar {
    state: Shared,
    upstream: Upstream,
    /// The songs that the server shows each user.
    lists: Mutex<HashMap<blake3::Hash, KeptSongs>>,
}

/// When the songs were asked for, and the songs once they are there.
type KeptSongs = (Instant, Arc<OnceCell<Arc<ServerSongs>>>);

/// The routes of the Subsonic API.
pub(super) fn router(state: &Shared, server: ServerAddress) -> Router<Shared> {
    let sidecar = Sidecar {
        state: Arc::clone(state),
        upstream: Upstream::new(server),
        lists: Mutex::default(),
    };
    Router::new()
        // Only Subsonic's API: other routes of the server behind are not forwarded.
        .route("/rest/{method}", get(answer).post(answer))
        .with_state(Arc::new(sidecar))
}

async fn answer(
    State(sidecar): State<Arc<Sidecar>>,
    Extension(Caller(client)): Extension<Caller>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let path = request.uri().path();
    let name = path.rsplit('/').next().unwrap_or_default();
    if !is_method(name) {
        let found = format!("\"{path}\"");
        return Err(Problem::bad(
            "the name of a method: letters and digits",
            found,
        ));
    }
    // Old clients send the suffix, newer ones do not.
    let similar = match name.strip_suffix(".view").unwrap_or(name) {
        "getSimilarSongs" => Some("similarSongs"),
        "getSimilarSongs2" => Some("similarSongs2"),
        _ => None,
    };
    let (head, body) = request.into_parts();
    let body = body_in_time(body, LONGEST_BODY).await?;
    let kind = head.headers.get(header::CONTENT_TYPE);
    let is_form = kind.is_some_and(|kind| {
        kind.as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    let fields = if is_form { body.clone() } else { Bytes::new() };
    let form = SubsonicForm::read(head.uri.query().unwrap_or_default(), &fields, client);
    let Some(list) = similar else {
        let request = Request::from_parts(head, body.into());
        let passed = sidecar.pass(request, client).await;
        return Ok(passed.unwrap_or_else(|refusal| written(&form, Err(refusal))));
    };
    Ok(written(&form, sidecar.similar_songs(&form, list).await))
}

impl Sidecar {
    async fn pass(&self, request: Request, client: IpAddr) -> Result<Response<Body>, Refusal> {
        let base = self.state.guard.base_path.as_str();
        let target = request.uri().path_and_query();
        let target = target.map_or("/", |target| target.as_str());
        let target = target.strip_prefix(base).unwrap_or(target).to_owned();
        self.upstream.pass(request, &target, client).await
    }

    /// The songs that the server shows this user.
    async fn songs(self: &Arc<Self>, login: &Login) -> Result<Arc<ServerSongs>, Refusal> {
        let list = {
            let mut lists = lock(&self.lists);
            lists.retain(|_, (since, _)| since.elapsed() < LISTED_FOR);
            if lists.len() >= MOST_LISTS {
                lists.clear();
            }
            let new = || (Instant::now(), Arc::default());
            Arc::clone(&lists.entry(login.user()).or_insert_with(new).1)
        };
        let sidecar = Arc::clone(self);
        let login = login.clone();
        // In a task of its own, which goes on if the client hangs up meanwhile.
        let reading = tokio::spawn(async move {
            let read = || sidecar.read_songs(&login);
            list.get_or_try_init(read).await.cloned()
        });
        reading
            .await
            .unwrap_or_else(|_| Err(Problem::fault().into()))
    }

    async fn read_songs(&self, login: &Login) -> Result<Arc<ServerSongs>, Refusal> {
        let mut songs: Vec<ListedSong> = Vec::new();
        while songs.len() < MOST_SONGS {
            let offset = songs.len().to_string();
            let parameters = [
                ("query", ""),
                ("songCount", PAGE),
                ("songOffset", &offset),
                ("artistCount", "0"),
                ("albumCount", "0"),
            ];
            let answer = call(&self.upstream, login, "search3", &parameters).await?;
            let page = answer["searchResult3"]["song"].as_array();
            let page: Vec<ListedSong> = page
                .into_iter()
                .flatten()
                .filter_map(ListedSong::of)
                .collect();
            let Some(first) = page.first() else { break };
            // A server that ignores the offset sends its first page again.
            if songs.first().is_some_and(|known| known.id == first.id) {
                break;
            }
            songs.extend(page);
        }
        let found = self.state.run(move |_, context| {
            let library = context.engine.library();
            let _snapshot = library.snapshot()?;
            Ok(ServerSongs::of(&songs, &mut PathLookup::new(library))?)
        });
        Ok(Arc::new(found.await?))
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
            let songs = among.tracks().collect();
            let list = Playlist::after(&seeds, count, songs);
            let list = list.run(&mut context.engine, &seeds, &[])?;
            let ids = list.items.iter().filter_map(|hit| hit.track.id);
            Ok(ids.filter_map(|id| among.item_of(id).cloned()).collect())
        });
        Ok(found.await?)
    }

    async fn similar_songs(
        self: &Arc<Self>,
        form: &SubsonicForm,
        name: &str,
    ) -> Result<Value, Refusal> {
        let login = Login::of(form)?;
        // The server verifies the credentials; the list of songs is kept by the user's name alone.
        call(&self.upstream, &login, "ping", &[]).await?;
        let id = form.required("id")?;
        let count = form.count(50)?;
        let known = self.songs(&login).await?;
        // The second method is for artists.
        let tracks = known.tracks_of(id, name == "similarSongs2");
        let not_found = || Refusal::new(70, "The requested data was not found.");
        let items = self
            .near(tracks.ok_or_else(not_found)?, count, known)
            .await?;
        // As the server describes them now; without those that it no longer shows.
        let songs: Vec<Value> = stream::iter(items)
            .map(|item| {
                let login = &login;
                async move { call(&self.upstream, login, "getSong", &[("id", &item)]).await }
            })
            .buffered(AT_ONCE)
            .filter_map(|answer| async move { answer.ok()?.get("song").cloned() })
            .collect()
            .await;
        Ok(json!({ name: {"song": songs} }))
    }
}
