//! Labelled tracks of a library: genres from tags, folders or a file, and groups of tracks.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ndarray::Array2;

use super::path_table::PathTable;
use crate::{Engine, EngineError, Seed};
use voisin_base::track::{ContentId, TrackId};
use voisin_explore::TrackMeta;
use voisin_genre::{Genre, LabelCount, LabelledVectors, Spellings, Taxonomy};
use voisin_library::{Library, LibraryError, Track, fold};

/// Name of a user's own synonyms inside a library's folder.
pub const SYNONYMS_FILE: &str = "genre-synonyms.tsv";

/// Setting of a library: where its labels come from.
const SOURCE_SETTING: &str = "labels";

/// Where genres come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LabelSource {
    /// The files' genre tags.
    #[default]
    Tags,
    /// The name of a file's folder.
    Folder,
    /// A CSV file (tab-separated if it ends in `.tsv`) with the columns `path` (or `file`) and `genre`. An absolute path is
    /// that file; a relative one is every file whose path ends with it.
    File(PathBuf),
}

impl std::str::FromStr for LabelSource {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "tags" => Self::Tags,
            "folder" => Self::Folder,
            path => Self::File(PathBuf::from(path)),
        })
    }
}

impl std::fmt::Display for LabelSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tags => f.pad("tags"),
            Self::Folder => f.pad("folder"),
            Self::File(path) => f.pad(&path.to_string_lossy()),
        }
    }
}

impl LabelSource {
    /// With an absolute path, since a relative one would depend on the current folder.
    pub(super) fn absolute(&self) -> Self {
        match self {
            Self::File(path) => {
                Self::File(std::path::absolute(path).unwrap_or_else(|_| path.clone()))
            }
            other => other.clone(),
        }
    }
}

/// Facts of a track to show to a user.
#[derive(Debug, Clone, Default)]
pub struct TrackDisplay {
    /// Its artist, or its album's.
    pub artist: Option<String>,
    pub display: String,
    pub path: PathBuf,
}

/// All tracks with a vector, with their labels, if any, and their groups.
#[derive(Debug, Clone)]
pub struct LabelledTracks {
    pub ids: Vec<TrackId>,
    /// `[tracks, dimension]`, raw, unit rows.
    pub vectors: Array2<f32>,
    /// Genres of each track, one spelling per genre.
    pub labels: Vec<Vec<Genre>>,
    pub groups: Vec<usize>,
    pub facts: Vec<TrackDisplay>,
    /// Lines of a label file that named no track of the library.
    pub unmatched: usize,
}

impl TrackDisplay {
    pub fn of(track: &Track) -> Self {
        Self {
            artist: track.main_artist().map(str::to_owned),
            display: track.display_name(),
            path: track.path.clone(),
        }
    }
}

/// The main artist of a track, without one its album ([`TrackMeta::album_key`]), or the track itself. With featured artists
/// whole genres would become one group.
pub(super) fn artist_group(track: &Track) -> String {
    if let Some(artist) = track.artists().first() {
        return fold(artist);
    }
    let album = TrackMeta {
        album: track.album().map(str::to_owned),
        album_artist: track.tags.album_artist.clone(),
        ..TrackMeta::of_file(track.id, &track.path)
    };
    // Unique: NUL cannot occur in a tag or a path.
    album
        .album_key()
        .unwrap_or_else(|| format!("\0{}\0{}", track.path.display(), track.id))
}

impl LabelledTracks {
    /// The same as plain numbers, for [`voisin_genre`].
    pub fn set(&self) -> LabelledVectors<'_> {
        LabelledVectors {
            ids: &self.ids,
            vectors: self.vectors.view(),
            labels: &self.labels,
            groups: &self.groups,
        }
    }

    pub(super) fn seed(&self, row: usize) -> Seed {
        Seed {
            track: Some(self.ids[row]),
            path: self.facts[row].path.clone(),
            ..Seed::of_vector(self.vectors.row(row).to_vec())
        }
    }

    /// Numbers of labelled tracks and of their genres.
    pub fn label_count(&self) -> LabelCount {
        LabelCount::of(&self.labels)
    }
}

