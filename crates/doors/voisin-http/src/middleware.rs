//! Checks of every request before its handler, and the headers of every answer.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use futures_util::{StreamExt as _, stream};

use super::access::{
    BODY_TIME, LONGEST_BODY, LONGEST_FILE, LONGEST_SESSION, LONGEST_URI, LocalAddress, PATIENCE,
    PATIENCE_FOR_FILES,
};
use super::cached::{packed, remembered, takes_gzip};
use super::listen::ConnectionPlace;
use super::peer::Peer;
use super::problem::Problem;
use super::state::{Shared, WAITED, Waited};
use super::token::Rights;

/// Checks every request, and adds the common headers of answers.
pub async fn guard(State(state): State<Shared>, request: Request, next: Next) -> Response<Body> {
    let mut request = request;
    let peer = request
        .extensions()
        .get::<Peer>()
        .copied()
        .unwrap_or(Peer::Unix);
    // The client is determined once, before any limit counts it.
    let peer = state.guard.caller(peer, request.headers());
    request.extensions_mut().insert(peer);
    let checked = check(&state, &request, peer);
    if let Ok(rights) = checked {
        // A refused request has no rights, and reaches no handler.
        request.extensions_mut().insert(rights);
    }
    let path = request
        .uri()
        .path()
        .strip_prefix(state.guard.base_path.as_str())
        .unwrap_or_default();
    let is_api = path.starts_with("/api/");
    // A forwarded answer stays as its server compressed it.
    let is_own = !path.starts_with("/rest/");
    let takes_gzip = is_own && takes_gzip(request.headers());
    let known = (is_own && request.method() == Method::GET).then(|| request.headers().clone());
    let needs_token = needs_token(request.method(), path);
    let patience = if path.starts_with("/api/v1/files/") {
        PATIENCE_FOR_FILES
    } else {
        PATIENCE
    };
    let log = state.logs.then(|| {
        (
            request.method().clone(),
            request.uri().path().to_owned(),
            Instant::now(),
        )
    });
    let waited = Waited::new();
    let mut response = if let Err(problem) = checked {
        problem.into_response()
    } else {
        // A stranger could otherwise hold a connection with an endless body.
        let request = if needs_token {
            request
        } else {
            request.map(in_time)
        };
        // A task-local, since permits are taken deep below handlers, without access to
        // the request.
        let answer = WAITED.scope(Arc::clone(&waited), next.run(request));
        tokio::time::timeout(patience, answer)
            .await
            .unwrap_or_else(|_| {
                Problem::later(5, "this took too long", "request less, or try again later")
                    .into_response()
            })
    };
    let status = response.status();
    // The router's own errors have no body.
    if is_api
        && !response.headers().contains_key(header::CONTENT_TYPE)
        && matches!(
            status,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
        )
    {
        let allowed = response.headers_mut().remove(header::ALLOW);
        let next = "GET /api/v1/openapi.json describes the routes";
        let detail = if status == StatusCode::NOT_FOUND {
            "there is no such route"
        } else {
            "this route does not have this method"
        };
        response = Problem::new(status, detail, next).into_response();
        if let Some(allowed) = allowed {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
    }
    if let Some(known) = known {
        response = remembered(response, &known).await;
    }
    // After all else that reads the body: a compressed one cannot be read.
    if takes_gzip {
        response = packed(response).await;
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        headers
            // A handler's own headers stay: the page has a policy of its own, and songs may be
            // cached.
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if let Some((begun, now)) = waited.milliseconds()
        && let Ok(timing) =
            HeaderValue::from_str(&format!("wait;dur={begun:.3}, total;dur={now:.3}"))
    {
        headers.insert(HeaderName::from_static("server-timing"), timing);
    }
    if let Some((method, path, start)) = log {
        // Without the query, which may contain secrets.
        let path: String = path.chars().filter(|c| !c.is_control()).take(200).collect();
        state.log(&format!(
            "{method} {path} {} {} ms",
            status.as_u16(),
            start.elapsed().as_millis()
        ));
    }
    response
}

/// The route that exchanges the token for a cookie.
const SESSION: &str = "/api/v1/session";

/// - `path`: below the base path
fn needs_token(method: &Method, path: &str) -> bool {
    // Whole paths: a prefix would allow routes that are added below it later.
    let is_public = path == "/api/v1/health" || path == SESSION && *method != Method::GET;
    path.starts_with("/api/") && !is_public
}

/// A body with the timeout [`BODY_TIME`], for requests that need no token.
fn in_time(body: Body) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let until = tokio::time::Instant::now() + BODY_TIME;
    Body::from_stream(stream::unfold(
        body.into_data_stream(),
        move |mut pieces| async move {
            // A deadline for the whole body: with a timeout for each piece, a byte a second could take
            // forever.
            let piece = tokio::time::timeout_at(until, pieces.next()).await;
            let late = || {
                Some(Err(axum::Error::new(std::io::Error::from(
                    std::io::ErrorKind::TimedOut,
                ))))
            };
            Some((piece.unwrap_or_else(|_| late())?, pieces))
        },
    ))
}

/// Requests with a body that need no right to change: queries.
const QUESTIONS: [&str; 6] = [
    "/api/v1/similar",
    "/api/v1/classify",
    "/api/v1/path",
    "/api/v1/playlist",
    "/api/v1/files/similar",
    "/api/v1/files/classify",
];

/// The request's rights.
fn check(state: &Shared, request: &Request, peer: Peer) -> Result<Rights, Problem> {
    let guard = &state.guard;
    let headers = request.headers();
    let method = request.method();
    let uri = request.uri();
    // Before anything is parsed or compared.
    let length = uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if length > LONGEST_URI {
        let expected = format!("an address of at most {LONGEST_URI} bytes");
        return Err(Problem::request(
            StatusCode::URI_TOO_LONG,
            expected,
            format!("{length} bytes"),
        ));
    }
    // Before the token: with the cookie that a browser sends, a foreign page must not get an
    // answer.
    let host = guard.check_host(
        headers,
        uri,
        request.extensions().get::<LocalAddress>().copied(),
    )?;
    guard.check_origin(headers, &host)?;
    let path = uri
        .path()
        .strip_prefix(guard.base_path.as_str())
        .unwrap_or_default();
    let mut rights = Rights::Read;
    if needs_token(method, path) {
        let log = |text: &str| state.log(text);
        rights = guard.check_secret(headers, method, peer, &log)?;
        if rights == Rights::Read && !method.is_safe() && !QUESTIONS.contains(&path) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "this token may only search and play",
                "sign in with the token that opens everything",
            ));
        }
        // The connection is no longer a stranger's, which are closed first.
        if let Some(place) = request.extensions().get::<ConnectionPlace>() {
            place.admit();
        }
    }
    // Other bodies are bounded while they are read; this refuses a stated length that is too
    // long at once.
    if matches!(*method, Method::POST | Method::PUT) && path.starts_with("/api/") {
        let most = match path {
            SESSION => LONGEST_SESSION,
            path if path.starts_with("/api/v1/files/") => LONGEST_FILE,
            _ => LONGEST_BODY,
        };
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if let Some(length) = length.filter(|length| *length > most) {
            let expected = format!("a body of at most {most} bytes");
            return Err(Problem::request(
                StatusCode::PAYLOAD_TOO_LARGE,
                expected,
                format!("{length} bytes"),
            ));
        }
    }
    Ok(rights)
}
