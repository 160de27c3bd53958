//! From a data set to numbers: a row for each track, columns from one set of features or several.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ndarray::{Array2, ArrayView1, Axis, concatenate};
use rayon::prelude::*;

use super::LabError;
use super::files::{read_groups, read_labels, read_vectors};
use crate::dataset::{Columns, Dataset, DatasetError, Fault, Item, Kind, Source, group_of};
use voisin_audio::{self, AudioInfo};
use voisin_base::text::{fold, with_causes};
use voisin_base::track::ContentId;
use voisin_base::{atomic_file, regular_file};
use voisin_engine::{Embedder, Engine, GroupBy, WindowPlan};
use voisin_features::DescriptorSet;

/// A file to compute features of; audio that several sets of descriptors need is decoded once.
pub struct SoundFile<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// Container, codec, rate and length.
    pub info: &'a AudioInfo,
    /// Whether several sets use it.
    is_shared: bool,
    /// Its middle: Hz, samples and the second that they begin at.
    middles: RefCell<Vec<(u32, Vec<f32>, f64)>>,
}

impl<'a> SoundFile<'a> {
    /// For one set.
    pub fn new(path: &'a Path, info: &'a AudioInfo) -> Self {
        Self {
            path,
            info,
            is_shared: false,
            middles: RefCell::default(),
        }
    }

    /// Decodes the audio that a set of descriptors is computed from: the whole file, or the middle
    /// of one longer than [`LONGEST`].
    ///
    /// - `sink`: takes samples, their rate in Hz, and the second that they begin at
    pub(crate) fn middle<T>(
        &self,
        set: DescriptorSet,
        sink: impl FnOnce(&[f32], u32, f64) -> T,
    ) -> Result<T, String> {
        let rate = set.rate(self.info.sample_rate);
        // Borrowed while the sink runs: it is handed samples, and never this file again.
        let mut middles = self.middles.borrow_mut();
        // another set of the same rate has decoded it already
        if let Some((_, samples, start)) = middles.iter().find(|(known, ..)| *known == rate) {
            return Ok(sink(samples, rate, *start));
        }
        let all = voisin_audio::resampled_len(self.info, rate);
        let length = all.min(LONGEST * u64::from(rate));
        // The middle, as intros and fades are less like the rest.
        let start = (all - length) / 2;
        let seconds = start as f64 / f64::from(rate);
        let mut sink = Some(sink);
        let mut found = None;
        let mut hear = |_: usize, samples: &[f32]| {
            if let Some(sink) = sink.take() {
                found = Some(sink(samples, rate, seconds));
            }
            // Kept only where another set will need it: ten minutes at 22 050 Hz are 53 MB.
            if self.is_shared {
                middles.push((rate, samples.to_vec(), seconds));
            }
        };
        voisin_audio::read_windows(
            self.path,
            self.info,
            rate,
            &[start as i64],
            length as usize,
            &mut hear,
        )
        .map_err(|error| with_causes(&error))?;
        found.ok_or_else(|| "holds no sound".to_owned())
    }
}

/// Features computed from audio.
pub trait FeatureSet: Send + Sync {
    /// As the command line names it.
    fn name(&self) -> &str;
    /// Of everything that changes a number; the name, where nothing else does or nothing is kept.
    fn fingerprint(&self) -> String {
        self.name().to_owned()
    }

    /// Names of the columns.
    fn columns(&self) -> Vec<String>;
    /// The numbers of a file, as many as there are columns, or why there are none.
    fn compute(&self, file: &SoundFile<'_>, stop: &AtomicBool) -> Result<Vec<f32>, String>;

    /// Why no further file can be had either, as when a disk is full.
    fn broken(&self) -> Option<&str> {
        None
    }
}

/// Windows of a track that a model embeds.
const WINDOWS: usize = 24;

/// The mean embedding of a model.
pub struct ModelSet {
    name: String,
    embedder: Arc<Embedder>,
}

impl ModelSet {
    /// - `name`: as the command line names it, `model:NAME`
    pub fn new(name: &str, embedder: Arc<Embedder>) -> Self {
        Self {
            name: name.to_owned(),
            embedder,
        }
    }
}

impl FeatureSet for ModelSet {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> String {
        format!(
            "model-{}-{WINDOWS}",
            self.embedder.encoder().manifest().fingerprint()
        )
    }

