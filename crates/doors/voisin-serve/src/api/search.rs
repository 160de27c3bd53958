//! Queries about sound: similar tracks, genres, paths, playlists.

use std::path::Path;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use axum::response::IntoResponse as _;

use super::{Answer, bytes, written};
use voisin_engine::{Engine, GenreNews, Seed};
use voisin_explore::TrackMeta;
use voisin_http::extract;
use voisin_http::problem::Problem;
use voisin_http::state::{Explored, GivenUp, RequestContext, Shared, State as Server};
use voisin_http::uploads::received;
use voisin_questions::answers::genre::{AnswerJson, AnswersJson};
use voisin_questions::answers::playlist::PlaylistJson;
use voisin_questions::answers::similar::SimilarJson;
use voisin_questions::answers::walk::WalkJson;
use voisin_questions::explore::PathBetween;
use voisin_questions::genre::Classify;
use voisin_questions::playlist::Playlist;
use voisin_questions::seed::{at_least_one, seeds};
use voisin_questions::{QuestionError, Similar};

pub(super) async fn similar(
    State(state): State<Shared>,
    extract::Body(request): extract::Body<Similar>,
) -> Result<Response<Body>, Problem> {
    request.validate(request.seeds.len())?;
    state
        .run(move |state, context| {
            let generation = state.index(context)?;
            request.filters.check_licences(context.engine.library())?;
            let engine = &mut context.engine;
            let named = seeds(&request.seeds, engine)?;
            let named = request.part_of(engine, named, || state.model(engine))?;
            let unlike = seeds(&request.unlike, engine)?;
            let found = request.run(engine, &named, unlike)?;
            let answer = SimilarJson::new(&named, &found);
            Ok(Answer { generation, answer }.into_response())
        })
        .await
}

/// The name of an uploaded file in answers and messages.
const UPLOADED: &str = "(uploaded)";

/// Converts an error, with the uploaded file in place of its temporary copy.
fn of_upload<E: Into<QuestionError>>(copy: &Path) -> impl Fn(E) -> Problem {
    move |error| match error.into() {
        QuestionError::Engine(error) => error.of_file_known_as(copy, UPLOADED).into(),
        other => other.into(),
    }
}

fn seed_of_copy(state: &Server, engine: &Engine, copy: &Path) -> Result<Seed, Problem> {
    engine
        .seed(copy.as_os_str(), || state.model(engine))
        .map_err(of_upload(copy))
}

pub(super) async fn similar_to_file(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Similar>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, Problem> {
    request.validate(1)?;
    let copy = received(&state, &headers, body).await?;
    state
        .run(move |state, context| {
            let generation = state.index(context)?;
            request.filters.check_licences(context.engine.library())?;
            let engine = &mut context.engine;
            let seed = seed_of_copy(state, engine, copy.path())?;
            let mut seeds = request
                .part_of(engine, vec![seed], || state.model(engine))
                .map_err(of_upload(copy.path()))?;
            for seed in &mut seeds {
                seed.path = UPLOADED.into();
            }
            let found = request.run(engine, &seeds, Vec::new())?;
            let answer = SimilarJson::new(&seeds, &found);
            Ok(Answer { generation, answer }.into_response())
        })
        .await
}

/// - `copy`: the tracks are this one file
fn classified(
    state: &Server,
    engine: &mut Engine,
    request: &Classify,
    tracks: Vec<Seed>,
    copy: Option<&Path>,
) -> Result<Bytes, Problem> {
    let generation = engine.library().generation()?;
    let mut notes = Vec::new();
    // Loaded first, since the engine is borrowed below.
    let model = state.model(engine);
    let report = |news: GenreNews| notes.push(news.to_string());
    let found = request.run(engine, tracks, || model, report);
    let mut answers = match copy {
        Some(copy) => found.map_err(of_upload(copy))?,
        None => found?,
    };
    if copy.is_some() {
        answers
            .iter_mut()
            .for_each(|answer| answer.path = UPLOADED.into());
    }
    let answer = AnswersJson {
        items: answers.iter().map(AnswerJson::new).collect(),
        notes,
    };
    bytes(generation, answer)
}

pub(super) async fn classify(
    State(state): State<Shared>,
    extract::Body(request): extract::Body<Classify>,
) -> Result<Response<Body>, Problem> {
    at_least_one("tracks", request.tracks.len())?;
    let answer = state
        .run(move |state, context| {
            state.index(context)?;
            let engine = &mut context.engine;
            let tracks = request.tracks.iter();
            let seeds = tracks
                .map(|one| one.seed(engine))
                .collect::<Result<_, _>>()?;
            classified(state, engine, &request, seeds, None)
        })
        .await?;
    Ok(written(answer))
}

pub(super) async fn classify_file(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Classify>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, Problem> {
    let copy = received(&state, &headers, body).await?;
    let answer = state
        .run(move |state, context| {
            state.index(context)?;
            let engine = &mut context.engine;
            let seed = seed_of_copy(state, engine, copy.path())?;
            classified(state, engine, &request, vec![seed], Some(copy.path()))
        })
        .await?;
    Ok(written(answer))
}

pub(super) async fn path(
    State(state): State<Shared>,
    extract::Body(request): extract::Body<PathBetween>,
) -> Result<Response<Body>, Problem> {
    state
        .run_explored(move |_, context, explored| {
            let stops = request.stop_seeds(&context.engine)?;
            let walk = request.run(&explored.collection, &stops)?;
            let answer = WalkJson::new(&context.engine, &explored.collection, &walk)?;
            Ok(Answer {
                generation: explored.generation,
                answer,
            }
            .into_response())
        })
        .await
}

pub(super) async fn playlist(
    State(state): State<Shared>,
    extract::Body(request): extract::Body<Playlist>,
) -> Result<Response<Body>, Problem> {
    request.validate()?;
    // Clusters need the whole library.
    if request.cluster.is_none() {
        let answer = state.run(move |state, context| {
            let generation = state.index(context)?;
            let engine = &mut context.engine;
            let named = seeds(&request.seeds, engine)?;
            request.filters.check_licences(engine.library())?;
            let (collection, list) = request.of_library(engine, &named, &[])?;
            let tracks: Vec<&TrackMeta> =
                list.rows.iter().map(|&row| &collection.meta[row]).collect();
            let answer = PlaylistJson::new(engine, &tracks, list.standing.as_ref())?;
            bytes(generation, answer)
        });
        return Ok(written(answer.await?));
    }
    let key = format!("playlist {request:?}");
    let work =
        move |state: &Server, context: &mut RequestContext, explored: &Explored, _: &GivenUp| {
            state.index(context)?;
            let collection = &explored.collection;
            let named = seeds(&request.seeds, &context.engine)?;
            let list = request.run(&mut context.engine, collection, &named, &[])?;
            let tracks: Vec<&TrackMeta> =
                list.rows.iter().map(|&row| &collection.meta[row]).collect();
            bytes(
                explored.generation,
                PlaylistJson::new(&context.engine, &tracks, list.standing.as_ref())?,
            )
        };
    let answer = state.once_explored(key, work).await?;
    Ok(written((*answer).clone()))
}
