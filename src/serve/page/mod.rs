//! The page, at `/`: plain files built into the program, which use the same API as other clients.
//!
//! The files need no token, since they have no data of the library. The page loads nothing from other servers, has no inline
//! scripts or styles, and never treats text as markup; the policy below makes browsers enforce this.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

use crate::conditional::Validator;
use crate::state::Shared;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const INDEX: &str = include_str!("index.html");
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/png";
const HTML: &str = "text/html; charset=utf-8";

/// Name, type and contents of each file.
const FILES: [(&str, &str, &[u8]); 28] = [
    (
        "page.css",
        "text/css; charset=utf-8",
        include_bytes!("page.css"),
    ),
    (
        "map.css",
        "text/css; charset=utf-8",
        voisin_explore::map::STYLE.as_bytes(),
    ),
    ("icon.svg", "image/svg+xml", include_bytes!("icon.svg")),
    ("icon-180.png", PICTURE, include_bytes!("icon-180.png")),
    ("icon-192.png", PICTURE, include_bytes!("icon-192.png")),
    ("icon-512.png", PICTURE, include_bytes!("icon-512.png")),
    (
        "manifest.json",
        "application/manifest+json",
        include_bytes!("manifest.json"),
    ),
    ("api.js", SCRIPT, include_bytes!("api.js")),
    ("app.js", SCRIPT, include_bytes!("app.js")),
    ("bar.js", SCRIPT, include_bytes!("bar.js")),
    ("card.js", SCRIPT, include_bytes!("card.js")),
    ("filters.js", SCRIPT, include_bytes!("filters.js")),
    ("genres.js", SCRIPT, include_bytes!("genres.js")),
    ("hooks.js", SCRIPT, include_bytes!("vendor/hooks.js")),
    ("htm.js", SCRIPT, include_bytes!("vendor/htm.js")),
    ("html.js", SCRIPT, include_bytes!("html.js")),
    ("keys.js", SCRIPT, include_bytes!("keys.js")),
    ("library.js", SCRIPT, include_bytes!("library.js")),
    ("listen.js", SCRIPT, include_bytes!("listen.js")),
    ("map.js", SCRIPT, include_bytes!("map.js")),
    ("map-core.js", SCRIPT, voisin_explore::map::CORE.as_bytes()),
    ("parts.js", SCRIPT, include_bytes!("parts.js")),
    ("playback.js", SCRIPT, include_bytes!("playback.js")),
    ("player.js", SCRIPT, include_bytes!("player.js")),
    ("preact.js", SCRIPT, include_bytes!("vendor/preact.js")),
    ("review.js", SCRIPT, include_bytes!("review.js")),
    ("state.js", SCRIPT, include_bytes!("state.js")),
    ("tracks.js", SCRIPT, include_bytes!("tracks.js")),
];

/// The page below a base path (empty, or `/voisin`).
pub(super) fn router(base: &str) -> Router<Shared> {
    let mut router = Router::new()
        .route(&format!("{base}/"), get(index))
        .route(&format!("{base}/page/{{name}}"), get(named));
    if !base.is_empty() {
        // The page's own addresses are relative to this folder.
        let folder = format!("{base}/");
        router = router.route(base, get(|| async move { Redirect::permanent(&folder) }));
    }
    router
}

async fn index(sent: HeaderMap) -> Response<Body> {
    file(HTML, INDEX.as_bytes(), &sent)
}

async fn named(Path(name): Path<String>, sent: HeaderMap) -> Response<Body> {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, contents)) => file(kind, contents, &sent),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn file(kind: &'static str, contents: &'static [u8], sent: &HeaderMap) -> Response<Body> {
    /// Browsers keep a file, but ask each time whether it is the same.
    const CONTROL: &str = "no-cache";
    let state = Validator::of_bytes(contents);
    let mut answer = if state.is_known(sent) {
        state.unchanged(CONTROL)
    } else {
        ([(header::CONTENT_TYPE, kind)], contents).into_response()
    };
    state.put(&mut answer, CONTROL);
    // Also for 304: the client keeps the headers of its last answer.
    answer.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let lies = |name: &String| !["mod.rs", "index.html", "vendor"].contains(&name.as_str());
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(lies)
            // Shared with the page of `voisin map`, and Preact with htm.
            .chain(["map-core.js", "map.css"].map(str::to_owned))
            .chain(["hooks.js", "htm.js", "preact.js"].map(str::to_owned))
            .collect();
        there.sort();
        let mut served: Vec<&str> = FILES.iter().map(|(name, ..)| *name).collect();
        served.sort_unstable();
        assert_eq!(there, served);
    }
}
