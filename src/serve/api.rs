//! `/api/v1`: what can be asked, and what is answered.

mod explore;
mod labels;
mod lists;
mod refs;
mod search;
mod tracks;

use std::convert::Infallible;

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::ask;
use super::gate::guard;
use super::guard::{COOKIE, LONGEST_BODY, Peer};
use super::listen::raised;
use super::problem::Problem;
use super::scan::{Progress, ScanState};
use super::state::{Shared, fault};
use crate::library::TrackFilter;

/// Longest list in one answer.
const MOST: usize = 1000;

/// An answer, and the state of the library that it is of.
#[derive(Serialize)]
struct Answer<T> {
    generation: u64,
    #[serde(flatten)]
    answer: T,
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response<Body> {
        Json(self).into_response()
    }
}

/// As bytes, for answers that are kept, or made of what does not live as long.
fn bytes<T: Serialize>(generation: u64, answer: T) -> Result<Bytes, Problem> {
    serde_json::to_vec(&Answer { generation, answer }).map(Bytes::from).map_err(|_| fault())
}

/// JSON that is written already.
fn written(bytes: Bytes) -> Response<Body> {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes).into_response()
}

/// Which tracks may be in an answer; as the command line's filters.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Filters {
    genre: Vec<String>,
    artist: Vec<String>,
    exclude_artist: Vec<String>,
    /// `1970`, `1970-1979`, `1990-` or `-1965`.
    year: Option<String>,
    folder: Vec<std::path::PathBuf>,
    min_duration: Option<f64>,
    max_duration: Option<f64>,
}

impl Filters {
    fn filter(&self) -> Result<TrackFilter, Problem> {
        let lists = [self.genre.len(), self.artist.len(), self.exclude_artist.len(), self.folder.len()];
        if lists.iter().any(|&length| length > 100) {
            return Err(Problem::bad("at most 100 names in a filter", "more"));
        }
        let (year_from, year_to) = match &self.year {
            Some(years) => span(years)?,
            None => (None, None),
        };
        Ok(TrackFilter {
            genres: self.genre.clone(),
            artists: self.artist.clone(),
            exclude_artists: self.exclude_artist.clone(),
            year_from,
            year_to,
            folders: self.folder.clone(),
            seconds_from: self.min_duration,
            seconds_to: self.max_duration,
            ..TrackFilter::default()
        })
    }
}

/// Reads `1970`, `1970-1979`, `1990-`, `-1965`.
fn span(text: &str) -> Result<(Option<i32>, Option<i32>), Problem> {
    let wrong = || {
        let found: String = text.chars().take(50).collect();
        Problem::bad("a year or a span such as 1970-1979, 1990- or -1965", format!("{found:?}"))
    };
    let year = |part: &str| part.trim().parse::<i32>().map_err(|_| wrong());
    let (first, last) = match text.split_once('-') {
        None => (Some(year(text)?), Some(year(text)?)),
        Some(("", "")) => return Err(wrong()),
        Some(("", last)) => (None, Some(year(last)?)),
        Some((first, "")) => (Some(year(first)?), None),
        Some((first, last)) => (Some(year(first)?), Some(year(last)?)),
    };
    if first.zip(last).is_some_and(|(first, last)| first > last) { Err(wrong()) } else { Ok((first, last)) }
}

/// A number that must lie in 1 to `most`.
fn within(name: &str, number: usize, most: usize) -> Result<usize, Problem> {
    if (1..=most).contains(&number) {
        Ok(number)
    } else {
        Err(Problem::bad(format!("{name} from 1 to {most}"), number.to_string()))
    }
}

/// A number that must lie in a range, which no NaN does.
fn share(name: &str, number: f32, range: std::ops::RangeInclusive<f32>) -> Result<f32, Problem> {
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(Problem::bad(format!("{name} from {} to {}", range.start(), range.end()), number.to_string()))
    }
}

/// Everything that is answered.
pub(super) fn router(state: &Shared) -> Router {
    let api = Router::new()
        .route("/health", get(health))
        .route("/openapi.json", get(description))
        .route("/session", post(session).delete(end_session))
        .route("/status", get(tracks::status))
        .route("/tracks", get(tracks::list))
        .route("/tracks/{id}", get(tracks::one))
        .route("/tracks/{id}/audio", get(tracks::audio))
        .route("/tracks/{id}/cover", get(lists::cover))
        .route("/lists", post(lists::file))
        .route("/labels", get(labels::all).post(labels::give))
        .route("/labels/undo", post(labels::undo))
        .route("/labels/write", post(labels::write))
        .route("/similar", post(search::similar))
        .route("/classify", post(search::classify))
        .route("/path", post(search::path))
        .route("/playlist", post(search::playlist))
        .route("/genres", get(explore::genres))
        .route("/clusters", get(explore::clusters))
        .route("/map", get(explore::map))
        .route("/suspects", get(explore::suspects))
        .route("/duplicates", get(explore::duplicates))
        .route("/refs/similar", post(refs::similar))
        .route("/refs/path", post(refs::path))
        .route("/scan", get(scan).post(start_scan).delete(stop_scan))
        .layer(DefaultBodyLimit::max(LONGEST_BODY as usize))
        // Whole files are bounded where they are written down.
        .merge(
            Router::new()
                .route("/files/similar", post(search::similar_to_file))
                .route("/files/classify", post(search::classify_file))
                .layer(DefaultBodyLimit::disable()),
        );
    let base = state.guard.base_path.clone();
    let all = Router::new().nest("/api/v1", api);
    let all = if base.is_empty() { all } else { Router::new().nest(&base, all) };
    let all = all.merge(super::page::router(&state.guard.base_path));
    all.layer(middleware::from_fn_with_state(state.clone(), guard)).with_state(state.clone())
}

