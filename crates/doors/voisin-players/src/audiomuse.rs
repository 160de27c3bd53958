//! The API of AudioMuse-AI for plugins of Jellyfin and Ampache and for tagging programs, by the ids of the media server from
//! `voisin link`.

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use form_urlencoded::parse;
use serde::Deserialize;
use serde_json::{Value, json};

use super::subsonic::flag;
use super::upstream::ServerAddress;
use voisin_base::track::TrackId;
use voisin_base::vector::dot;
use voisin_engine::{Engine, EngineError, MixOptions, Seed, SimilarOptions, SimilarTrack};
use voisin_explore::artists::{Makers, near_artists};
use voisin_http::extract;
use voisin_http::problem::Problem;
use voisin_http::state::{RequestContext, Shared, State as Server, way};
use voisin_library::{Library, LibraryError, MusicalKey, NameOf, Resolution, Track, TrackFilter};
use voisin_questions::answers::title;

/// Longest list.
const MOST: usize = 500;

/// An error in the form of this API.
struct AudioMuseRefusal(StatusCode, String);

impl IntoResponse for AudioMuseRefusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

impl From<Problem> for AudioMuseRefusal {
    fn from(problem: Problem) -> Self {
        Self(problem.status(), problem.detail().to_owned())
    }
}

#[derive(Clone)]
struct LinkedServer {
    state: Shared,
    server: ServerAddress,
}

/// The parameters of a request; unknown ones are ignored.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        Self(
            parse(query.as_bytes())
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self
            .0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.trim());
        found.filter(|value| !value.is_empty())
    }

    fn required(&self, name: &str) -> Result<String, AudioMuseRefusal> {
        self.get(name).map(str::to_owned).ok_or_else(|| {
            AudioMuseRefusal(
                StatusCode::BAD_REQUEST,
                format!("expected the parameter {name}, found none"),
            )
        })
    }

    fn number(&self, name: &str, usual: usize) -> Result<usize, AudioMuseRefusal> {
        let wrong = |text: &str| {
            let text: String = text.chars().take(50).collect();
            AudioMuseRefusal(
                StatusCode::BAD_REQUEST,
                format!("{name}: expected a number, found {text:?}"),
            )
        };
        self.get(name)
            .map_or(Ok(usual), |text| text.parse().map_err(|_| wrong(text)))
    }
}

/// The routes of AudioMuse-AI.
///
/// - `server`: the server whose ids requests use
pub fn router(state: &Shared, server: ServerAddress) -> Router<Shared> {
    Router::new()
        .route(
            "/api/health",
            get(|| async { Json(json!({"status": "ok"})) }),
        )
        .route("/api/similar_tracks", get(similar_tracks))
        .route("/api/find_path", get(find_path))
        .route("/api/max_distance", get(max_distance))
        .route("/api/similar_artists", get(similar_artists))
        .route("/api/search_tracks", get(search_tracks))
        .route("/api/track", get(track))
        .route("/api/clap/search", post(text_search))
        .route("/api/alchemy", post(alchemy))
        .route("/api/hyperbolic/similar", post(hyperbolic))
        // For plugins that check running tasks: there are none here.
        .route("/api/active_tasks", get(|| async { Json(json!({})) }))
        // All other routes of AudioMuse-AI get an error that names them.
        .route("/api/{*rest}", any(something_else))
        .route("/external/get_score", get(score))
        .route("/external/get_embedding", get(embedding))
        .route("/external/search", get(search_tracks))
        .route("/external/{*rest}", any(something_else))
        .with_state(LinkedServer {
            state: state.clone(),
            server,
        })
}

async fn something_else(uri: Uri) -> AudioMuseRefusal {
    // An unknown path below the server's own API is not AudioMuse-AI's.
    if uri.path().contains("/api/v1/") {
        return AudioMuseRefusal(StatusCode::NOT_FOUND, "there is no such route".to_owned());
    }
    let path: String = uri.path().chars().take(100).collect();
    let text = format!(
        "{path} is AudioMuse-AI's alone: voisin answers similar_tracks, find_path, max_distance, similar_artists, search_tracks, \
         track, clap/search, alchemy, hyperbolic/similar, active_tasks, external/get_score, external/get_embedding and \
         external/search, and its own routes below /api/v1 (GET /api/v1/openapi.json)"
    );
    AudioMuseRefusal(StatusCode::NOT_IMPLEMENTED, text)
}

