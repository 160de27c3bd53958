//! The library and its tracks.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};

use super::{Answer, bytes, written};
use crate::audio::{self as sound, StoredSong};
use voisin_base::track::TrackId;
use voisin_engine::PredictedTags;
use voisin_http::extract;
use voisin_http::problem::Problem;
use voisin_http::state::Shared;
use voisin_questions::answers::card::{CardJson, CardWords, cards};
use voisin_questions::answers::find::FoundJson;
use voisin_questions::answers::list::PageJson;
use voisin_questions::answers::page::NextPage;
use voisin_questions::answers::status::StatusJson;
use voisin_questions::list::{Find, List, Show};
use voisin_questions::page::Paged;

pub(super) async fn status(State(state): State<Shared>) -> Result<Answer<StatusJson>, Problem> {
    state
        .run(|_, context| {
            let library = context.engine.library();
            let generation = library.generation()?;
            let answer = StatusJson::new(&context.engine, &library.status()?);
            Ok(Answer { generation, answer })
        })
        .await
}

/// Words a track.
const WORDS: usize = 5;

pub(super) async fn list(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<List>>,
) -> Result<Answer<NextPage<PageJson>>, Problem> {
    let tags = if request.question.words {
        Some(state.tags().await?)
    } else {
        None
    };
    state
        .run(move |state, context| {
            let library = context.engine.library();
            let generation = library.generation()?;
            request.question.filters.check_licences(library)?;
            let query = request.question.query(
                &context.engine,
                request.limit.of(usize::MAX),
                request.after,
            )?;
            let page = state.list(context, &query)?;
            let ids: Vec<TrackId> = page.tracks.iter().map(|track| track.id).collect();
            let strongest = |tags: &PredictedTags| tags.strongest(&ids, WORDS);
            let words = tags
                .as_deref()
                .map(|tags| tags.as_ref().map(strongest).unwrap_or_default());
            let answer = NextPage {
                page: PageJson::new(&page, words.as_ref()),
                next: page.next,
            };
            Ok(Answer { generation, answer })
        })
        .await
}

pub(super) async fn find(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Find>,
) -> Result<Response<Body>, Problem> {
    let tags = state.tags().await?;
    let answer = state
        .run(move |_, context| {
            let generation = context.engine.library().generation()?;
            request.filters.check_licences(context.engine.library())?;
            let engine = &context.engine;
            let Some(tags) = &*tags else {
                return Err(engine
                    .words()
                    .predicted_tags()
                    .err()
                    .map_or_else(Problem::fault, Problem::from));
            };
            let found = request.run(engine, tags)?;
            bytes(generation, FoundJson::new(engine, &found, tags)?)
        })
        .await?;
    Ok(written(answer))
}

pub(super) async fn one(
    State(state): State<Shared>,
    extract::PathId(id): extract::PathId,
    extract::Query(shown): extract::Query<Show>,
) -> Result<Response<Body>, Problem> {
    let tags = if shown.words {
        Some(state.tags().await?)
    } else {
        None
    };
    let answer = state.run(move |state, context| {
        state.index(context)?;
        let engine = &mut context.engine;
        let generation = engine.library().generation()?;
        let words = tags
            .as_deref()
            .map_or(CardWords::LeftOut, |tags| CardWords::Known(tags.as_ref()));
        let seed = engine.seed_of(id)?;
        let found = cards(engine, vec![seed], words, |_| ())?;
        let card = found.first().ok_or_else(Problem::fault)?;
        bytes(generation, CardJson::new(card))
    });
    Ok(written(answer.await?))
}

pub(super) async fn audio(
    State(state): State<Shared>,
    extract::PathId(id): extract::PathId,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let song =
        state.look(move |_, context| Ok(StoredSong::of(&context.engine.library().track(id)?)));
    sound::send(song.await?, &headers).await
}
