//! Uploads of audio files: limits of number and size.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::extract::is_file;
use super::limits::LONGEST_FILE;
use super::problem::Problem;
use super::state::State;

/// Files at once: few enough for temporary files in memory.
pub(crate) const MOST: usize = 4;

/// A temporary copy of a body, deleted on drop, and its reserved upload.
pub(crate) struct Upload {
    copy: tempfile::TempPath,
    _permit: OwnedSemaphorePermit,
}

impl Upload {
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
    let busy = |_| {
        let detail = "too many files are uploaded at once";
        Problem::later(5, detail, "try again in a few seconds")
    };
    let permit = Arc::clone(&state.uploads).try_acquire_owned();
    let permit = permit.map_err(busy)?;
    let fault = |_| {
        let detail = "the file cannot be stored";
        Problem::later(30, detail, "free some space, then try again")
    };
    let (file, copy) = tempfile::NamedTempFile::new().map_err(fault)?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let mut body = body.into_data_stream();
    let mut length = 0;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| Problem::bad("a whole file", "one that ended early"))?;
        length += piece.len() as u64;
        if length > LONGEST_FILE {
            let expected = format!("a file of at most {} MB", LONGEST_FILE / 1_000_000);
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Problem::request(status, expected, "a larger one"));
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