fn unknown(what: &str, item: &str) -> Problem {
    let item: String = item.chars().take(100).collect();
    let next = "link the library with this server again (voisin link), or add its music";
    Problem::not_found(format!("no {what} is known as {item:?}"), next)
}

fn described(item: &str, track: &Track) -> Value {
    // This API's value for a missing tag.
    let text_or_unknown =
        |tag: &Option<String>| tag.clone().unwrap_or_else(|| "unknown".to_owned());
    json!({
        "item_id": item,
        "title": title(track),
        "author": track.main_artist(),
        "album": text_or_unknown(&track.tags.album),
        "album_artist": text_or_unknown(&track.tags.album_artist),
    })
}

/// Tracks with the server's ids, in their order, and the fields of `more`; those that it does not have are left out.
fn all_described<T: Copy>(
    library: &Library,
    server: &ServerAddress,
    tracks: &[(TrackId, T)],
    more: impl Fn(&mut Value, T),
) -> Result<Vec<Value>, LibraryError> {
    let ids: Vec<TrackId> = tracks.iter().map(|(track, _)| *track).collect();
    let items = library.links().items_of(server.as_str(), &ids)?;
    let described = library
        .tracks_by_id(&ids)?
        .into_iter()
        .zip(tracks)
        .filter_map(|(track, (id, value))| {
            let mut described = described(items.get(id)?, &track);
            more(&mut described, *value);
            Some(described)
        });
    Ok(described.collect())
}

async fn similar_tracks(
    State(linked): State<LinkedServer>,
    uri: Uri,
) -> Result<Json<Vec<Value>>, AudioMuseRefusal> {
    let parameters = Parameters::of(&uri);
    let n = parameters.number("n", 10)?.clamp(1, MOST);
    let item = parameters.get("item_id").map(str::to_owned);
    let words = [parameters.get("artist"), parameters.get("title")]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ");
    if item.is_none() && parameters.get("title").is_none() {
        let text = "expected item_id, or title and artist, found neither";
        return Err(AudioMuseRefusal(StatusCode::BAD_REQUEST, text.to_owned()));
    }
    let keeps_all = parameters.get("eliminate_duplicates").and_then(flag) == Some(false);
    let server = linked.server;
    let answer = linked.state.run(move |state, context| {
        state.index(context)?;
        let library = context.engine.library();
        let track = match &item {
            Some(item) => library
                .links()
                .linked_track(server.as_str(), item)?
                .ok_or_else(|| unknown("track", item))?,
            None => match library.lookup().resolve_words(&words, 1)? {
                Resolution::One(track) => track,
                // This API has no way to report an ambiguous name.
                Resolution::Ambiguous(tracks) => {
                    tracks.first().ok_or_else(|| unknown("track", &words))?.id
                }
                Resolution::Nothing => return Err(unknown("track", &words)),
            },
        };
        nearest(state, context, &server, track, n, keeps_all)
    });
    Ok(Json(answer.await?))
}

/// The songs of a mix from a track, nearest first.
///
/// - `keeps_all`: without limits per artist, and with versions
fn nearest(
    state: &Server,
    context: &mut RequestContext,
    server: &ServerAddress,
    track: TrackId,
    n: usize,
    keeps_all: bool,
) -> Result<Vec<Value>, Problem> {
    let seed = context.engine.seed_of(track)?;
    let among = Some(
        context
            .engine
            .library()
            .links()
            .linked_tracks(server.as_str())?,
    );
    let seeds = std::slice::from_ref(&seed);
    let mut options = MixOptions {
        limit: n,
        among,
        filter: state.mixes.filters.filter(context.engine, seeds)?,
        ..state.mixes.mixing.options()
    };
    if keeps_all {
        (
            options.max_per_artist,
            options.max_per_album,
            options.keeps_versions,
        ) = (None, None, true);
    }
    let mut found = context.engine.mix(seeds, &options)?;
    // A mix has its own order; clients of this API expect the nearest first.
    found.sort_by(SimilarTrack::nearer);
    with_distances(context.engine.library(), server, &found)
}

