//! Recordings in several files.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::lossy;
use crate::{Collection, Engine, EngineError};
use voisin_base::regular_file;
use voisin_base::text;
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_explore::duplicates::DuplicateGroup;
use voisin_library::StoredFile;

/// The documented JSON of `duplicates`: a list of these.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GroupJson {
    /// The file to keep.
    pub keep: FileJson,
    /// The reason, in words.
    pub why: String,
    /// The other files of the recording.
    pub others: Vec<FileJson>,
    /// Bytes of the other files.
    pub bytes_to_be_won: u64,
}

/// One of the files of a recording.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FileJson {
    /// The track's number.
    pub id: TrackId,
    /// Where its file is.
    pub path: String,
    artist: Option<String>,
    title: String,
    pub(crate) codec: String,
    pub(crate) kilobits_per_second: Option<f64>,
    pub(crate) seconds: f64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Bit for bit the same audio as another file of the group.
    pub exact: bool,
    /// The path of the file system.
    #[serde(skip)]
    pub file: PathBuf,
}

impl FileJson {
    pub fn meta(&self) -> TrackMeta {
        TrackMeta {
            seconds: self.seconds,
            ..TrackMeta::of_file(self.id, &self.file)
        }
    }

    /// Its name and quality, in words.
    pub fn describe(&self) -> String {
        let size = text::size(self.bytes);
        match self.kilobits_per_second {
            _ if self.exact => format!("the same audio, {size}"),
            Some(rate) => format!("{} at {rate:.0} kbit/s, {size}", self.codec),
            None => format!("{}, {size}", self.codec),
        }
    }
}

/// Adds the files with exactly the same audio, which are one track of the library; most bytes to be won first.
pub(crate) fn with_exact_copies(
    engine: &Engine,
    collection: &Collection,
    similar: Vec<DuplicateGroup>,
) -> Result<Vec<GroupJson>, EngineError> {
    let several = engine.library().tracks_of_several_files()?;
    let known = KnownFiles {
        collection,
        several: several
            .into_iter()
            .map(|track| (track.id, track.files))
            .collect(),
        album_mates: album_mates(collection),
    };
    let mut listed: HashSet<TrackId> = HashSet::new();
    let mut groups = Vec::new();
    for group in similar {
        // Their exact copies are in this group, and not listed again below.
        listed.extend(group.others.iter().chain([&group.best]));
        let ids = [group.best].into_iter().chain(group.others);
        let all: Vec<FileJson> = ids.flat_map(|id| known.files(id)).collect();
        groups.extend(group_of(all, |_, _| group.reason));
    }
    let mut alone: Vec<TrackId> = known.several.keys().copied().collect();
    alone.retain(|id| !listed.contains(id));
    // A hash map is not ordered.
    alone.sort_unstable();
    for id in alone {
        groups.extend(group_of(known.files(id), |keep, other| {
            let why = if known.mates(keep) > known.mates(other) {
                "the same audio in each: the file in its album's folder"
            } else {
                "the same audio in each: the file added first"
            };
            why.to_owned()
        }));
    }
    most_bytes_first(&mut groups);
    Ok(groups)
}

/// The first file with the others as its copies; `None` without any.
///
/// - `why`: the first is better than the second
fn group_of(
    mut all: Vec<FileJson>,
    why: impl FnOnce(&FileJson, &FileJson) -> String,
) -> Option<GroupJson> {
    if all.len() < 2 {
        return None;
    }
    let keep = all.remove(0);
    Some(GroupJson {
        why: why(&keep, &all[0]),
        keep,
        bytes_to_be_won: all.iter().map(|file| file.bytes).sum(),
        others: all,
    })
}

/// The files of tracks.
struct KnownFiles<'a> {
    collection: &'a Collection,
    several: HashMap<TrackId, Vec<StoredFile>>,
    /// Number of tracks by folder and album.
    album_mates: HashMap<(Option<&'a Path>, Option<&'a str>), usize>,
}

