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
const PICTURE: &str = "image/png";

/// Name, type and contents of each file.
const FILES: [(&str, &str, &[u8]); 35] = [
    (
        "page.css",
        "text/css; charset=utf-8",
        include_bytes!("page.css"),
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
    ("card.js", SCRIPT, include_bytes!("card.js")),
    ("checks.js", SCRIPT, include_bytes!("checks.js")),
    ("clusters.js", SCRIPT, include_bytes!("clusters.js")),
    ("cover.js", SCRIPT, include_bytes!("cover.js")),
    ("dom.js", SCRIPT, include_bytes!("dom.js")),
    ("filters.js", SCRIPT, include_bytes!("filters.js")),
    ("genres.js", SCRIPT, include_bytes!("genres.js")),
    ("home.js", SCRIPT, include_bytes!("home.js")),
    ("library.js", SCRIPT, include_bytes!("library.js")),
    ("liking.js", SCRIPT, include_bytes!("liking.js")),
    ("list.js", SCRIPT, include_bytes!("list.js")),
    ("listen.js", SCRIPT, include_bytes!("listen.js")),
    ("makers.js", SCRIPT, include_bytes!("makers.js")),
    ("map.js", SCRIPT, include_bytes!("map.js")),
    ("map-core.js", SCRIPT, voisin_explore::map::CORE.as_bytes()),
    ("missing.js", SCRIPT, include_bytes!("missing.js")),
    ("now.js", SCRIPT, include_bytes!("now.js")),
    ("passage.js", SCRIPT, include_bytes!("passage.js")),
    ("playback.js", SCRIPT, include_bytes!("playback.js")),
    ("player.js", SCRIPT, include_bytes!("player.js")),
    ("playing.js", SCRIPT, include_bytes!("playing.js")),
    ("review.js", SCRIPT, include_bytes!("review.js")),
    ("saved.js", SCRIPT, include_bytes!("saved.js")),
    ("sortable.js", SCRIPT, include_bytes!("sortable.js")),
    ("states.js", SCRIPT, include_bytes!("states.js")),
    ("tiles.js", SCRIPT, include_bytes!("tiles.js")),
    ("tracks.js", SCRIPT, include_bytes!("tracks.js")),
];

/// The page below a base path (empty, or `/voisin`).
pub(super) fn router(base: &str) -> Router<Shared> {
    let mut router = Router::new()
        .route(
            &format!("{base}/"),
            get(|asked: HeaderMap| async move {
                file("text/html; charset=utf-8", INDEX.as_bytes(), &asked)
            }),
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

fn file(kind: &'static str, contents: &'static [u8], asked: &HeaderMap) -> Response<Body> {
    // It holds nothing of the library, and another version of the program has another one.
    const CONTROL: &str = "no-cache";
    let state = Validator::of_bytes(contents);
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
        let index = ("index.html", "", INDEX.as_bytes());
        let all = FILES.iter().chain([&index]);
        for (name, _, contents) in all.filter(|(_, kind, _)| *kind != PICTURE) {
            let contents = std::str::from_utf8(contents).unwrap();
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