pub(super) struct Labeller<'a> {
    taxonomy: &'a Taxonomy,
    source: &'a LabelSource,
    table: Option<PathTable>,
    /// Manual labels of single recordings, which take precedence over every source.
    by_hand: HashMap<ContentId, String>,
}

impl<'a> Labeller<'a> {
    pub(super) fn new(
        taxonomy: &'a Taxonomy,
        source: &'a LabelSource,
        library: &Library,
    ) -> Result<Self, EngineError> {
        let table = match source {
            LabelSource::File(file) => Some(PathTable::read(file)?),
            LabelSource::Tags | LabelSource::Folder => None,
        };
        Ok(Self {
            taxonomy,
            source,
            table,
            by_hand: library.hand_labels()?,
        })
    }

    pub(super) fn genres(&mut self, track: &Track) -> Vec<Genre> {
        // Looked up even if there is a manual label, because a table records which of its lines matched
        // a track.
        let of_source = self.of_source(track);
        match self.by_hand.get(&track.audio.content) {
            Some(genre) => self.taxonomy.parse(&[genre]),
            None => of_source,
        }
    }

    fn of_source(&mut self, track: &Track) -> Vec<Genre> {
        let texts: Vec<String> = match (self.source, &mut self.table) {
            (LabelSource::Tags, _) => return self.taxonomy.parse(&track.tags.genres),
            (_, Some(table)) => table.of(paths(track)),
            _ => {
                // a folder's name is one genre, whatever signs are in it
                let names = paths(track).filter_map(|path| path.parent()?.file_name());
                let mut genres: Vec<Genre> = Vec::new();
                for genre in names.filter_map(|name| self.taxonomy.genre(&name.to_string_lossy())) {
                    if !genres.contains(&genre) {
                        genres.push(genre);
                    }
                }
                return genres;
            }
        };
        self.taxonomy.parse(&texts)
    }
}

/// Length and time of a table; `None` if its metadata cannot be read.
pub(crate) fn table_state(path: &Path) -> Option<(u64, SystemTime)> {
    let table = std::fs::metadata(path).ok()?;
    Some((table.len(), table.modified().ok()?))
}

/// - `spellings`: ascending
pub(super) fn spell<'a>(spellings: &[Genre], genres: impl Iterator<Item = &'a mut Genre>) {
    for genre in genres {
        if let Ok(at) = spellings.binary_search(genre) {
            *genre = spellings[at].clone();
        }
    }
}

fn paths(track: &Track) -> impl Iterator<Item = &Path> {
    let files = track.files.iter().map(|file| file.record.path.as_path());
    files.chain(track.files.is_empty().then_some(track.path.as_path()))
}

impl Engine {
    /// Spellings of genres: voisin's own, and the synonyms in the library's folder, if any.
    pub fn taxonomy(&self) -> Result<Taxonomy, EngineError> {
        let synonyms = self.library.dir().join(SYNONYMS_FILE);
        let shipped = Taxonomy::default();
        Ok(if synonyms.is_file() {
            shipped.with_user_file(&synonyms)?
        } else {
            shipped
        })
    }

    /// Where this library's labels come from: the setting; without one, the source of the trained head, or else the tags.
    pub fn label_source(&self) -> LabelSource {
        if let Ok(Some(source)) = self.library.setting(SOURCE_SETTING) {
            let Ok(source) = source.parse();
            return source;
        }
        match self.genre_head() {
            Ok(Some(head)) => head.source(),
            Ok(None) | Err(_) => LabelSource::default(),
        }
    }

    /// The genres of some tracks from the library's label source, or from their tags if that cannot be read.
    pub fn genres_of(&self, tracks: &[Track]) -> Result<Vec<Vec<Genre>>, EngineError> {
        let taxonomy = self.taxonomy()?;
        let source = self.label_source();
        let mut labeller = match Labeller::new(&taxonomy, &source, &self.library) {
            Ok(labeller) => labeller,
            // A table on a disk that is not mounted must not fail a search; functions about labels
            // return the error.
            Err(_) => Labeller::new(&taxonomy, &LabelSource::Tags, &self.library)?,
        };
        Ok(tracks.iter().map(|track| labeller.genres(track)).collect())
    }

