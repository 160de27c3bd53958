//! `/api/v1`: routes and their answers.

mod explore;
mod labels;
mod lists;
mod search;
mod tracks;

use std::convert::Infallible;
use std::ops::Range;

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use futures_util::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use voisin_http::ServeError;
use voisin_http::access::{COOKIE, LONGEST_BODY, LONGEST_SESSION};
use voisin_http::extract;
use voisin_http::listen::raised;
use voisin_http::middleware::guard;
use voisin_http::peer::Peer;
use voisin_http::problem::Problem;
use voisin_http::scan::ScanProgress;
use voisin_http::state::Shared;
use voisin_http::token::Rights;
use voisin_players::subsonic;
use voisin_players::upstream::ServerAddress;
use voisin_questions::values::Limit;

/// Longest list of tracks in a query.
pub const MOST: usize = voisin_questions::values::MOST as usize;

/// An answer, and the library's generation.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct Answer<T> {
    /// The library's generation, which grows with every change of a vector.
    generation: u64,
    #[serde(flatten)]
    answer: T,
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response<Body> {
        Json(self).into_response()
    }
}

/// A page of a list: its items, and the name of the last one if another page follows.
///
/// - `name`: the unique name of an item
/// - `after`: the last item of the previous page
fn page<'a, T, N: PartialEq>(
    all: &'a [T],
    name: impl Fn(&'a T) -> N,
    after: Option<N>,
    limit: Limit,
) -> Result<(Range<usize>, Option<N>), Problem> {
    let start = match after {
        None => 0,
        Some(after) => {
            let last = all
                .iter()
                .position(|item| name(item) == after)
                .ok_or_else(|| {
                    let next = "start again without \"after\"";
                    Problem::not_found(
                        "the list does not have the item of \"after\", or no longer has it",
                        next,
                    )
                })?;
            last + 1
        }
    };
    let end = start + limit.of(all.len() - start);
    let next = (end < all.len()).then(|| name(&all[end - 1]));
    Ok((start..end, next))
}

/// The same for a list whose items are named by their index, from 1.
fn page_by_place(
    total: usize,
    after: Option<usize>,
    limit: Limit,
) -> Result<(Range<usize>, Option<usize>), Problem> {
    let places: Vec<usize> = (1..=total).collect();
    page(&places, |place| *place, after, limit)
}

/// The JSON as bytes, for answers with borrowed data.
fn bytes<T: Serialize>(generation: u64, answer: T) -> Result<Bytes, Problem> {
    serde_json::to_vec(&Answer { generation, answer })
        .map(Bytes::from)
        .map_err(|_| Problem::fault())
}

/// A response of serialized JSON.
fn written(bytes: Bytes) -> Response<Body> {
    (
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )],
        bytes,
    )
        .into_response()
}

/// All routes.
pub(super) fn router(
    state: &Shared,
    subsonic: Option<ServerAddress>,
) -> Result<Router, ServeError> {
    let api = Router::new()
        .route("/health", get(health))
        .route("/openapi.json", get(description))
        .route(
            "/session",
            get(rights)
                .post(session)
                .delete(end_session)
                .layer(DefaultBodyLimit::max(LONGEST_SESSION as usize)),
        )
        .route("/status", get(tracks::status))
        .route("/tracks", get(tracks::list))
        .route("/find", get(tracks::find))
        .route("/tracks/{id}", get(tracks::one))
        .route("/tracks/{id}/audio", get(tracks::audio))
        .route("/tracks/{id}/cover", get(lists::cover))
        .route("/lists", post(lists::file))
        .route("/labels", get(labels::all).post(labels::give))
        .route("/similar", post(search::similar))
        .route("/classify", post(search::classify))
        .route("/path", post(search::path))
        .route("/playlist", post(search::playlist))
        .route("/genres", get(explore::genres))
        .route("/clusters", get(explore::clusters))
        .route("/map", get(explore::map))
        .route("/suspects", get(explore::suspects))
        .route("/duplicates", get(explore::duplicates))
        .route("/failed", get(explore::failed))
        .route("/scan", get(scan).post(start_scan).delete(stop_scan))
        .layer(DefaultBodyLimit::max(LONGEST_BODY as usize))
        // Uploads are bounded when they are written to disk.
        .merge(
            Router::new()
                .route("/files/similar", post(search::similar_to_file))
                .route("/files/classify", post(search::classify_file))
                .layer(DefaultBodyLimit::disable()),
        );
    let base = state.guard.base_path.clone();
    let mut all = Router::new().nest("/api/v1", api);
    if let Some(server) = subsonic {
        all = all.merge(subsonic::router(state, server)?);
    }
    let all = if base.is_empty() {
        all
    } else {
        Router::new().nest(&base, all)
    };
    // It handles the base path itself, which is also served without its last slash.
    let all = all.merge(super::page::router(&state.guard.base_path));
    Ok(all
        // Outermost, so that all routes have its checks.
        .layer(middleware::from_fn_with_state(state.clone(), guard))
        .with_state(state.clone()))
}

