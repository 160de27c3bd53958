//! Covers, for the page.

use std::path::Path;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;

use super::audio::StoredSong;
use super::conditional::Validator;
use super::extract;
use super::problem::Problem;
use super::state::Shared;
use voisin_audio::tags::read_cover;
use voisin_base::regular_file;

/// The type of a picture, by its first bytes; only types that browsers show and that cannot contain scripts.
fn kind_of(picture: &[u8]) -> Option<&'static str> {
    let kinds: [(&[u8], &str); 3] = [
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"\x89PNG", "image/png"),
        (b"GIF8", "image/gif"),
    ];
    let known = kinds.iter().find(|(start, _)| picture.starts_with(start));
    let is_webp = picture.starts_with(b"RIFF") && picture.get(8..12) == Some(b"WEBP");
    known
        .map(|(_, kind)| *kind)
        .or(is_webp.then_some("image/webp"))
}

/// Names of pictures in an album's folder, the likeliest first.
const BESIDE: [&str; 6] = ["cover", "folder", "front", "Cover", "Folder", "Front"];
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// Largest picture that is read from a folder, in bytes.
const LARGEST: u64 = 16 << 20;

/// The picture in a file's folder, by its name. A link may lead out of the music, and is none.
fn beside(file: &Path) -> Option<Vec<u8>> {
    let folder = file.parent()?;
    let mut names = BESIDE
        .iter()
        .flat_map(|name| ENDINGS.map(|ending| format!("{name}.{ending}")));
    names.find_map(|name| {
        let path = folder.join(name);
        let is_link = path.is_symlink();
        regular_file::read(&path, LARGEST).ok().filter(|_| !is_link)
    })
}

/// The picture in a track's file, or the one in its folder; 204 without one.
pub(super) async fn cover(
    State(state): State<Shared>,
    extract::PathId(id): extract::PathId,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    /// Pictures are shown often and change seldom: cached for an hour, then revalidated.
    const CONTROL: &str = "private, max-age=3600";
    let read = state.look(move |_, context| {
        let song = StoredSong::of(&context.engine.library().track(id)?);
        match song.open() {
            Ok((path, _)) => Ok(read_cover(&path).ok().flatten().or_else(|| beside(&path))),
            // A missing file has no picture; for a replaced one the client gets the reason.
            Err(problem) if problem.status() == StatusCode::NOT_FOUND => Ok(None),
            Err(problem) => Err(problem),
        }
    });
    let picture = read.await?.unwrap_or_default();
    let state = Validator::of_bytes(&picture);
    if state.is_known(&headers) {
        return Ok(state.unchanged(CONTROL));
    }
    let mut answer = match kind_of(&picture) {
        Some(kind) => (
            [(header::CONTENT_TYPE, HeaderValue::from_static(kind))],
            picture,
        )
            .into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    };
    state.put(&mut answer, CONTROL);
    Ok(answer)
}
