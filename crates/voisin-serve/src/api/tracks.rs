//! The library and its tracks.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use serde::Serialize;

use super::{Answer, bytes, written};
use crate::problem::Problem;
use crate::state::{Shared, fault};
use crate::{ask, audio as sound};
use voisin::PredictedTags;
use voisin_base::track::TrackId;
use voisin_questions::answers::find::FoundJson;
use voisin_questions::answers::list::{PageJson, TrackJson};
use voisin_questions::answers::status::StatusJson;
use voisin_questions::list::{Find, List, Show};
use voisin_questions::page::Paged;

pub(super) async fn status(State(state): State<Shared>) -> Result<Answer<StatusJson>, Problem> {
    state
        .ask(|_, context| {
            let status = context.engine.library().status()?;
            let answer = StatusJson::new(&context.engine, &status);
            Ok(Answer { generation: status.generation, answer })
        })
        .await
}

/// Words a track.
const WORDS: usize = 5;

#[derive(Serialize)]
pub(super) struct Page {
    #[serde(flatten)]
    page: PageJson,
    /// Names the next page; null on the last one.
    next: Option<TrackId>,
}

pub(super) async fn list(
    State(state): State<Shared>,
    ask::Query(asked): ask::Query<Paged<List>>,
) -> Result<Answer<Page>, Problem> {
    let heard = if asked.question.words { Some(state.heard().await?) } else { None };
    state
        .ask(move |state, context| {
            let generation = context.engine.library().generation()?;
            let query = asked.question.query(&context.engine, asked.limit.of(usize::MAX), asked.after)?;
            let page = state.list(context, &query)?;
            let ids: Vec<TrackId> = page.tracks.iter().map(|track| track.id).collect();
            let strongest = |heard: &PredictedTags| heard.strongest(&ids, WORDS);
            let words = heard.as_deref().map(|heard| heard.as_ref().map(strongest).unwrap_or_default());
            let answer = Page { page: PageJson::new(&page, words.as_ref()), next: page.next };
            Ok(Answer { generation, answer })
        })
        .await
}

pub(super) async fn find(
    State(state): State<Shared>,
    ask::Query(asked): ask::Query<Find>,
) -> Result<Response<Body>, Problem> {
    let heard = state.heard().await?;
    let answer = state
        .ask(move |_, context| {
            let generation = context.engine.library().generation()?;
            let Some(heard) = &*heard else {
                return Err(context.engine.predicted_tags().err().map_or_else(fault, Problem::from));
            };
            bytes(generation, FoundJson::new(&asked.run(&context.engine, heard)?, heard))
        })
        .await?;
    Ok(written(answer))
}

#[derive(Serialize)]
struct Words<'a> {
    words: Vec<KnownWordJson<'a>>,
}

#[derive(Serialize)]
struct KnownWordJson<'a> {
    word: &'a str,
    /// The model's tags that it stands for.
    tags: Vec<String>,
}

/// Every word that is understood.
pub(super) async fn words(State(state): State<Shared>) -> Result<Response<Body>, Problem> {
    let heard = state.heard().await?;
    let answer = state
        .ask(move |_, context| {
            let generation = context.engine.library().generation()?;
            let words = heard.iter().flat_map(PredictedTags::words);
            let words = words.map(|(word, tags)| KnownWordJson { word, tags }).collect();
            bytes(generation, Words { words })
        })
        .await?;
    Ok(written(answer))
}

pub(super) async fn one(
    State(state): State<Shared>,
    ask::Id(id): ask::Id,
    ask::Query(shown): ask::Query<Show>,
) -> Result<Answer<TrackJson>, Problem> {
    let heard = if shown.words { Some(state.heard().await?) } else { None };
    state
        .ask(move |_, context| {
            let strongest = |heard: &PredictedTags| heard.strongest(&[id], WORDS);
            let strong = heard.as_deref().and_then(|heard| heard.as_ref().map(strongest)).unwrap_or_default();
            let words = shown.words.then(|| strong.get(&id).map_or(&[][..], Vec::as_slice));
            let library = context.engine.library();
            let generation = library.generation()?;
            let measured = library.descriptors(&[id])?;
            let answer = TrackJson::new(&library.track(id)?, measured.get(&id), words);
            Ok(Answer { generation, answer })
        })
        .await
}

pub(super) async fn audio(
    State(state): State<Shared>,
    ask::Id(id): ask::Id,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let track = state.look(move |_, context| Ok(context.engine.library().track(id)?)).await?;
    sound::send(&track.path, &track.audio.container, &track.audio.codec, &headers).await
}
