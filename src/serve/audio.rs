//! Serves stored files, whole or in ranges.

use std::fs::File;
use std::io::{ErrorKind, SeekFrom};
use std::path::PathBuf;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::conditional::Validator;
use super::problem::Problem;
use voisin::analysed_files;
use voisin_audio::{AnalysedFile, AudioError};
use voisin_base::text::with_causes;
use voisin_library::Track;

/// Clients may cache a file, but must revalidate it, as it may be replaced.
const CONTROL: &str = "private, no-cache";
/// Bytes of a read.
const PIECE: u64 = 256 * 1024;

/// The requested range of bytes.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    /// First byte, and the end (exclusive).
    Part(u64, u64),
    /// Outside of the file.
    Beyond,
}

/// Parses `Range: bytes=0-99`, `bytes=100-`, `bytes=-50`. Others, also several ranges, count as none, as the standard allows.
fn range(headers: &HeaderMap, length: u64) -> Range {
    let text = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok());
    let Some((first, last)) =
        text.and_then(|text| text.trim().strip_prefix("bytes=")?.split_once('-'))
    else {
        return Range::Whole;
    };
    match (first.trim(), last.trim()) {
        ("", last) => match last.parse::<u64>() {
            Ok(0) => Range::Beyond,
            Ok(_) if length == 0 => Range::Beyond,
            Ok(last) => Range::Part(length.saturating_sub(last), length),
            Err(_) => Range::Whole,
        },
        (first, last) => match (first.parse::<u64>(), last) {
            (Ok(first), _) if first >= length => Range::Beyond,
            (Ok(first), "") => Range::Part(first, length),
            (Ok(first), last) => match last.parse::<u64>() {
                Ok(last) if last >= first => Range::Part(first, last.saturating_add(1).min(length)),
                _ => Range::Whole,
            },
            (Err(_), _) => Range::Whole,
        },
    }
}

/// The MIME type of a file, by its container and codec.
fn mime(container: &str, codec: &str) -> &'static str {
    match (container, codec) {
        ("ogg", "opus") => "audio/ogg; codecs=opus",
        ("ogg", _) => "audio/ogg",
        ("flac", _) => "audio/flac",
        ("mp3" | "mpeg" | "mpa", _) | (_, "mp3" | "mp2" | "mp1") => "audio/mpeg",
        ("mp4" | "isomp4" | "m4a", _) | (_, "alac") => "audio/mp4",
        ("adts" | "aac", _) | (_, "aac") => "audio/aac",
        ("wav" | "wave", _) => "audio/wav",
        ("aiff" | "aif", _) => "audio/aiff",
        ("caf", _) => "audio/x-caf",
        ("mkv" | "matroska", _) => "audio/x-matroska",
        ("webm", _) => "audio/webm",
        _ => "application/octet-stream",
    }
}

/// The files of a track.
pub(super) struct StoredSong {
    path: PathBuf,
    files: Vec<AnalysedFile>,
    kind: &'static str,
}

impl StoredSong {
    pub(super) fn of(track: &Track) -> Self {
        Self {
            path: track.path.clone(),
            files: analysed_files(track),
            kind: mime(&track.audio.container, &track.audio.codec),
        }
    }