    fn columns(&self) -> Vec<String> {
        let manifest = self.embedder.encoder().manifest();
        (0..manifest.dimension)
            .map(|i| format!("{}_{i:03}", manifest.name))
            .collect()
    }

    fn compute(&self, file: &SoundFile<'_>, stop: &AtomicBool) -> Result<Vec<f32>, String> {
        let found = self.embedder.embed(
            file.path,
            file.info,
            WindowPlan::Spread(WINDOWS),
            Some(stop),
        );
        found
            .map(|found| found.vector.into_vec())
            .map_err(|error| with_causes(&error))
    }
}

/// Longest piece of a track that descriptors are computed from, its middle, in seconds.
pub(crate) const LONGEST: u64 = 600;

impl FeatureSet for DescriptorSet {
    fn name(&self) -> &str {
        (*self).name()
    }

    fn fingerprint(&self) -> String {
        format!("{}-1", (*self).name())
    }

    fn columns(&self) -> Vec<String> {
        (*self).columns()
    }

    fn compute(&self, file: &SoundFile<'_>, _: &AtomicBool) -> Result<Vec<f32>, String> {
        file.middle(*self, |samples, rate, _| self.of(samples, rate))
    }
}

/// Bytes of the digest before the numbers of a kept file.
pub(crate) const DIGEST: usize = 32;

/// Where a track's numbers are kept below a folder.
pub(crate) fn path_of(folder: &Path, content: ContentId, ending: &str) -> PathBuf {
    let digest = content.to_string();
    folder.join(&digest[..2]).join(format!("{digest}.{ending}"))
}

/// A kept file, digest and numbers; one that is not whole counts as none.
///
/// - `longest`: bytes of its numbers at most
pub(crate) fn read_whole(path: &Path, longest: u64) -> Option<Vec<u8>> {
    let bytes = regular_file::read(path, DIGEST as u64 + longest).ok()?;
    let (digest, numbers) = bytes.split_at_checked(DIGEST)?;
    (blake3::hash(numbers).as_bytes() == digest).then_some(bytes)
}

/// Keeps numbers behind their digest.
pub(crate) fn write_whole(path: &Path, numbers: &[u8]) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    atomic_file::write(
        path,
        [blake3::hash(numbers).as_bytes().as_slice(), numbers].concat(),
    )
}

/// Features that are kept, a file for each track: safe to delete.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    /// Why nothing is kept any more.
    broken: OnceLock<String>,
    /// Set once the half-written files of killed runs are removed.
    swept: OnceLock<()>,
}

impl Cache {
    /// In a folder, which is made when there is something to keep.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            broken: OnceLock::new(),
            swept: OnceLock::new(),
        }
    }

    fn path(&self, fingerprint: &str, content: ContentId) -> PathBuf {
        path_of(&self.folder.join(fingerprint), content, "f32")
    }

    /// The cached features of a track; a file that is not whole counts as none.
    fn read(&self, fingerprint: &str, content: ContentId, columns: usize) -> Option<Vec<f32>> {
        let numbers = read_whole(&self.path(fingerprint, content), 4 * columns as u64)?;
        let numbers = numbers
            .get(DIGEST..)
            .filter(|numbers| numbers.len() == 4 * columns)?;
        Some(
            numbers
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect(),
        )
    }

    /// Keeps the features of a track. The first failure is remembered and nothing is tried after it.
    fn write(&self, fingerprint: &str, content: ContentId, numbers: &[f32]) {
        if self.broken.get().is_some() {
            return;
        }
        // only a run that writes cleans up; reading alone changes nothing on the disk
        self.swept.get_or_init(|| self.sweep());
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        if let Err(error) = write_whole(&self.path(fingerprint, content), &bytes) {
            let _ = self.broken.set(format!(
                "features are no longer kept in {}: {error}; nothing else is lost",
                self.folder.display()
            ));
        }
    }

    /// Removes the half-written files of killed runs, before the first write.
    fn sweep(&self) {
        let folders = |parent: &Path| {
            std::fs::read_dir(parent)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
        };
        for folder in folders(&self.folder).flat_map(|features| folders(&features)) {
            atomic_file::remove_abandoned(&folder.join("features"));
        }
    }

    /// Why nothing is kept any more.
    pub fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }
}

/// A row's track: everything but its numbers.
#[derive(Debug, Clone)]
pub struct MatrixRow {
    /// The track.
    pub item: Item,
    /// Digest of its audio, or of its numbers where there is no audio.
    pub content: Option<ContentId>,
    /// Its length, where it was decoded.
    pub seconds: Option<f64>,
}

