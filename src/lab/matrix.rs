//! Feature matrices of data sets: a row for each track, columns from one or several feature sets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ndarray::Array2;
use rayon::prelude::*;

use super::LabError;
use crate::dataset::{Dataset, Fault, Item, Part};
use voisin::{Embedder, WindowPlan};
use voisin_audio::AudioInfo;
use voisin_base::text::{fold, with_causes};
use voisin_base::track::ContentId;
use voisin_base::{atomic_file, regular_file};
use voisin_features::DescriptorSet;

/// Descriptors are computed from at most this many seconds of a track, in its middle.
pub(crate) const LONGEST: u64 = 600;
const WINDOWS: usize = 24;

#[derive(Clone, Copy)]
pub struct SoundFile<'a> {
    pub path: &'a Path,
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
        let starts = [start as i64];
        voisin_audio::read_windows(
            self.path,
            self.info,
            rate,
            &starts,
            length as usize,
            &mut keep,
        )
        .map_err(|error| with_causes(&error))?;
        found.ok_or_else(|| "expected audio, found none".to_owned())
    }
}

pub enum FeatureSet {
    Descriptors(DescriptorSet),
    /// The mean embedding of a model, by its name on the command line, `model:NAME`.
    Model(String, Arc<Embedder>),
}

impl FeatureSet {
    pub fn name(&self) -> &str {
        match self {
            Self::Descriptors(set) => set.name(),
            Self::Model(name, _) => name,
        }
    }

    /// A digest of all that changes a number.
    fn fingerprint(&self) -> String {
        match self {
            Self::Descriptors(set) => format!("{}-1", set.name()),
            Self::Model(_, embedder) => {
                let model = embedder.encoder().manifest().fingerprint();
                format!("model-{model}-{WINDOWS}")
            }
        }
    }

    pub fn columns(&self) -> Vec<String> {
        match self {
            Self::Descriptors(set) => set.columns(),
            Self::Model(_, embedder) => {
                let manifest = embedder.encoder().manifest();
                let name = |i: usize| format!("{}_{i:03}", manifest.name);
                (0..manifest.dimension).map(name).collect()
            }
        }
    }

    fn compute(&self, file: SoundFile<'_>) -> Result<Vec<f32>, String> {
        match self {
            Self::Descriptors(set) => file.middle(*set, |samples, rate, _| set.of(samples, rate)),
            Self::Model(_, embedder) => embedder
                .embed(file.path, file.info, WindowPlan::Spread(WINDOWS))
                .map(|found| found.vector.into_vec())
                .map_err(|error| with_causes(&error)),
        }
    }
}

/// The file of a track's numbers below a folder.
pub(crate) fn path_of(folder: &Path, content: ContentId, ending: &str) -> PathBuf {
    let digest = content.to_string();
    folder.join(&digest[..2]).join(format!("{digest}.{ending}"))
}

/// Writes a cached file, whole or not at all.
pub(crate) fn write_cached(path: &Path, numbers: &[u8]) -> Result<(), LabError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).map_err(LabError::io(folder))?;
    atomic_file::write(path, numbers).map_err(LabError::io(path))
}

#[derive(Debug, Clone)]
pub struct MatrixRow {
    pub item: Item,
    /// Digest of its audio, and its length, if it was opened.
    pub content: Option<ContentId>,
    pub seconds: Option<f64>,
}

/// Names of the columns of [`MatrixRow::facts`].
pub(crate) const FACTS: [&str; 8] = [
    "genre", "artist", "album", "split", "licence", "seconds", "content", "status",
];

impl MatrixRow {
    pub(crate) fn facts(&self, part: Option<Part>) -> [String; 8] {
        let item = &self.item;
        [
            item.label.clone(),
            item.artist.clone(),
            item.album.clone(),
            part.map(|part| part.name().to_owned()),
            item.licence.clone(),
            self.seconds.map(|seconds| format!("{seconds:.3}")),
            self.content.map(|content| content.to_string()),
            Some("ok".to_owned()),
        ]
        .map(Option::unwrap_or_default)
    }
}

/// The class of each row as its index in `names`; 0 for a row without one.
pub(crate) fn class_of(rows: &[MatrixRow], names: &[String]) -> Vec<usize> {
    let class = |row: &MatrixRow| {
        let label = row.item.label.as_ref();
        names.iter().position(|name| Some(name) == label)
    };
    rows.iter().map(|row| class(row).unwrap_or(0)).collect()
}

pub(crate) fn artists(rows: &[MatrixRow]) -> usize {
    let names = rows.iter().filter_map(|row| row.item.artist.as_deref());
    names.map(fold).collect::<BTreeSet<String>>().len()
}

#[derive(Debug)]
pub struct PerTrack<T> {
    pub rows: Vec<MatrixRow>,
    pub values: Vec<T>,
    pub faults: Vec<Fault>,
}

