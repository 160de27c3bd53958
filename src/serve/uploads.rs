//! Uploads of audio files: limits of number, size and time.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::access::LONGEST_FILE;
use super::extract::is_file;
use super::problem::Problem;
use super::state::State;

/// Files at once: few enough for temporary files in memory.
pub(crate) const MOST: usize = 4;
/// Least average speed of an upload in bytes a second: 256 kbit/s, less than any line on which music can be played.
const LEAST_SPEED: u64 = 32_000;
/// Time before the speed counts.
const GRACE: Duration = Duration::from_secs(10);

/// The deadline of an upload that has these bytes so far.
fn due(begun: Instant, bytes: u64) -> Instant {
    begun + GRACE + Duration::from_millis(bytes * 1000 / LEAST_SPEED)
}

/// A temporary copy of a body, deleted on drop, and its reserved upload.
pub(crate) struct Upload {
    copy: tempfile::TempPath,
    _permit: OwnedSemaphorePermit,
}

impl Upload {
    /// Its path, valid until it is dropped.
    pub(crate) fn path(&self) -> &Path {
        &self.copy
    }
}

/// Writes the body of an uploaded audio file into a temporary file, within the limits of this module.
///
/// - `headers`: of its request
pub(crate) async fn received(
    state: &State,
    headers: &HeaderMap,
    body: Body,
) -> Result<Upload, Problem> {
    is_file(headers)?;
    let permit = Arc::clone(&state.uploads)
        .try_acquire_owned()
        .map_err(|_| {
            Problem::later(
                5,
                "too many files are uploaded at once",
                "try again in a few seconds",
            )
        })?;
    let fault = |_| {
        Problem::later(
            30,
            "the file cannot be stored",
            "free some space, then try again",
        )
    };
    let (file, copy) = tempfile::NamedTempFile::new().map_err(fault)?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let begun = Instant::now();
    let mut body = body.into_data_stream();
    let mut length = 0;
    loop {
        // The deadline moves with each byte: a large file has more time than a stalled
        // connection.
        let piece = tokio::time::timeout_at(due(begun, length).into(), body.next()).await;
        let late = |_| Problem::bad("a whole file, in time", "one that was too slow");
        let Some(piece) = piece.map_err(late)? else {
            break;
        };
        let piece = piece.map_err(|_| Problem::bad("a whole file", "one that ended early"))?;
        length += piece.len() as u64;
        if length > LONGEST_FILE {
            let expected = format!("a file of at most {} MB", LONGEST_FILE / 1_000_000);
            return Err(Problem::request(
                StatusCode::PAYLOAD_TOO_LARGE,
                expected,
                "a larger one",
            ));
        }
        file.write_all(&piece).await.map_err(fault)?;
    }
    if length == 0 {
        return Err(Problem::bad("the bytes of an audio file", "an empty body"));
    }
    file.flush().await.map_err(fault)?;
    Ok(Upload {
        copy,
        _permit: permit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_uploads_end_before_they_are_whole() {
        let begun = Instant::now();
        let seconds = |bytes| due(begun, bytes).duration_since(begun).as_secs();
        assert_eq!(
            (seconds(1000), seconds(320_000), seconds(LONGEST_FILE)),
            (10, 20, 6260)
        );
    }
}