/// So many numbers, not all whole, identify a track: two tracks do not share them by chance.
const TELLING: usize = 4;

impl MatrixRow {
    /// A track that is known by its numbers alone: several of them, not all whole.
    pub(crate) fn of_numbers(item: &Item, numbers: ArrayView1<f32>) -> Self {
        let finite = || numbers.iter().filter(|x| x.is_finite());
        // Whole numbers (a year, a tempo, a count) are shared by tracks that are not the same.
        let tells = finite().count() >= TELLING && finite().any(|x| x.fract() != 0.0);
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let content = tells.then(|| ContentId(*blake3::hash(&bytes).as_bytes()));
        Self {
            item: item.clone(),
            content,
            seconds: None,
        }
    }

    /// Digest of its audio, where it was decoded.
    pub(crate) fn audio(&self) -> Option<ContentId> {
        self.content.filter(|_| self.seconds.is_some())
    }
}

/// The class of each row by its number among `names`; of a row without one 0.
pub(crate) fn class_of(rows: &[MatrixRow], names: &[String]) -> Vec<usize> {
    let class = |row: &MatrixRow| {
        names
            .iter()
            .position(|name| Some(name) == row.item.label.as_ref())
    };
    rows.iter().map(|row| class(row).unwrap_or(0)).collect()
}

/// How many tracks each licence has.
pub(crate) fn licences(rows: &[MatrixRow]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    rows.iter()
        .filter_map(|row| row.item.licence.clone())
        .for_each(|licence| {
            *found.entry(licence).or_default() += 1;
        });
    found
}

/// How many artists are known.
pub(crate) fn artists(rows: &[MatrixRow]) -> usize {
    let names = rows
        .iter()
        .filter_map(|row| row.item.artist.as_deref().map(fold));
    names.collect::<BTreeSet<String>>().len()
}

/// Tracks as rows of numbers.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// One for each row of the values.
    pub rows: Vec<MatrixRow>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Groups of the columns: what they measure together.
    pub groups: Vec<String>,
    /// `[rows, columns]`
    pub values: Array2<f32>,
    /// Tracks that could not be decoded.
    pub faults: Vec<Fault>,
}

/// Reads a data set of any kind.
///
/// - `engine`: opens the library, which only the kind `library` asks for
pub fn open(
    source: &Source,
    engine: impl FnOnce() -> Result<Engine, LabError>,
) -> Result<Dataset, LabError> {
    let mut set = match source.kind {
        Kind::Library => of_library(source, &engine()?)?,
        Kind::Vectors => of_vectors(source)?,
        _ => crate::dataset::read(source)?,
    };
    if set.items.is_empty() {
        let why = set
            .faults
            .first()
            .map_or_else(String::new, |f| format!("; {}: {}", f.key, f.reason));
        let problem = format!("expected tracks, found none that can be used{why}");
        return Err(DatasetError::Source {
            text: source.to_string(),
            problem,
        }
        .into());
    }
    // Only tables list rows that cannot be used; of all other kinds the items are the keys.
    if set.keys.is_empty() {
        set.keys = set.items.iter().map(|item| item.key.clone()).collect();
    }
    // Last, for all kinds: classes are counted from here on.
    set.join_spellings();
    Ok(set)
}

/// The tracks of the library by their first genre, with their vectors.
fn of_library(source: &Source, engine: &Engine) -> Result<Dataset, LabError> {
    let tracks = engine
        .genres()
        .labelled_tracks(&engine.genres().label_source(), &GroupBy::Artist)?;
    let mut set = Dataset::new(source, "path", "genre");
    for (facts, genres) in tracks.facts.iter().zip(&tracks.labels) {
        set.items.push(Item {
            path: Some(facts.path.clone()),
            key: facts.path.to_string_lossy().into_owned(),
            label: genres.first().map(|genre| genre.name().to_owned()),
            artist: facts.artist.clone(),
            ..Item::default()
        });
    }
    let names = (0..tracks.vectors.ncols())
        .map(|i| format!("vector_{i:03}"))
        .collect();
    set.columns = Some(Columns {
        names,
        values: tracks.vectors,
    });
    Ok(set)
}

