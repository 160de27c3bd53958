//! Plays and likes from the page. Mixes count them as they count those of players.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::labels::writable;
use super::{Answer, page};
use voisin_base::track::TrackId;
use voisin_http::ask;
use voisin_http::problem::Problem;
use voisin_http::state::Shared;
use voisin_library::{Library, LibraryError, Told, Track};
use voisin_questions::answers::list::TrackJson;
use voisin_questions::page::{Paged, Plain};

/// Whose listening it is, as `voisin heard` names it.
const LISTENER: &str = "page";

/// A listener's opinion of a track.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(crate) struct PageOpinion {
    /// true: liked; false: disliked; null: neither.
    // As it stands, it must be there: null says something, nothing does not.
    #[serde(deserialize_with = "Option::deserialize")]
    liked: Option<bool>,
}

pub(super) async fn opinion(
    State(state): State<Shared>,
    ask::PathId(id): ask::PathId,
) -> Result<Json<PageOpinion>, Problem> {
    let liked = state.look(move |_, context| {
        // Unknown tracks are 404, not tracks without an opinion.
        context.engine.library().track(id)?;
        Ok(context.engine.library().history().liked(LISTENER, id)?)
    });
    Ok(Json(PageOpinion {
        liked: liked.await?,
    }))
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct TracksPage {
    /// Tracks in all.
    total: usize,
    /// The tracks of the page.
    tracks: Vec<TrackJson>,
    /// Names the next page; null on the last one.
    next: Option<TrackId>,
}

/// Tracks that were heard here, the last first.
pub(super) async fn heard(
    State(state): State<Shared>,
    ask::Query(question): ask::Query<Paged<Plain>>,
) -> Result<Answer<TracksPage>, Problem> {
    listed(&state, question, |library| {
        library.history().heard_lately(LISTENER)
    })
    .await
}

/// Tracks that are liked here.
pub(super) async fn liked(
    State(state): State<Shared>,
    ask::Query(question): ask::Query<Paged<Plain>>,
) -> Result<Answer<TracksPage>, Problem> {
    listed(&state, question, |library| {
        library.history().liked_tracks(LISTENER)
    })
    .await
}

async fn listed(
    state: &Shared,
    question: Paged<Plain>,
    tracks: fn(&Library) -> Result<Vec<TrackId>, LibraryError>,
) -> Result<Answer<TracksPage>, Problem> {
    let answer = state.look(move |_, context| {
        let library = context.engine.library();
        let all = tracks(library)?;
        let (part, next) = page(&all, |track| *track, question.after, question.limit)?;
        let shown = &all[part];
        let measured = library.derived().descriptors(shown)?;
        let found = library.tracks_by_id(shown)?;
        let json = |track: &Track| TrackJson::new(track, measured.get(&track.id), None);
        let answer = TracksPage {
            total: all.len(),
            tracks: found.iter().map(json).collect(),
            next,
        };
        Ok(Answer {
            generation: library.changes().generation()?,
            answer,
        })
    });
    answer.await
}

pub(super) async fn like(
    State(state): State<Shared>,
    ask::PathId(id): ask::PathId,
    ask::Body(PageOpinion { liked }): ask::Body<PageOpinion>,
) -> Result<StatusCode, Problem> {
    note(&state, id, Told::Liked(liked)).await
}

pub(super) async fn hear(
    State(state): State<Shared>,
    ask::PathId(id): ask::PathId,
    _: ask::NoBody,
) -> Result<StatusCode, Problem> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64);
    note(&state, id, Told::Heard(now)).await
}

async fn note(state: &Shared, id: TrackId, event: Told) -> Result<StatusCode, Problem> {
    let is_there = state.look(move |state, context| {
        writable(state, context.engine.library())?;
        Ok(context.engine.library().track(id)?)
    });
    is_there.await?;
    state
        .note_listening(LISTENER.to_owned(), vec![(id, event)])
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
