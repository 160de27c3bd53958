//! Feature matrices of data sets: a row for each track, columns from one or several feature sets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ndarray::{Array2, ArrayView1, Axis, concatenate};
use rayon::prelude::*;

use super::LabError;
use crate::dataset::{Dataset, Fault, Item, group_of};
use voisin_audio::{self, AudioInfo};
use voisin_base::text::{fold, with_causes};
use voisin_base::track::ContentId;
use voisin_base::{atomic_file, regular_file};
use voisin_engine::{Embedder, WindowPlan};
use voisin_features::DescriptorSet;

/// A file to compute features of.
#[derive(Clone, Copy)]
pub struct SoundFile<'a> {
    /// Its path.
    pub path: &'a Path,
    /// Container, codec, rate and length.
    pub info: &'a AudioInfo,
}

impl SoundFile<'_> {
    /// Decodes the audio from which descriptors are computed: the whole file, or the middle of one longer than [`LONGEST`].
    ///
    /// - `sink`: takes samples, their rate in Hz, and the second at which they begin
    pub(crate) fn middle<T>(
        self,
        set: DescriptorSet,
        sink: impl FnOnce(&[f32], u32, f64) -> T,
    ) -> Result<T, String> {
        let rate = set.rate(self.info.sample_rate);
        let all = voisin_audio::resampled_len(self.info, rate);
        let length = all.min(LONGEST * u64::from(rate));
        // The middle, since intros and fades differ from the rest.
        let start = (all - length) / 2;
        let seconds = start as f64 / f64::from(rate);
        let mut sink = Some(sink);
        let mut found = None;
        let mut keep = |_: usize, samples: &[f32]| {
            if let Some(sink) = sink.take() {
                found = Some(sink(samples, rate, seconds));
            }
        };
        voisin_audio::read_windows(
            self.path,
            self.info,
            rate,
            &[start as i64],
            length as usize,
            &mut keep,
        )
        .map_err(|error| with_causes(&error))?;
        found.ok_or_else(|| "expected audio, found none".to_owned())
    }
}

/// Features computed from audio.
pub trait FeatureSet: Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &str;
    /// A digest of all that changes a number; the name, if nothing else does or nothing is cached.
    fn fingerprint(&self) -> String {
        self.name().to_owned()
    }

    /// Names of the columns.
    fn columns(&self) -> Vec<String>;
    /// The features of a file, one for each column, or why there are none.
    fn compute(&self, file: SoundFile<'_>, stop: &AtomicBool) -> Result<Vec<f32>, String>;

    /// Why all further files would fail too, such as a full disk.
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
    /// - `name`: its name on the command line, `model:NAME`
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

    fn compute(&self, file: SoundFile<'_>, stop: &AtomicBool) -> Result<Vec<f32>, String> {
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

/// Descriptors are computed from at most this many seconds of a track, in its middle.
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

    fn compute(&self, file: SoundFile<'_>, _: &AtomicBool) -> Result<Vec<f32>, String> {
        file.middle(*self, |samples, rate, _| self.of(samples, rate))
    }
}

/// Bytes of the digest before the numbers of a cached file.
pub(crate) const DIGEST: usize = 32;

/// The file of a track's numbers below a folder.
pub(crate) fn path_of(folder: &Path, content: ContentId, ending: &str) -> PathBuf {
    let digest = content.to_string();
    folder.join(&digest[..2]).join(format!("{digest}.{ending}"))
}

/// Reads a cached file, digest and numbers; an incomplete one counts as missing.
///
/// - `longest`: maximum bytes of its numbers
pub(crate) fn read_whole(path: &Path, longest: u64) -> Option<Vec<u8>> {
    let bytes = regular_file::read(path, DIGEST as u64 + longest).ok()?;
    let (digest, numbers) = bytes.split_at_checked(DIGEST)?;
    (blake3::hash(numbers).as_bytes() == digest).then_some(bytes)
}

/// Writes numbers after their digest.
pub(crate) fn write_whole(path: &Path, numbers: &[u8]) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    atomic_file::write(
        path,
        [blake3::hash(numbers).as_bytes().as_slice(), numbers].concat(),
    )
}

/// A cache of features in a run's folder, a file for each track.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    /// Why nothing more is cached.
    broken: OnceLock<String>,
}

impl Cache {
    /// A cache in a folder, which is created by the first write.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            broken: OnceLock::new(),
        }
    }

    fn path(&self, fingerprint: &str, content: ContentId) -> PathBuf {
        path_of(&self.folder.join(fingerprint), content, "f32")
    }

    /// The cached features of a track; an incomplete file counts as missing.
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

    /// Caches the features of a track. After the first failure nothing more is written.
    fn write(&self, fingerprint: &str, content: ContentId, numbers: &[f32]) {
        if self.broken.get().is_some() {
            return;
        }
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        if let Err(error) = write_whole(&self.path(fingerprint, content), &bytes) {
            let _ = self.broken.set(format!(
                "features are no longer cached in {}: {error}; nothing else is lost",
                self.folder.display()
            ));
        }
    }

    /// Why nothing more is cached.
    pub fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }
}

