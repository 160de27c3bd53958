//! Labelled tracks of a library: genres from tags, folders or a file, and who belongs together.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::{Engine, EngineError, Seed};
use crate::genre::{Genre, Spellings, Taxonomy, TrainingSet, WindowSet};
use crate::library::{Track, fold, stored_path};
use crate::track::TrackId;

/// Name of a user's own synonyms inside a library's folder.
pub const SYNONYMS_FILE: &str = "genre-synonyms.tsv";

/// Window vectors read for training, at most; more are thinned evenly within each track.
const WINDOW_ROWS: usize = 100_000;

/// Window vectors, unit rows, and the row of each one's track.
pub(super) type OwnedWindows = (Array2<f32>, Vec<usize>);

/// Where genres come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LabelSource {
    /// The files' genre tags.
    #[default]
    Tags,
    /// The name of the folder a file lies in.
    Folder,
    /// A CSV file (tab-separated if it ends in `.tsv`) with the columns `path` (or `file`) and `genre`. An absolute
    /// path is that file; a relative one is every file whose path ends with it.
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

/// Which tracks must not be on both sides of a split.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum GroupBy {
    /// Those of one artist; a track without an artist stands alone.
    #[default]
    Artist,
    /// Those of one album of one artist.
    Album,
    /// Those in one folder.
    Folder,
    /// None: every track stands alone.
    Track,
    /// As a CSV file with the columns `path` (or `file`) and `group` says.
    File(PathBuf),
}

impl std::str::FromStr for GroupBy {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "artist" => Self::Artist,
            "album" => Self::Album,
            "folder" => Self::Folder,
            "track" => Self::Track,
            path => Self::File(PathBuf::from(path)),
        })
    }
}

impl std::fmt::Display for GroupBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Artist => f.pad("artist"),
            Self::Album => f.pad("album"),
            Self::Folder => f.pad("folder"),
            Self::Track => f.pad("track"),
            Self::File(path) => f.pad(&path.to_string_lossy()),
        }
    }
}

/// A table of paths and what is said of them.
struct PathTable {
    file: PathBuf,
    exact: HashMap<PathBuf, Vec<usize>>,
    /// Relative paths by their last part.
    endings: HashMap<OsString, Vec<(PathBuf, usize)>>,
    values: Vec<String>,
    used: Vec<bool>,
}

impl PathTable {
    fn read(file: &Path, column: &str) -> Result<Self, EngineError> {
        let problem =
            |line: u64, problem: String| EngineError::Table { path: file.to_owned(), line, problem };
        let bytes =
            std::fs::read(file).map_err(|source| EngineError::ReadTable { path: file.to_owned(), source })?;
        let tabs = file.extension().is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(if tabs { b'\t' } else { b',' })
            .trim(csv::Trim::All)
            .flexible(true)
            .from_reader(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes));
        let header = reader.headers().map_err(|e| problem(1, e.to_string()))?.clone();
        let find = |name: &str| header.iter().position(|h| h.eq_ignore_ascii_case(name));
        let (Some(path_at), Some(value_at)) = (find("path").or_else(|| find("file")), find(column)) else {
            let found = header.iter().collect::<Vec<_>>().join(",");
            return Err(problem(1, format!("expected the columns path and {column}, found {found}")));
        };
        let mut table = Self {
            file: file.to_owned(),
            exact: HashMap::new(),
            endings: HashMap::new(),
            values: Vec::new(),
            used: Vec::new(),
        };
        for record in reader.records() {
            let record =
                record.map_err(|e| problem(e.position().map_or(0, csv::Position::line), e.to_string()))?;
            let line = record.position().map_or(0, csv::Position::line);
            let (path, value) =
                (record.get(path_at).unwrap_or_default(), record.get(value_at).unwrap_or_default());
            if path.is_empty() {
                return Err(problem(line, "expected a path, found nothing".into()));
            }
            let at = table.values.len();
            table.values.push(value.to_owned());
            table.used.push(false);
            let path = Path::new(path);
            let dotted = path.starts_with(".") || path.starts_with("..");
            if path.is_absolute() || dotted {
                let folder = file.parent().unwrap_or(Path::new(""));
                table.exact.entry(stored_path(&folder.join(path))).or_default().push(at);
            } else if let Some(name) = path.file_name() {
                table.endings.entry(name.to_owned()).or_default().push((path.to_owned(), at));
            }
        }
        Ok(table)
    }

    /// What is said of a file, in the order of the lines.
    fn of(&mut self, path: &Path) -> Vec<String> {
        let mut found: Vec<usize> = self.exact.get(path).cloned().unwrap_or_default();
        let endings = path.file_name().and_then(|name| self.endings.get(name));
        found.extend(endings.into_iter().flatten().filter(|(end, _)| path.ends_with(end)).map(|(_, at)| *at));
        found.sort_unstable();
        found.iter().for_each(|&at| self.used[at] = true);
        found.into_iter().map(|at| self.values[at].clone()).collect()
    }

    /// Lines that named no file; an error if none did.
    fn unused(&self) -> Result<usize, EngineError> {
        let used = self.used.iter().filter(|used| **used).count();
        if used == 0 {
            return Err(EngineError::Table {
                path: self.file.clone(),
                line: 0,
                problem: format!("none of its {} paths is a file of this library", self.values.len()),
            });
        }
        Ok(self.values.len() - used)
    }
}

