//! The class Library.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use numpy::IntoPyArray as _;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use serde_json::{Map, Value};

use super::adding::Adding;
use super::arguments::{dictionaries, fields, loads};
use super::embedder::PyEmbedder;
use super::errors::raised;
use super::seeds::{SeedArgument, no_embedder};
use voisin::questions::queries::{QUERIES, QueryInput, Question, named};
use voisin::{AddOptions, Embedder, Engine, EngineError};
use voisin_library::{Library, OpenMode, default_dir};

/// The native half of `voisin.Library`, whose documentation says what it is.
#[pyclass(name = "Library", frozen, subclass, module = "voisin._voisin")]
pub(super) struct PyLibrary {
    /// Its folder, absolute.
    dir: PathBuf,
    engine: Mutex<Engine>,
    process: u32,
}

impl PyLibrary {
    /// Runs work on the library, without the interpreter's lock.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Engine) -> Result<T, EngineError> + Send,
    ) -> PyResult<T> {
        // An SQLite database does not survive a fork.
        if self.process != std::process::id() {
            return Err(PyRuntimeError::new_err(
                "a library cannot be used after a fork: open it again in this process",
            ));
        }
        let answer = py.detach(|| {
            let mut library = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut library)
        });
        answer.map_err(raised)
    }
}

/// The answer as JSON, with notes on it.
///
/// - `one_each`: each seed is one track
fn answered(
    engine: &mut Engine,
    question: &dyn Question,
    (seeds, one_each): (Option<&[SeedArgument]>, bool),
    embedder: Option<&Arc<Embedder>>,
) -> Result<(Vec<u8>, Vec<String>), EngineError> {
    let mut notes = Vec::new();
    let known = embedder.map(AsRef::as_ref);
    let seeds = seeds.map(|all| SeedArgument::seeds(all, one_each, engine, known, &mut notes));
    let model = |_: &Library| {
        let embedder = embedder.cloned();
        embedder.ok_or_else(|| no_embedder("this file must be analysed"))
    };
    let mut input = QueryInput {
        engine,
        model: &model,
        seeds: seeds.transpose()?,
        tags: None,
        seed_name: None,
        notes,
    };
    let answer = question.answer(&mut input)?;
    Ok((answer, input.notes))
}

/// Puts texts for the seeds that a query requires; they are resolved apart.
fn put_seeds(name: &str, seeds: &[SeedArgument], fields: &mut Map<String, Value>) -> PyResult<()> {
    // They contain their seeds, which must be tracks.
    if ["playlist", "path", "show"].contains(&name) && seeds.iter().any(SeedArgument::is_vector) {
        return Err(PyTypeError::new_err(
            "expected an id, a path or words, found a vector",
        ));
    }
    let required: &[&str] = match name {
        "similar" => &["seeds"],
        "classify" => &["tracks"],
        "show" => &["track"],
        "path" => &["from", "to"],
        _ => &[],
    };
    if required.len() == 2 && seeds.len() < 2 {
        return Err(PyValueError::new_err("seeds: expected two tracks or more"));
    }
    if name == "show" && seeds.len() != 1 {
        return Err(PyValueError::new_err("seeds: expected one track"));
    }
    for field in required {
        fields.insert((*field).to_owned(), Value::from("a seed"));
    }
    Ok(())
}

#[pymethods]
impl PyLibrary {
    #[new]
    #[pyo3(signature = (path = None, *, create = false))]
    fn new(py: Python<'_>, path: Option<PathBuf>, create: bool) -> PyResult<Self> {
        let place = path.unwrap_or_else(default_dir);
        let open = || {
            if create {
                return Library::open(&place, OpenMode::Create);
            }
            Library::open_to_write_if_possible(&place)
        };
        let opened = py.detach(|| open().map(Engine::from_library));
        Ok(Self {
            // Absolute: a pickled library may be opened in another working directory.
            dir: std::path::absolute(&place)?,
            engine: Mutex::new(opened.map_err(raised)?),
            process: std::process::id(),
        })
    }

    /// The folder.
    #[getter]
    fn path(&self) -> &Path {
        &self.dir
    }

