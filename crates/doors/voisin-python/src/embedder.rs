//! The class Embedder: audio to vectors.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use numpy::IntoPyArray as _;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::audio::{Audio, is_many};
use super::errors::raised;
use super::process::on_threads;
use super::workers::each;
use voisin_encoder::{DeviceChoice, Encoder, ModelRef, models_dir};
use voisin_engine::{EngineError, FileEmbedding, WindowPlan};

/// A model that converts audio to vectors. Any number of threads may share it.
///
/// Embedder(model=None, *, device="auto")
///
/// model: a name of `voisin.models()`, or a path of a manifest or weights file; None: the default.
/// device: "auto", "cpu", "cuda" or "cuda:N". Raises ValueError if there is no such model or device.
#[pyclass(name = "Embedder", frozen, module = "voisin")]
pub(super) struct PyEmbedder {
    inner: Arc<voisin_engine::Embedder>,
    /// The constructor's argument.
    model: Option<OsString>,
    device: String,
}

impl PyEmbedder {
    pub(super) fn inner(&self) -> &Arc<voisin_engine::Embedder> {
        &self.inner
    }

    /// The name or path that it was loaded by.
    pub(super) fn model_ref(&self) -> ModelRef {
        model_ref(self.model.as_deref())
    }
}

/// Names of the available models: those of voisin and those in the models folder.
#[pyfunction]
pub(super) fn models() -> Vec<String> {
    let all = voisin_encoder::models(models_dir().as_deref());
    all.into_iter()
        // Unreadable manifests are skipped; loading one by name raises its error.
        .filter_map(Result::ok)
        .map(|entry| entry.manifest.name)
        .collect()
}

#[pymethods]
impl PyEmbedder {
    #[new]
    #[pyo3(signature = (model = None, *, device = "auto"))]
    fn new(py: Python<'_>, model: Option<PathBuf>, device: &str) -> PyResult<Self> {
        let named = model_ref(model.as_deref().map(Path::as_os_str));
        let choice: DeviceChoice = device.parse().map_err(raised)?;
        let load = || {
            let encoder = Encoder::load(&named, &choice.resolve()?)?;
            voisin_engine::Embedder::new(encoder).map(Arc::new)
        };
        let inner = py.detach(|| on_threads(load));
        // Absolute, since another process may have another working directory.
        let place = model
            .as_ref()
            .filter(|_| !matches!(named, ModelRef::Name(_)))
            .and_then(|model| std::path::absolute(model).ok());
        let model = place.or(model).map(PathBuf::into_os_string);
        Ok(Self {
            inner: inner.map_err(raised)?,
            model,
            device: device.to_owned(),
        })
    }

    /// The model's name.
    #[getter]
    fn model(&self) -> &str {
        &self.inner.encoder().manifest().name
    }

    /// Digest of weights and front end: vectors of equal fingerprints may be compared, others never.
    #[getter]
    fn fingerprint(&self) -> String {
        self.inner.encoder().manifest().fingerprint()
    }

    /// Dimension of the vectors.
    #[getter]
    fn dimension(&self) -> usize {
        self.inner.encoder().manifest().dimension
    }

    /// The model's sample rate, Hz; audio of any rate is resampled.
    #[getter]
    fn sample_rate(&self) -> u32 {
        self.inner.sample_rate()
    }

    /// Length of a window, in seconds; shorter audio raises ValueError.
    #[getter]
    fn window_seconds(&self) -> f32 {
        self.inner.window_seconds()
    }

