//! `/api/v1`: routes and their answers.

mod explore;
mod labels;
mod lists;
mod missing;
mod search;
mod tracks;

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};
use futures_util::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::qr;
use voisin_http::ServeError;
use voisin_http::access::{COOKIE, LONGEST_BODY, LONGEST_SESSION, cookie};
use voisin_http::devices::{CODE_LASTS, Rights, readable};
use voisin_http::extract;
use voisin_http::guess_limit::SignInRefused;
use voisin_http::listen::raised;
use voisin_http::middleware::guard;
use voisin_http::peer::Peer;
use voisin_http::problem::Problem;
use voisin_http::scan::ScanProgress;
use voisin_http::sessions::{SignedIn, device_name};
use voisin_http::state::Shared;
use voisin_players::subsonic;
use voisin_players::upstream::ServerAddress;
use voisin_questions::values::Limit;

#[cfg(test)]
pub(super) use missing::{Gone, MissingPage};

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

/// An answer with notes.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct Noted<T> {
    #[serde(flatten)]
    answer: T,
    /// The sample of tracks that the answer is made of, if that is not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<[String; 1]>,
}

/// A note that an answer is made of a sample.
fn of_sample(sample: &str) -> String {
    format!("this answer is from {sample}")
}

impl<T> Noted<T> {
    /// - `sample`: the tracks it is made of, if these are not all
    fn new(answer: T, sample: Option<String>) -> Self {
        Self {
            answer,
            notes: sample.map(|sample| [of_sample(&sample)]),
        }
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
            post(session)
                .delete(end_session)
                .layer(DefaultBodyLimit::max(LONGEST_SESSION as usize)),
        )
        .route("/devices", get(device).post(let_in))
        .route("/devices/{id}", delete(sign_out))
        .route("/status", get(tracks::status))
        .route("/tracks", get(tracks::list))
        .route("/find", get(tracks::find))
        .route("/words", get(tracks::words))
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
        .route("/artists", get(explore::artists))
        .route("/albums", get(explore::albums))
        .route("/map", get(explore::map))
        .route("/suspects", get(explore::suspects))
        .route("/duplicates", get(explore::duplicates))
        .route("/failed", get(explore::failed))
        .route("/missing", get(missing::all).delete(missing::remove))
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

async fn description(State(state): State<Shared>) -> Response<Body> {
    let text = include_str!("openapi.json").replace("{{VERSION}}", env!("CARGO_PKG_VERSION"));
    written(text.replace("{{BASE}}", &state.guard.base_path).into())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    token: Option<String>,
    code: Option<String>,
    #[serde(default)]
    stay: bool,
}

/// Lifetime of the cookie of a device that stays signed in: half a year.
const STAYS: u32 = 180 * 24 * 60 * 60;

/// Exchanges the token, a password (sent as a token) or a code for a cookie, since media elements and event streams cannot
/// send a token.
async fn session(
    State(state): State<Shared>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    extract::Body(session): extract::Body<Session>,
) -> Result<Response<Body>, Problem> {
    let Some(token) = &state.guard.token else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let rights = match (session.token, session.code) {
        // The token has no limit of attempts: it cannot be guessed, and its owner must always get in.
        (Some(offered), None) if token.is(&offered) => Ok(Rights::Change),
        (Some(_), None) if !token.has_passwords() => {
            if state.guard.sign_ins.is_logged() {
                log_refused(&state, peer, "wrong token");
            }
            return Err(state.guard.failed(peer));
        }
        (Some(password), None) => {
            let known = token.clone();
            let is_owner = state.guard.is_owners(&headers);
            state
                .guard
                .sign_ins
                .check(peer, is_owner, move || known.of_password(&password))
                .await
        }
        (None, Some(code)) => {
            let known = Arc::clone(&state);
            let is_owner = state.guard.is_owners(&headers);
            state
                .guard
                .sign_ins
                .check(peer, is_owner, move || known.guard.devices.take(&code))
                .await
        }
        _ => {
            return Err(Problem::bad(
                "a token or a code",
                "neither of them, or both",
            ));
        }
    };
    let rights = rights.map_err(|refused| {
        let next =
            "get a code from a device that is signed in, or the token from the owner of the server";
        match refused {
            SignInRefused::Wrong => {
                log_refused(&state, peer, "wrong password or code");
                Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "this is not the server's token or a valid code",
                    next,
                )
            }
            SignInRefused::TooMany(wait) => {
                // Rounded up: an attempt too early would be refused again.
                let seconds = wait.as_secs() as u32 + 1;
                if state.guard.sign_ins.is_logged() {
                    log_refused(&state, peer, "too many wrong passwords and codes");
                }
                let detail =
                    format!("too many wrong passwords and codes: try again in {seconds} s");
                Problem::new(StatusCode::TOO_MANY_REQUESTS, detail, next).retry_after(seconds)
            }
        }
    })?;
    let more = if session.stay {
        format!("; Max-Age={STAYS}")
    } else {
        String::new()
    };
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let name = device_name(text(header::USER_AGENT));
    let cookie = state
        .guard
        .sessions
        .begin(token, rights, name)
        .map_err(|_| Problem::fault())?;
    // A page served over TLS sends the cookie over TLS only.
    let secure = if text(header::ORIGIN).starts_with("https://") {
        "; Secure"
    } else {
        ""
    };
    Ok(with_cookie(&state, &cookie, &format!("{more}{secure}")))
}

