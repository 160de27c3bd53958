//! Saved lists: their queries, their current tracks, and pushing them to players.

use std::hash::{BuildHasher as _, RandomState};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;

use super::bytes;
use super::labels::writable;
use axum::body::Bytes;
use voisin_engine::meta;
use voisin_explore::TrackMeta;
use voisin_genre::Taxonomy;
use voisin_http::extract;
use voisin_http::problem::Problem;
use voisin_http::process::ended;
use voisin_http::state::{RequestContext, Shared, State as Server};
use voisin_players::lists::{ListError, SavedList};
use voisin_questions::answers::playlist::PlaylistJson;
use voisin_questions::answers::saved::{KeptListJson, KeptListsJson, ListNowJson, ListPushedJson};
use voisin_questions::saved::{KnownParts, ListAgain, SavedQuestion, TEMPLATES, TemplateJson};

/// Bound of random seeds, short enough to be noted down.
const RANDOM: u64 = 1_000_000;

fn kept(name: String, list: &SavedList) -> KeptListJson {
    KeptListJson {
        name,
        kind: list.question.kind(),
        question: list.question.as_json(),
        to: list.to.iter().map(ToString::to_string).collect(),
        pushed: list.pushed,
    }
}

pub(super) async fn all(
    State(state): State<Shared>,
    extract::Query(extract::NoFields {}): extract::Query<extract::NoFields>,
) -> Result<Json<KeptListsJson>, Problem> {
    let all = state
        .look(|state, context| {
            let unreadable = |error: &ListError| state.log(&error.to_string());
            Ok(SavedList::all(context.engine.library(), unreadable)?)
        })
        .await?;
    let lists = all
        .into_iter()
        .map(|(name, list)| kept(name, &list))
        .collect();
    Ok(Json(KeptListsJson {
        lists,
        templates: TEMPLATES.iter().map(TemplateJson::new).collect(),
    }))
}

fn run_now(
    state: &Server,
    context: &mut RequestContext,
    (name, list): (&str, &SavedList),
    random: u64,
    known: KnownParts<'_>,
) -> Result<Bytes, Problem> {
    let generation = state.index(context)?;
    list.check_seeds(context.engine.library(), name)?;
    let tracks = list
        .question
        .run(context.engine, &state.mixes.mixing, random, known)?;
    let tracks: Vec<TrackMeta> = tracks
        .iter()
        .map(|track| meta(track, &Taxonomy::default()))
        .collect();
    let tracks: Vec<&TrackMeta> = tracks.iter().collect();
    bytes(
        generation,
        ListNowJson {
            name,
            random_seed: random,
            list: PlaylistJson::new(context.engine, &[], &tracks, None)?,
        },
    )
}

pub(super) async fn one(
    State(state): State<Shared>,
    Path(name): Path<String>,
    extract::Query(again): extract::Query<ListAgain>,
) -> Result<Response<Body>, Problem> {
    let list_name = name.clone();
    let list = state
        .look(move |_, context| Ok(SavedList::named(context.engine.library(), &list_name)?))
        .await?;
    let random = again
        .random_seed
        // Without one the list is different each time; the answer has the seed for later
        // requests.
        .unwrap_or_else(|| RandomState::new().hash_one(0) % RANDOM);
    let answer = match list.question {
        SavedQuestion::Path(_) | SavedQuestion::Artists(_) | SavedQuestion::Albums(_) => {
            state
                .run_explored(move |state, context, explored| {
                    let known = Some((&*explored.collection, &explored.graph));
                    let known = KnownParts {
                        explored: known,
                        ..KnownParts::default()
                    };
                    run_now(state, context, (&name, &list), random, known)
                })
                .await?
        }
        SavedQuestion::Find(_) => {
            let tags = state.tags().await?;
            state
                .run(move |state, context| {
                    let known = KnownParts {
                        tags: (*tags).as_ref(),
                        ..KnownParts::default()
                    };
                    run_now(state, context, (&name, &list), random, known)
                })
                .await?
        }
        _ => {
            state
                .run(move |state, context| {
                    run_now(
                        state,
                        context,
                        (&name, &list),
                        random,
                        KnownParts::default(),
                    )
                })
                .await?
        }
    };
    Ok(super::written(answer))
}

pub(super) async fn keep(
    State(state): State<Shared>,
    Path(name): Path<String>,
    extract::Body(question): extract::Body<SavedQuestion>,
) -> Result<Response<Body>, Problem> {
    let list = state
        .run(move |_, context| {
            let library = context.engine.library_mut();
            writable(library)?;
            let list = SavedList::keep(library, &name, question.clone())?;
            Ok(kept(name.clone(), &list))
        })
        .await?;
    Ok(Json(list).into_response())
}

pub(super) async fn remove(
    State(state): State<Shared>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    state
        .run(move |_, context| {
            let library = context.engine.library_mut();
            writable(library)?;
            Ok(SavedList::remove(library, &name)?)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pushes a list to its destinations, in a process of its own, as other servers may be slow.
pub(super) async fn push(
    State(state): State<Shared>,
    Path(name): Path<String>,
    _: extract::NoBody,
) -> Result<Json<ListPushedJson>, Problem> {
    let list_name = name.clone();
    let list = state
        .look(move |_, context| Ok(SavedList::named(context.engine.library(), &list_name)?))
        .await?;
    let Some(push) = state.push.as_ref().filter(|_| !list.to.is_empty()) else {
        let next =
            "push it on the server's machine once: voisin lists push, after which it is renewed";
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "this list was never pushed",
            next,
        ));
    };
    let mut command = push();
    // A list may be named "--force".
    command.args(["--", &name]);
    let (is_done, messages) = tokio::task::spawn_blocking(move || ended(command))
        .await
        .map_err(|_| Problem::fault())?
        .map_err(|error| {
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                error.to_string(),
                "please report it",
            )
        })?;
    if is_done {
        return Ok(Json(ListPushedJson { messages }));
    }
    // Its next step is for a shell.
    let why = messages
        .last()
        .map_or("it failed", |line| line.trim_start_matches("voisin: "));
    let why = why.split(": run \"").next().unwrap_or(why);
    Err(Problem::new(
        StatusCode::BAD_GATEWAY,
        why,
        "try again when that is fixed",
    ))
}
