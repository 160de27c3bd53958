//! The documented JSON of answers (docs/serve.md), the same on the command line and from the server.
//!
//! For: structures that serde writes, and their conversion from the engine's results. Not for: tables, playlists and other
//! text (`cli`), nor the parsing of queries.

pub mod card;
pub mod clusters;
pub mod duplicates;
pub mod failed;
pub mod find;
pub mod genre;
pub mod genres;
pub mod graph;
pub mod labels;
pub mod list;
pub mod map;
pub mod playlist;
pub mod similar;
pub mod status;
pub mod suspects;
pub mod track;
pub mod walk;

use std::path::Path;

use voisin_library::Track;

/// A path as text, with replacement characters where it is not UTF-8.
pub fn lossy(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The title, or the file's name without its extension.
pub fn title(track: &Track) -> String {
    track
        .tags
        .title
        .clone()
        .unwrap_or_else(|| lossy(Path::new(track.path.file_stem().unwrap_or_default())))
}
