//! Types of a library's methods: plain data, no SQL.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::{ScaleBound, Scales};
use crate::artists::{artist_keys, artists, is_no_album, is_nobody};
use crate::musical_key::MusicalKey;
use crate::recording::{Recording, song};
pub use voisin_base::regular_file::mtime_ns;
use voisin_base::tags::TrackTags;
use voisin_base::track::{ContentId, TrackId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Reading only; works in folders that cannot be written.
    ReadOnly,
    ReadWrite,
    Create,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AudioFacts {
    /// BLAKE3 of the compressed packets.
    pub content: ContentId,
    /// Length in seconds, without encoder delay and padding.
    pub seconds: f64,
    pub sample_rate: u32,
    pub channels: u16,
    pub container: String,
    pub codec: String,
    pub packets: u64,
    pub damaged_packets: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its path, in the form [`stored_path`](super::stored_path) gives.
    #[serde(with = "super::paths")]
    pub path: PathBuf,
    pub size: u64,
    /// Modification time in nanoseconds since 1970 UTC. Compared for equality only, never for order:
    /// a clock may go backwards.
    pub mtime_ns: i64,
}

impl FileRecord {
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            size: metadata.len(),
            mtime_ns: mtime_ns(&metadata),
        })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct NewTrack {
    pub audio: AudioFacts,
    pub file: FileRecord,
    pub tags: TrackTags,
    /// The pooled vector: finite, of unit norm, of the model's dimension.
    pub vector: Vec<f32>,
    /// Logits of the model's tags and outputs, in their order; empty if it has none.
    pub logits: Vec<f32>,
    pub descriptors: Option<Descriptors>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Descriptors {
    pub version: u32,
    /// Beats a minute; `None` where no beat was found.
    pub tempo: Option<f64>,
    pub key: Option<MusicalKey>,
    /// Integrated loudness, LUFS (EBU R 128); `None` for silence.
    pub loudness: Option<f64>,
    /// Whether the loudness was measured on the whole file; else it is an estimate from parts.
    pub loudness_is_exact: bool,
    /// Whether the sound never changes, as a tone or noise.
    #[serde(default)]
    pub is_steady: bool,
    /// Numbers from 0 to 100: measured, learned and the owner's own.
    #[serde(default, skip_serializing_if = "Scales::is_empty")]
    pub scales: Scales,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    pub id: TrackId,
    pub audio: AudioFacts,
    /// When it was added, in seconds since 1970 UTC.
    pub added_at: i64,
    /// The files that hold it, oldest entry first. Several are exact duplicates of each other. Only
    /// empty during an `add` that found other audio under its last path.
    pub files: Vec<StoredFile>,
    pub tags: TrackTags,
    /// The path of its first file; without files the last path.
    pub path: PathBuf,
}

impl Track {
    /// `None` if there is only a placeholder such as `Unknown Artist`.
    pub fn main_artist(&self) -> Option<&str> {
        // The album artist counts beside "Unknown Artist".
        let named = [&self.tags.artist, &self.tags.album_artist];
        named
            .into_iter()
            .flatten()
            .map(String::as_str)
            .find(|name| !is_nobody(name))
    }

    /// The album, unless it is a placeholder such as `Unknown Album`.
    pub fn album(&self) -> Option<&str> {
        let album = self.tags.album.as_deref();
        album.filter(|album| !is_no_album(album))
    }

    /// All people in the artist, or in the album artist if there is none; the first is the main one.
    pub fn artists(&self) -> Vec<&str> {
        self.main_artist().map(artists).unwrap_or_default()
    }

    /// The same as keys.
    pub fn artist_keys(&self) -> Vec<String> {
        self.main_artist().map(artist_keys).unwrap_or_default()
    }

    /// The facts by which copies of it are recognised.
    pub fn recording(&self) -> Recording<'_> {
        Recording {
            title: self.tags.title.as_deref(),
            artist: self.main_artist(),
            seconds: self.audio.seconds,
        }
    }

    /// Its artist and title, by which it stands once in a list.
    pub fn song(&self) -> Option<[String; 2]> {
        song(self.main_artist(), self.tags.title.as_deref())
    }

    /// `artist – title`, or one of them, or the file's name; very long names are truncated.
    pub fn display_name(&self) -> String {
        /// Most characters of a name; some programs write a page into a tag.
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Path, size and modification time when it was last scanned.
    pub record: FileRecord,
    pub track: TrackId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    New,
    /// Seen with the same size and modification time, and its track has a vector: nothing to do.
    Unchanged(TrackId),
    /// Seen, but size or modification time differ.
    Changed(TrackId),
    /// Its track is known but has no vector: embed it again and call
    /// [`Library::replace_vector`](super::Library::replace_vector).
    NoVector(TrackId),
    /// It failed before and has not changed since: skip it until it changes or is retried.
    FailedBefore {
        reason: String,
    },
}

/// The outcome of [`Library::attach_file`](crate::Library::attach_file).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachOutcome {
    /// The path belonged to this track already: size, time and tags were updated.
    Retagged,
    /// A path of this track that no longer exists was replaced by the new one.
    Moved { from: PathBuf },
    /// The track has one more file, an exact duplicate.
    Duplicate,
}

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
    /// opened or read, so its contents are unknown.
    pub transient: bool,
    /// How often it failed so far. Ignored when recording.
    pub attempts: u32,
    /// When it last failed, in seconds since 1970 UTC. Ignored when recording.
    pub failed_at: i64,
}

