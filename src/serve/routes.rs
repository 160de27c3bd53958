//! `/api/v1`: routes and their answers.

use std::convert::Infallible;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::ServeError;
use super::access::{COOKIE, LONGEST_BODY, LONGEST_SESSION};
use super::audio::{self, StoredSong};
use super::listen::raised;
use super::middleware::guard;
use super::peer::Peer;
use super::problem::Problem;
use super::queries::{ask, ask_about_file};
use super::scan::ScanProgress;
use super::state::Shared;
use super::subsonic::{self, ServerAddress};
use super::token::Rights;
use super::{cover, extract, labels, openapi, page};

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
        .route("/scan", get(scan).post(start_scan).delete(stop_scan))
        .route("/tracks/{id}/audio", get(song))
        .route("/tracks/{id}/cover", get(cover::cover))
        .route("/labels", get(ask).post(ask).put(labels::give))
        .route("/{query}", get(ask).post(ask))
        .layer(DefaultBodyLimit::max(LONGEST_BODY as usize))
        // Uploads are bounded when they are written to disk.
        .merge(
            Router::new()
                .route("/files/{query}", axum::routing::post(ask_about_file))
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
    let all = all.merge(page::router(&state.guard.base_path));
    Ok(all
        // Outermost, so that all routes have its checks.
        .layer(middleware::from_fn_with_state(state.clone(), guard))
        .with_state(state.clone()))
}

async fn health() -> Json<serde_json::Value> {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

async fn description(State(state): State<Shared>) -> Json<serde_json::Value> {
    Json(openapi::description(&state.guard.base_path))
}

async fn song(
    State(state): State<Shared>,
    extract::PathId(id): extract::PathId,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let song =
        state.look(move |_, context| Ok(StoredSong::of(&context.engine.library().track(id)?)));
    audio::send(song.await?, &headers).await
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct OwnRights {
    rights: Rights,
}

/// The client's rights.
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

/// A body without fields.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoFields {}

async fn start_scan(
    State(state): State<Shared>,
    _: extract::Body<NoFields>,
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