    /// The first file with the recording and its path, or the error of the first file.
    pub(super) fn open(&self) -> Result<(PathBuf, File), Problem> {
        let mut first = None;
        for file in &self.files {
            match file.open() {
                Ok(opened) => return Ok((file.path.clone(), opened)),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        // Its last path has other audio since, and an `add` is running.
        Err(gone(first.unwrap_or_else(|| AudioError::OtherRecording {
            path: self.path.clone(),
        })))
    }
}

/// Why the file of a track cannot be sent.
fn gone(error: AudioError) -> Problem {
    let reason = match error {
        AudioError::OtherRecording { .. } => {
            let detail = "the file of this track is not the one that was analysed";
            return Problem::new(
                StatusCode::CONFLICT,
                detail,
                "run \"voisin add\" on it first",
            );
        }
        AudioError::NotAFile { .. } => "its path is not a file".to_owned(),
        AudioError::NotFound { .. } => "it is no longer where it was".to_owned(),
        AudioError::PermissionDenied { .. } => "the server may not read it".to_owned(),
        AudioError::Io { source, .. } => source.kind().to_string(),
        other => with_causes(&other),
    };
    let next = "put it back, or add it to the library at its new place";
    Problem::not_found(
        format!("the file of this track cannot be read: {reason}"),
        next,
    )
}

/// The answer to a range outside of a file.
fn beyond(length: u64) -> Response<Body> {
    let expected = format!("a range inside the file's {length} bytes");
    let status = StatusCode::RANGE_NOT_SATISFIABLE;
    let mut answer = Problem::request(status, expected, "one outside of it").into_response();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}")) {
        answer.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    answer
}

/// Sends the file of a track.
pub(super) async fn send(song: StoredSong, request: &HeaderMap) -> Result<Response<Body>, Problem> {
    let kind = song.kind;
    // Opening may wait for a sleeping disk. The open file stays available if it is renamed.
    let opened = tokio::task::spawn_blocking(move || song.open()).await;
    let (_, file) = opened.unwrap_or_else(|_| Err(Problem::fault()))?;
    let mut file = tokio::fs::File::from_std(file);
    let gone = |source| {
        gone(AudioError::Io {
            path: PathBuf::new(),
            source,
        })
    };
    let metadata = file.metadata().await.map_err(gone)?;
    let length = metadata.len();
    let state = Validator::of_file(&metadata);
    // Before the range: a client with the current file needs no part of it.
    if state.is_known(request) {
        return Ok(state.unchanged(CONTROL));
    }
    let wanted = if state.allows_parts(request) {
        range(request, length)
    } else {
        Range::Whole
    };
    let (status, from, to) = match wanted {
        Range::Whole => (StatusCode::OK, 0, length),
        Range::Part(from, to) => (StatusCode::PARTIAL_CONTENT, from, to),
        Range::Beyond => return Ok(beyond(length)),
    };
    file.seek(SeekFrom::Start(from)).await.map_err(gone)?;
    let pieces = stream::unfold((file, to - from), |(mut file, left)| async move {
        if left == 0 {
            return None;
        }
        let mut piece = vec![0; left.min(PIECE) as usize];
        match file.read(&mut piece).await {
            // The file became shorter: the error closes the connection.
            Ok(0) => Some((Err(ErrorKind::UnexpectedEof.into()), (file, 0))),
            Ok(n) => {
                piece.truncate(n);
                Some((Ok(Bytes::from(piece)), (file, left - n as u64)))
            }
            Err(error) => Some((Err(error), (file, 0))),
        }
    });
    let mut answer = (status, Body::from_stream(pieces)).into_response();
    state.put(&mut answer, CONTROL);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, (to - from).into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = HeaderValue::from_str(&format!("bytes {from}-{}/{length}", to - 1))
    {
        headers.insert(header::CONTENT_RANGE, value);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_parsed_by_the_standard() {
        let read = |text: &'static str, length| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(text));
            range(&headers, length)
        };
        assert_eq!(range(&HeaderMap::new(), 10), Range::Whole);
        for (text, expected) in [
            ("bytes=0-9", Range::Part(0, 10)),
            ("bytes=0-0", Range::Part(0, 1)),
            ("bytes=3-", Range::Part(3, 10)),
            ("bytes=-4", Range::Part(6, 10)),
            ("bytes=-99", Range::Part(0, 10)),
            ("bytes=5-99", Range::Part(5, 10)),
            ("bytes=10-", Range::Beyond),
            ("bytes=99-100", Range::Beyond),
            ("bytes=-0", Range::Beyond),
            ("bytes=5-3", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("bytes=a-b", Range::Whole),
            ("bytes=0-18446744073709551615", Range::Part(0, 10)),
            ("bytes=99999999999999999999-", Range::Whole),
            ("lines=0-1", Range::Whole),
        ] {
            assert_eq!(read(text, 10), expected, "{text}");
        }
        assert_eq!(read("bytes=0-", 0), Range::Beyond);
        assert_eq!(read("bytes=-1", 0), Range::Beyond);
    }
}
