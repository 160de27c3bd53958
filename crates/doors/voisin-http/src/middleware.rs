//! Checks of every request before its handler, and the headers of every answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::access::{
    BODY_TIME, LONGEST_BODY, LONGEST_FILE, LONGEST_SESSION, LONGEST_URI, LocalAddress, PATIENCE,
    PATIENCE_FOR_FILES,
};
use super::cached::{packed, remembered, takes_gzip};
use super::devices::Rights;
use super::listen::ConnectionPlace;
use super::peer::{Caller, Peer};
use super::problem::Problem;
use super::state::{Shared, WAITED, Waited};

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
    let rights = checked.as_ref().ok().map(|(_, rights)| *rights);
    if let Some(rights) = rights {
        // A refused request has no rights, and reaches no handler.
        request.extensions_mut().insert(rights);
        request.extensions_mut().insert(Caller {
            rights,
            network: peer.network(),
        });
    }
    let origin = checked.map(|(origin, _)| origin);
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
    let needs_token = needs_token(path);
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
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ORIGIN);
    // Requests that need no token have no guest.
    let is_guest = needs_token && rights == Some(Rights::Listen);
    let waited = Waited::new(is_guest);
    let mut response = match &origin {
        Err(problem) => problem.clone().into_response(),
        Ok(Some(_)) if preflight => StatusCode::NO_CONTENT.into_response(),
        Ok(_) => {
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
        }
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
    // Before the answer's tag is computed: guests and owners have different bodies.
    if is_guest {
        response = without_folders(response).await;
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
    // Also for errors, so that a page of that origin can read them.
    if let Ok(Some(origin)) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        // A cache must not serve one origin's answer to another.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Authorization, Content-Type"),
        );
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, PUT, DELETE"),
        );
        headers.insert(
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        );
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
fn needs_token(path: &str) -> bool {
    // Whole paths: a prefix would allow routes that are added below it later.
    let is_public = ["/api/v1/health", SESSION].contains(&path);
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

/// Fields with paths on the server.
const PLACES: [&str; 7] = [
    "path",
    "folder",
    "absent_folder",
    "library",
    "left_out",
    "source",
    "to",
];

/// An answer for a guest: names of files without the server's folders.
async fn without_folders(mut response: Response<Body>) -> Response<Body> {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_problem = kind == "application/problem+json";
    // The interfaces of other servers have errors of another form.
    let is_refusal = is_problem || !response.status().is_success();
    if kind == "text/event-stream" {
        let pieces = std::mem::take(response.body_mut()).into_data_stream();
        // Each piece is a whole event.
        *response.body_mut() = Body::from_stream(pieces.map_ok(event_without_folders));
        return response;
    }
    // Pictures and songs have no paths; playlists as files are not for guests.
    if kind != "application/json" && !is_problem {
        return response;
    }
    let whole = to_bytes(std::mem::take(response.body_mut()), usize::MAX).await;
    let parsed = whole.and_then(|whole| serde_json::from_slice(&whole).map_err(axum::Error::new));
    let Ok(mut answer) = parsed else {
        return Problem::fault().into_response();
    };
    shorten_places(&mut answer, false);
    // Messages of errors have paths within sentences.
    if is_refusal && let Value::Object(fields) = &mut answer {
        for text in fields.values_mut() {
            if let Value::String(text) = text {
                *text = sentence_without_folders(text);
            }
        }
    }
    // The body is shorter now.
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = answer.to_string().into();
    response
}

fn event_without_folders(event: Bytes) -> Bytes {
    let text = String::from_utf8_lossy(&event);
    let changed = |line: &str| {
        let mut data = serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok()?;
        shorten_places(&mut data, false);
        Some(format!("data: {data}"))
    };
    let lines = text.split('\n');
    let lines: Vec<String> = lines
        .map(|line| changed(line).unwrap_or_else(|| line.to_owned()))
        .collect();
    lines.join("\n").into()
}

/// Shortens absolute paths in a sentence (up to a quotation mark, a colon, a comma or the end) to their last part; addresses
/// of this server stay.
fn sentence_without_folders(text: &str) -> String {
    let mut shortened = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let begins = shortened
            .chars()
            .next_back()
            .is_none_or(|before| matches!(before, ' ' | '"' | '(' | '\u{201c}'));
        // Windows: "C:\Music" and "\\server\Music".
        let is_drive = begins
            && match rest.as_bytes() {
                [b'\\', b'\\', ..] => true,
                [letter, b':', b'\\' | b'/', ..] => letter.is_ascii_alphabetic(),
                _ => false,
            };
        let separators: &[char] = if is_drive { &['/', '\\'] } else { &['/'] };
        // "3/4" is no path: the slash has to begin a word.
        let is_path = is_drive || begins && rest.starts_with('/') && !rest.starts_with("/api/");
        let end = if is_path {
            let ends = ["\"", "\u{201d}", ": ", ", ", "; ", ")", "\n"];
            let ends = ends.iter().filter_map(|sign| rest.find(sign));
            ends.min().unwrap_or(rest.len())
        } else {
            rest.chars().next().map_or(0, char::len_utf8)
        };
        let piece = &rest[..end];
        shortened.push_str(if is_path {
            piece
                .trim_end_matches(separators)
                .rsplit(separators)
                .next()
                .unwrap_or(piece)
        } else {
            piece
        });
        rest = &rest[end..];
    }
    shortened
}

