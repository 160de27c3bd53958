//! People's own words about the music: tags read from, and some of them written to, audio files.
//!
//! For: a fixed set of facts, spelt as the file has them, whatever the container. Not for: what a genre
//! means or a licence permits (`genre`, `library`), pictures, lyrics, or any tag that voisin does not use.

mod ape;
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
mod riff;
mod texts;
mod values;
mod write;

pub use patch::ReversePatch;
pub use write::PreparedWrite;

use std::path::Path;

use super::AudioError;
use voisin_music::tags::TrackTags;

/// How [`prepare`] and [`restore`] go about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// Replace genres the file already has; without it such a file is left alone.
    pub overwrite: bool,
    /// Keep the file's modification time.
    pub keep_mtime: bool,
    /// Find out what would happen, and change nothing.
    pub dry_run: bool,
}

impl Default for WriteOptions {
    /// Never over existing genres, modification time kept, for real.
    fn default() -> Self {
        Self {
            overwrite: false,
            keep_mtime: true,
            dry_run: false,
        }
    }
}

/// A tag that voisin writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagField {
    /// Any number of values.
    Genre,
    /// Beats a minute.
    Bpm,
    /// Such as `Am`.
    Key,
    /// `ReplayGain` of the track: `-7.03 dB`.
    ReplayGain,
    /// Energy, 1 to 10, as Mixed In Key writes it.
    Energy,
    /// Moods, as Picard and beets write them: `calm`.
    Mood,
}

impl TagField {
    /// All fields, in the order in which they are listed.
    pub const ALL: [Self; 6] = [
        Self::Genre,
        Self::Bpm,
        Self::Key,
        Self::ReplayGain,
        Self::Energy,
        Self::Mood,
    ];

    /// The field's name, as options and reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Genre => "genre",
            Self::Bpm => "bpm",
            Self::Key => "key",
            Self::ReplayGain => "replay-gain",
            Self::Energy => "energy",
            Self::Mood => "mood",
        }
    }

    /// The field's values in a file's tags, which were read from it.
    pub fn values(self, path: &Path, tags: &TrackTags) -> Vec<String> {
        let one = |value: Option<String>| value.into_iter().collect();
        match self {
            Self::Genre => tags.genres.clone(),
            Self::Bpm => one(tags.bpm.map(|bpm| bpm.to_string())),
            Self::Key => one(tags.musical_key.clone()),
            Self::ReplayGain => one(tags.replay_gain.map(|gain| format!("{gain:.2} dB"))),
            Self::Energy => read_named(path, ENERGY).unwrap_or_default(),
            Self::Mood => read_named(path, MOOD).unwrap_or_default(),
        }
    }

    /// Whether two lists of values say the same. Opus keeps a gain in steps of 1/256 dB.
    pub fn is_same(self, a: &[String], b: &[String]) -> bool {
        let gain = |values: &[String]| {
            values
                .first()?
                .trim_end_matches("dB")
                .trim()
                .parse::<f64>()
                .ok()
        };
        match (self, gain(a), gain(b)) {
            (Self::ReplayGain, Some(a), Some(b)) => (a - b).abs() < 0.015,
            _ => a == b,
        }
    }
}

impl std::str::FromStr for TagField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|field| field.name() == text);
        found.ok_or_else(|| format!("expected one of {names}, found {text:?}"))
    }
}

/// The name of [`TagField::Energy`].
const ENERGY: &str = "ENERGYLEVEL";
/// The name of [`TagField::Mood`] in tags that name their fields.
const MOOD: &str = "MOOD";

/// A tag's new values; none take it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagEdit {
    /// Which field.
    pub field: TagField,
    /// Its values, none if the file has none.
    pub values: Vec<String>,
}

/// The result of writing, or in a dry run of what would be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The genres were written.
    Written,
    /// The file has exactly these genres already.
    Unchanged,
    /// The file has other genres, and they were not to be replaced.
    KeptExisting(Vec<String>),
}

/// The values of a tag by its name, such as `ENERGY` or `MOOD`, in any kind of tags, whatever the case of its letters; those of
/// CUE parts are not known. Never panics.
pub fn read_named(path: &Path, name: &str) -> Result<Vec<String>, AudioError> {
    read::read_named(path, name)
}

/// Reads a file's tags; a file without tags, or with damaged ones, gives what there is. Never panics.
///
/// Contents decide what the file is, not its name. Cover art is not loaded. Errors are those of the file
/// system only. Where a file has several kinds of tags (`ID3v2`, APE and `ID3v1` in an MP3), the richer kind
/// counts and the others fill its gaps; genres all come from one kind.
pub fn read_tags(path: &Path) -> Result<TrackTags, AudioError> {
    read::read_tags(path)
}

