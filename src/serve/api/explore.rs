//! Answers about the whole library. Each is worked out once for all who ask, and kept until the library changes.

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::search::labels;
use super::{MOST, bytes, within, written};
use crate::answers::clusters::ClustersJson;
use crate::answers::duplicates::{GroupJson, with_exact_copies};
use crate::answers::genres::GenresJson;
use crate::answers::graph::{clustered, duplicate_groups};
use crate::answers::suspects::SuspectJson;
use crate::explore::clusters::{ClusterOptions, Detail};
use crate::explore::duplicates::PairListener;
use crate::explore::layout::{LayoutOptions, layout};
use crate::genre::{FitOptions, KinshipOptions};
use crate::serve::ask;
use crate::serve::problem::Problem;
use crate::serve::state::Shared;
use crate::track::TrackId;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LabelQuestion {
    /// `tags` or `folder`.
    label_from: Option<String>,
}

pub(super) async fn genres(
    State(state): State<Shared>,
    ask::Query(asked): ask::Query<LabelQuestion>,
) -> Result<Response<Body>, Problem> {
    let source = labels(asked.label_from.as_deref())?;
    let answer = state
        .once(format!("genres {source:?}"), move |_, desk| {
            let engine = &desk.engine;
            let generation = engine.library().generation()?;
            let source = source.clone().unwrap_or_else(|| engine.label_source());
            let kinship = engine.kinship(&source, &KinshipOptions::default())?;
            bytes(generation, GenresJson::new(engine, &kinship)?)
        })
        .await?;
    Ok(written(answer))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SuspectsQuestion {
    label_from: Option<String>,
    #[serde(default = "fifty")]
    limit: usize,
    /// Also labels that are not contradicted with confidence.
    #[serde(default)]
    all: bool,
}

fn fifty() -> usize {
    50
}

pub(super) async fn suspects(
    State(state): State<Shared>,
    ask::Query(asked): ask::Query<SuspectsQuestion>,
) -> Result<Response<Body>, Problem> {
    #[derive(Serialize)]
    struct Suspects<'a> {
        items: Vec<SuspectJson<'a>>,
    }
    let source = labels(asked.label_from.as_deref())?;
    let limit = within("limit", asked.limit, MOST)?;
    let answer = state
        .once(format!("suspects {source:?} {limit} {}", asked.all), move |_, desk| {
            let engine = &desk.engine;
            let generation = engine.library().generation()?;
            let source = source.clone().unwrap_or_else(|| engine.label_source());
            let (tracks, mut found) = engine.suspects(&source, &FitOptions::default())?;
            if !asked.all {
                found.retain(|suspect| suspect.confident);
            }
            found.truncate(limit);
            bytes(generation, Suspects { items: SuspectJson::list(&tracks, &found).collect() })
        })
        .await?;
    Ok(written(answer))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClustersQuestion {
    /// `coarse`, `medium` or `fine`.
    detail: Option<String>,
    /// So many clusters.
    clusters: Option<usize>,
}

pub(super) async fn clusters(
    State(state): State<Shared>,
    ask::Query(asked): ask::Query<ClustersQuestion>,
) -> Result<Response<Body>, Problem> {
    let detail: Option<Detail> = asked
        .detail
        .as_deref()
        .map(|detail| {
            detail.parse().map_err(|_| Problem::bad("a detail that \"voisin clusters\" knows", "another"))
        })
        .transpose()?;
    let count = asked.clusters.map(|count| within("clusters", count, MOST)).transpose()?;
    let answer = state
        .once(format!("clusters {detail:?} {count:?}"), move |state, desk| {
            let explored = state.explored(desk)?;
            let mut collection = explored.collection.clone();
            collection.predict_genres(&explored.graph)?;
            let mut options = ClusterOptions { count, ..ClusterOptions::default() };
            if let Some(detail) = detail {
                options.detail = detail;
            }
            let found = clustered(&mut desk.engine, &collection, &explored.graph, None, &options)?;
            bytes(explored.generation, ClustersJson::new(&collection, &found))
        })
        .await?;
    Ok(written(answer))
}

/// A track on the map.
#[derive(Serialize)]
struct MapTrack {
    id: TrackId,
    x: f32,
    y: f32,
    /// 0: none.
    cluster: u32,
    artist: Option<String>,
    title: String,
    genre: Option<String>,
    year: Option<i32>,
    seconds: f64,
    /// Measured; null where it was not.
    tempo: Option<f64>,
    key: Option<&'static str>,
    camelot: Option<String>,
    loudness: Option<f64>,
    /// What stands out most in its sound.
    word: Option<String>,
}

#[derive(Serialize)]
struct ClusterName {
    id: u32,
    name: String,
    tracks: usize,
}

#[derive(Serialize)]
struct Map {
    tracks: Vec<MapTrack>,
    clusters: Vec<ClusterName>,
}

pub(super) async fn map(State(state): State<Shared>) -> Result<Response<Body>, Problem> {
    let answer = state
        .once("map".to_owned(), |state, desk| {
            let explored = state.explored(desk)?;
            let mut collection = explored.collection.clone();
            if collection.ids.len() < 3 {
                let error = crate::explore::ExploreError::TooFew {
                    what: "a map",
                    needed: 3,
                    found: collection.ids.len(),
                };
                return Err(error.into());
            }
            collection.predict_genres(&explored.graph)?;
            let positions: Array2<f32> =
                layout(collection.vectors.view(), &explored.graph, &LayoutOptions::default())?;
            let options = ClusterOptions::default();
            let found = clustered(&mut desk.engine, &collection, &explored.graph, None, &options)?;
            let measured = desk.engine.library().descriptors(&collection.ids)?;
            let heard = desk.engine.heard_tags_if_any()?;
            let mut words = heard.map(|heard| heard.strongest(&collection.ids, 1)).unwrap_or_default();
            let tracks = collection.meta.iter().zip(positions.rows()).zip(&found.assignment);
            let tracks = tracks.map(|((track, at), &cluster)| {
                let measured = measured.get(&track.id);
                let key = measured.and_then(|measured| measured.key);
                MapTrack {
                    id: track.id,
                    x: at[0],
                    y: at[1],
                    cluster,
                    artist: track.artist.clone(),
                    title: track.display_title().to_owned(),
                    genre: track.genres.first().cloned().or_else(|| track.predicted_genre.clone()),
                    year: track.year,
                    seconds: track.seconds,
                    tempo: measured.and_then(|measured| measured.tempo),
                    key: key.map(crate::library::MusicalKey::name),
                    camelot: key.map(crate::library::MusicalKey::camelot),
                    loudness: measured.and_then(|measured| measured.loudness),
                    word: words
                        .remove(&track.id)
                        .and_then(|mut words| (!words.is_empty()).then(|| words.remove(0).0)),
                }
            });
            let clusters = found.clusters.iter().map(|cluster| ClusterName {
                id: cluster.id,
                name: cluster.name.clone(),
                tracks: cluster.members.len(),
            });
            bytes(explored.generation, Map { tracks: tracks.collect(), clusters: clusters.collect() })
        })
        .await?;
    Ok(written(answer))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DuplicatesQuestion {
    /// As far as the stored windows tell, without listening to the pairs in doubt.
    rough: bool,
}

pub(super) async fn duplicates(
    State(state): State<Shared>,
    ask::Query(asked): ask::Query<DuplicatesQuestion>,
) -> Result<Response<Body>, Problem> {
    #[derive(Serialize)]
    struct Duplicates {
        items: Vec<GroupJson>,
    }
    let answer = state
        .once(format!("duplicates {}", asked.rough), move |state, desk| {
            let explored = state.explored(desk)?;
            let listener = crate::engine::FileListener::new(desk.engine.library(), |_| ())?;
            let listener = (!asked.rough).then_some(&listener as &dyn PairListener);
            let similar = duplicate_groups(&mut desk.engine, &explored.collection, listener)?;
            let items = with_exact_copies(&desk.engine, &explored.collection, similar)?;
            bytes(explored.generation, Duplicates { items })
        })
        .await?;
    Ok(written(answer))
}