fn shorten_places(answer: &mut Value, is_place: bool) {
    match answer {
        Value::String(text) if is_place => *text = name_of(text),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| shorten_places(item, is_place)),
        Value::Object(fields) => {
            for (field, value) in fields.iter_mut() {
                shorten_places(value, PLACES.contains(&field.as_str()));
            }
            // Its folders are names of fields.
            if let Some(Value::Object(folders)) = fields.get_mut("absent_folders") {
                let counts = std::mem::take(folders).into_iter();
                *folders = counts.map(|(path, n)| (name_of(&path), n)).collect();
            }
        }
        _ => {}
    }
}

/// The last part of an absolute path; other texts unchanged.
fn name_of(text: &str) -> String {
    let path = Path::new(text);
    match path.file_name() {
        Some(name) if path.is_absolute() => name.to_string_lossy().into_owned(),
        _ => text.to_owned(),
    }
}

/// Requests with a body that guests may send: queries. All others change something, or have paths of files.
const QUESTIONS: [&str; 6] = [
    "/api/v1/similar",
    "/api/v1/classify",
    "/api/v1/path",
    "/api/v1/playlist",
    "/api/v1/files/similar",
    "/api/v1/files/classify",
];

/// The origin that may read the answer, and the request's rights.
fn check(
    state: &Shared,
    request: &Request,
    peer: Peer,
) -> Result<(Option<HeaderValue>, Rights), Problem> {
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
    let origin = guard.check_origin(headers, &host)?;
    // Browsers send no token with a CORS preflight.
    if method == Method::OPTIONS && origin.is_some() {
        return Ok((origin, Rights::Listen));
    }
    let path = uri
        .path()
        .strip_prefix(guard.base_path.as_str())
        .unwrap_or_default();
    let mut rights = Rights::Listen;
    if needs_token(path) {
        rights = guard.check_token(headers, method, peer)?;
        if rights == Rights::Listen && !method.is_safe() && !QUESTIONS.contains(&path) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "this device may only search and play, and this needs full access",
                "use a device with full access, or sign in with a code for it",
            ));
        }
        // The connection is no longer a stranger's, which are closed first.
        if let Some(place) = request.extensions().get::<ConnectionPlace>() {
            place.admit(Caller {
                rights,
                network: peer.network(),
            });
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
    Ok((origin, rights))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn guests_get_no_folders_in_errors_of_other_interfaces() {
        let text = r#"{"error":"the library is not there: /home/me/lib: away"}"#;
        for (status, expected) in [
            (StatusCode::OK, text),
            (
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"error":"the library is not there: lib: away"}"#,
            ),
        ] {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            let answer = without_folders((status, kind, text).into_response()).await;
            let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            assert_eq!(body, expected);
        }
    }

    #[test]
    fn guests_get_no_folders_in_sentences_and_events() {
        for (text, expected) in [
            (
                "/srv/My Music/a b.flac: No such file",
                "a b.flac: No such file",
            ),
            (
                "found \"/srv/music\", expected /srv/old/, or none",
                "found \"music\", expected old, or none",
            ),
            (
                "the folder (/srv/music) is away",
                "the folder (music) is away",
            ),
            (
                "see those there are: GET /api/v1/genres",
                "see those there are: GET /api/v1/genres",
            ),
            ("3/4 of it, at 1/2", "3/4 of it, at 1/2"),
            (
                "cannot open C:\\Users\\me\\a b.flac: access is denied",
                "cannot open a b.flac: access is denied",
            ),
            ("found \"\\\\nas\\music\"", "found \"music\""),
            ("\u{201c}D:/music\u{201d}", "\u{201c}music\u{201d}"),
        ] {
            assert_eq!(sentence_without_folders(text), expected);
        }
        let event = "event: progress\ndata: {\"folder\":\"/srv/music\",\"done\":2}\n\n";
        assert_eq!(
            event_without_folders(event.into()),
            "event: progress\ndata: {\"done\":2,\"folder\":\"music\"}\n\n"
        );
        assert_eq!(
            event_without_folders(": still here\n\n".into()),
            ": still here\n\n"
        );
    }
}