    /// Reads vectors, labels and groups of all tracks.
    #[doc(hidden)]
    pub fn labelled_tracks(&self, source: &LabelSource) -> Result<LabelledTracks, EngineError> {
        let vectors = self.library.vectors()?;
        if vectors.ids.is_empty() {
            return Err(EngineError::no_tracks(self.library.dir()));
        }
        let n = vectors.ids.len();
        let mut labels: Vec<Vec<Genre>> = vec![Vec::new(); n];
        let mut groups = vec![0; n];
        let mut facts = vec![TrackDisplay::default(); n];
        let mut members: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let unmatched = self.for_each_labelled(source, |track, genres| {
            // A track without a vector.
            let Ok(row) = vectors.ids.binary_search(&track.id) else {
                return Ok(());
            };
            labels[row] = genres;
            members.entry(artist_group(&track)).or_default().push(row);
            facts[row] = TrackDisplay::of(&track);
            Ok(())
        })?;
        // Ordered by name, so that folds do not depend on the ids of tracks.
        for (group, rows) in members.into_values().enumerate() {
            rows.into_iter().for_each(|row| groups[row] = group);
        }
        if labels.iter().all(Vec::is_empty) {
            return Err(EngineError::no_labels());
        }
        // One spelling per genre: the most common.
        let spellings = Spellings::count(labels.iter().flatten()).genres();
        spell(&spellings, labels.iter_mut().flatten());
        Ok(LabelledTracks {
            ids: vectors.ids,
            vectors: vectors.values,
            labels,
            groups,
            facts,
            unmatched,
        })
    }

    pub fn set_label_source(&mut self, source: &LabelSource) -> Result<(), EngineError> {
        let source = source.absolute();
        let text = match &source {
            LabelSource::File(path) => path.to_str().map(str::to_owned).ok_or_else(|| {
                let expected = "expected a path in UTF-8, since the library stores it";
                EngineError::file(path, expected)
            })?,
            named => named.to_string(),
        };
        Ok(self.library.set_setting(SOURCE_SETTING, Some(&text))?)
    }

    /// Calls `visit` with each track and its genres, with one track in memory at a time; returns the number of lines of a
    /// label file that match no file of the library.
    pub(crate) fn for_each_labelled(
        &self,
        source: &LabelSource,
        mut visit: impl FnMut(Track, Vec<Genre>) -> Result<(), LibraryError>,
    ) -> Result<usize, EngineError> {
        let taxonomy = self.taxonomy()?;
        let mut labeller = Labeller::new(&taxonomy, source, &self.library)?;
        self.library.for_each_track(|track| {
            let genres = labeller.genres(&track);
            visit(track, genres)
        })?;
        labeller.table.as_ref().map_or(Ok(0), PathTable::unused)
    }
}

#[cfg(test)]
mod tests {
    use voisin_library::testing::{library, track};

    use super::*;

    #[test]
    fn an_album_without_artists_is_one_group() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 4);
        let mut group = |seed: u64, artist: Option<&str>, album: Option<&str>| {
            let mut new = track(seed, vec![0.5; 4]);
            new.tags.artist = artist.map(str::to_owned);
            new.tags.album = album.map(str::to_owned);
            let id = library.insert_track(&new).unwrap();
            artist_group(&library.track(id).unwrap())
        };
        let live = group(1, None, Some("Live"));
        assert_eq!(group(2, None, Some("LIVE")), live);
        assert_ne!(group(3, Some("Muldjord"), Some("Live")), live);
        assert_ne!(group(4, None, Some("Unknown Album")), live);
        assert_ne!(group(5, None, None), group(6, None, None));
        assert_eq!(group(7, Some("Muldjord"), None), "muldjord");
    }
}