async fn health() -> Json<serde_json::Value> {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

async fn description(State(state): State<Shared>) -> Json<serde_json::Value> {
    Json(super::openapi::description(&state.guard.base_path))
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct OwnRights {
    rights: Rights,
}

/// What the client may do.
async fn rights(Extension(rights): Extension<Rights>) -> Json<OwnRights> {
    Json(OwnRights { rights })
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Session {
    token: String,
    #[serde(default)]
    stay: bool,
}

/// Lifetime of the cookie of a device that stays signed in: half a year.
const STAYS: u32 = 180 * 24 * 60 * 60;

/// Exchanges the token for a cookie, since media elements and event streams cannot send a token.
async fn session(
    State(state): State<Shared>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    extract::Body(session): extract::Body<Session>,
) -> Result<Response<Body>, Problem> {
    let Some(secrets) = &state.guard.secrets else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let log = |text: &str| state.log(text);
    let (_, cookie) = state.guard.open(secrets, &session.token, peer, &log)?;
    let more = if session.stay {
        format!("; Max-Age={STAYS}")
    } else {
        String::new()
    };
    // A page served over TLS sends the cookie over TLS only.
    let is_by_tls = headers
        .get(header::ORIGIN)
        .is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let secure = if is_by_tls { "; Secure" } else { "" };
    Ok(with_cookie(&state, &cookie, &format!("{more}{secure}")))
}

async fn end_session(State(state): State<Shared>) -> Response<Body> {
    with_cookie(&state, "", "; Max-Age=0")
}

fn with_cookie(state: &Shared, value: &str, more: &str) -> Response<Body> {
    let path = if state.guard.base_path.is_empty() {
        "/"
    } else {
        &state.guard.base_path
    };
    let cookie = format!("{COOKIE}={value}; HttpOnly; SameSite=Strict; Path={path}{more}");
    let mut answer = StatusCode::NO_CONTENT.into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

/// The progress of the scan: once, or as events until it ends, if the client accepts `text/event-stream`.
async fn scan(State(state): State<Shared>, headers: HeaderMap) -> Response<Body> {
    let mut progress = state.scan.progress();
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    if !accepts.contains("text/event-stream") {
        let now = progress.borrow().clone();
        return Json(now).into_response();
    }
    // The first event, with the current progress, is sent at once.
    progress.mark_changed();
    let events = stream::unfold(
        (progress, state.stop.clone(), false),
        |(mut progress, mut stop, ended)| async move {
            if ended {
                return None;
            }
            let silence = std::time::Duration::from_secs(15);
            let changed = tokio::select! {
                () = raised(&mut stop) => return None,
                () = tokio::time::sleep(silence) => false,
                changed = progress.changed() => changed.map(|()| true).ok()?,
            };
            if !changed {
                // A comment keeps the connection alive in proxies.
                return Some((
                    Ok::<_, Infallible>(": still here\n\n".to_owned()),
                    (progress, stop, false),
                ));
            }
            let now: ScanProgress = progress.borrow_and_update().clone();
            let ended = !now.is_running();
            let text = format!(
                "event: progress\ndata: {}\n\n",
                serde_json::to_string(&now).unwrap_or_default()
            );
            Some((Ok(text), (progress, stop, ended)))
        },
    );
    let kind = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    )];
    (kind, Body::from_stream(events)).into_response()
}

async fn start_scan(
    State(state): State<Shared>,
    _: extract::NoBody,
) -> Result<Response<Body>, Problem> {
    // Starting a process may block on the disk.
    let started = tokio::task::spawn_blocking(move || state.scan.start()).await;
    let progress = started.unwrap_or_else(|_| {
        Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the scan did not start",
            "please report it",
        ))
    })?;
    Ok((StatusCode::ACCEPTED, Json(progress)).into_response())
}

async fn stop_scan(State(state): State<Shared>) -> Result<Response<Body>, Problem> {
    if state.scan.stop() {
        return Ok((
            StatusCode::ACCEPTED,
            Json(state.scan.progress().borrow().clone()),
        )
            .into_response());
    }
    Err(Problem::new(
        StatusCode::CONFLICT,
        "no scan is running",
        "start one: POST /api/v1/scan",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_to_the_list() {
        let all = [3, 1, 2, 5, 4];
        for limit in 1..=6 {
            let mut seen: Vec<i32> = Vec::new();
            let mut after = None;
            loop {
                let (part, next) = page(&all, |item| *item, after, limit.into()).unwrap();
                seen.extend_from_slice(&all[part]);
                after = next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(seen, all);
        }
        assert_eq!(
            page(&all, |item| *item, Some(4), 1.into()).unwrap(),
            (5..5, None)
        );
        assert_eq!(
            page(&[], |item: &i32| *item, None, 1.into()).unwrap(),
            (0..0, None)
        );
        assert_eq!(
            page(&all, |item| *item, Some(9), 1.into())
                .unwrap_err()
                .status(),
            404
        );
    }
}
