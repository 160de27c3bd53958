//! The page to listen on, at `/`: plain files built into the program, which ask the same questions as everybody else.
//!
//! The files need no token: they hold nothing of the library. Nothing on the page comes from elsewhere, no script or style
//! stands inside the HTML, and text is never taken for markup; the policy below makes browsers insist on all three.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

use super::cached::Validator;
use super::state::Shared;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const INDEX: &str = include_str!("index.html");
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, type and contents of each file.
const FILES: [(&str, &str, &str); 28] = [
    (
        "page.css",
        "text/css; charset=utf-8",
        include_str!("page.css"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
    (
        "manifest.json",
        "application/manifest+json",
        include_str!("manifest.json"),
    ),
    ("api.js", SCRIPT, include_str!("api.js")),
    ("app.js", SCRIPT, include_str!("app.js")),
    ("card.js", SCRIPT, include_str!("card.js")),
    ("checks.js", SCRIPT, include_str!("checks.js")),
    ("clusters.js", SCRIPT, include_str!("clusters.js")),
    ("cover.js", SCRIPT, include_str!("cover.js")),
    ("dom.js", SCRIPT, include_str!("dom.js")),
    ("filters.js", SCRIPT, include_str!("filters.js")),
    ("genres.js", SCRIPT, include_str!("genres.js")),
    ("library.js", SCRIPT, include_str!("library.js")),
    ("liking.js", SCRIPT, include_str!("liking.js")),
    ("list.js", SCRIPT, include_str!("list.js")),
    ("listen.js", SCRIPT, include_str!("listen.js")),
    ("makers.js", SCRIPT, include_str!("makers.js")),
    ("map.js", SCRIPT, include_str!("map.js")),
    ("map-core.js", SCRIPT, voisin_explore::map::CORE),
    ("passage.js", SCRIPT, include_str!("passage.js")),
    ("playback.js", SCRIPT, include_str!("playback.js")),
    ("player.js", SCRIPT, include_str!("player.js")),
    ("playing.js", SCRIPT, include_str!("playing.js")),
    ("review.js", SCRIPT, include_str!("review.js")),
    ("saved.js", SCRIPT, include_str!("saved.js")),
    ("sortable.js", SCRIPT, include_str!("sortable.js")),
    ("states.js", SCRIPT, include_str!("states.js")),
    ("tracks.js", SCRIPT, include_str!("tracks.js")),
];

/// The page below a base path (empty, or `/voisin`).
pub(super) fn router(base: &str) -> Router<Shared> {
    let mut router = Router::new()
        .route(
            &format!("{base}/"),
            get(|asked: HeaderMap| async move { file("text/html; charset=utf-8", INDEX, &asked) }),
        )
        .route(&format!("{base}/page/{{name}}"), get(named));
    if !base.is_empty() {
        // The page's own addresses are relative to this folder.
        let folder = format!("{base}/");
        router = router.route(base, get(|| async move { Redirect::permanent(&folder) }));
    }
    router
}

async fn named(Path(name): Path<String>, asked: HeaderMap) -> Response<Body> {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, contents)) => file(kind, contents, &asked),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn file(kind: &'static str, contents: &'static str, asked: &HeaderMap) -> Response<Body> {
    // It holds nothing of the library, and another version of the program has another one.
    const CONTROL: &str = "no-cache";
    let state = Validator::of_bytes(contents.as_bytes());
    let mut answer = if state.is_known(asked) {
        state.unchanged(CONTROL)
    } else {
        ([(header::CONTENT_TYPE, kind)], contents).into_response()
    };
    state.put(&mut answer, CONTROL);
    // Also where nothing is sent: the client keeps the headers of its last answer.
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
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page");
        let lies = |name: &String| name != "mod.rs" && name != "index.html";
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(lies)
            // The page of `voisin map` has it too.
            .chain(["map-core.js".to_owned()])
            .collect();
        there.sort();
        let mut served: Vec<&str> = FILES.iter().map(|(name, ..)| *name).collect();
        served.sort_unstable();
        assert_eq!(there, served);
    }

    #[test]
    fn nothing_stands_inside_the_page_and_nothing_comes_from_elsewhere() {
        for (name, _, contents) in FILES.iter().chain([&("index.html", "", INDEX)]) {
            let mut addresses = contents
                .match_indices("http")
                .map(|(at, _)| &contents[at..]);
            assert!(
                addresses.all(|text| text.starts_with("http://www.w3.org/2000/svg")),
                "{name}: an address of elsewhere"
            );
            for wrong in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "import(",
            ] {
                assert!(!contents.contains(wrong), "{name}: {wrong}");
            }
        }
        let is_handler = |rest: &str| {
            rest.trim_start_matches(|c: char| c.is_ascii_lowercase())
                .starts_with('=')
        };
        assert!(
            !INDEX.split(" on").skip(1).any(is_handler),
            "an inline handler"
        );
        assert!(
            !INDEX.contains("style=") && !INDEX.contains("<style"),
            "an inline style"
        );
        assert_eq!(INDEX.matches("<script").count(), 1);
        assert!(INDEX.contains("<script type=\"module\" src=\"page/app.js\"></script>"));
    }
}
