//! Features for other programs: a table or matrix of all tracks, an array for each track, a picture of a track.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ndarray::{Array2, ArrayD, ArrayView, Dimension};
use ndarray_npy::WriteNpyExt as _;

use super::matrix::{LONGEST, Matrix, MatrixRow, PerTrack, SoundFile, each_track};
use super::{LabError, csv_bytes};
use crate::dataset::Dataset;
use crate::eval::plots::{Panel, Ramp, hertz, sound};
use crate::scene::Scene;
use voisin_audio::{self, AudioInfo};
use voisin_base::atomic_file::AtomicFile;
use voisin_base::output::{OutputError, OutputTarget};
use voisin_base::text::with_causes;
use voisin_features::{ClipViews, DESCRIPTOR_HOP, DescriptorSet};

/// Metadata of the tracks: a header and a row for each, without columns that have no values.
fn facts(set: &Dataset, rows: &[MatrixRow]) -> (Vec<String>, Vec<Vec<String>>) {
    let columns = rows.iter().map(|row| row.facts(row.item.part));
    let columns: Vec<_> = columns.collect();
    let names = [&set.label_name, "artist", "album", "split", "licence"];
    let known = (0..names.len()).filter(|&at| columns.iter().any(|row| !row[at].is_empty()));
    let known: Vec<usize> = known.collect();
    let header = [set.key_name.as_str()].into_iter();
    let header = header.chain(known.iter().map(|&at| names[at]));
    let cells = rows.iter().zip(columns).map(|(row, columns)| {
        let cells = known.iter().map(|&at| columns[at].clone());
        std::iter::once(row.item.key.clone()).chain(cells).collect()
    });
    (header.map(str::to_owned).collect(), cells.collect())
}

/// Metadata and features of every track as a CSV file, from which `table:` reads exactly the same numbers.
pub fn feature_table(set: &Dataset, matrix: &Matrix) -> Vec<u8> {
    let (mut header, mut rows) = facts(set, &matrix.rows);
    header.extend(matrix.columns.iter().cloned());
    for (row, numbers) in rows.iter_mut().zip(matrix.values.outer_iter()) {
        row.extend(numbers.iter().map(f32::to_string));
    }
    csv_bytes(&header, b',', rows)
}

/// Metadata of every track as a CSV file, in the order of the rows.
///
/// - `files`: the file of each row, if there are files
pub fn track_table(set: &Dataset, rows: &[MatrixRow], files: Option<Vec<String>>) -> Vec<u8> {
    let (mut header, mut rows) = facts(set, rows);
    if let Some(files) = files {
        header.push("array".to_owned());
        let files = rows.iter_mut().zip(files);
        files.for_each(|(row, file)| row.push(file));
    }
    csv_bytes(&header, b',', rows)
}

pub fn column_table(names: &[String]) -> Vec<u8> {
    let rows = names.iter().enumerate();
    let rows = rows.map(|(at, name)| [at.to_string(), name.clone()]);
    csv_bytes(&["column", "name"], b',', rows)
}

/// Writes an array, whole or not at all, replacing an existing one.
pub fn write_array<D: Dimension>(path: &Path, values: ArrayView<f32, D>) -> Result<(), String> {
    let write = |mut file: AtomicFile| {
        values
            // In row-major order, the default of .npy.
            .as_standard_layout()
            .write_npy(&mut file)
            .map_err(std::io::Error::other)?;
        file.commit()
    };
    OutputTarget::whole(path)
        .and_then(|output| write(output.open()?).map_err(OutputError::io(path)))
        .map_err(|error| with_causes(&error))
}

/// Computes the array of a file, or the reason why there is none.
pub type ArrayFn<'a> = dyn Fn(SoundFile<'_>) -> Result<ArrayD<f32>, String> + Sync + 'a;

/// Writes an array of every track.
///
/// - `targets`: of each file's array; an existing one is complete, and is left as it is
/// - returns: whether each array is new
pub fn write_arrays(
    set: &Dataset,
    array_of: &ArrayFn<'_>,
    targets: &BTreeMap<PathBuf, PathBuf>,
    progress: &(dyn Fn(usize) + Sync),
    stop: &AtomicBool,
) -> Result<PerTrack<bool>, LabError> {
    let write = |file: SoundFile<'_>| -> Result<bool, String> {
        let target = targets.get(file.path);
        let target = target.ok_or("expected a target for its array, found none")?;
        if target.exists() {
            return Ok(false);
        }
        let array = array_of(file)?;
        if array.iter().any(|number| !number.is_finite()) {
            return Err("expected finite numbers, found others".to_owned());
        }
        let folder = target.parent().unwrap_or(Path::new(""));
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        write_array(target, array.view())?;
        Ok(true)
    };
    each_track(set, |file| Ok(write(file)), progress, stop)
}