fn with_distances(
    library: &Library,
    server: &ServerAddress,
    found: &[SimilarTrack],
) -> Result<Vec<Value>, Problem> {
    let found: Vec<(TrackId, f32)> = found
        .iter()
        .map(|near| (near.track.id, 1.0 - near.similarity))
        .collect();
    Ok(all_described(
        library,
        server,
        &found,
        |described, distance| described["distance"] = json!(distance),
    )?)
}

/// A number or text, as programs in Perl send it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(usize),
    Text(String),
}

impl Number {
    fn read(given: Option<Self>, usual: usize) -> Result<usize, AudioMuseRefusal> {
        let number = match given {
            None => usual,
            Some(Self::Number(number)) => number,
            Some(Self::Text(text)) => text.trim().parse().map_err(|_| {
                let text: String = text.chars().take(50).collect();
                bad(format!("expected a number of songs, found {text:?}"))
            })?,
        };
        Ok(number.clamp(1, MOST))
    }
}

fn bad(text: String) -> AudioMuseRefusal {
    AudioMuseRefusal(StatusCode::BAD_REQUEST, text)
}

/// A search by words.
#[derive(Deserialize)]
struct TextSearch {
    query: String,
    #[serde(alias = "n")]
    limit: Option<Number>,
}

/// Songs by words for their sound, answered as by `find`.
async fn text_search(
    State(linked): State<LinkedServer>,
    request: Result<extract::Body<TextSearch>, Problem>,
) -> Result<Json<Value>, AudioMuseRefusal> {
    let extract::Body(TextSearch { query, limit }) = request?;
    let n = Number::read(limit, 100)?;
    let tags = linked.state.tags().await?;
    if tags.is_none() {
        let text = "the library's model predicts no words: use another one (\"voisin model list\")";
        return Err(AudioMuseRefusal(
            StatusCode::NOT_IMPLEMENTED,
            text.to_owned(),
        ));
    }
    let server = linked.server;
    let answer = linked.state.run(move |_, context| {
        let (engine, Some(tags)) = (&context.engine, &*tags) else {
            return Err(Problem::fault());
        };
        let known = engine.library().links().linked_tracks(server.as_str())?;
        let found = engine
            .words()
            // All, since those of the server are selected below.
            .find(tags, &query, &TrackFilter::default(), usize::MAX, None)?
            .tracks
            .into_iter();
        let found = found
            .map(|one| (one.track.id, one.fit))
            .filter(|(id, _)| known.contains(*id));
        let found: Vec<(TrackId, f32)> = found.take(n).collect();
        let with_fit = |described: &mut Value, fit: f32| described["similarity"] = json!(fit);
        let results = all_described(engine.library(), &server, &found, with_fit)?;
        Ok(json!({"query": query, "count": results.len(), "results": results}))
    });
    Ok(Json(answer.await?))
}

/// The songs to blend, and those to avoid.
#[derive(Deserialize)]
struct Blend {
    items: Vec<BlendItem>,
    n: Option<Number>,
}

#[derive(Deserialize)]
struct BlendItem {
    id: String,
    op: String,
    #[serde(rename = "type", default)]
    kind: Option<String>,
}

/// Most seeds of an artist.
const MOST_OF_ARTIST: usize = 50;

