//! M3U8, XSPF, JSPF and bare paths, safe against what tags and file names may hold.

use std::path::PathBuf;

use super::super::{Result, TrackMeta};

/// File formats of playlists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Extended M3U, UTF-8.
    M3u8,
    /// XML Shareable Playlist Format 1.
    Xspf,
    /// Its JSON sibling.
    Jspf,
    /// One path per line.
    Paths,
}

/// How paths are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStyle {
    /// As the library has them.
    Absolute,
    /// Relative to this folder, where the list will lie.
    Relative(PathBuf),
}

/// Writes `tracks` as a playlist.
pub fn write(tracks: &[&TrackMeta], title: &str, format: Format, style: &PathStyle) -> Result<String> {
    let _ = (tracks, title, format, style);
    todo!()
}
