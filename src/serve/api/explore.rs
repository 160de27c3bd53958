//! Answers about the whole library. Each is worked out once for all who ask, kept until the library changes, and given a
//! page at a time.

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::response::IntoResponse as _;
use ndarray::Array2;
use serde::Serialize;

use super::{Answer, page};
use crate::answers::clusters::{ClustersJson, members};
use crate::answers::duplicates::{GroupJson, with_exact_copies};
use crate::answers::genres::{GenreJson, GenresJson};
use crate::answers::graph::{clustered, duplicate_groups};
use crate::answers::suspects::SuspectJson;
use crate::answers::track::TrackRef;
use crate::explore::clusters::{ClusterOptions, Clustering};
use crate::explore::duplicates::PairListener;
use crate::explore::layout::{LayoutOptions, layout};
use crate::genre::{FitOptions, KinshipOptions};
use crate::questions::explore::{Clusters, Duplicates};
use crate::questions::genre::{GenreRelations, Suspects};
use crate::questions::page::{Paged, Plain};
use crate::serve::ask;
use crate::serve::problem::Problem;
use crate::serve::state::Shared;
use crate::track::TrackId;

/// A page of a list.
#[derive(Serialize)]
struct ListPage<'a, T> {
    total: usize,
    items: &'a [T],
    /// Names the next page; null on the last one.
    next: Option<TrackId>,
}

pub(super) async fn genres(
    State(state): State<Shared>,
    ask::Query(asked): ask::Query<Paged<GenreRelations, usize>>,
) -> Result<Response<Body>, Problem> {
    #[derive(Serialize)]
    struct GenreList<'a> {
        total: usize,
        genres: &'a [GenreJson],
        /// A row for each genre of the page, with a column for every genre.
        distance: &'a [Vec<f64>],
        next: Option<usize>,
    }
    let source = asked.question.label_from.label_from.clone();
    let kept = state
        .once(format!("genres {source:?}"), asked.after.is_some(), move |_, desk, _| {
            let engine = &desk.engine;
            let generation = engine.library().generation()?;
            let source = source.clone().unwrap_or_else(|| engine.label_source());
            let kinship = engine.kinship(&source, &KinshipOptions::default())?;
            Ok(Answer { generation, answer: GenresJson::new(engine, &kinship)? })
        })
        .await?;
    let Answer { generation, answer: all } = &*kept;
    let total = all.genres.len();
    let places: Vec<usize> = (1..=total).collect();
    let (part, next) = page(&places, |place| *place, asked.after, asked.limit)?;
    let answer = GenreList { total, genres: &all.genres[part.clone()], distance: &all.distance[part], next };
    Ok(Answer { generation: *generation, answer }.into_response())
}

pub(super) async fn suspects(
    State(state): State<Shared>,
    ask::Query(asked): ask::Query<Paged<Suspects>>,
) -> Result<Response<Body>, Problem> {
    let (source, all) = (asked.question.label_from.label_from.clone(), asked.question.all);
    let kept = state
        .once(format!("suspects {source:?} {all}"), asked.after.is_some(), move |_, desk, _| {
            let engine = &desk.engine;
            let generation = engine.library().generation()?;
            let source = source.clone().unwrap_or_else(|| engine.label_source());
            let (tracks, mut found) = engine.suspects(&source, &FitOptions::default())?;
            if !all {
                found.retain(|suspect| suspect.confident);
            }
            let answer: Vec<SuspectJson> = SuspectJson::list(&tracks, &found).collect();
            Ok(Answer { generation, answer })
        })
        .await?;
    let Answer { generation, answer: all } = &*kept;
    let (part, next) = page(all, |suspect| suspect.id, asked.after, asked.limit)?;
    let answer = ListPage { total: all.len(), items: &all[part], next };
    Ok(Answer { generation: *generation, answer }.into_response())
}

/// Clusters as they are kept.
struct Clustered {
    found: Clustering,
    members: Vec<TrackRef>,
}

pub(super) async fn clusters(
    State(state): State<Shared>,
    ask::Query(asked): ask::Query<Paged<Clusters>>,
) -> Result<Response<Body>, Problem> {
    #[derive(Serialize)]
    struct ClusterPage<'a> {
        total: usize,
        #[serde(flatten)]
        clusters: ClustersJson<'a>,
        next: Option<TrackId>,
    }
    let asked_for = asked.question.clone();
    let key = format!("clusters {asked_for:?}");
    let kept = state
        .once_explored(key, asked.after.is_some(), move |_, desk, explored, given_up| {
            let mut collection = explored.collection.clone();
            collection.predict_genres(&explored.graph)?;
            given_up.check()?;
            let found =
                clustered(&mut desk.engine, &collection, &explored.graph, None, &asked_for.options())?;
            let answer = Clustered { members: members(&collection, &found), found };
            Ok(Answer { generation: explored.generation, answer })
        })
        .await?;
    let Answer { generation, answer: Clustered { found, members } } = &*kept;
    let (part, next) = page(members, |track| track.id, asked.after, asked.limit)?;
    let clusters = ClustersJson::new(found, members, &part);
    let answer = ClusterPage { total: members.len(), clusters, next };
    Ok(Answer { generation: *generation, answer }.into_response())
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

struct Map {
    tracks: Vec<MapTrack>,
    clusters: Vec<ClusterName>,
}

pub(super) async fn map(
    State(state): State<Shared>,
    ask::Query(asked): ask::Query<Paged<Plain, TrackId, 1000>>,
) -> Result<Response<Body>, Problem> {
    #[derive(Serialize)]
    struct MapPart<'a> {
        total: usize,
        tracks: &'a [MapTrack],
        clusters: &'a [ClusterName],
        next: Option<TrackId>,
    }
    let kept = state
        .once_explored("map".to_owned(), asked.after.is_some(), |_, desk, explored, given_up| {
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
            given_up.check()?;
            let positions: Array2<f32> =
                layout(collection.vectors.view(), &explored.graph, &LayoutOptions::default())?;
            given_up.check()?;
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
            let answer = Map { tracks: tracks.collect(), clusters: clusters.collect() };
            Ok(Answer { generation: explored.generation, answer })
        })
        .await?;
    let Answer { generation, answer: Map { tracks, clusters } } = &*kept;
    let (part, next) = page(tracks, |track| track.id, asked.after, asked.limit)?;
    let answer = MapPart { total: tracks.len(), tracks: &tracks[part], clusters, next };
    Ok(Answer { generation: *generation, answer }.into_response())
}

pub(super) async fn duplicates(
    State(state): State<Shared>,
    ask::Query(asked): ask::Query<Paged<Duplicates>>,
) -> Result<Response<Body>, Problem> {
    let rough = asked.question.rough;
    let kept = state
        .once_explored(
            format!("duplicates {rough}"),
            asked.after.is_some(),
            move |_, desk, explored, given_up| {
                let listener = crate::engine::FileListener::new(desk.engine.library(), |_| ())?;
                let listener = (!rough).then_some(&listener as &dyn PairListener);
                let similar = duplicate_groups(&mut desk.engine, &explored.collection, listener)?;
                given_up.check()?;
                let answer = with_exact_copies(&desk.engine, &explored.collection, similar)?;
                Ok(Answer { generation: explored.generation, answer })
            },
        )
        .await?;
    let Answer { generation, answer: all } = &*kept;
    let (part, next) = page(all, |group: &GroupJson| group.keep.id, asked.after, asked.limit)?;
    let answer = ListPage { total: all.len(), items: &all[part], next };
    Ok(Answer { generation: *generation, answer }.into_response())
}
