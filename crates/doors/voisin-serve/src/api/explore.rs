//! Answers about the whole library. Each is computed once for all clients, cached until the library changes, and sent in
//! pages.

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::response::IntoResponse as _;
use ndarray::Array2;
use serde::Serialize;

use super::{Answer, page, page_by_place};
use voisin_base::track::TrackId;
use voisin_engine::Collection;
use voisin_explore::ExploreError;
use voisin_explore::artists::Makers;
use voisin_explore::clusters::Clustering;
use voisin_explore::layout::{LayoutOptions, layout};
use voisin_http::extract;
use voisin_http::problem::Problem;
use voisin_http::state::{Explored, GivenUp, RequestContext, Shared};
use voisin_questions::answers::artists::ArtistJson;
use voisin_questions::answers::clusters::{ClustersJson, members};
use voisin_questions::answers::failed::FailureJson;
use voisin_questions::answers::genres::{GenresJson, GenresPart};
use voisin_questions::answers::map::{MapJson, MapPart};
use voisin_questions::answers::page::{Page, PageItems};
use voisin_questions::answers::suspects::SuspectJson;
use voisin_questions::answers::track::TrackRef;
use voisin_questions::explore::{Clusters, Duplicates, NearArtists};
use voisin_questions::genre::{GenreRelations, Suspects};
use voisin_questions::page::{Paged, Plain};

/// The requested page of a list.
fn list_page<T: Serialize, Q: Default>(
    kept: &Answer<Vec<T>>,
    id: impl Fn(&T) -> TrackId,
    request: &Paged<Q>,
) -> Result<Response<Body>, Problem> {
    let Answer {
        generation,
        answer: all,
    } = kept;
    let (part, next) = page(all, id, request.after, request.limit)?;
    let items = PageItems { items: &all[part] };
    let answer = Page {
        total: all.len(),
        part: items,
        next,
    };
    Ok(Answer {
        generation: *generation,
        answer,
    }
    .into_response())
}

/// The requested page of a list whose items are named by their index.
fn list_part<T: Serialize, Q: Default>(
    generation: u64,
    all: &[T],
    request: &Paged<Q, usize>,
) -> Result<Response<Body>, Problem> {
    let (part, next) = page_by_place(all.len(), request.after, request.limit)?;
    let items = PageItems { items: &all[part] };
    let answer = Page {
        total: all.len(),
        part: items,
        next,
    };
    Ok(Answer { generation, answer }.into_response())
}

pub(super) async fn genres(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<GenreRelations, usize>>,
) -> Result<Response<Body>, Problem> {
    let question = request.question.clone();
    let kept = state
        .once(
            format!("{question:?}"),
            request.after.is_some(),
            move |_, context, _| {
                let engine = &mut *context.engine;
                let generation = engine.library().changes().generation()?;
                let found = question.run(engine)?;
                Ok(Answer {
                    generation,
                    answer: GenresJson::new(engine, &found)?,
                })
            },
        )
        .await?;
    let Answer {
        generation,
        answer: all,
    } = &*kept;
    let total = all.genres.len();
    let (part, next) = page_by_place(total, request.after, request.limit)?;
    let genres = GenresPart {
        genres: &all.genres[part.clone()],
        distance: &all.distance[part],
    };
    let answer = Page {
        total,
        part: genres,
        next,
    };
    Ok(Answer {
        generation: *generation,
        answer,
    }
    .into_response())
}

pub(super) async fn suspects(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<Suspects>>,
) -> Result<Response<Body>, Problem> {
    let question = request.question.clone();
    let kept = state
        .once_learned(
            format!("{question:?}"),
            request.after.is_some(),
            move |_, context, _| {
                let generation = context.engine.library().changes().generation()?;
                let found = question.run(context.engine)?.suspects;
                let shown = Suspects::shown(context.engine, &found)?;
                let answer: Vec<SuspectJson> = SuspectJson::list(&shown, &found).collect();
                Ok(Answer { generation, answer })
            },
        )
        .await?;
    list_page(&kept, |suspect| suspect.id, &request)
}

/// Cached clusters.
struct Clustered {
    found: Clustering,
    members: Vec<TrackRef>,
}