/// Songs near to some songs and artists, and far from others.
async fn alchemy(
    State(linked): State<LinkedServer>,
    request: Result<extract::Body<Blend>, Problem>,
) -> Result<Json<Value>, AudioMuseRefusal> {
    let extract::Body(Blend { items, n }) = request?;
    let n = Number::read(n, 100)?;
    if items.len() > MOST {
        return Err(bad(format!(
            "expected {MOST} items at most, found {}",
            items.len()
        )));
    }
    let is = |item: &BlendItem, op: &str| item.op.eq_ignore_ascii_case(op);
    for item in &items {
        if !is(item, "ADD") && !is(item, "SUBTRACT") {
            let op: String = item.op.chars().take(50).collect();
            return Err(bad(format!("op: expected ADD or SUBTRACT, found {op:?}")));
        }
        if !matches!(item.kind.as_deref(), None | Some("song" | "artist")) {
            let text =
                "type: expected song or artist; anchors, moods and playlists are not supported";
            return Err(AudioMuseRefusal(
                StatusCode::NOT_IMPLEMENTED,
                text.to_owned(),
            ));
        }
    }
    if !items.iter().any(|item| is(item, "ADD")) {
        return Err(bad("expected an item to ADD, found none".to_owned()));
    }
    let server = linked.server;
    let answer = linked.state.run(move |state, context| {
        state.index(context)?;
        let engine = &context.engine;
        let seeds_of = |op: &str| -> Result<Vec<Seed>, Problem> {
            let mut all: Vec<TrackId> = Vec::new();
            for item in items.iter().filter(|item| is(item, op)) {
                all.extend(meant(engine.library(), &server, item)?);
            }
            Ok(all
                .into_iter()
                .map(|track| engine.seed_of(track))
                .collect::<Result<_, EngineError>>()?)
        };
        let seeds = seeds_of("ADD")?;
        let unlike = seeds_of("SUBTRACT")?;
        let options = SimilarOptions {
            limit: n,
            among: Some(engine.library().links().linked_tracks(server.as_str())?),
            max_per_artist: state.mixes.mixing.options().max_per_artist,
            unlike,
            ..SimilarOptions::default()
        };
        let found = context.engine.similar(&seeds, &options)?;
        Ok(json!({"results": with_distances(context.engine.library(), &server, &found)?}))
    });
    Ok(Json(answer.await?))
}

/// The tracks of an item of a blend.
fn meant(
    library: &Library,
    server: &ServerAddress,
    item: &BlendItem,
) -> Result<Vec<TrackId>, Problem> {
    if item.kind.as_deref() != Some("artist") {
        let track = library.links().linked_track(server.as_str(), &item.id)?;
        return Ok(vec![track.ok_or_else(|| unknown("track", &item.id))?]);
    }
    let name = library
        .links()
        .linked_artist(server.as_str(), &item.id)?
        .unwrap_or_else(|| item.id.clone());
    let mut tracks = library.lookup().tracks_named(NameOf::Artist, &name)?;
    tracks.truncate(MOST_OF_ARTIST);
    if tracks.is_empty() {
        Err(unknown("artist", &item.id))
    } else {
        Ok(tracks)
    }
}

#[derive(Deserialize)]
struct HyperbolicQuestion {
    item_id: String,
    mode: Option<String>,
    limit: Option<Number>,
}

/// Songs near to one. There is no hyperbolic space here, and so no direction inwards or outwards.
async fn hyperbolic(
    State(linked): State<LinkedServer>,
    request: Result<extract::Body<HyperbolicQuestion>, Problem>,
) -> Result<Json<Value>, AudioMuseRefusal> {
    let extract::Body(HyperbolicQuestion {
        item_id,
        mode,
        limit,
    }) = request?;
    let n = Number::read(limit, 20)?;
    match mode.as_deref().unwrap_or("similar") {
        "similar" => {}
        "roots" | "niche" => {
            let text = "mode: expected similar; \"roots\" and \"niche\" need AudioMuse-AI's hyperbolic space";
            return Err(AudioMuseRefusal(
                StatusCode::NOT_IMPLEMENTED,
                text.to_owned(),
            ));
        }
        _ => return Err(bad("mode: expected similar".to_owned())),
    }
    let server = linked.server;
    let answer = linked.state.run(move |state, context| {
        state.index(context)?;
        let track = context.engine.library().links().linked_track(server.as_str(), &item_id)?;
        let track = track.ok_or_else(|| unknown("track", &item_id))?;
        let results = nearest(state, context, &server, track, n, false)?;
        let count = results.len();
        let seed = &item_id;
        Ok(json!({
            "results": results, "count": count, "mode": "similar", "seed_item_id": seed, "seed_radius": null
        }))
    });
    Ok(Json(answer.await?))
}