impl KnownFiles<'_> {
    /// A track's files, the one to keep first; hard links are one file.
    fn files(&self, id: TrackId) -> Vec<FileJson> {
        let Some(row) = self.collection.row(id) else {
            return Vec::new();
        };
        let track = &self.collection.meta[row];
        let Some(stored) = self.several.get(&id) else {
            // Most tracks have one file, and were not read for this.
            return vec![file(track, track.system_path(), track.bytes, false)];
        };
        let mut files: Vec<FileJson> = stored
            .iter()
            .map(|stored| file(track, &stored.record.path, stored.record.size, true))
            .collect();
        // The copy in the folder of its album is preferred. The sort is stable: of equals the one added first.
        files.sort_by_key(|file| Reverse(self.mates(file)));
        let mut kept: Vec<Metadata> = Vec::new();
        files.retain(|file| {
            let Ok(metadata) = std::fs::metadata(&file.file) else {
                return true;
            };
            let is_new = !kept
                .iter()
                .any(|other| regular_file::is_same(other, &metadata));
            kept.extend(is_new.then_some(metadata));
            is_new
        });
        if let Some(keep) = files.first_mut() {
            keep.exact = false;
        }
        files
    }

    /// Number of tracks of its album in a file's folder.
    fn mates(&self, file: &FileJson) -> usize {
        let row = self.collection.row(file.id);
        let album = row.and_then(|row| self.collection.meta[row].album.as_deref());
        let folder = (file.file.parent(), album);
        self.album_mates.get(&folder).copied().unwrap_or(0)
    }
}

/// Removes copies whose files are gone from groups with an existing file, and then groups of a
/// single file; returns the number of files removed.
///
/// If all files are gone, the group stays: their drive may not be mounted.
pub fn leave_out_gone(groups: &mut Vec<GroupJson>) -> usize {
    let is_there = |file: &FileJson| Path::new(&file.file).exists();
    let mut left_out = 0;
    groups.retain_mut(|group| {
        let is_kept = is_there(&group.keep);
        if !is_kept && !group.others.iter().any(is_there) {
            return true;
        }
        let copies = group.others.len();
        group.others.retain(is_there);
        left_out += copies - group.others.len();
        if !is_kept {
            left_out += 1;
            group.keep = group.others.remove(0);
            // It was a copy of the missing file.
            group.keep.exact = false;
            "the better file is missing".clone_into(&mut group.why);
        }
        group.bytes_to_be_won = group.others.iter().map(|file| file.bytes).sum();
        !group.others.is_empty()
    });
    most_bytes_first(groups);
    left_out
}

fn most_bytes_first(groups: &mut [GroupJson]) {
    groups.sort_by(|a, b| {
        b.bytes_to_be_won
            .cmp(&a.bytes_to_be_won)
            .then(a.keep.id.cmp(&b.keep.id))
    });
}

/// Number of tracks by folder and album.
fn album_mates(collection: &Collection) -> HashMap<(Option<&Path>, Option<&str>), usize> {
    let mut mates = HashMap::new();
    for track in collection.meta.iter().filter(|track| track.album.is_some()) {
        *mates
            .entry((track.system_path().parent(), track.album.as_deref()))
            .or_insert(0) += 1;
    }
    mates
}

fn file(track: &TrackMeta, path: &Path, bytes: u64, exact: bool) -> FileJson {
    FileJson {
        id: track.id,
        path: lossy(path),
        artist: track.artist.clone(),
        title: track.display_title().to_owned(),
        file: path.to_owned(),
        codec: track.codec.clone(),
        kilobits_per_second: track.kilobits_per_second(),
        seconds: track.seconds,
        bytes,
        exact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_whose_files_are_gone_free_nothing() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let copy = |id: i64, name: &str| {
            let path = folder.join(name);
            file(&TrackMeta::of_file(TrackId(id), &path), &path, 100, false)
        };
        let group = |names: &[&str]| {
            let mut files: Vec<FileJson> =
                (1..).zip(names).map(|(id, name)| copy(id, name)).collect();
            GroupJson {
                keep: files.remove(0),
                why: "lossless".to_owned(),
                bytes_to_be_won: 100 * files.len() as u64,
                others: files,
            }
        };
        let left = |names: &[&str]| {
            let mut groups = vec![group(names)];
            let left_out = leave_out_gone(&mut groups);
            let group = groups.pop();
            (
                left_out,
                group.map(|group| (group.keep.id.0, group.bytes_to_be_won)),
            )
        };
        assert_eq!(left(&["Cargo.toml", "lib.rs"]), (0, Some((1, 100))));
        assert_eq!(left(&["Cargo.toml", "gone"]), (1, None));
        assert_eq!(left(&["gone", "Cargo.toml"]), (1, None));
        assert_eq!(left(&["gone", "Cargo.toml", "lib.rs"]), (1, Some((2, 100))));
        // Their drive may not be mounted.
        assert_eq!(left(&["gone", "gone too"]), (0, Some((1, 100))));
    }
}