pub fn frame_columns() -> Vec<String> {
    std::iter::once("seconds".to_owned())
        .chain(DescriptorSet::Fma.rows_over_time())
        .collect()
}

/// Descriptors of a file frame by frame, `[frames, columns]`: the time of the frame's middle, and
/// the values of which [`DescriptorSet::Fma`] has the statistics.
pub fn frames(file: SoundFile<'_>) -> Result<ArrayD<f32>, String> {
    file.middle(DescriptorSet::Fma, |samples, rate, start| {
        let rows = DescriptorSet::Fma.over_time(samples, rate);
        let hop = DESCRIPTOR_HOP as f64 / f64::from(rate);
        let shape = (rows.ncols(), 1 + rows.nrows());
        let found = Array2::from_shape_fn(shape, |(frame, column)| match column {
            // Frames are centred, so the first one's middle is the first sample.
            0 => (start + frame as f64 * hop) as f32,
            _ => rows[[column - 1, frame]] as f32,
        });
        found.into_dyn()
    })
}

/// A picture of a file: waveform, spectrum, spectrograms and cepstral coefficients.
pub fn picture(path: &Path) -> Result<Scene, String> {
    let info = voisin_audio::probe(path).map_err(|error| with_causes(&error))?;
    SoundFile { path, info: &info }.middle(DescriptorSet::Fma, |samples, rate, start| {
        drawn(path, &info, samples, rate, start)
    })
}

fn drawn(path: &Path, info: &AudioInfo, samples: &[f32], rate: u32, start: f64) -> Scene {
    let views = ClipViews::new(samples, rate);
    let scaled = standardised(&views.mfcc);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let seconds = samples.len() as f64 / f64::from(rate);
    let part = if info.seconds() > LONGEST as f64 + 1.0 {
        " of its middle"
    } else {
        ""
    };
    let title = format!("{name}: {seconds:.1} s{part}, {} Hz", info.sample_rate);
    let spectrum = (&views.spectrum[..], views.bin_hz);
    let panels = panels(&views, &scaled, f64::from(rate) / 2.0);
    let range = start..start + seconds;
    sound(&title, &range, samples, spectrum, &panels)
}

/// - `scaled`: the cepstral coefficients; `highest`: Hz
fn panels<'a>(views: &'a ClipViews, scaled: &'a Array2<f64>, highest: f64) -> [Panel<'a>; 3] {
    // Interpolated between the centres of two bands.
    let row_of = |hz: f64| {
        let centres = &views.mel_hz;
        let above = centres.partition_point(|centre| *centre < hz);
        let above = above.clamp(1, centres.len() - 1);
        let [low, high] = [centres[above - 1], centres[above]];
        (above - 1) as f64 + (hz - low) / (high - low)
    };
    let marks = |all: &[f64], row_of: &dyn Fn(f64) -> f64| -> Vec<(f64, String)> {
        let known = all.iter().filter(|hz| **hz <= highest);
        known.map(|&hz| (row_of(hz), hertz(hz))).collect()
    };
    let linear = [0.0, 5e3, 1e4, 15e3, 20e3];
    let mel = [125.0, 500.0, 1e3, 2e3, 4e3, 8e3, 16e3];
    let coefficients = [1, 5, 10, 15, 20].map(|at| (f64::from(at - 1), at.to_string()));
    [
        Panel {
            title: "Spectrogram, linear frequencies (decibels below the loudest cell)",
            rows: "frequency",
            values: views.bins.view(),
            range: (-80.0, 0.0),
            ramp: Ramp::Heat,
            marks: marks(&linear, &|hz| hz / views.bin_hz),
        },
        Panel {
            title: "Mel spectrogram, 128 bands (decibels below the loudest cell)",
            rows: "frequency",
            values: views.mel.view(),
            range: (-80.0, 0.0),
            ramp: Ramp::Heat,
            marks: marks(&mel, &row_of),
        },
        Panel {
            title: "Mel-frequency cepstral coefficients (standard deviations from each one's mean)",
            rows: "coefficient",
            values: scaled.view(),
            range: (-3.0, 3.0),
            ramp: Ramp::Signed,
            marks: coefficients.to_vec(),
        },
    ]
}

/// Rows of mean 0 and deviation 1; a constant row becomes 0.
fn standardised(rows: &Array2<f64>) -> Array2<f64> {
    let mut rows = rows.clone();
    for mut row in rows.rows_mut() {
        let mean = row.mean().unwrap_or(0.0);
        let deviation = row.std(0.0);
        let scale = if deviation > 1e-9 {
            1.0 / deviation
        } else {
            0.0
        };
        row.mapv_inplace(|v| (v - mean) * scale);
    }
    rows
}
