//! The library and its tracks.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use serde::{Deserialize, Serialize};

use super::{Answer, Filters, MOST, within};
use crate::answers::list::{PageJson, TrackJson};
use crate::answers::status::StatusJson;
use crate::engine::TrackQuery;
use crate::serve::problem::Problem;
use crate::serve::state::Shared;
use crate::serve::{ask, audio as sound};
use crate::track::TrackId;

pub(super) async fn status(State(state): State<Shared>) -> Result<Answer<StatusJson>, Problem> {
    state
        .ask(|_, desk| {
            let status = desk.engine.library().status()?;
            let answer = StatusJson::new(&desk.engine, &status);
            Ok(Answer { generation: status.generation, answer })
        })
        .await
}

#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    /// Words of artist, title, album or file name.
    #[serde(default)]
    query: String,
    #[serde(default = "some")]
    limit: usize,
    /// What the page before said as `next`.
    after: Option<TrackId>,
}

fn some() -> usize {
    100
}

#[derive(Serialize)]
pub(super) struct Page {
    #[serde(flatten)]
    page: PageJson,
    /// Names the next page; null on the last one.
    next: Option<TrackId>,
}

pub(super) async fn list(
    State(state): State<Shared>,
    ask::Split(listing, filters): ask::Split<Listing, Filters>,
) -> Result<Answer<Page>, Problem> {
    let query = TrackQuery {
        words: listing.query,
        filter: filters.filter()?,
        limit: Some(within("limit", listing.limit, MOST)?),
        after: listing.after,
        ..TrackQuery::default()
    };
    state
        .ask(move |_, desk| {
            let generation = desk.engine.library().generation()?;
            let page = desk.engine.list(&query)?;
            Ok(Answer { generation, answer: Page { page: PageJson::new(&page, None), next: page.next } })
        })
        .await
}

pub(super) async fn one(
    State(state): State<Shared>,
    ask::Id(id): ask::Id,
) -> Result<Answer<TrackJson>, Problem> {
    state
        .ask(move |_, desk| {
            let library = desk.engine.library();
            let generation = library.generation()?;
            let measured = library.descriptors(&[id])?;
            let answer = TrackJson::new(&library.track(id)?, measured.get(&id), None);
            Ok(Answer { generation, answer })
        })
        .await
}

pub(super) async fn audio(
    State(state): State<Shared>,
    ask::Id(id): ask::Id,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let track = state.look(move |_, desk| Ok(desk.engine.library().track(id)?)).await?;
    sound::send(&track.path, &track.audio.container, &track.audio.codec, &headers).await
}