/// Vectors of a `.npy` file, labels and groups as `eval genre --vectors` takes them.
fn of_vectors(source: &Source) -> Result<Dataset, LabError> {
    let values = read_vectors(&source.path)?;
    let mut set = Dataset::new(source, "row", "genre");
    let labels = match source.path_option("labels") {
        Some(path) => read_labels(&path, values.nrows())?,
        None => vec![Vec::new(); values.nrows()],
    };
    let groups = source
        .path_option("groups")
        .map(|path| read_groups(&path, values.nrows()))
        .transpose()?;
    for (row, genres) in labels.iter().enumerate() {
        set.items.push(Item {
            key: row.to_string(),
            label: genres.first().map(|genre| genre.name().to_owned()),
            artist: groups
                .as_ref()
                .map(|groups| format!("group {}", groups[row])),
            ..Item::default()
        });
    }
    let names = (0..values.ncols())
        .map(|i| format!("column_{i:03}"))
        .collect();
    set.columns = Some(Columns { names, values });
    Ok(set)
}

/// Computes the features of all tracks of a data set, on all threads.
///
/// - `with_own_columns`: whether the data set's own columns are among the features
/// - `progress`: called with the number of tracks done
pub fn compute(
    set: &Dataset,
    with_own_columns: bool,
    sets: &[&dyn FeatureSet],
    cache: Option<&Cache>,
    progress: &(dyn Fn(usize) + Sync),
    stop: &AtomicBool,
) -> Result<Matrix, LabError> {
    let mut matrix = Matrix {
        rows: Vec::new(),
        columns: Vec::new(),
        groups: Vec::new(),
        values: Array2::zeros((0, 0)),
        faults: set.faults.clone(),
    };
    let table = set.columns.as_ref().filter(|_| with_own_columns);
    if let Some(table) = table {
        matrix.columns.clone_from(&table.names);
        matrix.groups = table
            .names
            .iter()
            .map(|name| group_of(name).to_owned())
            .collect();
    }
    let widths: Vec<usize> = sets.iter().map(|set| set.columns().len()).collect();
    for one in sets {
        for column in one.columns() {
            // A model's numbers measure nothing each, so all of them are one group.
            let group = if one.name().starts_with("model:") {
                one.name()
            } else {
                group_of(&column)
            };
            matrix.groups.push(group.to_owned());
            matrix.columns.push(column);
        }
    }
    let prints: Vec<String> = sets.iter().map(|set| set.fingerprint()).collect();
    let done = AtomicUsize::new(0);
    let broken = || sets.iter().find_map(|set| set.broken());
    let heard: Vec<Result<FileNumbers, String>> = set
        .items
        .par_iter()
        .map(|item| {
            // a full disk fails every further file alike, so the first failure ends the run
            if stop.load(Ordering::Relaxed) || broken().is_some() {
                return Err("interrupted".to_owned());
            }
            let heard = if sets.is_empty() {
                // The table's own columns are all that is wanted: no file is opened.
                Ok((None, None, Vec::new()))
            } else {
                listen(item, sets, &prints, &widths, cache, stop)
            };
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            heard
        })
        .collect();
    if stop.load(Ordering::Relaxed) {
        return Err(LabError::Interrupted);
    }
    if let Some(why) = broken() {
        return Err(LabError::Asked(why.to_owned()));
    }
    let mut kept = Vec::new();
    let mut flat = Vec::new();
    for (at, (item, heard)) in set.items.iter().zip(heard).enumerate() {
        // Rows of the table whose file failed are dropped with it, so that both halves stay
        // aligned.
        match heard {
            Ok((content, seconds, numbers)) => {
                kept.push(at);
                flat.extend(numbers);
                matrix.rows.push(match table {
                    Some(table) if content.is_none() => {
                        MatrixRow::of_numbers(item, table.values.row(at))
                    }
                    _ => MatrixRow {
                        item: item.clone(),
                        content,
                        seconds,
                    },
                });
            }
            Err(reason) => matrix.faults.push(Fault {
                key: item.key.clone(),
                reason,
            }),
        }
    }
    let listened = Array2::from_shape_vec((kept.len(), widths.iter().sum()), flat);
    let listened = listened.map_err(|error| LabError::Asked(error.to_string()))?;
    matrix.values = match table {
        Some(table) => {
            let table = table.values.select(Axis(0), &kept);
            concatenate(Axis(1), &[table.view(), listened.view()])
                .map_err(|e| LabError::Asked(e.to_string()))?
        }
        None => listened,
    };
    if matrix.rows.is_empty() {
        return Err(LabError::NoneHeard(matrix.faults));
    }
    Ok(matrix)
}