/// What a person wants to know of a track.
#[derive(Debug, Clone)]
pub struct TrackFacts {
    /// Its artist, or its album's.
    pub artist: Option<String>,
    /// Artist and title, or the file's name.
    pub display: String,
    /// Its path.
    pub path: PathBuf,
}

/// Every track that has a vector, with its labels and its group; without labels where it has none.
#[derive(Debug, Clone)]
pub struct LabelledTracks {
    /// Who they are, ascending.
    pub ids: Vec<TrackId>,
    /// `[tracks, dimension]`, unit rows.
    pub vectors: Array2<f32>,
    /// Genres of each track, one spelling per genre.
    pub labels: Vec<Vec<Genre>>,
    /// Group of each track, as a number.
    pub groups: Vec<usize>,
    /// What else is known of each.
    pub facts: Vec<TrackFacts>,
    /// Window vectors of labelled tracks (unit rows) and the row of each one's track, if asked for.
    pub windows: Option<(Array2<f32>, Vec<usize>)>,
    /// Lines of a label file that named no file of the library.
    pub unmatched: usize,
}

impl LabelledTracks {
    /// As the genre engine wants them.
    pub fn set(&self) -> TrainingSet<'_> {
        TrainingSet {
            ids: &self.ids,
            vectors: self.vectors.view(),
            labels: &self.labels,
            groups: &self.groups,
            windows: self
                .windows
                .as_ref()
                .map(|(vectors, owner)| WindowSet { vectors: vectors.view(), owner }),
        }
    }

    /// The row of a track.
    pub fn row(&self, track: TrackId) -> Option<usize> {
        self.ids.binary_search(&track).ok()
    }

    /// Every track as a seed, in the order of the ids.
    pub fn seeds(&self) -> Vec<Seed> {
        let rows = self.ids.iter().zip(&self.facts).zip(self.vectors.outer_iter());
        rows.map(|((&id, facts), vector)| Seed {
            track: Some(id),
            path: facts.path.clone(),
            is_named_file: false,
            vector: vector.to_vec(),
            windows: None,
        })
        .collect()
    }

    /// How many tracks have a label.
    pub fn labelled(&self) -> usize {
        self.labels.iter().filter(|genres| !genres.is_empty()).count()
    }
}

/// Genres of tracks from one source.
pub(super) struct Labeller<'a> {
    taxonomy: &'a Taxonomy,
    source: &'a LabelSource,
    table: Option<PathTable>,
}

