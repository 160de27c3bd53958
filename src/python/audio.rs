//! Audio from Python: paths of files, and arrays of samples.

use std::path::{Path, PathBuf};

use numpy::ndarray::Ix2;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use super::arrays::numbers;
use voisin::{Embedder, EngineError, FileEmbedding};

/// Most channels of an array: more are probably samples in the wrong dimension.
const MOST_CHANNELS: usize = 64;

/// Analyses a file.
pub(super) fn embed_file(embedder: &Embedder, path: &Path) -> Result<FileEmbedding, EngineError> {
    let info = voisin_audio::probe(path)?;
    embedder.embed(path, &info, embedder.plan())
}

/// The paths of files; `None` if the value is no path and no list of paths.
pub(super) fn paths(audio: &Bound<'_, PyAny>) -> Option<(Vec<PathBuf>, bool)> {
    if let Ok(path) = audio.extract::<PathBuf>() {
        return Some((vec![path], true));
    }
    let all = audio.try_iter().ok()?;
    let all = all.map(|path| path?.extract::<PathBuf>());
    Some((all.collect::<PyResult<_>>().ok()?, false))
}

/// Mono samples from floats of shape `[samples]` or `[channels, samples]`, whose mean is taken, and their rate in Hz.
pub(super) fn samples(audio: &Bound<'_, PyAny>, sr: Option<u32>) -> PyResult<(Vec<f32>, u32)> {
    let Some(rate) = sr.filter(|&rate| rate > 0) else {
        return Err(PyTypeError::new_err(
            "sr: expected the sample rate of the array in Hz (or for audio a path, or a list of paths)",
        ));
    };
    let kind = audio
        .getattr("dtype")
        .and_then(|dtype| dtype.getattr("kind")?.extract::<char>());
    // Integers are refused, since their type does not determine their full scale (24 bits
    // come in int32).
    if kind.is_ok_and(|kind| kind != 'f') {
        return Err(PyTypeError::new_err(
            "audio: expected floats of full scale ±1, found another type: divide integers by their largest value",
        ));
    }
    let array = numbers(audio, "audio")?;
    let array = array.as_array();
    let samples: Vec<f32> = match array.ndim() {
        1 => array.iter().copied().collect(),
        2 if array.shape()[0] <= MOST_CHANNELS => {
            let channels = array
                .into_dimensionality::<Ix2>()
                .map_err(|error| PyValueError::new_err(error.to_string()))?;
            // An array of no channels must not become NaN by a division by 0.
            let n = channels.nrows().max(1) as f32;
            let frames = channels.columns().into_iter();
            frames.map(|frame| frame.sum() / n).collect()
        }
        _ => {
            return Err(PyValueError::new_err(format!(
                "audio: expected the shape [samples] or [channels, samples], found {:?}",
                array.shape()
            )));
        }
    };
    // One NaN would spread to every band of its window.
    if samples.iter().any(|sample| !sample.is_finite()) {
        return Err(PyValueError::new_err(
            "audio: expected finite samples, found others",
        ));
    }
    Ok((samples, rate))
}
