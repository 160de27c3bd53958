//! Audio from Python: paths, bytes, file objects, arrays.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use numpy::ndarray::Ix2;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use tempfile::NamedTempFile;

use super::arrays::numbers;
use voisin_engine::{EngineError, FileEmbedding, WindowPlan};

/// Most channels of an array: more are probably samples in the wrong dimension.
const MOST_CHANNELS: usize = 64;
/// Bytes of a read from a file object.
const PIECE: usize = 1 << 20;

/// The audio to analyse.
pub(super) enum Audio {
    File(PathBuf),
    /// The bytes of a file, in a temporary file, and their name.
    Copy(NamedTempFile, String),
    /// Mono samples, Hz.
    Samples(Vec<f32>, u32),
}

impl Audio {
    /// - `sr`: the sample rate, if given
    pub(super) fn of(value: &Bound<'_, PyAny>, sr: Option<u32>) -> PyResult<Self> {
        let file = if is_bytes(value)? {
            // `bytes(value)` also flattens a non-contiguous memoryview.
            let bytes = value.py().get_type::<PyBytes>().call1((value,))?;
            let mut copy = NamedTempFile::new()?;
            copy.write_all(bytes.cast::<PyBytes>()?.as_bytes())?;
            Some(Self::Copy(copy, "the bytes".to_owned()))
        } else if value.hasattr("read")? {
            Some(read(value)?)
        } else {
            value.extract().ok().map(Self::File)
        };
        if let Some(file) = file {
            return match sr {
                None => Ok(file),
                Some(_) => Err(PyTypeError::new_err(
                    "sr: expected none for a file, which has its sample rate",
                )),
            };
        }
        // A rate in a pair counts only without `sr`; with both, the tuple is refused
        // as an array of two unlike rows.
        match (sr, pair(value)) {
            (None, Some((samples, rate))) => of_samples(&samples, Some(rate)),
            _ => of_samples(value, sr),
        }
    }

    pub(super) fn embed(
        &self,
        embedder: &voisin_engine::Embedder,
        plan: WindowPlan,
        stop: &AtomicBool,
    ) -> Result<FileEmbedding, EngineError> {
        let embed = |path: &Path| {
            let info = voisin_audio::probe(path)?;
            embedder.embed(path, &info, plan, Some(stop))
        };
        match self {
            Self::File(path) => embed(path),
            Self::Copy(copy, name) => {
                // Messages have the caller's file instead of the temporary
                // one.
                embed(copy.path()).map_err(|error| error.of_file_known_as(copy.path(), name))
            }
            Self::Samples(samples, rate) => {
                embedder.embed_samples(samples, *rate, plan, Some(stop))
            }
        }
    }

    /// Its name, for messages.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Copy(_, name) => Path::new(name),
            Self::Samples(..) => Path::new("the samples"),
        }
    }
}

/// Whether this is several audios: any iterable but text, bytes, files and numbers.
pub(super) fn is_many(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    if is_bytes(value)?
        || value.hasattr("read")?
        || pair(value).is_some()
        || value.extract::<PathBuf>().is_ok()
    {
        return Ok(false);
    }
    // An array of numbers is one audio although it is iterable; an array of objects, as of paths, is
    // many.
    Ok(!matches!(kind(value), Some('f' | 'i' | 'u' | 'b' | 'c')) && value.try_iter().is_ok())
}

/// NumPy's letter of the kind of an array's numbers.
fn kind(value: &Bound<'_, PyAny>) -> Option<char> {
    value
        .getattr("dtype")
        .and_then(|dtype| dtype.getattr("kind")?.extract())
        .ok()
}

fn is_bytes(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    // By name, since the three have no common base class.
    let name = value.get_type().name()?;
    Ok(["bytes", "bytearray", "memoryview"]
        .iter()
        .any(|bytes| name == *bytes))
}

/// Samples and their rate.
fn pair<'py>(value: &Bound<'py, PyAny>) -> Option<(Bound<'py, PyAny>, u32)> {
    let (samples, rate): (Bound<'py, PyAny>, Bound<'py, PyAny>) =
        value.cast::<PyTuple>().ok()?.extract().ok()?;
    Some((samples, rate.extract().ok()?))
}

/// Reads the rest of a file object.
fn read(file: &Bound<'_, PyAny>) -> PyResult<Audio> {
    let mut copy = NamedTempFile::new()?;
    loop {
        let piece = file.call_method1("read", (PIECE,))?;
        let bytes = piece.cast::<PyBytes>().map_err(|_| {
            PyTypeError::new_err("audio: expected a file opened for reading bytes (mode \"rb\")")
        })?;
        if bytes.as_bytes().is_empty() {
            // `io.BytesIO` has no name; that of a file opened by its descriptor is a number.
            let name = file.getattr("name").and_then(|name| name.extract());
            return Ok(Audio::Copy(
                copy,
                name.unwrap_or_else(|_| "the file".to_owned()),
            ));
        }
        copy.write_all(bytes.as_bytes())?;
    }
}

/// Floats of shape `[samples]` or `[channels, samples]`, whose mean is taken.
fn of_samples(audio: &Bound<'_, PyAny>, sr: Option<u32>) -> PyResult<Audio> {
    let Some(rate) = sr.filter(|&rate| rate > 0) else {
        return Err(PyTypeError::new_err(
            "sr: expected the sample rate of the array in Hz (or for audio a path, bytes, a file, or a list of these)",
        ));
    };
    // Integers are refused, since their type does not determine their full scale (24 bits
    // come in int32).
    if kind(audio).is_some_and(|kind| kind != 'f') {
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
            channels
                .columns()
                .into_iter()
                .map(|frame| frame.sum() / n)
                .collect()
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
    Ok(Audio::Samples(samples, rate))
}