impl<'a> Labeller<'a> {
    pub(super) fn new(taxonomy: &'a Taxonomy, source: &'a LabelSource) -> Result<Self, EngineError> {
        let table = match source {
            LabelSource::File(file) => Some(PathTable::read(file, "genre")?),
            LabelSource::Tags | LabelSource::Folder => None,
        };
        Ok(Self { taxonomy, source, table })
    }

    pub(super) fn genres(&mut self, track: &Track) -> Vec<Genre> {
        let texts: Vec<String> = match (self.source, &mut self.table) {
            (LabelSource::Tags, _) => return self.taxonomy.parse(&track.tags.genres),
            (_, Some(table)) => paths(track).flat_map(|path| table.of(path)).collect(),
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

    /// Lines that named no file of the library; an error if none did.
    pub(super) fn finish(&self) -> Result<usize, EngineError> {
        self.table.as_ref().map_or(Ok(0), PathTable::unused)
    }
}

fn paths(track: &Track) -> impl Iterator<Item = &Path> {
    let files = track.files.iter().map(|file| file.record.path.as_path());
    files.chain(track.files.is_empty().then_some(track.path.as_path()))
}

impl Engine {
    /// How genres are spelt: what comes with voisin, and the synonyms in the library's folder if there are any.
    pub fn taxonomy(&self) -> Result<Taxonomy, EngineError> {
        let file = self.library.dir().join(SYNONYMS_FILE);
        let shipped = Taxonomy::default();
        Ok(if file.is_file() { shipped.with_user_file(&file)? } else { shipped })
    }

    /// Reads vectors, labels and groups of all tracks.
    ///
    /// - `windows`: read window vectors of labelled tracks too, as far as they are kept
    pub fn labelled_tracks(
        &self,
        source: &LabelSource,
        group_by: &GroupBy,
        windows: bool,
    ) -> Result<LabelledTracks, EngineError> {
        let taxonomy = self.taxonomy()?;
        let mut labeller = Labeller::new(&taxonomy, source)?;
        let mut group_table = match group_by {
            GroupBy::File(file) => Some(PathTable::read(file, "group")?),
            _ => None,
        };
        let vectors = self.library.vectors()?;
        if vectors.ids.is_empty() {
            return Err(EngineError::EmptyLibrary { dir: self.library.dir().to_owned() });
        }
        let n = vectors.ids.len();
        let mut labels: Vec<Vec<Genre>> = vec![Vec::new(); n];
        let mut groups = vec![0; n];
        let mut facts: Vec<Option<TrackFacts>> = vec![None; n];
        let mut numbers: HashMap<String, usize> = HashMap::new();
        self.library.for_each_track(|track| {
            let Ok(row) = vectors.ids.binary_search(&track.id) else { return Ok(()) };
            labels[row] = labeller.genres(&track);
            let display = track.display_name();
            let artist = track.tags.artist.clone().or_else(|| track.tags.album_artist.clone());
            // NUL cannot stand in a tag or a path, so a track of its own never meets another
            let alone = || format!("\0{}", track.id);
            let folded = artist.as_deref().map(fold);
            let key = match group_by {
                GroupBy::Artist => folded.unwrap_or_else(alone),
                GroupBy::Album => match (folded, track.tags.album.as_deref()) {
                    (Some(artist), Some(album)) => format!("{artist}\0{}", fold(album)),
                    _ => alone(),
                },
                GroupBy::Folder => {
                    track.path.parent().map_or_else(alone, |p| p.to_string_lossy().into_owned())
                }
                GroupBy::Track => alone(),
                GroupBy::File(_) => group_table
                    .as_mut()
                    .and_then(|table| paths(&track).flat_map(|path| table.of(path)).find(|g| !g.is_empty()))
                    .unwrap_or_else(alone),
            };
            let next = numbers.len();
            groups[row] = *numbers.entry(key).or_insert(next);
            facts[row] = Some(TrackFacts { artist, display, path: track.path });
            Ok(())
        })?;
        let unmatched = labeller.finish()?;
        if let Some(table) = &group_table {
            table.unused()?;
        }
        if labels.iter().all(Vec::is_empty) {
            return Err(EngineError::NoLabels);
        }
        // One spelling per genre: the commonest.
        let spellings = Spellings::count(labels.iter().flatten()).genres();
        for genre in labels.iter_mut().flatten() {
            if let Ok(at) = spellings.binary_search(genre) {
                *genre = spellings[at].clone();
            }
        }
        let facts = facts
            .into_iter()
            .map(|known| {
                known.unwrap_or_else(|| TrackFacts {
                    artist: None,
                    display: String::new(),
                    path: PathBuf::new(),
                })
            })
            .collect();
        let mut tracks = LabelledTracks {
            ids: vectors.ids,
            vectors: vectors.values,
            labels,
            groups,
            facts,
            windows: None,
            unmatched,
        };
        if windows {
            let rows: Vec<usize> = (0..n).filter(|&row| !tracks.labels[row].is_empty()).collect();
            let per_track = WINDOW_ROWS / rows.len().max(1);
            // with one window a track there is nothing that the track's vector does not say better
            if per_track > 1 {
                tracks.windows = self.windows_of(&tracks.ids, &rows, per_track)?;
            }
        }
        Ok(tracks)
    }

    /// Window vectors of some tracks, unit rows, at most `per_track` each; `None` if there are none.
    ///
    /// - `rows`: which of `ids`
    /// - returns: vectors and the row of each one's track
    pub(super) fn windows_of(
        &self,
        ids: &[TrackId],
        rows: &[usize],
        per_track: usize,
    ) -> Result<Option<OwnedWindows>, EngineError> {
        let (mut values, mut owner, mut dimension) = (Vec::new(), Vec::new(), 0);
        for &row in rows {
            let Some(windows) = self.library.windows(ids[row])? else { continue };
            let n = windows.vectors.nrows();
            let kept = n.min(per_track);
            for i in 0..kept {
                let window = windows.vectors.row(i * n / kept);
                let norm = window.iter().map(|v| f32::from(*v).powi(2)).sum::<f32>().sqrt();
                if norm.is_finite() && norm > 1e-12 {
                    dimension = window.len();
                    values.extend(window.iter().map(|v| f32::from(*v) / norm));
                    owner.push(row);
                }
            }
        }
        if owner.is_empty() {
            return Ok(None);
        }
        let vectors =
            Array2::from_shape_vec((owner.len(), dimension), values).map_err(|_| EngineError::Shape)?;
        Ok(Some((vectors, owner)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_table_match_whole_parts_from_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let file = root.join("labels.csv");
        let text = format!(
            "\u{feff}genre,path\nRock,a/one.mp3\nJazz,{}/b/two.mp3\nPop,./c/three.mp3\nSoul,nowhere.mp3\n\"Ska; Dub\",a/one.mp3\n",
            root.display()
        );
        std::fs::write(&file, text).unwrap();
        std::fs::create_dir(root.join("c")).unwrap();
        let mut table = PathTable::read(&file, "genre").unwrap();
        assert_eq!(table.of(&root.join("a/one.mp3")), ["Rock", "Ska; Dub"]);
        assert_eq!(table.of(&root.join("aa/one.mp3")), Vec::<String>::new());
        assert_eq!(table.of(&root.join("b/two.mp3")), ["Jazz"]);
        assert_eq!(table.of(&root.join("c/three.mp3")), ["Pop"]);
        assert_eq!(table.unused().unwrap(), 1);
        std::fs::write(&file, "path,style\nx,y\n").unwrap();
        let error = PathTable::read(&file, "genre").err().unwrap().to_string();
        assert!(error.contains("path and genre") && error.contains("path,style"), "{error}");
    }

    #[test]
    fn sources_are_read_as_written() {
        for (text, source) in [
            ("tags", LabelSource::Tags),
            ("folder", LabelSource::Folder),
            ("x/labels.csv", LabelSource::File("x/labels.csv".into())),
        ] {
            let Ok(read) = text.parse::<LabelSource>();
            assert_eq!((&read, read.to_string()), (&source, text.to_owned()));
        }
    }
}
