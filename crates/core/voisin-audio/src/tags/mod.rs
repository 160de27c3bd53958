//! Reading tags of audio files, and writing their genres.
//!
//! For: a fixed set of fields, spelt as in the file, from any container. Not for: the meaning of genres or
//! licences (`genre`, `library`), lyrics, or tags that voisin does not use.

pub(crate) mod ape;
mod comments;
mod copy;
mod cover;
mod flac;
mod frames;
mod id3;
mod id3_texts;
mod mp4;
mod mp4_edit;
mod ogg;
mod parts;
mod patch;
mod read;
mod texts;
mod values;
mod write;

pub use patch::ReversePatch;
pub use values::year;
pub use write::PreparedWrite;

use std::path::Path;

use super::AudioError;
use voisin_base::tags::TrackTags;

/// Options of [`prepare`] and [`restore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// Replace genres that the file already has; else such a file is left unchanged.
    pub overwrite: bool,
    /// Keep the file's modification time.
    pub keep_mtime: bool,
    /// Report what would happen, without changing anything.
    pub dry_run: bool,
}

impl Default for WriteOptions {
    /// Keeps existing genres and the modification time; no dry run.
    fn default() -> Self {
        Self {
            overwrite: false,
            keep_mtime: true,
            dry_run: false,
        }
    }
}

/// The result of writing, or the expected one in a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The genres were written.
    Written,
    /// The file has exactly these genres already.
    Unchanged,
    /// The file has other genres, which were not replaced.
    KeptExisting(Vec<String>),
}

/// Reads a file's tags; of damaged ones, what can be read. Never panics.
///
/// The content decides the format, not the name. Cover art is not loaded. Errors are those of the file
/// system only. If a file has several kinds of tags (`ID3v2`, APE and `ID3v1` in an MP3), the richer kind
/// counts and the others fill its gaps; genres all come from one kind.
pub fn read_tags(path: &Path) -> Result<TrackTags, AudioError> {
    read::read_tags(path)
}

/// Reads a file's front cover, else its first picture, up to 12 MB in `ID3v2` tags; `None` if it has none, or its tags
/// are damaged. The picture's format must be detected from its bytes. Errors are those of the file system only.
pub fn read_cover(path: &Path) -> Result<Option<Vec<u8>>, AudioError> {
    cover::read_cover(path)
}

/// Fields to copy into a new tag of a richer kind, so that all kinds agree: the name in `ID3v2`, the name in Vorbis
/// comments, and the value. The genre is left out, since it is written.
fn carried(tags: &TrackTags) -> Vec<(&'static str, &'static str, String)> {
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let all = [
        ("TIT2", "TITLE", tags.title.clone()),
        ("TPE1", "ARTIST", tags.artist.clone()),
        ("TALB", "ALBUM", tags.album.clone()),
        ("TPE2", "ALBUMARTIST", tags.album_artist.clone()),
        ("TCOM", "COMPOSER", tags.composer.clone()),
        ("TDRC", "DATE", tags.year.map(|year| format!("{year:04}"))),
        ("TRCK", "TRACKNUMBER", number(tags.track_number)),
        ("TPOS", "DISCNUMBER", number(tags.disc_number)),
        ("TSRC", "ISRC", tags.isrc.clone()),
    ];
    all.into_iter()
        .filter_map(|(id, name, value)| Some((id, name, value?)))
        .collect()
}

/// Writes a new version of an MP3, FLAC, Ogg Vorbis, Opus or M4A file with these genres beside it; the file is replaced
/// by [`PreparedWrite::commit`]. Without genres the file's are removed.
///
/// Only the bytes of these tags, and sizes and positions that depend on them, change: every other frame, comment, item,
/// chunk and block stays unchanged, and so do `ID3v1` tags. A file without a tag of the richer kind gets one with the
/// fields of its other tags. Before it can replace the file, the new version is read back: its tags must be these,
/// everything else must be equal byte for byte, and its [`voisin_base::track::ContentId`] must be that of the file;
/// else the write is refused with what would be lost.
///
/// The new version is a temporary copy, flushed and renamed over the file: a crash leaves either the old file or the
/// new one complete (and perhaps a hidden `.voisin-…` copy, whose path is passed to `note` before it is made, so that
/// it can be removed). Values must not be empty or contain NULs.
pub fn prepare(
    path: &Path,
    genres: &[String],
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> Result<PreparedWrite, AudioError> {
    write::prepare(path, genres, options, note)
}

/// Restores a file's bytes from before tags were written into it, unless it was changed since; returns whether they
/// are restored (or, in a dry run, would be).
pub fn restore(
    path: &Path,
    patch: &ReversePatch,
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> Result<bool, AudioError> {
    write::restore(path, patch, options, note)
}

/// Whether a file's bytes are those from before tags were written into it.
pub fn is_as_before(path: &Path, patch: &ReversePatch) -> Result<bool, AudioError> {
    write::is_as_before(path, patch)
}

/// Writes genres, as [`prepare`] does, for tests and fuzz targets.
pub fn write_genres(
    path: &Path,
    genres: &[String],
    options: WriteOptions,
) -> Result<WriteOutcome, AudioError> {
    write::prepare(path, genres, options, &mut |_| {})?.commit()
}
