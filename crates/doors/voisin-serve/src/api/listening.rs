//! Plays and likes from the page, which mixes use as those of players.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::labels::writable;
use super::{Answer, page};
use voisin_base::track::TrackId;
use voisin_http::extract;
use voisin_http::problem::Problem;
use voisin_http::state::Shared;
use voisin_library::{Library, LibraryError, PlayerEvent, Track};
use voisin_questions::answers::list::TrackJson;
use voisin_questions::page::{Paged, Plain};

/// The listener's name for `voisin heard`.
const LISTENER: &str = "page";

/// A listener's opinion of a track.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(crate) struct PageOpinion {
    /// true: liked; false: disliked; null: neither.
    // Required, since null is a value.
    #[serde(deserialize_with = "Option::deserialize")]
    liked: Option<bool>,
}

pub(super) async fn opinion(
    State(state): State<Shared>,
    extract::PathId(id): extract::PathId,
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
    /// `after` of the next page; null on the last one.
    next: Option<TrackId>,
}

/// Tracks played on the page, the last first.
pub(super) async fn heard(
    State(state): State<Shared>,
    extract::Query(question): extract::Query<Paged<Plain>>,
) -> Result<Answer<TracksPage>, Problem> {
    listed(&state, question, |library| {
        library.history().recently_played(LISTENER)
    })
    .await
}

/// Tracks liked on the page.
pub(super) async fn liked(
    State(state): State<Shared>,
    extract::Query(question): extract::Query<Paged<Plain>>,
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
    extract::PathId(id): extract::PathId,
    extract::Body(PageOpinion { liked }): extract::Body<PageOpinion>,
) -> Result<StatusCode, Problem> {
    note(&state, id, PlayerEvent::Liked(liked)).await
}

pub(super) async fn hear(
    State(state): State<Shared>,
    extract::PathId(id): extract::PathId,
    _: extract::NoBody,
) -> Result<StatusCode, Problem> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64);
    note(&state, id, PlayerEvent::Played(now)).await
}

async fn note(state: &Shared, id: TrackId, event: PlayerEvent) -> Result<StatusCode, Problem> {
    let is_there = state.look(move |_, context| {
        writable(context.engine.library())?;
        Ok(context.engine.library().track(id)?)
    });
    is_there.await?;
    state
        .note_listening(LISTENER.to_owned(), vec![(id, event)])
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
