//! Types that go into the catalogue and come out of it: plain data, no SQL.

use std::path::{Path, PathBuf};

use half::f16;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::{ScaleBound, Scales, TagPattern};
use voisin_base::regular_file::changed_at;
pub use voisin_base::regular_file::mtime_ns;
use voisin_base::track::{ContentId, TrackId};
use voisin_music::artists::{artists, is_no_album, is_nobody};
use voisin_music::cue::{CuePart, Place};
use voisin_music::key::MusicalKey;
use voisin_music::recording::Recording;
use voisin_music::song::SongTitle;
use voisin_music::tags::TrackTags;

/// Modes of opening a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Reading only; works in folders that cannot be written.
    ReadOnly,
    /// Reading and writing a library that is there.
    ReadWrite,
    /// Reading and writing; a library is made where there is none.
    Create,
}

/// Facts about a recording from decoding it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AudioFacts {
    /// BLAKE3 of the compressed packets.
    pub content: ContentId,
    /// Length in seconds, without encoder delay and padding.
    #[serde(with = "voisin_base::exact")]
    pub seconds: f64,
    /// Native sample rate in Hz.
    pub sample_rate: u32,
    /// Native number of channels.
    pub channels: u16,
    /// Name of the container, such as `ogg`.
    pub container: String,
    /// Name of the codec, such as `vorbis`.
    pub codec: String,
    /// Packets in the file.
    pub packets: u64,
    /// Packets that could not be decoded and were skipped.
    pub damaged_packets: u64,
}

/// A file as the file system sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its path, in the form [`stored_path`](super::stored_path) gives.
    #[serde(with = "super::record::path_form")]
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970 UTC. Compared for equality only, never for order:
    /// a clock may go backwards.
    pub mtime_ns: i64,
    /// When the file was changed last, whatever time it was given (the system's `ctime`), in seconds since 1970 UTC; 0 where
    /// that is not known, as from a library. Later than the last look at it, its tags are read again.
    #[serde(skip)]
    pub changed_at: i64,
}

impl FileRecord {
    /// Reads size and modification time of a file (symbolic links are followed), or of a part of one, which a CUE sheet
    /// describes: it changes with its file and with the sheet.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        match Place::of(path)? {
            Place::Part(part) => Self::of_part(&part),
            Place::File(path) => {
                let metadata = std::fs::metadata(path)?;
                Ok(Self {
                    path: path.to_path_buf(),
                    size: metadata.len(),
                    mtime_ns: mtime_ns(&metadata),
                    changed_at: changed_at(&metadata),
                })
            }
        }
    }

    pub(super) fn of_part(part: &CuePart) -> std::io::Result<Self> {
        let (sheet, audio) = part.metadata()?;
        // One number that changes with either; it is compared for equality only, so it may wrap.
        let mtime_ns = mtime_ns(&audio).wrapping_add(mtime_ns(&sheet));
        let changed_at = changed_at(&audio).max(changed_at(&sheet));
        // a part has no bytes of its own: deleting it frees none
        Ok(Self {
            path: part.path(),
            size: 0,
            mtime_ns,
            changed_at,
        })
    }
}

/// The window vectors of a track: `[windows, dimension]`, and where each window starts.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackWindows {
    /// `[windows, dimension]`, as the encoder gave them, in half precision.
    pub vectors: Array2<f16>,
    /// Start of each window in seconds from the beginning of the track; as many as rows.
    pub starts: Vec<f32>,
}

impl TrackWindows {
    /// No windows, of vectors of this dimension.
    pub fn none(dimension: usize) -> Self {
        Self {
            vectors: Array2::default((0, dimension)),
            starts: Vec::new(),
        }
    }
}

/// All there is to know of a track that enters the library.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTrack {
    /// The recording.
    pub audio: AudioFacts,
    /// The file it was read from.
    pub file: FileRecord,
    /// The file's tags.
    pub tags: TrackTags,
    /// The pooled vector: finite, of unit norm, of the model's dimension.
    pub vector: Vec<f32>,
    /// The vectors of its windows; may have no rows.
    pub windows: TrackWindows,
    /// Measurements of its sound, if there are any.
    pub descriptors: Option<Descriptors>,
}

