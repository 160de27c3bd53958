//! The class Embedder: audio to vectors.

use std::path::PathBuf;
use std::sync::Arc;

use numpy::IntoPyArray as _;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use rayon::ThreadPoolBuilder;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::audio::{embed_file, paths, samples};
use super::errors::raised;
use voisin::FileEmbedding;
use voisin_encoder::{DeviceChoice, Encoder, ModelRef, models_dir};

/// A model that converts audio to vectors. Any number of threads may share it.
///
/// Embedder(model=None, *, device="auto")
///
/// model: a name of `voisin.models()`, or a path of a manifest or weights file; None: the default.
/// device: "auto", "cpu", "cuda" or "cuda:N". Raises ValueError if there is no such model or device.
#[pyclass(name = "Embedder", frozen, module = "voisin")]
pub(super) struct PyEmbedder {
    inner: Arc<voisin::Embedder>,
    /// The constructor's argument.
    named: ModelRef,
}

impl PyEmbedder {
    pub(super) fn inner(&self) -> &Arc<voisin::Embedder> {
        &self.inner
    }

    /// The name or path that it was loaded by.
    pub(super) fn model_ref(&self) -> ModelRef {
        self.named.clone()
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
        let named = model.map_or_else(ModelRef::default, |name| {
            let name = name.to_string_lossy().parse();
            name.unwrap_or_else(|never| match never {})
        });
        let choice: DeviceChoice = device.parse().map_err(raised)?;
        let load = || {
            let encoder = Encoder::load(&named, &choice.resolve()?)?;
            voisin::Embedder::new(encoder).map(Arc::new)
        };
        let inner = py.detach(load);
        Ok(Self {
            inner: inner.map_err(raised)?,
            named,
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

    /// Analyses audio, one or several: a dictionary of "vector", float32 [dimension], of length 1, the mean of its windows;
    /// "windows", the network's output, float32 [windows, dimension]; "starts", float32 [windows], in seconds.
    ///
    /// audio: a path, or a list of paths, which returns a list in its order; or floats of full scale ±1, of shape [samples] or
    /// [channels, samples], whose mean over channels is taken. sr: the samples' rate in Hz; none for files. Windows are spread
    /// evenly over the track, as `add` takes them; near-silent ones do not count. threads: by default all of the machine; of several files, each is analysed by one thread. progress: called with the numbers of
    /// finished and of all files.
    ///
    /// Raises FileNotFoundError, and ValueError for audio that cannot be read, is silent or too short, TypeError for invalid
    /// arguments.
    #[pyo3(signature = (audio, sr = None, *, threads = None, progress = None))]
    #[allow(clippy::too_many_arguments, reason = "by name, in Python")]
    fn embed<'py>(
        &self,
        py: Python<'py>,
        audio: &Bound<'py, PyAny>,
        sr: Option<u32>,
        threads: Option<usize>,
        progress: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or_default())
            .build()
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        // With a rate, a list is one audio: a list of samples.
        let Some((paths, is_one)) = sr.map_or_else(|| paths(audio), |_| None) else {
            let (samples, rate) = samples(audio, sr)?;
            let embed = || self.inner.embed_samples(&samples, rate, self.inner.plan());
            let embedded = py.detach(|| pool.install(embed)).map_err(raised)?;
            return Ok(embedding(py, embedded)?.into_any());
        };
        let all = PyList::empty(py);
        // Between parts an interrupt ends the run.
        for part in paths.chunks(pool.current_num_threads()) {
            py.check_signals()?;
            let embed = |path: &PathBuf| embed_file(&self.inner, path);
            let embedded: Vec<_> =
                py.detach(|| pool.install(|| part.par_iter().map(embed).collect()));
            for one in embedded {
                all.append(embedding(py, one.map_err(raised)?)?)?;
                if let Some(progress) = &progress {
                    progress.call1((all.len(), paths.len()))?;
                }
            }
        }
        if is_one {
            all.get_item(0)
        } else {
            Ok(all.into_any())
        }
    }
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
