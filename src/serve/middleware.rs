//! Checks of every request before its handler, and the headers of every answer.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;

use super::access::Caller;
use super::conditional::{packed, remembered, takes_gzip};
use super::limits::{
    LONGEST_BODY, LONGEST_FILE, LONGEST_SESSION, LONGEST_URI, PATIENCE, PATIENCE_FOR_FILES,
};
use super::listen::Connection;
use super::problem::Problem;
use super::state::Shared;
use super::token::Rights;
use voisin::questions::queries::named;

/// Checks every request, and adds the common headers of answers.
pub(super) async fn guard(
    State(state): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let start = Instant::now();
    let Some(connection) = request.extensions().get::<Connection>().cloned() else {
        return Problem::fault().into_response();
    };
    // The client is determined once, before any limit counts it.
    let caller = Caller(state.guard.caller(connection.peer, request.headers()));
    request.extensions_mut().insert(caller);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let below = path
        .strip_prefix(state.guard.base_path.as_str())
        .unwrap_or_default();
    // A forwarded answer stays as its server compressed it.
    let is_own = !below.starts_with("/rest/");
    let asked = request.headers().clone();
    let mut response = match check(&state, &request, (&connection, caller), below) {
        Ok(rights) => {
            // A refused request has no rights, and reaches no handler.
            request.extensions_mut().insert(rights);
            in_time(request, next, below).await
        }
        Err(problem) => problem.into_response(),
    };
    if is_own && method == Method::GET {
        response = remembered(response, &asked).await;
    }
    // After all else that reads the body: a compressed one cannot be read.
    if is_own && takes_gzip(&asked) {
        response = packed(response).await;
    }
    add_headers(response.headers_mut());
    if state.logs {
        // Without the query, which may contain secrets.
        let path: String = path.chars().filter(|c| !c.is_control()).take(200).collect();
        state.log(&format!(
            "{method} {path} {} {} ms",
            response.status().as_u16(),
            start.elapsed().as_millis()
        ));
    }
    response
}

/// The answer, or an error after a time.
async fn in_time(request: Request, next: Next, path: &str) -> Response<Body> {
    let patience = if path.starts_with(FILES) {
        PATIENCE_FOR_FILES
    } else {
        PATIENCE
    };
    tokio::time::timeout(patience, next.run(request))
        .await
        .unwrap_or_else(|_| {
            let next = "request less, or try again later";
            Problem::later(5, "this took too long", next).into_response()
        })
}

fn add_headers(headers: &mut HeaderMap) {
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
}

/// Queries about an uploaded file.
const FILES: &str = "/api/v1/files/";
/// The route that exchanges the token for a cookie.
const SESSION: &str = "/api/v1/session";

/// - `path`: below the base path
fn needs_token(method: &Method, path: &str) -> bool {
    // Whole paths: a prefix would allow routes that are added below it later.
    let is_public = path == "/api/v1/health" || path == SESSION && *method != Method::GET;
    path.starts_with("/api/") && !is_public
}

/// Whether a request changes nothing: a query by POST is one.
fn only_reads(method: &Method, path: &str) -> bool {
    let name = path.strip_prefix(FILES);
    let name = name.or_else(|| path.strip_prefix("/api/v1/"));
    method.is_safe() || *method == Method::POST && name.is_some_and(|name| named(name).is_some())
}

/// The request's rights.
///
/// - `path`: below the base path
fn check(
    state: &Shared,
    request: &Request,
    (connection, Caller(caller)): (&Connection, Caller),
    path: &str,
) -> Result<Rights, Problem> {
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
        let found = format!("{length} bytes");
        return Err(Problem::request(StatusCode::URI_TOO_LONG, expected, found));
    }
    // Before the token: with the cookie that a browser sends, a foreign page must not get an answer.
    let host = guard.check_host(headers, uri, connection.local)?;
    guard.check_origin(headers, host)?;
    let mut rights = Rights::Read;
    if needs_token(method, path) {
        let log = |text: &str| state.log(text);
        rights = guard.check_secret(headers, method, caller, &log)?;
        if rights == Rights::Read && !only_reads(method, path) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "this token may only search and play",
                "sign in with the token that opens everything",
            ));
        }
        // The connection is no longer a stranger's, which are closed first.
        connection.admit();
    }
    check_length(headers, path)?;
    Ok(rights)
}

/// Refuses a stated length that is too long at once; other bodies are bounded while they are read.
fn check_length(headers: &HeaderMap, path: &str) -> Result<(), Problem> {
    let most = match path {
        SESSION => LONGEST_SESSION,
        path if path.starts_with(FILES) => LONGEST_FILE,
        path if path.starts_with("/api/") => LONGEST_BODY,
        _ => return Ok(()),
    };
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = length.filter(|length| *length > most) {
        let expected = format!("a body of at most {most} bytes");
        let found = format!("{length} bytes");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Problem::request(status, expected, found));
    }
    Ok(())
}