async fn health() -> Json<serde_json::Value> {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

async fn description(State(state): State<Shared>) -> Response<Body> {
    let text = include_str!("openapi.json").replace("{{VERSION}}", env!("CARGO_PKG_VERSION"));
    written(text.replace("{{BASE}}", &state.guard.base_path).into())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    token: String,
}

/// Gives the page a cookie for its token: media elements and event streams cannot send one themselves.
async fn session(
    State(state): State<Shared>,
    request: axum::extract::Extension<Peer>,
    ask::Body(session): ask::Body<Session>,
) -> Result<Response<Body>, Problem> {
    let Some(token) = &state.guard.token else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    if !token.is(&session.token) {
        return Err(state.guard.failed(*request));
    }
    Ok(with_cookie(&state, token.cookie(), ""))
}

async fn end_session(State(state): State<Shared>) -> Response<Body> {
    with_cookie(&state, "", "; Max-Age=0")
}

fn with_cookie(state: &Shared, value: &str, more: &str) -> Response<Body> {
    let path = if state.guard.base_path.is_empty() { "/" } else { &state.guard.base_path };
    let cookie = format!("{COOKIE}={value}; HttpOnly; SameSite=Strict; Path={path}{more}");
    let mut answer = StatusCode::NO_CONTENT.into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

/// How the scan goes: once, or as events until it ends, where the client accepts `text/event-stream`.
async fn scan(State(state): State<Shared>, headers: HeaderMap) -> Response<Body> {
    let mut progress = state.scan.progress();
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if !accepts.contains("text/event-stream") {
        let now = progress.borrow().clone();
        return Json(now).into_response();
    }
    progress.mark_changed();
    let events =
        stream::unfold((progress, state.stop.clone(), false), |(mut progress, mut stop, ended)| async move {
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
                // A line that means nothing tells proxies that the connection lives.
                return Some((Ok::<_, Infallible>(": still here\n\n".to_owned()), (progress, stop, false)));
            }
            let now: Progress = progress.borrow_and_update().clone();
            let ended = now.state != ScanState::Running;
            let text =
                format!("event: progress\ndata: {}\n\n", serde_json::to_string(&now).unwrap_or_default());
            Some((Ok(text), (progress, stop, ended)))
        });
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))];
    (kind, Body::from_stream(events)).into_response()
}

async fn start_scan(State(state): State<Shared>) -> Result<Response<Body>, Problem> {
    let started = tokio::task::spawn_blocking(move || state.scan.start()).await;
    let progress = started.unwrap_or_else(|_| {
        Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the scan did not start", "please report it"))
    })?;
    Ok((StatusCode::ACCEPTED, Json(progress)).into_response())
}

async fn stop_scan(State(state): State<Shared>) -> Result<Response<Body>, Problem> {
    if state.scan.stop() {
        return Ok((StatusCode::ACCEPTED, Json(state.scan.progress().borrow().clone())).into_response());
    }
    Err(Problem::new(StatusCode::CONFLICT, "no scan is under way", "start one: POST /api/v1/scan"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_every_description_has_a_route() {
        let text = include_str!("openapi.json");
        let described: serde_json::Value = serde_json::from_str(text).unwrap();
        let mut named: Vec<String> = described["paths"].as_object().unwrap().keys().cloned().collect();
        named.sort();
        let mut routes: Vec<String> = include_str!("api.rs")
            .lines()
            .filter_map(|line| Some(line.trim().strip_prefix(".route(\"")?.split_once('"')?.0.to_owned()))
            .collect();
        routes.sort();
        assert_eq!(named, routes);
    }

    #[test]
    fn spans_of_years_are_read() {
        assert_eq!(span("1970").ok(), Some((Some(1970), Some(1970))));
        assert_eq!(span("1970-1979").ok(), Some((Some(1970), Some(1979))));
        assert_eq!(span("1990-").ok(), Some((Some(1990), None)));
        assert_eq!(span("-1965").ok(), Some((None, Some(1965))));
        for wrong in ["", "-", "x", "1979-1970", "99999999999"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