/// Opens the file of every track, on all threads.
///
/// - `work`: of a file; the inner error is of this file alone, the outer one would be of all others too
/// - `progress`: called with the number of tracks done
pub fn each_track<T: Send>(
    set: &Dataset,
    work: impl Fn(SoundFile<'_>) -> Result<Result<T, String>, LabError> + Sync,
    progress: &(dyn Fn(usize) + Sync),
    stop: &AtomicBool,
) -> Result<PerTrack<T>, LabError> {
    let done = AtomicUsize::new(0);
    let one = |item: &Item| -> Result<Result<(MatrixRow, T), String>, LabError> {
        if stop.load(Ordering::Relaxed) {
            return Err(LabError::Interrupted);
        }
        let Some(path) = item.path.as_deref() else {
            let reason = "expected an audio file in the data set, found none";
            return Ok(Err(reason.to_owned()));
        };
        let info = match voisin_audio::probe(path) {
            Ok(info) => info,
            Err(error) => return Ok(Err(with_causes(&error))),
        };
        let found = work(SoundFile { path, info: &info })?;
        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        let row = MatrixRow {
            item: item.clone(),
            content: Some(info.content),
            seconds: Some(info.seconds()),
        };
        Ok(found.map(|value| (row, value)))
    };
    let results: Result<Vec<_>, LabError> = set.items.par_iter().map(one).collect();
    let mut found = PerTrack {
        rows: Vec::new(),
        values: Vec::new(),
        faults: set.faults.clone(),
    };
    let results = results?;
    // Rows that were computed after Ctrl-C may be cut short.
    if stop.load(Ordering::Relaxed) {
        return Err(LabError::Interrupted);
    }
    for (item, result) in set.items.iter().zip(results) {
        match result {
            Ok((row, value)) => {
                found.rows.push(row);
                found.values.push(value);
            }
            Err(reason) => found.faults.push(Fault {
                key: item.key.clone(),
                reason,
            }),
        }
    }
    if found.rows.is_empty() {
        return Err(LabError::NoneDecoded(found.faults));
    }
    Ok(found)
}

#[derive(Debug, Clone)]
pub struct Matrix {
    pub rows: Vec<MatrixRow>,
    pub columns: Vec<String>,
    /// `[rows, columns]`
    pub values: Array2<f32>,
    pub faults: Vec<Fault>,
}

impl Matrix {
    pub fn of(found: PerTrack<Vec<f32>>, columns: Vec<String>) -> Result<Self, LabError> {
        let shape = (found.rows.len(), columns.len());
        let values = Array2::from_shape_vec(shape, found.values.concat());
        Ok(Self {
            columns,
            rows: found.rows,
            values: values.map_err(|error| LabError::Options(error.to_string()))?,
            faults: found.faults,
        })
    }

    /// The numbers of a data set itself; none if it has only audio.
    pub fn own(set: &Dataset) -> Option<Self> {
        let table = set.columns.as_ref()?;
        let row = |item: &Item| MatrixRow {
            item: item.clone(),
            content: None,
            seconds: None,
        };
        Some(Self {
            rows: set.items.iter().map(row).collect(),
            columns: table.names.clone(),
            values: table.values.clone(),
            faults: set.faults.clone(),
        })
    }
}

/// Computes the features of all tracks of a data set.
///
/// - `cache`: the folder in which features are kept
/// - `progress`: called with the number of tracks done
pub fn compute(
    set: &Dataset,
    sets: &[FeatureSet],
    cache: Option<&Path>,
    progress: &(dyn Fn(usize) + Sync),
    stop: &AtomicBool,
) -> Result<Matrix, LabError> {
    let prints: Vec<String> = sets.iter().map(FeatureSet::fingerprint).collect();
    let columns: Vec<Vec<String>> = sets.iter().map(FeatureSet::columns).collect();
    let work = |file: SoundFile<'_>| {
        let mut numbers = Vec::new();
        for ((set, print), names) in sets.iter().zip(&prints).zip(&columns) {
            let kept = cache.map(|cache| path_of(&cache.join(print), file.info.content, "f32"));
            let known = kept.as_deref();
            if let Some(found) = known.and_then(|path| read_numbers(path, names.len())) {
                numbers.extend(found);
                continue;
            }
            let found = match set.compute(file) {
                Ok(found) => found,
                Err(reason) => return Ok(Err(reason)),
            };
            // a NaN in one track would spoil the scaling of its column
            if found.len() != names.len() || found.iter().any(|number| !number.is_finite()) {
                let n = names.len();
                let name = set.name();
                let reason = format!("expected {n} finite numbers of {name}, found others");
                return Ok(Err(reason));
            }
            if let Some(path) = &kept {
                let bytes = found.iter().flat_map(|number| number.to_le_bytes());
                write_cached(path, &bytes.collect::<Vec<u8>>())?;
            }
            numbers.extend(found);
        }
        Ok(Ok(numbers))
    };
    Matrix::of(each_track(set, work, progress, stop)?, columns.concat())
}

/// The cached features of a track; a file of another size counts as missing.
fn read_numbers(path: &Path, columns: usize) -> Option<Vec<f32>> {
    let bytes = regular_file::read(path, 4 * columns as u64).ok()?;
    let (numbers, _) = bytes.as_chunks::<4>();
    let numbers: Vec<f32> = numbers.iter().map(|one| f32::from_le_bytes(*one)).collect();
    (numbers.len() == columns).then_some(numbers)
}
