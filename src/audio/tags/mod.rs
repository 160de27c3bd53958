//! Reading tags of audio files, and writing their genres.
//!
//! For: a fixed set of fields, spelt as in the file, from any container. Not for: the meaning of genres or
//! licences (`genre`, `library`), lyrics, or tags that voisin does not use.

mod comments;
mod copy;
mod cover;
pub(crate) mod flac;
mod frames;
pub(crate) mod id3;
pub(crate) mod mp4;
mod mp4_edit;
mod ogg;
mod patch;
mod read;
mod texts;
pub(crate) mod trailing;
mod values;
mod write;

pub use cover::read_cover;
pub use patch::ReversePatch;
pub use read::read_tags;
pub use values::year;
pub use write::{PreparedWrite, is_as_before, prepare, restore};

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

/// Writes genres, as [`prepare`] does, for tests and fuzz targets.
pub fn write_genres(
    path: &Path,
    genres: &[String],
    options: WriteOptions,
) -> Result<WriteOutcome, AudioError> {
    prepare(path, genres, options, &mut |_| {})?.commit()
}