    /// Name of the model that its vectors are from.
    #[getter]
    fn model(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |engine| Ok(engine.model()?.name))
    }

    /// Dimension of the vectors.
    #[getter]
    fn dimension(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |engine| Ok(engine.model()?.dimension))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |engine| Ok(engine.library().status()?.vectors as usize))
    }

    /// Adds music: files, folders with all below them, playlists; unchanged files are skipped.
    ///
    /// embedder: the model; None: the library's model, or for a new library the default one. force: analyse all again; retry: those that failed before. threads: by
    /// default one per core. remove_missing: remove files that are gone from these folders.
    /// Ctrl-C end the run: added files stay, and the next run continues. Returns the JSON of `voisin add --format json` as a
    /// dictionary, with "failures": files that could not be added, and the reasons. Raises RuntimeError while another process
    /// adds to the library, ValueError for an embedder of another model.
    #[pyo3(signature = (
        paths, *, embedder = None, force = false, retry = false, remove_missing = false,
        threads = None, progress = None
    ))]
    #[allow(
        clippy::too_many_arguments,
        clippy::fn_params_excessive_bools,
        reason = "by name, in Python"
    )]
    fn add<'py>(
        &self,
        py: Python<'py>,
        paths: &Bound<'py, PyAny>,
        embedder: Option<PyRef<'py, PyEmbedder>>,
        force: bool,
        retry: bool,
        remove_missing: bool,
        threads: Option<usize>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let paths = match paths.extract::<PathBuf>() {
            // Text first, since it is iterable and would become a path for each letter.
            Ok(path) => vec![path],
            Err(_) => paths
                .try_iter()?
                .map(|path| path?.extract())
                .collect::<PyResult<_>>()?,
        };
        let mut options = AddOptions {
            force,
            retry,
            ..AddOptions::default()
        };
        options.threads = threads.unwrap_or(options.threads);
        let adding = Adding {
            paths,
            embedder: embedder.map(|embedder| (Arc::clone(embedder.inner()), embedder.model_ref())),
            remove_missing,
            options,
        };
        let dir = self.path();
        // Not on the engine for queries, which callbacks may use.
        let run = || {
            let mut engine = Engine::open(dir, OpenMode::ReadWrite)?;
            adding.run(&mut engine, progress.as_ref())
        };
        let (added, error) = py.detach(run).map_err(raised)?;
        error.map_or_else(|| dictionaries(py, &added), Err)
    }

    /// The answer of a query, the JSON of the program's command of this name as a dictionary (docs/serve.md).
    ///
    /// name: similar, find, playlist, path, list, show, classify, genres, labels, suspects, clusters, map, duplicates, failed,
    /// status. seeds: one, or a list of several: an id, a name (a path, words, "artist:NAME"; docs/guide.md lists all
    /// forms), or a vector, float32 [dimension]. Of a path: both ends, then the tracks to pass. A file that is not in the
    /// library is analysed by `embedder`. options: those of the command: limit=5 (0: all), genre="Jazz",
    /// year="1970-1979", max_per_artist=1. Notes on the answer are logged by the logger "voisin". Raises KeyError
    /// if words match no track or several, ValueError for invalid values.
    #[pyo3(
        signature = (name, seeds = None, *, embedder = None, **options),
        text_signature = "($self, name, seeds=None, *, embedder=None, **options)"
    )]
    fn query<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        seeds: Option<Bound<'py, PyAny>>,
        embedder: Option<PyRef<'py, PyEmbedder>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(query) = named(name) else {
            let names: Vec<&str> = QUERIES.iter().map(|query| query.name).collect();
            let names = names.join(", ");
            let text = format!("there is no query {name:?}: expected one of {names}");
            return Err(PyValueError::new_err(text));
        };
        let seeds = seeds.map(|seeds| SeedArgument::all(&seeds)).transpose()?;
        let embedder = embedder.map(|embedder| Arc::clone(embedder.inner()));
        let one_each = ["path", "show"].contains(&name);
        let mut fields = fields(options)?;
        if let Some(seeds) = &seeds {
            put_seeds(name, seeds, &mut fields)?;
        }
        let question = (query.read)(fields).map_err(raised)?;
        let (answer, notes) = self.with(py, |engine| {
            let seeds = (seeds.as_deref(), one_each);
            answered(engine, &*question, seeds, embedder.as_ref())
        })?;
        let logging = py.import("logging")?;
        let logger = logging.call_method1("getLogger", ("voisin",))?;
        for note in notes {
            // With "%s", since titles may contain percent signs.
            logger.call_method1("info", ("%s", note))?;
        }
        loads(py, &answer)
    }

    /// Every track's raw vector: (ids, vectors), int64 [n] and float32 [n, dimension], rows of length 1, ascending by id.
    ///
    /// The arrays take over the memory that the library was read into, without a copy.
    fn vectors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let vectors = self.with(py, |engine| Ok(engine.library().vectors()?))?;
        let ids: Vec<i64> = vectors.ids.iter().map(|id| id.0).collect();
        (ids.into_pyarray(py), vectors.values.into_pyarray(py)).into_pyobject(py)
    }

    /// The arguments of `__new__`, without `create`: a copy must not create a library elsewhere.
    fn __getnewargs__(&self) -> (OsString,) {
        (self.dir.clone().into_os_string(),)
    }
}