pub(super) async fn clusters(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<Clusters>>,
) -> Result<Response<Body>, Problem> {
    let question = request.question.clone();
    let key = format!("{question:?}");
    let kept = state
        .once_explored(
            key,
            request.after.is_some(),
            move |_, context, explored, given_up| {
                // A copy, since the collection is shared and predicted genres are of this answer only.
                let mut collection = Collection::clone(&explored.collection);
                let graph = &explored.graph;
                context.engine.genres().predict(&mut collection, graph)?;
                given_up.check()?;
                let found = question.run(context.engine, &collection, graph, None, None)?;
                let answer = Clustered {
                    members: members(&collection, &found),
                    found,
                };
                Ok(Answer {
                    generation: explored.generation,
                    answer,
                })
            },
        )
        .await?;
    let Answer {
        generation,
        answer: Clustered { found, members },
    } = &*kept;
    let (part, next) = page(members, |track| track.id, request.after, request.limit)?;
    let clusters = ClustersJson::new(found, members, &part);
    let answer = Page {
        total: members.len(),
        part: clusters,
        next,
    };
    Ok(Answer {
        generation: *generation,
        answer,
    }
    .into_response())
}

pub(super) async fn artists(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<NearArtists, usize>>,
) -> Result<Response<Body>, Problem> {
    makers(&state, Makers::Artists, &request).await
}

pub(super) async fn albums(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<NearArtists, usize>>,
) -> Result<Response<Body>, Problem> {
    makers(&state, Makers::Albums, &request).await
}

async fn makers(
    state: &Shared,
    makers: Makers,
    request: &Paged<NearArtists, usize>,
) -> Result<Response<Body>, Problem> {
    let question = request.question.clone();
    let key = format!("{makers:?} {question:?}");
    let kept = state
        .once_explored(key, request.after.is_some(), move |_, _, explored, _| {
            let found = question.run(&explored.collection, makers, usize::MAX)?;
            let Collection { meta, .. } = &*explored.collection;
            let known = |id| explored.collection.row(id).map(|row| &meta[row]);
            let answer = ArtistJson::list(found, known);
            Ok(Answer {
                generation: explored.generation,
                answer,
            })
        })
        .await?;
    let Answer {
        generation,
        answer: all,
    } = &*kept;
    list_part(*generation, all, request)
}

pub(super) async fn map(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<Plain, TrackId, 1000>>,
) -> Result<Response<Body>, Problem> {
    let kept = state
        .once_explored(
            "map".to_owned(),
            request.after.is_some(),
            |_, context, explored, given_up| {
                let mut collection = Collection::clone(&explored.collection);
                if collection.ids.len() < 3 {
                    let found = collection.ids.len();
                    let error = ExploreError::TooFew {
                        what: "a map",
                        needed: 3,
                        found,
                    };
                    return Err(error.into());
                }
                context
                    .engine
                    .genres()
                    .predict(&mut collection, &explored.graph)?;
                given_up.check()?;
                let positions: Array2<f32> = layout(
                    collection.vectors.view(),
                    &explored.graph,
                    &LayoutOptions::default(),
                )?;
                given_up.check()?;
                let answer = MapJson::new(
                    context.engine,
                    &collection,
                    &explored.graph,
                    positions.view(),
                )?;
                Ok(Answer {
                    generation: explored.generation,
                    answer,
                })
            },
        )
        .await?;
    let Answer {
        generation,
        answer: all,
    } = &*kept;
    let (part, next) = page(&all.tracks, |track| track.id, request.after, request.limit)?;
    let map = MapPart {
        tracks: &all.tracks[part],
        clusters: &all.clusters,
        genres: &all.genres,
    };
    let answer = Page {
        total: all.tracks.len(),
        part: map,
        next,
    };
    Ok(Answer {
        generation: *generation,
        answer,
    }
    .into_response())
}

pub(super) async fn duplicates(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<Duplicates>>,
) -> Result<Response<Body>, Problem> {
    let question = request.question.clone();
    let key = format!("{question:?}");
    let goes_on = request.after.is_some();
    let work = move |_: &_, context: &mut RequestContext<'_>, explored: &Explored, _: &GivenUp| {
        let answer = question.run(context.engine, &explored.collection, |_| ())?;
        Ok(Answer {
            generation: explored.generation,
            answer,
        })
    };
    let kept = state.once_explored_decoded(key, goes_on, work).await?;
    list_page(&kept, |group| group.keep.id, &request)
}

pub(super) async fn failed(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<Plain, usize>>,
) -> Result<Response<Body>, Problem> {
    let answer = state.look(move |_, context| {
        let library = context.engine.library();
        let generation = library.changes().generation()?;
        let all = FailureJson::list(&library.files().failures()?);
        list_part(generation, &all, &request)
    });
    answer.await
}
