//! Recordings in several files.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::lossy;
use voisin_base::text;
use voisin_base::track::TrackId;
use voisin_engine::{Collection, Engine, EngineError};
use voisin_explore::TrackMeta;
use voisin_explore::duplicates::{DuplicateGroup, DuplicatePair};
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
    pub(crate) pairs: Vec<PairJson>,
}

/// Two tracks that are the same recording.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PairJson {
    pub(crate) a: IdJson,
    pub(crate) b: IdJson,
    pub(crate) similarity: f32,
    pub(crate) distinctness: f32,
    pub(crate) correlation: Option<f32>,
    pub(crate) offset: f32,
    pub(crate) coverage: f32,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct IdJson {
    pub(crate) id: TrackId,
}

impl From<DuplicatePair> for PairJson {
    fn from(pair: DuplicatePair) -> Self {
        let DuplicatePair {
            a,
            b,
            similarity,
            distinctness,
            correlation,
            offset,
            coverage,
        } = pair;
        let a = IdJson { id: a };
        let b = IdJson { id: b };
        Self {
            a,
            b,
            similarity,
            distinctness,
            correlation,
            offset,
            coverage,
        }
    }
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
    /// Its metadata as a track.
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
    let several = engine
        .library()
        .files()
        .tracks_of_several_files()?
        .into_iter();
    let several: HashMap<TrackId, Vec<StoredFile>> =
        several.map(|track| (track.id, track.files)).collect();
    let album_mates = album_mates(collection);
    // A track's files: the first is the one to keep.
    let files = |id: TrackId| -> Vec<FileJson> {
        let Some(row) = collection.row(id) else {
            return Vec::new();
        };
        let track = &collection.meta[row];
        let Some(stored) = several.get(&id) else {
            // Most tracks have one file, and were not read for this.
            return vec![file(track, track.system_path(), track.bytes, false)];
        };
        let mut stored: Vec<&StoredFile> = stored.iter().collect();
        // The sort is stable: of equals the one added first.
        stored.sort_by_key(|stored| {
            let path = &stored.record.path;
            let album = (path.parent(), track.album.as_deref());
            // The copy in the folder of its album is preferred.
            Reverse(album_mates.get(&album).copied().unwrap_or(0))
        });
        let mut files: Vec<FileJson> = stored
            .iter()
            .map(|stored| file(track, &stored.record.path, stored.record.size, true))
            .collect();
        // In bounds, since tracks in `several` have several
        // files. The kept one is no copy.
        files[0].exact = false;
        files
    };
    let mut listed: std::collections::HashSet<TrackId> = std::collections::HashSet::new();
    let mut groups = Vec::new();
    for group in similar {
        // Their exact copies are in this group, and not listed again below.
        listed.extend(group.others.iter().chain([&group.best]));
        let mut all = group.others.iter().fold(files(group.best), |mut all, &id| {
            all.extend(files(id));
            all
        });
        if all.len() > 1 {
            let keep = all.remove(0);
            let bytes_to_be_won = all.iter().map(|file| file.bytes).sum();
            groups.push(GroupJson {
                keep,
                why: group.reason,
                others: all,
                bytes_to_be_won,
                pairs: group.pairs.into_iter().map(PairJson::from).collect(),
            });
        }
    }
    // Number of tracks of its album in a file's folder.
    let mates = |id: TrackId, file: &FileJson| {
        let row = collection.row(id);
        let album = row.and_then(|row| collection.meta[row].album.as_deref());
        let folder = (file.file.parent(), album);
        album_mates.get(&folder).copied().unwrap_or(0)
    };
    let mut alone: Vec<TrackId> = several
        .keys()
        .copied()
        .filter(|id| !listed.contains(id))
        .collect();
    // A hash map is not ordered.
    alone.sort_unstable();
    for id in alone {
        let mut all = files(id);
        if all.len() > 1 {
            let keep = all.remove(0);
            let bytes_to_be_won = all.iter().map(|file| file.bytes).sum();
            let why = if mates(id, &keep) > mates(id, &all[0]) {
                "the same audio in each: the file in its album's folder".to_owned()
            } else {
                "the same audio in each: the file added first".to_owned()
            };
            groups.push(GroupJson {
                keep,
                why,
                others: all,
                bytes_to_be_won,
                pairs: Vec::new(),
            });
        }
    }
    most_bytes_first(&mut groups);
    Ok(groups)
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
        let mut ids: BTreeSet<TrackId> = group.others.iter().map(|file| file.id).collect();
        ids.insert(group.keep.id);
        group
            .pairs
            .retain(|pair| ids.contains(&pair.a.id) && ids.contains(&pair.b.id));
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
                pairs: Vec::new(),
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
        assert_eq!(left(&["Cargo.toml", "src/lib.rs"]), (0, Some((1, 100))));
        assert_eq!(left(&["Cargo.toml", "gone"]), (1, None));
        assert_eq!(left(&["gone", "Cargo.toml"]), (1, None));
        assert_eq!(
            left(&["gone", "Cargo.toml", "src/lib.rs"]),
            (1, Some((2, 100)))
        );
        // Their drive may not be mounted.
        assert_eq!(left(&["gone", "gone too"]), (0, Some((1, 100))));
    }
}