/// Measurements of a recording's sound, and its values of scales.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Descriptors {
    /// Version of the method; those of others are measured again by `voisin add --update-descriptors`.
    pub version: u32,
    /// Beats a minute; `None` where no beat was found.
    #[serde(with = "voisin_base::exact::option")]
    pub tempo: Option<f64>,
    /// `None` where no key was found.
    pub key: Option<MusicalKey>,
    /// Integrated loudness, LUFS (EBU R 128); `None` for silence.
    #[serde(with = "voisin_base::exact::option")]
    pub loudness: Option<f64>,
    /// Whether the whole file was heard for the loudness; else it is an estimate from parts of it.
    pub loudness_is_exact: bool,
    /// Numbers from 0 to 100: measured, learned and the owner's own.
    #[serde(default, skip_serializing_if = "Scales::is_empty")]
    pub scales: Scales,
}

/// One recording of the library with its files.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Its key.
    pub id: TrackId,
    /// Facts about the recording.
    pub audio: AudioFacts,
    /// When it was added, in seconds since 1970 UTC.
    pub added_at: i64,
    /// The files that hold it, oldest entry first. Several are exact duplicates of each other. Empty
    /// only while an `add` is under way that found other audio under its last path.
    pub files: Vec<StoredFile>,
    /// Tags of the first file.
    pub tags: TrackTags,
    /// Its composers, where these count in the place of its artists: see [`Person`].
    pub composers: Option<String>,
    /// The last path it was known under; that of the first file if it has one.
    pub path: PathBuf,
}

impl Track {
    /// The artist, or the album's artist where no other is named.
    ///
    /// None where only a placeholder such as `Unknown Artist` is named.
    pub fn main_artist(&self) -> Option<&str> {
        // "Unknown Artist" beside an album by somebody: whoever is named counts.
        let named = [&self.tags.artist, &self.tags.album_artist];
        named
            .into_iter()
            .flatten()
            .map(String::as_str)
            .find(|name| !is_nobody(name))
    }

    /// The album, unless a placeholder such as `Unknown Album` stands for it.
    pub fn album(&self) -> Option<&str> {
        let album = self.tags.album.as_deref();
        album.filter(|album| !is_no_album(album))
    }

    /// Everybody whom the artist names, or the album's artist where no other is named; the first leads.
    pub fn artists(&self) -> Vec<&str> {
        self.main_artist().map(artists).unwrap_or_default()
    }

    /// The people that it counts as by, in lists with so many tracks per person and in folds that
    /// keep a person's tracks together: its artists, or its composers where the library is set so
    /// and a file names one.
    pub fn people(&self) -> Vec<&str> {
        self.composers
            .as_deref()
            .map_or_else(|| self.artists(), artists)
    }

    /// The facts that tell copies of it.
    #[doc(hidden)]
    pub fn recording(&self) -> Recording<'_> {
        Recording {
            title: self.tags.title.as_deref(),
            artist: self.main_artist(),
            seconds: self.audio.seconds,
        }
    }

    /// Its title as one of versions of a song, where its tags identify one.
    #[doc(hidden)]
    pub fn song(&self) -> Option<SongTitle> {
        SongTitle::new(self.main_artist(), self.tags.title.as_deref())
    }

    /// `artist – title`, or what there is of it, or the file's name; of very long names the beginning.
    pub fn display_name(&self) -> String {
        /// Characters of a name that a sentence has room for; some programs write a page into a tag.
        const MOST: usize = 200;
        let shown = |name: &str| match name.char_indices().nth(MOST) {
            Some((end, _)) => format!("{}…", &name[..end]),
            None => name.to_owned(),
        };
        match (self.main_artist(), self.tags.title.as_deref()) {
            (Some(artist), Some(title)) => format!("{} – {}", shown(artist), shown(title)),
            (None, Some(title)) => shown(title),
            _ => self
                .path
                .file_name()
                .unwrap_or(self.path.as_os_str())
                .to_string_lossy()
                .into_owned(),
        }
    }
}

/// Whom a track counts as by: whose tracks a list holds so many of, whom `artists` compares, whose tracks stay on one side
/// of a fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Person {
    /// Those who play it.
    #[default]
    Artist,
    /// Who wrote it, where a file names a composer; else those who play it.
    Composer,
}

impl Person {
    /// `artist` or `composer`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Artist => "artist",
            Self::Composer => "composer",
        }
    }
}

impl std::str::FromStr for Person {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let known = [Self::Artist, Self::Composer]
            .into_iter()
            .find(|person| person.name() == text);
        known.ok_or_else(|| format!("expected artist or composer, found \"{text}\""))
    }
}