/// The track of a row.
#[derive(Debug, Clone)]
pub struct MatrixRow {
    /// The track.
    pub item: Item,
    /// Digest of its audio, or of its numbers without audio.
    pub content: Option<ContentId>,
    /// Its length, if it was decoded.
    pub seconds: Option<f64>,
}

/// This many numbers, not all whole, identify a track: two tracks do not share them by chance.
const IDENTIFYING: usize = 4;

impl MatrixRow {
    /// A track without audio, identified by its numbers: several of them, not all whole.
    pub(crate) fn of_numbers(item: &Item, numbers: ArrayView1<f32>) -> Self {
        let finite = || numbers.iter().filter(|x| x.is_finite());
        // Different tracks may share whole numbers (a year, a tempo, a count).
        let identifies = finite().count() >= IDENTIFYING && finite().any(|x| x.fract() != 0.0);
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let content = identifies.then(|| ContentId(*blake3::hash(&bytes).as_bytes()));
        Self {
            item: item.clone(),
            content,
            seconds: None,
        }
    }

    /// Digest of its audio, if it was decoded.
    pub(crate) fn audio(&self) -> Option<ContentId> {
        self.content.filter(|_| self.seconds.is_some())
    }
}

/// The class of each row as its index in `names`; 0 for a row without one.
pub(crate) fn class_of(rows: &[MatrixRow], names: &[String]) -> Vec<usize> {
    let class = |row: &MatrixRow| {
        names
            .iter()
            .position(|name| Some(name) == row.item.label.as_ref())
    };
    rows.iter().map(|row| class(row).unwrap_or(0)).collect()
}

/// The number of tracks of each licence.
pub(crate) fn licences(rows: &[MatrixRow]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    rows.iter()
        .filter_map(|row| row.item.licence.clone())
        .for_each(|licence| {
            *found.entry(licence).or_default() += 1;
        });
    found
}

/// The number of known artists.
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
    /// The group of each column: the quantity that it measures.
    pub groups: Vec<String>,
    /// `[rows, columns]`
    pub values: Array2<f32>,
    /// Tracks that could not be decoded.
    pub faults: Vec<Fault>,
}

/// Computes the features of all tracks of a data set, on all threads.
///
/// - `with_own_columns`: whether the data set's columns are among the features
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
            // Single dimensions of a model have no meaning, so all of them are one group.
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
    let results: Vec<Result<FileNumbers, String>> = set
        .items
        .par_iter()
        .map(|item| {
            // with a full disk every further file fails, so the first failure ends the run
            if stop.load(Ordering::Relaxed) || broken().is_some() {
                return Err("interrupted".to_owned());
            }
            let result = if sets.is_empty() {
                // Only the table's columns are used, so no file is opened.
                Ok((None, None, Vec::new()))
            } else {
                compute_file(item, sets, &prints, &widths, cache, stop)
            };
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            result
        })
        .collect();
    if stop.load(Ordering::Relaxed) {
        return Err(LabError::Interrupted);
    }
    if let Some(why) = broken() {
        return Err(LabError::Options(why.to_owned()));
    }
    let mut kept = Vec::new();
    let mut flat = Vec::new();
    for (at, (item, result)) in set.items.iter().zip(results).enumerate() {
        // Rows of the table whose file failed are dropped, so that both halves stay aligned.
        match result {
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
    let computed = Array2::from_shape_vec((kept.len(), widths.iter().sum()), flat);
    let computed = computed.map_err(|error| LabError::Options(error.to_string()))?;
    matrix.values = match table {
        Some(table) => {
            let table = table.values.select(Axis(0), &kept);
            concatenate(Axis(1), &[table.view(), computed.view()])
                .map_err(|e| LabError::Options(e.to_string()))?
        }
        None => computed,
    };
    if matrix.rows.is_empty() {
        return Err(LabError::NoneDecoded(matrix.faults));
    }
    Ok(matrix)
}

/// Digest, length and numbers of a file.
type FileNumbers = (Option<ContentId>, Option<f64>, Vec<f32>);

fn compute_file(
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
        .ok_or("expected an audio file in the data set, found none")?;
    // Always probed, since the cache is keyed by the audio's digest.
    let info = voisin_audio::probe(path).map_err(|error| with_causes(&error))?;
    let file = SoundFile { path, info: &info };
    let mut numbers = Vec::with_capacity(widths.iter().sum());
    for ((set, print), &width) in sets.iter().zip(prints).zip(widths) {
        let kept = cache.and_then(|cache| cache.read(print, info.content, width));
        if let Some(kept) = kept {
            numbers.extend(kept);
            continue;
        }
        let found = set.compute(file, stop)?;
        // a NaN in one track would spoil the scaling of its column
        if found.len() != width || found.iter().any(|number| !number.is_finite()) {
            return Err(format!(
                "expected {width} finite numbers of {}, found others",
                set.name()
            ));
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
    fn a_cached_matrix_is_read_and_a_damaged_one_ignored() {
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
    fn an_unwritable_cache_is_reported_once_and_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "no folder").unwrap();
        let cache = Cache::new(file);
        cache.write("x", ContentId([1; 32]), &[1.0]);
        cache.write("x", ContentId([2; 32]), &[1.0]);
        assert!(cache.broken().unwrap().contains("nothing else is lost"));
    }
}