/// Logs a refused sign-in, in the format of fail2ban's filter in docs/serve.md.
fn log_refused(state: &Shared, peer: Peer, reason: &str) {
    state.log(&format!("sign-in refused for {peer}: {reason}"));
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct OwnRights {
    rights: Rights,
    /// Signed-in devices, for devices with full access.
    devices: Vec<SignedIn>,
}

/// The rights of the requesting device, and the signed-in devices.
async fn device(
    State(state): State<Shared>,
    Extension(rights): Extension<Rights>,
    headers: HeaderMap,
) -> Json<OwnRights> {
    let devices = match &state.guard.token {
        Some(token) if rights == Rights::Change => {
            state.guard.sessions.all(token, cookie(&headers))
        }
        _ => Vec::new(),
    };
    Json(OwnRights { rights, devices })
}

/// Signs a device out.
async fn sign_out(
    State(state): State<Shared>,
    extract::PathId(id): extract::PathId,
) -> Result<StatusCode, Problem> {
    if state.guard.sessions.end(id.0 as u64) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        let next = "GET /api/v1/devices lists them";
        Err(Problem::not_found("no such device is signed in", next))
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct Invited {
    code: String,
    rights: Rights,
    /// Its lifetime.
    seconds: u64,
    /// A QR code of `page` that signs in with this code: the data of an SVG path, a unit a module.
    #[serde(skip_serializing_if = "Option::is_none")]
    qr: Option<String>,
    /// Its side, in modules.
    #[serde(skip_serializing_if = "Option::is_none")]
    qr_side: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invitation {
    rights: Rights,
    /// The address of the page for the other device.
    page: Option<String>,
}

/// Creates a code for signing in another device.
async fn let_in(
    State(state): State<Shared>,
    extract::Body(invitation): extract::Body<Invitation>,
) -> Result<Json<Invited>, Problem> {
    if state.guard.token.is_none() {
        let next = "open its address on the other device";
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "this server needs no sign-in",
            next,
        ));
    }
    let Invitation { rights, page } = invitation;
    let code = state
        .guard
        .devices
        .code(rights)
        .map_err(|_| Problem::fault())?;
    // Behind a #, which browsers do not send, so that the code is in no log of a proxy.
    let picture = page.and_then(|page| qr::picture(&format!("{page}#code={code}")));
    let (qr_side, qr) = picture.unzip();
    Ok(Json(Invited {
        code: readable(&code),
        rights,
        seconds: CODE_LASTS.as_secs(),
        qr,
        qr_side,
    }))
}

async fn end_session(State(state): State<Shared>, headers: HeaderMap) -> Response<Body> {
    if let (Some(token), Some(cookie)) = (&state.guard.token, cookie(&headers)) {
        state.guard.sessions.end_own(token, cookie);
    }
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

    #[test]
    fn every_route_is_described_and_every_description_has_a_route() {
        let text = include_str!("openapi.json");
        let described: serde_json::Value = serde_json::from_str(text).unwrap();
        let mut named: Vec<String> = described["paths"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        named.sort();
        let mut routes: Vec<String> = include_str!("api.rs")
            .split(".route(")
            .filter_map(|rest| {
                Some(format!(
                    "/{}",
                    rest.trim_start().strip_prefix("\"/")?.split_once('"')?.0
                ))
            })
            .collect();
        routes.sort();
        assert_eq!(named, routes);
    }
}
