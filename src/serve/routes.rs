//! `/api/v1`: routes and their answers.

use std::convert::Infallible;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use futures_util::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::access::{COOKIE, Caller};
use super::audio::{self, StoredSong};
use super::limits::LONGEST_BODY;
use super::middleware::guard;
use super::problem::Problem;
use super::queries::{ask, ask_about_file};
use super::scan::ScanProgress;
use super::state::Shared;
use super::subsonic::{self, ServerAddress};
use super::token::Rights;
use super::{cover, extract, labels, openapi, page};

/// All routes.
pub(super) fn router(state: &Shared, subsonic: Option<ServerAddress>) -> Router {
    let api = Router::new()
        .route("/health", get(health))
        .route("/openapi.json", get(description))
        .route("/session", get(rights).post(session))
        .route("/scan", get(scan).post(start_scan).delete(stop_scan))
        .route("/tracks/{id}/audio", get(song))
        .route("/tracks/{id}/cover", get(cover::cover))
        .route("/labels", get(ask).post(ask).put(labels::give))
        .route("/{query}", get(ask).post(ask))
        .layer(DefaultBodyLimit::max(LONGEST_BODY as usize))
        // Its file is bounded when it is written to disk.
        .route("/files/{query}", post(ask_about_file))
        .method_not_allowed_fallback(async || Problem::no_method());
    let base = state.guard.base_path.clone();
    let mut all = Router::new().nest("/api/v1", api);
    if let Some(server) = subsonic {
        all = all.merge(subsonic::router(state, server));
    }
    let all = if base.is_empty() {
        all
    } else {
        Router::new().nest(&base, all)
    };
    // It handles the base path itself, which is also served without its last slash.
    all.merge(page::router(&state.guard.base_path))
        .fallback(async || Problem::no_route())
        // Outermost, so that all routes have its checks.
        .layer(middleware::from_fn_with_state(state.clone(), guard))
        .with_state(state.clone())
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

async fn rights(Extension(rights): Extension<Rights>) -> Json<serde_json::Value> {
    Json(json!({"rights": rights}))
}

#[derive(Deserialize, JsonSchema)]
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
    Extension(Caller(caller)): Extension<Caller>,
    headers: HeaderMap,
    extract::ShortBody(session): extract::ShortBody<Session>,
) -> Result<Response<Body>, Problem> {
    let Some(secrets) = &state.guard.secrets else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let log = |text: &str| state.log(text);
    let (_, value) = state.guard.open(secrets, &session.token, caller, &log)?;
    let path = match state.guard.base_path.as_str() {
        "" => "/",
        base => base,
    };
    let mut cookie = format!("{COOKIE}={value}; HttpOnly; SameSite=Strict; Path={path}");
    if session.stay {
        cookie += &format!("; Max-Age={STAYS}");
    }
    // A page served over TLS sends the cookie over TLS only.
    let origin = headers.get(header::ORIGIN);
    if origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://")) {
        cookie += "; Secure";
    }
    let cookie = HeaderValue::from_str(&cookie).map_err(|_| Problem::fault())?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
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
    let events = stream::unfold(Some(progress), async |progress| {
        let mut progress = progress?;
        progress.changed().await.ok()?;
        let now: ScanProgress = progress.borrow_and_update().clone();
        let data = serde_json::to_string(&now).unwrap_or_default();
        let event = format!("event: progress\ndata: {data}\n\n");
        // The last event is that of its end, which the end of the server brings about.
        let more = now.is_running().then_some(progress);
        Some((Ok::<_, Infallible>(event), more))
    });
    let kind = HeaderValue::from_static("text/event-stream");
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(events)).into_response()
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoFields {}

async fn start_scan(
    State(state): State<Shared>,
    _: extract::Body<NoFields>,
) -> Result<Response<Body>, Problem> {
    // Starting a process may block on the disk.
    let started = tokio::task::spawn_blocking(move || state.scan.start()).await;
    let progress = started.unwrap_or_else(|_| Err(Problem::fault()))?;
    Ok((StatusCode::ACCEPTED, Json(progress)).into_response())
}

async fn stop_scan(State(state): State<Shared>) -> Result<Response<Body>, Problem> {
    if state.scan.stop() {
        let progress = state.scan.progress().borrow().clone();
        return Ok((StatusCode::ACCEPTED, Json(progress)).into_response());
    }
    let next = "start one: POST /api/v1/scan";
    Err(Problem::new(
        StatusCode::CONFLICT,
        "no scan is running",
        next,
    ))
}
