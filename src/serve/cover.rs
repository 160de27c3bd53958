//! Covers, for the page.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;

use super::audio::StoredSong;
use super::cached::Validator;
use super::extract;
use super::problem::Problem;
use super::state::Shared;
use voisin_audio::tags::read_cover;
use voisin_base::regular_file;

/// The type of a picture, by its first bytes; only types that browsers show and that cannot contain scripts.
fn picture(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some("image/webp"),
        _ => None,
    }
}

/// Names of pictures in an album's folder, the likeliest first.
const BESIDE: [&str; 5] = ["cover", "folder", "front", "album", "albumart"];
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// Largest picture that is read from a folder, in bytes.
const LARGEST: u64 = 16 << 20;

/// The picture in a file's folder, by its name. Links out of the folder are ignored.
fn beside(file: &Path) -> Option<PathBuf> {
    let place = |path: &PathBuf| {
        let part = |part: Option<&OsStr>| part?.to_str().map(str::to_lowercase);
        let name = part(path.file_stem())?;
        let ending = part(path.extension())?;
        let name = BESIDE.iter().position(|one| *one == name)?;
        Some((name, ENDINGS.iter().position(|one| *one == ending)?))
    };
    // Canonical, to be compared with the targets of links.
    let folder = std::fs::canonicalize(file.parent()?).ok()?;
    let stays = |path: &PathBuf| {
        let is_link = path.symlink_metadata().ok()?.is_symlink();
        let lies_in = if is_link {
            std::fs::canonicalize(path).ok()?
        } else {
            path.clone()
        };
        lies_in.starts_with(&folder).then_some(lies_in)
    };
    let lie = std::fs::read_dir(&folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    lie.filter_map(|path| Some((place(&path)?, stays(&path)?)))
        // The likeliest name, then the likeliest extension, independent of the folder's order.
        .min()
        .map(|(_, path)| path)
}

/// The picture in a track's file, or the one in its folder; 204 without one.
pub(super) async fn cover(
    State(state): State<Shared>,
    extract::PathId(id): extract::PathId,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    /// Pictures are shown often and change seldom: cached for an hour, then revalidated.
    const CONTROL: &str = "private, max-age=3600";
    let (file, cover) = state
        .look(move |_, context| {
            let library = context.engine.library();
            let song = StoredSong::of(&library.track(id)?);
            // Neither a missing nor a replaced file has a picture of this track.
            let (path, held) = match song.open() {
                Ok(opened) => opened,
                Err(problem) if problem.status() == StatusCode::NOT_FOUND => {
                    return Ok((None, Some(None)));
                }
                Err(problem) => return Err(problem),
            };
            let picture = beside(&path);
            // Either may be added, changed or removed.
            let of_file = |metadata: Metadata| (metadata.len(), metadata.modified().ok());
            let state = |path: &Path| {
                let metadata = std::fs::metadata(path).ok()?;
                Some(of_file(metadata))
            };
            let file_state = held.metadata().ok().map(of_file);
            // The validator is made of both files' lengths and times, without reading
            // the picture.
            let states = (file_state, picture.as_deref().map(state));
            let file = Validator::of_bytes(format!("{states:?} {picture:?}").as_bytes());
            if file.is_known(&headers) {
                return Ok((Some(file), None));
            }
            let cover = read_cover(&path).ok().flatten();
            let read = |picture: PathBuf| regular_file::read_itself(&picture, LARGEST).ok();
            Ok((Some(file), Some(cover.or_else(|| picture.and_then(read)))))
        })
        .await?;
    let (cover, file) = match (cover, file) {
        (None, Some(file)) => return Ok(file.unchanged(CONTROL)),
        (cover, file) => (cover.flatten(), file),
    };
    let mut answer = match cover.and_then(|bytes| Some((picture(&bytes)?, bytes))) {
        Some((kind, bytes)) => (
            [(header::CONTENT_TYPE, HeaderValue::from_static(kind))],
            bytes,
        )
            .into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    };
    if let Some(file) = file {
        file.put(&mut answer, CONTROL);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::picture;

    #[test]
    fn pictures_are_recognized_by_their_bytes() {
        assert_eq!(picture(&[0xff, 0xd8, 0xff, 0xe0]), Some("image/jpeg"));
        assert_eq!(picture(b"\x89PNG\r\n"), Some("image/png"));
        assert_eq!(picture(b"RIFF....WEBPVP8 "), Some("image/webp"));
        for other in [&b""[..], b"<svg", b"RIFF....WAVE", b"\xff\xd8"] {
            assert_eq!(picture(other), None);
        }
    }
}