/// A file that holds a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Path, size and modification time when it was last scanned.
    pub record: FileRecord,
    /// The track it holds.
    pub track: TrackId,
    /// When it was last found there, in seconds since 1970 UTC.
    pub seen_at: i64,
}

/// State of a file in the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// Never seen.
    New,
    /// Seen with the same size and modification time, and its track has a vector: nothing to do.
    Unchanged(TrackId),
    /// As `Unchanged`, but its tags were read when fewer of them were: read them again and call
    /// [`FileTable::attach_file`](crate::FileTable::attach_file).
    OldTags(TrackId),
    /// As `Unchanged`, but something of it changed later than it was seen: its tags, its place, or
    /// all of it, by a program that keeps the time. Where its tags say nothing, its content does.
    Touched(TrackId),
    /// Seen, but size or modification time differ.
    Changed(TrackId),
    /// Its track is known but has no vector (a repair took it out): embed it again and call
    /// [`Library::replace_vectors`](super::Library::replace_vectors).
    NoVector(TrackId),
    /// It failed before and has not changed since: skip it until it changes or is retried.
    FailedBefore {
        /// Why it failed.
        reason: String,
    },
}

/// The outcome of [`FileTable::attach_file`](crate::FileTable::attach_file).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachOutcome {
    /// The path belonged to this track already: size, time and tags were brought up to date.
    Retagged,
    /// A path of this track that no longer exists was replaced by the new one.
    Moved {
        /// Where it was.
        from: PathBuf,
    },
    /// The track has one more file, an exact duplicate.
    Duplicate,
}

/// A file that could not be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its path, in the form [`stored_path`](super::stored_path) gives.
    pub path: PathBuf,
    /// Size in bytes when it failed, where known.
    pub size: Option<u64>,
    /// Modification time in nanoseconds since 1970 UTC when it failed, where known.
    pub mtime_ns: Option<i64>,
    /// Why, in one line.
    pub reason: String,
    /// Whether the next `add` should try again although the file has not changed: it could not be
    /// opened or read, which says nothing about its contents.
    pub transient: bool,
    /// How often it failed so far. Ignored when recording.
    pub attempts: u32,
    /// When it last failed, in seconds since 1970 UTC. Ignored when recording.
    pub failed_at: i64,
}

impl Failure {
    /// Of a file that was not taken over from elsewhere: the next `add` tries it.
    pub fn refused(path: PathBuf, reason: String) -> Self {
        Self {
            path,
            size: None,
            mtime_ns: None,
            reason,
            // Without a size it matches no file on the disk, so that the next `add` tries it.
            transient: false,
            attempts: 0,
            failed_at: 0,
        }
    }
}

/// The model whose vectors a library holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredModel {
    /// Its name.
    pub name: String,
    /// Digest of all that changes a vector: weights, front end, pooling.
    pub fingerprint: String,
    /// Length of its vectors.
    pub dimension: usize,
    /// Its manifest, as JSON.
    pub manifest_json: String,
}

/// A library on its way to another model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The model that is to come.
    pub model: StoredModel,
    /// Tracks that have its vectors.
    pub done: u64,
    /// Tracks in all.
    pub tracks: u64,
}

/// Every vector of the library, in the order of the ids, as of one generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// The generation they belong to.
    pub generation: u64,
    /// The track of each row, ascending.
    pub ids: Vec<TrackId>,
    /// `[tracks, dimension]`, unit norm.
    pub values: Array2<f32>,
}

/// Changes of the vectors between two generations.
///
/// To bring an index up to date, take out `removed` first (an id it does not have is no error), then
/// put in `added`. A track whose vector was replaced is in both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The generation this leads to.
    pub generation: u64,
    /// Tracks whose vector is new or other than before, ascending.
    pub added: Vec<TrackId>,
    /// Tracks whose former vector is no longer valid, ascending.
    pub removed: Vec<TrackId>,
}

/// Counts of a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Recordings.
    pub tracks: u64,
    /// Files, exact duplicates included.
    pub files: u64,
    /// Recordings with a vector.
    pub vectors: u64,
    /// Window vectors.
    pub windows: u64,
    /// Files that failed.
    pub failures: u64,
    /// Counter of the changes to vectors.
    pub generation: u64,
    /// The model, once there is one.
    pub model: Option<StoredModel>,
    /// Another model that it is on its way to.
    pub upgrade: Option<Upgrade>,
    /// Schema version of the database.
    pub schema: u32,
    /// Size of the database in bytes, its write-ahead log not included.
    pub bytes: u64,
}