    /// Analyses audio, one or several: a dictionary of "vector", float32 [dimension], of length 1, the mean of its windows;
    /// "windows", the network's output, float32 [windows, dimension]; "starts", float32 [windows], in seconds.
    ///
    /// audio: a path; the bytes of a file; a file object opened with "rb"; or floats of full scale ±1, of shape [samples] or
    /// [channels, samples], whose mean over channels is taken. A list, or another iterable, of these, and of
    /// pairs (samples, sr), returns a list of embeddings in its order; only the items in progress are held in memory.
    /// sr: the samples' rate in Hz; none for files. windows: how many, spread evenly over the track (default: 24), or
    /// "all" for one every second. Near-silent windows do not count. threads: by default all of the machine; of several
    /// files, each is analysed by one thread. progress: called with the numbers of finished and of all items (None if
    /// unknown). return_exceptions: the list has the exception of each item that cannot be analysed.
    ///
    /// Raises FileNotFoundError, and ValueError for audio that cannot be read, is silent or too short, TypeError for invalid
    /// arguments.
    #[pyo3(signature = (
        audio, sr = None, *, windows = None, threads = None, progress = None, return_exceptions = false
    ))]
    #[allow(clippy::too_many_arguments, reason = "by name, in Python")]
    fn embed<'py>(
        &self,
        py: Python<'py>,
        audio: &Bound<'py, PyAny>,
        sr: Option<u32>,
        windows: Option<&Bound<'py, PyAny>>,
        threads: Option<usize>,
        progress: Option<Bound<'py, PyAny>>,
        return_exceptions: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let plan = windows.map_or(Ok(WindowPlan::default()), plan)?;
        let threads = thread_count(threads)?;
        // With a rate, a list is one audio: a list of samples.
        let is_many = sr.is_none() && is_many(audio)?;
        let (count, jobs): (Option<usize>, Box<dyn Iterator<Item = PyResult<Audio>>>) = if is_many {
            let numbered = audio.try_iter()?.enumerate();
            let numbered_audio = |(number, one): (usize, PyResult<Bound<'py, PyAny>>)| {
                let one = one?;
                // Of several, the message has the number; the error's class stays.
                Audio::of(&one, None).map_err(|error| inside(py, error, number))
            };
            // A generator has no length: the total is None.
            (audio.len().ok(), Box::new(numbered.map(numbered_audio)))
        } else {
            (Some(1), Box::new(std::iter::once(Audio::of(audio, sr))))
        };
        let mut all = Vec::new();
        let mut ended = 0;
        each(
            py,
            threads,
            count,
            jobs,
            |audio, stop| audio.embed(&self.inner, plan, stop),
            |number, audio, embedded| {
                let embedded = embedded.unwrap_or_else(|| {
                    let message = "the thread that analysed it panicked".to_owned();
                    // A decoder's panic is caught for each file, so that the other threads
                    // continue.
                    Err(EngineError::Fault {
                        path: audio.path().to_owned(),
                        message,
                    })
                });
                let embedded = match embedded.map_err(raised) {
                    Ok(embedded) => embedding(py, embedded)?.into_any(),
                    Err(error) if is_many && return_exceptions => {
                        error.into_value(py).into_bound(py).into_any()
                    }
                    Err(error) => return Err(error),
                };
                all.push((number, embedded));
                ended += 1;
                progress
                    .as_ref()
                    .map_or(Ok(()), |progress| progress.call1((ended, count)).map(drop))
            },
        )?;
        // In the order of the arguments.
        all.sort_by_key(|(number, _)| *number);
        let mut all = all.into_iter().map(|(_, embedded)| embedded);
        if is_many {
            return Ok(PyList::new(py, all.collect::<Vec<_>>())?.into_any());
        }
        all.next().ok_or_else(|| raised(EngineError::Interrupted))
    }

    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<((Option<OsString>,), Bound<'py, PyDict>)> {
        let named = PyDict::new(py);
        named.set_item("device", &self.device)?;
        Ok(((self.model.clone(),), named))
    }

    fn __repr__(&self) -> String {
        format!("Embedder({:?})", self.model())
    }
}

fn model_ref(model: Option<&OsStr>) -> ModelRef {
    model.map_or_else(ModelRef::default, |name| {
        name.to_string_lossy()
            .parse()
            .unwrap_or_else(|never| match never {})
    })
}

/// A number of windows, or "all".
pub(super) fn plan(windows: &Bound<'_, PyAny>) -> PyResult<WindowPlan> {
    if let Ok(n) = windows.extract::<usize>() {
        return match n {
            // Even for a whole day of audio, 100 000 are more than one a second, as with
            // "all".
            1..=100_000 => Ok(WindowPlan::Spread(n)),
            _ => Err(PyValueError::new_err(format!(
                "windows: expected 1 to 100000, found {n}"
            ))),
        };
    }
    match windows.extract::<String>() {
        Ok(text) if text == "all" => Ok(WindowPlan::All),
        _ => Err(PyTypeError::new_err(
            "windows: expected a number or \"all\"",
        )),
    }
}

/// The number of threads; by default all of the machine.
pub(super) fn thread_count(threads: Option<usize>) -> PyResult<usize> {
    match threads {
        None => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        // As on the command line: the number of the system's threads is limited.
        Some(threads @ 1..=1024) => Ok(threads),
        Some(threads) => Err(PyValueError::new_err(format!(
            "threads: expected 1 to 1024, found {threads}"
        ))),
    }
}

/// Adds an item's number to an error.
fn inside(py: Python<'_>, error: PyErr, number: usize) -> PyErr {
    // A new exception of the same class, since PyO3 cannot change the text of one.
    let text = format!("audio[{number}]: {}", error.value(py));
    error
        .get_type(py)
        .call1((text,))
        .map_or(error, PyErr::from_value)
}

/// vector: the track's, float32 [dimension], of length 1; windows: float32 [windows, dimension], the network's output;
/// starts: float32 [windows], in seconds.
fn embedding(py: Python<'_>, embedded: FileEmbedding) -> PyResult<Bound<'_, PyDict>> {
    let answer = PyDict::new(py);
    answer.set_item("vector", embedded.vector.into_vec().into_pyarray(py))?;
    answer.set_item("windows", embedded.windows.into_pyarray(py))?;
    answer.set_item("starts", embedded.starts.into_pyarray(py))?;
    Ok(answer)
}
