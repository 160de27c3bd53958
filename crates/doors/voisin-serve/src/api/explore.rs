//! Answers about the whole library. Each is computed once for all clients, cached until the library changes, and sent in
//! pages.

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::response::IntoResponse as _;
use serde::Serialize;

use super::{Answer, page, page_by_place};
use voisin_base::track::TrackId;
use voisin_engine::Collection;
use voisin_explore::ExploreError;
use voisin_explore::clusters::Clustering;
use voisin_explore::layout::layout;
use voisin_http::extract;
use voisin_http::problem::Problem;
use voisin_http::state::{Explored, GivenUp, RequestContext, Shared};
use voisin_questions::answers::clusters::{ClustersJson, members};
use voisin_questions::answers::failed::FailureJson;
use voisin_questions::answers::genres::{GenresJson, GenresPart};
use voisin_questions::answers::map::{MapJson, MapPart};
use voisin_questions::answers::page::{Page, PageItems};
use voisin_questions::answers::suspects::SuspectJson;
use voisin_questions::answers::track::TrackRef;
use voisin_questions::explore::{Clusters, Duplicates};
use voisin_questions::genre::{GenreRelations, Suspects};
use voisin_questions::page::{Paged, Plain};

/// A page of an answer of `total` items.
fn sent<P: Serialize, N: Serialize>(
    generation: u64,
    total: usize,
    part: P,
    next: Option<N>,
) -> Response<Body> {
    let answer = Page { total, part, next };
    Answer { generation, answer }.into_response()
}

/// The requested page of a list.
fn list_page<T: Serialize, Q: Default>(
    kept: &Answer<Vec<T>>,
    id: impl Fn(&T) -> TrackId,
    request: &Paged<Q>,
) -> Result<Response<Body>, Problem> {
    let all = &kept.answer;
    let (part, next) = page(all, id, request.after, request.limit)?;
    let items = PageItems { items: &all[part] };
    Ok(sent(kept.generation, all.len(), items, next))
}

pub(super) async fn genres(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<GenreRelations, usize>>,
) -> Result<Response<Body>, Problem> {
    let question = request.question.clone();
    let work = move |_: &_, context: &mut RequestContext, _: &GivenUp| {
        let engine = &mut context.engine;
        let generation = engine.library().generation()?;
        let found = question.run(engine)?;
        let answer = GenresJson::new(engine, &found)?;
        Ok(Answer { generation, answer })
    };
    let kept = state.once(format!("{:?}", request.question), work).await?;
    let all = &kept.answer;
    let total = all.genres.len();
    let (part, next) = page_by_place(total, request.after, request.limit)?;
    let genres = GenresPart {
        genres: &all.genres[part.clone()],
        distance: &all.distance[part],
    };
    Ok(sent(kept.generation, total, genres, next))
}

pub(super) async fn suspects(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<Suspects>>,
) -> Result<Response<Body>, Problem> {
    let question = request.question.clone();
    let work = move |_: &_, context: &mut RequestContext, _: &GivenUp| {
        let engine = &mut context.engine;
        let generation = engine.library().generation()?;
        let found = question.run(engine)?.suspects;
        let shown = Suspects::shown(engine, &found)?;
        let answer: Vec<SuspectJson> = SuspectJson::list(&shown, &found).collect();
        Ok(Answer { generation, answer })
    };
    let kept = state.once(format!("{:?}", request.question), work).await?;
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
    let work =
        move |_: &_, context: &mut RequestContext, explored: &Explored, given_up: &GivenUp| {
            // A copy, since the collection is shared and predicted genres are of this answer only.
            let mut collection = Collection::clone(&explored.collection);
            let graph = &explored.graph;
            context.engine.genres().predict(&mut collection, graph)?;
            given_up.check()?;
            let found = question.run(&mut context.engine, &collection, graph, None, None)?;
            let members = members(&collection, &found);
            Ok(Answer {
                generation: explored.generation,
                answer: Clustered { found, members },
            })
        };
    let key = format!("{:?}", request.question);
    let kept = state.once_explored(key, work).await?;
    let Clustered { found, members } = &kept.answer;
    let (part, next) = page(members, |track| track.id, request.after, request.limit)?;
    let clusters = ClustersJson::new(found, members, &part);
    Ok(sent(kept.generation, members.len(), clusters, next))
}

/// Where each track lies on the map.
fn mapped(
    context: &mut RequestContext,
    explored: &Explored,
    given_up: &GivenUp,
) -> Result<Answer<MapJson>, Problem> {
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
    let graph = &explored.graph;
    context.engine.genres().predict(&mut collection, graph)?;
    given_up.check()?;
    let positions = layout(collection.vectors.view(), graph, 0)?;
    given_up.check()?;
    let answer = MapJson::new(&mut context.engine, &collection, graph, positions.view())?;
    Ok(Answer {
        generation: explored.generation,
        answer,
    })
}

pub(super) async fn map(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<Plain, TrackId, 1000>>,
) -> Result<Response<Body>, Problem> {
    let work = |_: &_, context: &mut RequestContext, explored: &Explored, given_up: &GivenUp| {
        mapped(context, explored, given_up)
    };
    let kept = state.once_explored("map".to_owned(), work).await?;
    let all = &kept.answer;
    let (part, next) = page(&all.tracks, |track| track.id, request.after, request.limit)?;
    let map = MapPart {
        tracks: &all.tracks[part],
        clusters: &all.clusters,
        genres: &all.genres,
    };
    Ok(sent(kept.generation, all.tracks.len(), map, next))
}

pub(super) async fn duplicates(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<Duplicates>>,
) -> Result<Response<Body>, Problem> {
    let question = request.question.clone();
    let work = move |_: &_, context: &mut RequestContext, explored: &Explored, _: &GivenUp| {
        let answer = question.run(&mut context.engine, &explored.collection, |_| ())?;
        Ok(Answer {
            generation: explored.generation,
            answer,
        })
    };
    let key = format!("{:?}", request.question);
    let kept = state.once_explored(key, work).await?;
    list_page(&kept, |group| group.keep.id, &request)
}

pub(super) async fn failed(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<Plain, usize>>,
) -> Result<Response<Body>, Problem> {
    let answer = state.look(move |_, context| {
        let library = context.engine.library();
        let generation = library.generation()?;
        let all = FailureJson::list(&library.failures()?);
        let (part, next) = page_by_place(all.len(), request.after, request.limit)?;
        let items = PageItems { items: &all[part] };
        Ok(sent(generation, all.len(), items, next))
    });
    answer.await
}