/// Counts of a removal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files taken out of the catalogue (nothing on disk is touched).
    pub files: u64,
    /// Tracks that went with their last file, vectors included.
    pub tracks: u64,
    /// Entries taken out of the list of failures.
    pub failures: u64,
}

/// A file of the catalogue that is not on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFile {
    /// The entry.
    pub file: StoredFile,
    /// The folder on the way to it that is absent, or empty as a mount point without its disk, where that is why: a whole
    /// disk may just not be mounted. `None`: its own folder is there with other things in it.
    pub absent_folder: Option<PathBuf>,
}

/// Which tracks to consider. Conditions that are empty or `None` hold for all; the others must all
/// hold for one and the same file of a track. Names compare without regard to case and accents.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrackFilter {
    /// Any of these genres: as the tags spell them for a library, as the label source has them for an engine.
    pub genres: Vec<String>,
    /// None of these genres.
    pub exclude_genres: Vec<String>,
    /// Any of these artists, as artist or album artist.
    pub artists: Vec<String>,
    /// None of these artists, as artist or album artist of any file of the track.
    pub exclude_artists: Vec<String>,
    /// Any of these composers.
    pub composers: Vec<String>,
    /// First year, inclusive. A track without a year never fits.
    pub year_from: Option<i32>,
    /// Last year, inclusive.
    pub year_to: Option<i32>,
    /// Under any of these licences, as [`licence_id`](super::licence_id) names them. `cc-by` is one of any version,
    /// `cc-by-4.0` that version, `cc` all of Creative Commons; other licences fit by a part of their text.
    pub licences: Vec<String>,
    /// All of these patterns must fit.
    pub patterns: Vec<TagPattern>,
    /// All of these words must hold; only `Engine::matching` knows what they mean.
    pub words: Vec<WordBound>,
    /// Any of these folders, with all below.
    pub folders: Vec<PathBuf>,
    /// None of these folders, with all below: of any file of the track.
    pub exclude_folders: Vec<PathBuf>,
    /// Shortest length in seconds, inclusive.
    pub seconds_from: Option<f64>,
    /// Greatest length in seconds, inclusive.
    pub seconds_to: Option<f64>,
    /// Least tempo, beats a minute, inclusive. A track whose tempo is not known never fits.
    pub tempo_from: Option<f64>,
    /// Greatest tempo, inclusive.
    pub tempo_to: Option<f64>,
    /// A tempo of half or twice as many beats fits as well.
    pub tempo_octaves: bool,
    /// Any of these keys.
    pub keys: Vec<MusicalKey>,
    /// Least loudness, LUFS, inclusive. A track whose loudness is not known never fits.
    pub loudness_from: Option<f64>,
    /// Greatest loudness, inclusive.
    pub loudness_to: Option<f64>,
    /// All of these must hold.
    pub scales: Vec<ScaleBound>,
}

/// A word that a track must be, or must not be, more strongly than a share of the library.
#[derive(Debug, Clone, PartialEq)]
pub struct WordBound {
    /// A tag of the model, or another word that stands for some.
    pub word: String,
    /// Least percentile, 0 to 1.
    pub percentile: f32,
    /// Tracks that reach it are left out, not kept.
    pub not: bool,
}

impl TrackFilter {
    /// Whether every track fits.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The result of resolving a user's words.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    /// Exactly one track.
    One(TrackId),
    /// Several that fit equally well, best first.
    Ambiguous(Vec<Track>),
    /// None.
    Nothing,
}

#[cfg(test)]
mod tests {
    use crate::testing::{library, track};

    #[test]
    fn a_page_in_a_tag_is_cut_where_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        let mut new = track(1, vec![1.0, 0.0], 0);
        new.tags.artist = Some("Alpha".into());
        new.tags.title = Some("é".repeat(5000));
        library.insert_track(&new).unwrap();
        let tracks = library.tracks().unwrap();
        let expected = format!("Alpha – {}…", "é".repeat(200));
        assert_eq!(tracks[0].display_name(), expected);
        assert_eq!(tracks[0].tags.title, new.tags.title, "it is kept whole");
    }
}