/// A file's tags, and how they could be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileTags {
    /// Those that a library keeps.
    pub tags: TrackTags,
    /// The year of the release that the file is of, where it has one besides that of the recording.
    pub release_year: Option<i32>,
    /// Kinds of that release as `MusicBrainz` names them, in lower case: `album`, `audiobook`.
    pub release_types: Vec<String>,
    /// Whether the gain is one that players of `ReplayGain` do not know: that of `RVA2` or iTunes.
    pub is_other_gain: bool,
    /// How many frames, comments and items could not be read, or not whole.
    pub unread: u32,
}

/// As [`read_tags`], with what a library does not keep.
pub fn read_file_tags(path: &Path) -> Result<FileTags, AudioError> {
    read::read_file_tags(path)
}

/// Reads which works, by their ids at `MusicBrainz` (UUIDs in lower case), a file is a recording of; none where its tags do
/// not say, are damaged or of a kind that has no such field (Matroska, CAF, parts of CUE sheets). Errors are those of the
/// file system only.
pub fn read_works(path: &Path) -> Result<Vec<String>, AudioError> {
    read::read_works(path)
}

/// Reads the picture of a file's front cover, else its first one, up to 12 MB in `ID3v2` tags; `None` where it has none,
/// or its tags are damaged. What kind of picture it is, its bytes tell. Errors are those of the file system only.
pub fn read_cover(path: &Path) -> Result<Option<Vec<u8>>, AudioError> {
    cover::read_cover(path)
}

/// Tags that a new tag of a richer kind takes over, so that a recording's facts stay the same in every kind: the names it has
/// in `ID3v2` and in Vorbis comments, and its value. Fields that are edited are left out.
fn carried(tags: &TrackTags, edits: &[&TagEdit]) -> Vec<(&'static str, &'static str, String)> {
    let genres = Some(tags.genres.join("\0")).filter(|genres| !genres.is_empty());
    let genres = genres.filter(|_| !edits.iter().any(|edit| edit.field == TagField::Genre));
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let all = [
        ("TIT2", "TITLE", tags.title.clone()),
        ("TPE1", "ARTIST", tags.artist.clone()),
        ("TALB", "ALBUM", tags.album.clone()),
        ("TPE2", "ALBUMARTIST", tags.album_artist.clone()),
        ("TCOM", "COMPOSER", tags.composer.clone()),
        ("TCON", "GENRE", genres),
        ("TDRC", "DATE", tags.year.map(|year| format!("{year:04}"))),
        ("TRCK", "TRACKNUMBER", number(tags.track_number)),
        ("TPOS", "DISCNUMBER", number(tags.disc_number)),
        ("TSRC", "ISRC", tags.isrc.clone()),
    ];
    all.into_iter()
        .filter_map(|(id, name, value)| Some((id, name, value?)))
        .collect()
}

/// Makes the new version of an MP3, FLAC, Ogg Vorbis, Opus, M4A or WAV file with these tags, beside it; nothing is
/// replaced before [`PreparedWrite::commit`].
///
/// Only the bytes of these tags change, and those that say how long something is or where it lies: every other frame,
/// comment, item, chunk and block stays as it is, whatever it holds, and so do `ID3v1` tags. A file that has no tag of the
/// richer kind gets one with what its others say. Before it can replace the file, the new version is read back: its tags
/// must be these, everything else must be there as before, byte for byte, and its
/// [`voisin_base::track::ContentId`] must be that of the file; else the file is refused with what would be lost.
///
/// The new version is a temporary copy, flushed and renamed over the file: a crash at any moment leaves the old file or
/// the new one, whole (and perhaps a hidden `.voisin-…` copy, whose name `note` is told before it is made, so that it can
/// be found and removed). Values must not be empty strings or contain NULs.
pub fn prepare(
    path: &Path,
    edits: &[TagEdit],
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> Result<PreparedWrite, AudioError> {
    write::prepare(path, edits, options, note)
}

/// Gives a file the bytes that it had before tags were written into it, if it has those that it was left with; tells
/// whether it has them (or, in a dry run, would have them).
pub fn restore(
    path: &Path,
    patch: &ReversePatch,
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> Result<bool, AudioError> {
    write::restore(path, patch, options, note)
}

/// Whether a file has the bytes that it had before tags were written into it.
pub fn is_as_before(path: &Path, patch: &ReversePatch) -> Result<bool, AudioError> {
    write::is_as_before(path, patch)
}

/// Writes one genre an entry, as [`prepare`] does: what tests and fuzz targets take.
pub fn write_genres(
    path: &Path,
    genres: &[String],
    options: WriteOptions,
) -> Result<WriteOutcome, AudioError> {
    let edit = TagEdit {
        field: TagField::Genre,
        values: genres.to_vec(),
    };
    let outcome = write::prepare(path, &[edit], options, &mut |_| {})?
        .commit()?
        .pop();
    Ok(outcome.unwrap_or(WriteOutcome::Unchanged))
}