async fn find_path(
    State(linked): State<LinkedServer>,
    uri: Uri,
) -> Result<Json<Value>, AudioMuseRefusal> {
    let parameters = Parameters::of(&uri);
    let start = parameters.required("start_song_id")?;
    let end = parameters.required("end_song_id")?;
    if start == end {
        return Err(bad(
            "expected two different songs, found the same one twice".to_owned(),
        ));
    }
    let most = parameters.number("max_steps", 25)?.clamp(2, MOST);
    let server = linked.server;
    let answer = linked.state.run_explored(move |_, context, explored| {
        let library = context.engine.library();
        let track = |item: &str| {
            library
                .links()
                .linked_track(server.as_str(), item)
                .map_err(Problem::from)?
                .ok_or_else(|| unknown("track", item))
        };
        let found = way(explored, track(&start)?, track(&end)?, most)?;
        let collection = &explored.collection;
        let rows: Vec<usize> = found
            .iter()
            .filter_map(|(track, _)| collection.row(*track))
            .collect();
        let vector = |row: usize| collection.vectors.row(row).to_vec();
        // Before songs that the server does not have are left out: the length is that of the whole
        // path.
        let total: f32 = rows
            .windows(2)
            .map(|pair| 1.0 - dot(&vector(pair[0]), &vector(pair[1])))
            .sum();
        let path = all_described(library, &server, &found, |_, _| ())?;
        Ok(json!({"path": path, "total_distance": total}))
    });
    Ok(Json(answer.await?))
}

/// The distance (1 - cosine) of the farthest of the server's tracks.
async fn max_distance(
    State(linked): State<LinkedServer>,
    uri: Uri,
) -> Result<Json<Value>, AudioMuseRefusal> {
    let item = Parameters::of(&uri).required("item_id")?;
    let server = linked.server;
    let answer = linked.state.run_collected(move |context, collected| {
        let library = context.engine.library();
        let track = library
            .links()
            .linked_track(server.as_str(), &item)?
            .ok_or_else(|| unknown("track", &item))?;
        let collection = &collected.collection;
        let known = library.links().linked_tracks(server.as_str())?;
        let query = collection
            .row(track)
            .ok_or_else(|| unknown("track", &item))?;
        let query = collection.vectors.row(query);
        let others = collection.ids.iter().zip(collection.vectors.rows());
        let distances = others
            .filter(|(id, _)| **id != track && known.contains(**id))
            .map(|(id, vector)| (*id, 1.0 - query.dot(&vector)));
        let farthest = distances.max_by(|a, b| a.1.total_cmp(&b.1));
        let items = library
            .links()
            .items_of(server.as_str(), farthest.map(|(id, _)| id).as_slice())?;
        Ok(json!({
            "max_distance": farthest.map_or(0.0, |(_, distance)| distance),
            "farthest_item_id": farthest.and_then(|(id, _)| items.get(&id)),
        }))
    });
    Ok(Json(answer.await?))
}

async fn similar_artists(
    State(linked): State<LinkedServer>,
    uri: Uri,
) -> Result<Json<Vec<Value>>, AudioMuseRefusal> {
    let parameters = Parameters::of(&uri);
    let n = parameters.number("n", 10)?.clamp(1, MOST);
    // By its name or the server's id, under either of the two parameters.
    let is_id = parameters.get("artist").is_none() && parameters.get("artist_id").is_some();
    let name = parameters.required(if is_id { "artist_id" } else { "artist" })?;
    let components = parameters.get("include_component_matches");
    let with_songs = components.and_then(flag) == Some(true);
    let server = linked.server;
    let answer = linked.state.run_collected(move |context, collected| {
        let collection = &collected.collection;
        let library = context.engine.library();
        let name = match library.links().linked_artist(server.as_str(), &name)? {
            Some(known) => known,
            // Only names may be partial, not ids.
            None if is_id => return Err(unknown("artist", &name)),
            None => name.clone(),
        };
        let near = near_artists(collection.vectors.view(), &collection.meta, Makers::Artists, &name, n)?;
        let mut answer = Vec::new();
        for artist in near {
            let songs = |tracks: Vec<TrackId>| {
                let tracks: Vec<(TrackId, ())> = tracks.into_iter().map(|track| (track, ())).collect();
                all_described(library, &server, &tracks, |_, ()| ())
            };
            let item = library.links().item_of_artist(server.as_str(), &artist.artist)?;
            let mut one =
                json!({"artist": artist.artist, "artist_id": item, "divergence": 1.0 - artist.similarity});
            if with_songs {
                let own_songs = songs(artist.because.iter().map(|pair| pair.query).collect())?;
                let others = songs(artist.because.iter().map(|pair| pair.other).collect())?;
                one["component_matches"] = json!([
                    {"artist1_representative_songs": own_songs, "artist2_representative_songs": others}
                ]);
            }
            answer.push(one);
        }
        Ok(answer)
    });
    Ok(Json(answer.await?))
}