/// Digest, length and numbers of a file.
type FileNumbers = (Option<ContentId>, Option<f64>, Vec<f32>);

fn listen(
    item: &Item,
    sets: &[&dyn FeatureSet],
    prints: &[String],
    widths: &[usize],
    cache: Option<&Cache>,
    stop: &AtomicBool,
) -> Result<FileNumbers, String> {
    let path = item
        .path
        .as_deref()
        .ok_or("the data set names no audio of it")?;
    // Always probed, even if all numbers are cached: the cache goes by the audio's digest.
    let info = voisin_audio::probe(path).map_err(|error| with_causes(&error))?;
    let file = SoundFile {
        is_shared: sets.len() > 1,
        ..SoundFile::new(path, &info)
    };
    let mut numbers = Vec::with_capacity(widths.iter().sum());
    for ((set, print), &width) in sets.iter().zip(prints).zip(widths) {
        let kept = cache.and_then(|cache| cache.read(print, info.content, width));
        if let Some(kept) = kept {
            numbers.extend(kept);
            continue;
        }
        let found = set.compute(&file, stop)?;
        // a NaN in one track would spread to the scaling of its whole column
        if found.len() != width || found.iter().any(|number| !number.is_finite()) {
            return Err(format!("{} gave what is no number", set.name()));
        }
        if let Some(cache) = cache {
            cache.write(print, info.content, &found);
        }
        numbers.extend(found);
    }
    Ok((Some(info.content), Some(info.seconds()), numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_one_rate_are_computed_from_one_reading() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../data/demo/library/ambient/zeropage-void-sensor.mp3");
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy.mp3");
        std::fs::copy(&path, &copy).unwrap();
        let info = voisin_audio::probe(&path).unwrap();
        let stop = AtomicBool::new(false);
        let file = SoundFile {
            is_shared: true,
            ..SoundFile::new(&copy, &info)
        };
        let first = DescriptorSet::Mfcc.compute(&file, &stop).unwrap();
        std::fs::remove_file(&copy).unwrap();
        let second = DescriptorSet::Mfcc40Mean.compute(&file, &stop).unwrap();
        let alone = |set: DescriptorSet| set.compute(&SoundFile::new(&path, &info), &stop).unwrap();
        assert_eq!(
            (first, second),
            (alone(DescriptorSet::Mfcc), alone(DescriptorSet::Mfcc40Mean))
        );
        // this set needs 44.1 kHz, which was not decoded
        assert!(DescriptorSet::Fma.compute(&file, &stop).is_err());
    }

    #[test]
    fn a_kept_matrix_comes_back_and_a_damaged_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"));
        let content = ContentId([7; 32]);
        assert_eq!(cache.read("x", content, 3), None);
        cache.write("x", content, &[1.0, -0.5, 3.25]);
        assert_eq!(cache.read("x", content, 3), Some(vec![1.0, -0.5, 3.25]));
        assert_eq!(cache.read("x", content, 2), None);
        let path = cache.path("x", content);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!((cache.read("x", content, 3), cache.broken()), (None, None));
    }

    #[test]
    fn files_of_a_killed_run_go_with_the_first_write() {
        let folder = tempfile::tempdir().unwrap();
        let before = Cache::new(folder.path().join("cache"));
        before.write("x", ContentId([7; 32]), &[1.0]);
        let kept = before.path("x", ContentId([7; 32]));
        let left = kept.with_file_name(format!("{}abc.f32", voisin_base::abandoned::PREFIX));
        std::fs::write(&left, "half").unwrap();
        // old enough to count as abandoned where locks cannot show it
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(2);
        std::fs::File::options()
            .write(true)
            .open(&left)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        let next = Cache::new(folder.path().join("cache"));
        assert_eq!(next.read("x", ContentId([7; 32]), 1), Some(vec![1.0]));
        assert!(left.exists(), "reading changes nothing");
        next.write("y", ContentId([8; 32]), &[2.0]);
        assert!(kept.exists() && !left.exists());
    }

    #[test]
    fn an_unwritable_cache_is_reported_once_and_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "no folder").unwrap();
        let cache = Cache::new(file);
        cache.write("x", ContentId([1; 32]), &[1.0]);
        cache.write("x", ContentId([2; 32]), &[1.0]);
        assert!(cache.broken().unwrap().contains("nothing else is lost"));
    }
}
