//! Answers as programs read them: the documented JSON (docs/json.md), the same from the command line and from the server.
//!
//! For: structures that serde writes, and how they are made of what the engine found. Not for: tables, playlists and other
//! text (`cli`), nor how a question is read.

pub(crate) mod artists;
pub(crate) mod clusters;
pub(crate) mod duplicates;
pub(crate) mod find;
pub(crate) mod genre;
pub(crate) mod genres;
pub(crate) mod graph;
pub(crate) mod list;
#[cfg(feature = "serve")]
pub(crate) mod map;
pub(crate) mod outliers;
pub(crate) mod playlist;
pub(crate) mod similar;
pub(crate) mod status;
pub(crate) mod suspects;
pub(crate) mod track;
pub(crate) mod walk;

use std::path::Path;

/// A path as text, with replacement characters where it is not UTF-8.
pub(crate) fn lossy(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