async fn search_tracks(
    State(linked): State<LinkedServer>,
    uri: Uri,
) -> Result<Json<Vec<Value>>, AudioMuseRefusal> {
    let parameters = Parameters::of(&uri);
    let words = ["search_query", "artist", "title"]
        .into_iter()
        .filter_map(|name| parameters.get(name));
    let words = words.collect::<Vec<_>>().join(" ");
    let start = parameters.number("start", 0)?;
    let end = parameters.number("end", 20)?;
    let server = linked.server;
    let answer = linked.state.run(move |_, context| {
        let library = context.engine.library();
        let known = library.links().linked_tracks(server.as_str())?;
        let found = library
            .lookup()
            .search_words(&words, usize::MAX)?
            .into_iter()
            .filter(|track| known.contains(*track));
        let page = found.skip(start).take(end.saturating_sub(start).min(MOST));
        let page: Vec<(TrackId, ())> = page.map(|track| (track, ())).collect();
        Ok(all_described(library, &server, &page, |_, ()| ())?)
    });
    Ok(Json(answer.await?))
}

async fn track(
    State(linked): State<LinkedServer>,
    uri: Uri,
) -> Result<Json<Value>, AudioMuseRefusal> {
    let item = Parameters::of(&uri).required("item_id")?;
    of_track(linked, item, |_, _| Ok(())).await
}

/// A track's fields, with those that `more` adds.
async fn of_track(
    linked: LinkedServer,
    item: String,
    more: impl Fn(&mut Value, (&Engine, TrackId)) -> Result<(), Problem> + Send + 'static,
) -> Result<Json<Value>, AudioMuseRefusal> {
    let server = linked.server;
    let answer = linked.state.run(move |_, context| {
        let library = context.engine.library();
        let track = library
            .links()
            .linked_track(server.as_str(), &item)?
            .ok_or_else(|| unknown("track", &item))?;
        let mut answer = described(&item, &library.track(track)?);
        more(&mut answer, (context.engine, track))?;
        Ok(answer)
    });
    Ok(Json(answer.await?))
}

/// A track's measurements for other programs: energy, danceability and moods from 0 to 1. `mood_vector` is null, since its
/// tags have other values here.
async fn score(
    State(linked): State<LinkedServer>,
    uri: Uri,
) -> Result<Json<Value>, AudioMuseRefusal> {
    let item = Parameters::of(&uri).required("id")?;
    of_track(linked, item, |answer, (engine, track)| {
        let measured = engine
            .library()
            .derived()
            .descriptors(&[track])?
            .remove(&track)
            .unwrap_or_default();
        let key = measured.key.map(MusicalKey::name);
        answer["tempo"] = json!(measured.tempo);
        // AudioMuse-AI separates key and scale: "Am" is A and minor.
        answer["key"] = json!(key.map(|key| key.trim_end_matches('m')));
        answer["scale"] = json!(key.map(|key| if key.ends_with('m') { "minor" } else { "major" }));
        answer["mood_vector"] = Value::Null;
        let scale = |name: &str| {
            let value = measured.scales.get(&name.parse().ok()?)?;
            // Scales are from 0 to 100 here, from 0 to 1 there.
            Some((value.value / 100.0 * 1e4).round() / 1e4)
        };
        answer["energy"] = json!(scale("energy"));
        let features = [
            ("danceable", "danceability"),
            ("happy", "happy"),
            ("party", "party"),
            ("relaxed", "calm"),
            ("sad", "sad"),
        ];
        let features: Vec<String> = features
            .into_iter()
            .filter_map(|(feature, name)| Some(format!("{feature}:{:.2}", scale(name)?)))
            .collect();
        answer["other_features"] = json!((!features.is_empty()).then(|| features.join(",")));
        Ok(())
    })
    .await
}

async fn embedding(
    State(linked): State<LinkedServer>,
    uri: Uri,
) -> Result<Json<Value>, AudioMuseRefusal> {
    let item = Parameters::of(&uri).required("id")?;
    of_track(linked, item, |answer, (engine, track)| {
        *answer = json!({"item_id": answer["item_id"], "embedding": engine.vector(track)?});
        Ok(())
    })
    .await
}
