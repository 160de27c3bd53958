//! From audio to vectors.

use std::ffi::OsString;
use std::path::PathBuf;

use numpy::ndarray::Ix2;
use numpy::{AllowTypeChange, IntoPyArray as _, PyArrayLikeDyn};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::answers::Answers;
use super::errors::raised;
use voisin::{FileEmbedding, WindowPlan};
use voisin_encoder::{DeviceChoice, Encoder, ModelRef, models_dir};

/// Channels that an array may have: more are samples in the wrong place.
const MOST_CHANNELS: usize = 64;

/// A model that listens: audio in, vectors out. Any number of threads may share one.
///
/// Embedder(model=None, *, device="auto")
///
/// model: a name of `voisin.models()`, or a path of a manifest or weights file; None: the default.
/// device: "auto", "cpu", "cuda" or "cuda:N". Raises ValueError where there is no such model or device.
#[pyclass(name = "Embedder", frozen, module = "voisin")]
pub(super) struct PyEmbedder {
    inner: voisin::Embedder,
    /// As it was asked for.
    model: Option<OsString>,
    device: String,
}

impl PyEmbedder {
    pub(super) fn inner(&self) -> &voisin::Embedder {
        &self.inner
    }
}

/// What is listened to.
enum AudioArgument {
    File(PathBuf),
    /// Mono samples, Hz.
    Samples(Vec<f32>, u32),
}

/// Names of the models there are: those that come with voisin and those in the models folder.
#[pyfunction]
pub(super) fn models() -> Vec<String> {
    let all = voisin_encoder::models(models_dir().as_deref());
    all.into_iter().filter_map(Result::ok).map(|entry| entry.manifest.name).collect()
}

#[pymethods]
impl PyEmbedder {
    #[new]
    #[pyo3(signature = (model = None, *, device = "auto"))]
    fn new(py: Python<'_>, model: Option<PathBuf>, device: &str) -> PyResult<Self> {
        let named = match &model {
            None => ModelRef::default(),
            Some(name) => name.to_string_lossy().parse().unwrap_or_else(|never| match never {}),
        };
        let choice: DeviceChoice = device.parse().map_err(raised)?;
        let inner = py.detach(|| {
            let encoder = Encoder::load(&named, &choice.resolve()?)?;
            voisin::Embedder::new(encoder)
        });
        // A copy in another process may have another working directory.
        let place =
            model.as_ref().filter(|model| model.exists()).and_then(|model| std::path::absolute(model).ok());
        let model = place.or(model).map(PathBuf::into_os_string);
        Ok(Self { inner: inner.map_err(raised)?, model, device: device.to_owned() })
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

    /// Numbers of a vector.
    #[getter]
    fn dimension(&self) -> usize {
        self.inner.encoder().manifest().dimension
    }

    /// The rate that the model listens at, Hz; audio of any rate is resampled.
    #[getter]
    fn sample_rate(&self) -> u32 {
        self.inner.sample_rate()
    }

    /// Length of a window, in seconds; shorter audio raises ValueError.
    #[getter]
    fn window_seconds(&self) -> f32 {
        self.inner.window_seconds()
    }

    /// Listens to a file, or to samples.
    ///
    /// audio: a path; or floats of full scale ±1, of shape [samples] or [channels, samples], whose mean over channels is taken.
    /// sr: the samples' rate in Hz; none for a file. windows: how many, spread evenly over the track (24 where none is given),
    /// or "all" for one every second. Near-silent windows do not count.
    ///
    /// Raises ValueError for audio that cannot be read, is silent or too short, TypeError for arguments that make no sense.
    #[pyo3(signature = (audio, sr = None, *, windows = None))]
    fn embed(
        &self,
        py: Python<'_>,
        audio: &Bound<'_, PyAny>,
        sr: Option<u32>,
        windows: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let sound = sound(audio, sr)?;
        let plan = windows.map_or(Ok(WindowPlan::default()), plan)?;
        let embedded = py.detach(|| match &sound {
            AudioArgument::File(path) => {
                let info = voisin_audio::probe(path)?;
                self.inner.embed(path, &info, plan, None)
            }
            AudioArgument::Samples(samples, rate) => self.inner.embed_samples(samples, *rate, plan, None),
        });
        let FileEmbedding { vector, windows, starts, .. } = embedded.map_err(raised)?;
        let embedding = Answers::new(py)?.make("Embedding", |fields| {
            fields.set_item("vector", vector.into_vec().into_pyarray(py))?;
            fields.set_item("windows", windows.into_pyarray(py))?;
            fields.set_item("starts", starts.into_pyarray(py))
        });
        embedding.map(Bound::unbind)
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<((Option<OsString>,), Bound<'py, PyDict>)> {
        let named = PyDict::new(py);
        named.set_item("device", &self.device)?;
        Ok(((self.model.clone(),), named))
    }

    fn __repr__(&self) -> String {
        format!("Embedder({:?})", self.model())
    }
}

/// A number of windows, or "all".
fn plan(windows: &Bound<'_, PyAny>) -> PyResult<WindowPlan> {
    if let Ok(n) = windows.extract::<usize>() {
        return match n {
            1..=100_000 => Ok(WindowPlan::Spread(n)),
            _ => Err(PyValueError::new_err(format!("windows: expected 1 to 100000, found {n}"))),
        };
    }
    match windows.extract::<String>() {
        Ok(text) if text == "all" => Ok(WindowPlan::All),
        _ => Err(PyTypeError::new_err("windows: expected a number or \"all\"")),
    }
}

/// A path, or floats of shape `[samples]` or `[channels, samples]`, whose mean is taken.
fn sound(audio: &Bound<'_, PyAny>, sr: Option<u32>) -> PyResult<AudioArgument> {
    if let Ok(path) = audio.extract::<PathBuf>() {
        return match sr {
            None => Ok(AudioArgument::File(path)),
            Some(_) => Err(PyTypeError::new_err("sr: a file knows its sample rate: expected none")),
        };
    }
    let Some(rate) = sr.filter(|&rate| rate > 0) else {
        return Err(PyTypeError::new_err("sr: expected the sample rate of the array in Hz"));
    };
    if let Ok(kind) = audio.getattr("dtype").and_then(|dtype| dtype.getattr("kind")?.extract::<String>())
        && kind != "f"
    {
        return Err(PyTypeError::new_err(
            "audio: expected floats of full scale ±1, found another type: divide integers by their largest value",
        ));
    }
    let array: PyArrayLikeDyn<'_, f32, AllowTypeChange> = audio
        .extract()
        .map_err(|_| PyTypeError::new_err("audio: expected a path, or an array of floats and its sr"))?;
    let array = array.as_array();
    let samples: Vec<f32> = match array.ndim() {
        1 => array.iter().copied().collect(),
        2 if array.shape()[0] <= MOST_CHANNELS => {
            let channels = array
                .into_dimensionality::<Ix2>()
                .map_err(|error| PyValueError::new_err(error.to_string()))?;
            let n = channels.nrows().max(1) as f32;
            channels.columns().into_iter().map(|frame| frame.sum() / n).collect()
        }
        _ => {
            return Err(PyValueError::new_err(format!(
                "audio: expected the shape [samples] or [channels, samples], found {:?}",
                array.shape()
            )));
        }
    };
    if samples.iter().any(|sample| !sample.is_finite()) {
        return Err(PyValueError::new_err("audio: expected finite samples, found others"));
    }
    Ok(AudioArgument::Samples(samples, rate))
}