impl Failure {
    /// For a file of a refused record: the next `add` tries it.
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredModel {
    pub name: String,
    /// Digest of all that changes a vector: weights, front end, pooling.
    pub fingerprint: String,
    pub dimension: usize,
    pub manifest_json: String,
}

/// All vectors of the library, in order of the ids, at one generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    pub generation: u64,
    /// The track of each row, ascending.
    pub ids: Vec<TrackId>,
    /// `[tracks, dimension]`, unit norm.
    pub values: Array2<f32>,
}

/// Changes of the vectors between two generations.
///
/// To update an index, remove `removed` first (an unknown id is no error), then insert `added`. A
/// track whose vector was replaced is in both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub generation: u64,
    /// Tracks whose vector is new or changed, ascending.
    pub added: Vec<TrackId>,
    /// Tracks whose former vector is no longer valid, ascending.
    pub removed: Vec<TrackId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub tracks: u64,
    /// Files, exact duplicates included.
    pub files: u64,
    pub vectors: u64,
    pub failures: u64,
    /// Counter of the changes to vectors.
    pub generation: u64,
    pub model: Option<StoredModel>,
    pub schema: u32,
    /// Size of the database in bytes, its write-ahead log not included.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files removed from the library (nothing on disk is touched).
    pub files: u64,
    /// Tracks removed with their last file, vectors included.
    pub tracks: u64,
    pub failures: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFile {
    pub file: StoredFile,
    /// The folder above it that is absent, or empty like a mount point without its disk: the disk may not be mounted.
    /// `None`: its own folder exists and is not empty.
    pub absent_folder: Option<PathBuf>,
}

/// Which tracks to consider. Conditions that are empty or `None` hold for all; the others must all
/// hold for one and the same file of a track. Names compare without regard to case and accents.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrackFilter {
    /// Any of these genres: as spelt in tags for a library, as in the label source for an engine.
    pub genres: Vec<String>,
    pub exclude_genres: Vec<String>,
    /// Any of these artists, as artist or album artist.
    pub artists: Vec<String>,
    /// None of these artists, as artist or album artist of any file of the track.
    pub exclude_artists: Vec<String>,
    /// First year, inclusive. A track without a year never fits.
    pub year_from: Option<i32>,
    pub year_to: Option<i32>,
    /// Under any of these licences, as [`licence_id`](super::licence_id) names them. `cc-by` is one of any version,
    /// `cc-by-4.0` that version, `cc` all of Creative Commons; other licences fit by a part of their text.
    pub licences: Vec<String>,
    /// All of these words must hold; only `Engine::matching` evaluates them.
    pub words: Vec<WordBound>,
    pub folders: Vec<PathBuf>,
    /// None of these folders, with all below, for any file of the track.
    pub exclude_folders: Vec<PathBuf>,
    /// Shortest length in seconds, inclusive.
    pub seconds_from: Option<f64>,
    pub seconds_to: Option<f64>,
    /// Least tempo, beats a minute, inclusive. A track whose tempo is not known never fits.
    pub tempo_from: Option<f64>,
    pub tempo_to: Option<f64>,
    pub keys: Vec<MusicalKey>,
    /// All of these must hold.
    pub scales: Vec<ScaleBound>,
}

/// A word on which a track must rank above a share of the library, or must not.
#[derive(Debug, Clone, PartialEq)]
pub struct WordBound {
    /// A tag of the model, or a word defined by some of them.
    pub word: String,
    /// Least percentile, 0 to 1.
    pub percentile: f32,
    pub not: bool,
}

impl TrackFilter {
    /// Whether every track fits.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    One(TrackId),
    /// Several that match equally well, best first.
    Ambiguous(Vec<Track>),
    Nothing,
}

#[cfg(test)]
mod tests {
    use crate::testing::{library, track};

    #[test]
    fn a_page_in_a_tag_is_cut_where_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        let mut new = track(1, vec![1.0, 0.0]);
        new.tags.artist = Some("Alpha".into());
        new.tags.title = Some("é".repeat(5000));
        library.insert_track(&new).unwrap();
        let tracks = library.tracks().unwrap();
        let expected = format!("Alpha – {}…", "é".repeat(200));
        assert_eq!(tracks[0].display_name(), expected);
        assert_eq!(tracks[0].tags.title, new.tags.title, "it is kept whole");
    }
}
