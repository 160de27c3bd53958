//! A library and its tracks.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use numpy::{AllowTypeChange, IntoPyArray as _, PyArray1, PyArray2, PyArrayLike1};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::adding::Adding;
use super::answers::AnswerClasses;
use super::arguments::{dictionaries, limit, question};
use super::arrays::{matrix, numbers};
use super::embedder::{PyEmbedder, plan, thread_count};
use super::errors::{raised, refused};
use super::table::PyTable;
use voisin::{AddOptions, Engine, EngineError, LibrarySpace, Seed};
use voisin_base::track::TrackId;
use voisin_learn::genre::Genre;
use voisin_library::{Descriptors, LibraryError, OpenMode, Track, default_dir};
use voisin_questions::answers::clusters::{ClustersJson, members};
use voisin_questions::answers::find::name;
use voisin_questions::answers::genre::AnswerJson;
use voisin_questions::answers::graph::neighbour_graph;
use voisin_questions::explore::{Clusters, Duplicates};
use voisin_questions::genre::Classify;
use voisin_questions::list::{Find, List};
use voisin_questions::seed::at_least_one;
use voisin_questions::{QuestionError, Similar};

/// A library: music that was added, here or by the program (`voisin add ~/Music`). It sees what others change meanwhile.
///
/// Library(path=None, *, create=False)
///
/// path: its folder; None: the default one. create: make one where there is none. Raises FileNotFoundError where there is none.
#[pyclass(name = "Library", frozen, module = "voisin")]
pub(super) struct PyLibrary {
    engine: Mutex<Engine>,
}

/// Tracks, their genres, and what was measured of them.
type KnownTracks = (Vec<Track>, Vec<Vec<Genre>>, HashMap<TrackId, Descriptors>);

/// Finds the tracks that are asked for; all where nothing is.
fn listed(
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<impl FnOnce(&Engine) -> Result<Vec<Track>, QuestionError> + Send + use<>> {
    let mut asked = options.map(|options| question::<List>(Some(options), [])).transpose()?;
    if let Some(asked) = &mut asked {
        asked.filters.of_this_disk();
    }
    Ok(move |engine: &Engine| {
        let Some(asked) = asked else { return Ok(engine.library().tracks()?) };
        asked.filters.check_folders(engine)?;
        Ok(engine.list(&asked.query(engine, usize::MAX, None)?)?.tracks)
    })
}

/// Starts and vectors.
type WindowArrays = (Py<PyArray1<f32>>, Py<PyArray2<f32>>);

/// What a search starts from.
enum SeedArgument {
    Named(OsString),
    Id(TrackId),
    Vector(Vec<f32>),
}

impl SeedArgument {
    fn of(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(id) = value.extract::<i64>() {
            return Ok(Self::Id(TrackId(id)));
        }
        if let Ok(path) = value.extract::<PathBuf>() {
            return Ok(Self::Named(path.into_os_string()));
        }
        let vector: PyArrayLike1<'_, f32, AllowTypeChange> = value.extract().map_err(|_| {
            PyTypeError::new_err(
                "seeds: expected an id, a path, words, or a vector of the library's dimension",
            )
        })?;
        Ok(Self::Vector(vector.as_array().to_vec()))
    }

    /// One value, or a list or tuple of them.
    fn all(seeds: &Bound<'_, PyAny>) -> PyResult<Vec<Self>> {
        if seeds.is_instance_of::<PyList>() || seeds.is_instance_of::<PyTuple>() {
            return seeds.try_iter()?.map(|seed| Self::of(&seed?)).collect();
        }
        Ok(vec![Self::of(seeds)?])
    }

    fn seeds(
        all: &[Self],
        engine: &Engine,
        embedder: Option<&voisin::Embedder>,
    ) -> Result<Vec<Seed>, EngineError> {
        all.iter().map(|one| one.seed(engine, embedder)).collect()
    }

    fn seed(&self, engine: &Engine, embedder: Option<&voisin::Embedder>) -> Result<Seed, EngineError> {
        match self {
            Self::Id(id) => engine.seed_of(*id),
            Self::Named(name) => {
                engine.seed(name, || embedder.ok_or_else(|| no_embedder("this file is not in the library")))
            }
            Self::Vector(vector) => {
                let (expected, found) = (engine.model()?.dimension, vector.len());
                if expected != found {
                    return Err(LibraryError::Dimension { expected, found }.into());
                }
                let mut vector = vector.clone();
                voisin_base::vector::make_unit(&mut vector);
                Ok(Seed::of_vector(vector))
            }
        }
    }
}

fn no_embedder(why: &str) -> EngineError {
    EngineError::Model { reason: format!("{why}: expected embedder= to listen to it") }
}

/// Says what is worth knowing about an answer to who listens to the logger "voisin".
fn tell(py: Python<'_>, news: &[String]) -> PyResult<()> {
    let logger = py.import("logging")?.call_method1("getLogger", ("voisin",))?;
    news.iter().try_for_each(|text| logger.call_method1("info", ("%s", text)).map(drop))
}

impl PyLibrary {
    /// Works with the engine, without the interpreter's lock.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Engine) -> Result<T, QuestionError> + Send,
    ) -> PyResult<T> {
        py.detach(|| work(&mut self.engine.lock().unwrap_or_else(PoisonError::into_inner))).map_err(refused)
    }

    /// Tracks with all that is known of them.
    fn known(
        &self,
        py: Python<'_>,
        find: impl FnOnce(&Engine) -> Result<Vec<Track>, QuestionError> + Send,
    ) -> PyResult<KnownTracks> {
        self.with(py, |engine| {
            let tracks = find(engine)?;
            let ids: Vec<TrackId> = tracks.iter().map(|track| track.id).collect();
            let (genres, measured) = (engine.genres_of(&tracks)?, engine.library().descriptors(&ids)?);
            Ok((tracks, genres, measured))
        })
    }

    /// The same as Python has them.
    fn told(
        &self,
        py: Python<'_>,
        find: impl FnOnce(&Engine) -> Result<Vec<Track>, QuestionError> + Send,
    ) -> PyResult<Vec<Py<PyAny>>> {
        let (tracks, genres, measured) = self.known(py, find)?;
        let answers = AnswerClasses::new(py)?;
        let told = tracks.iter().zip(&genres).map(|(track, genres)| answers.track(track, genres, &measured));
        told.map(|track| track.map(Bound::unbind)).collect()
    }
}

#[pymethods]
impl PyLibrary {
    #[new]
    #[pyo3(signature = (path = None, *, create = false))]
    fn new(py: Python<'_>, path: Option<PathBuf>, create: bool) -> PyResult<Self> {
        let dir = match path {
            Some(path) => path,
            None => default_dir(),
        };
        let mode = if create { OpenMode::Create } else { OpenMode::ReadWrite };
        let opened = py.detach(|| match Engine::open(&dir, mode) {
            Err(EngineError::Library(LibraryError::ReadOnly { .. })) => {
                Engine::open(&dir, OpenMode::ReadOnly)
            }
            engine => engine,
        });
        Ok(Self { engine: Mutex::new(opened.map_err(raised)?) })
    }

    /// The folder.
    #[getter]
    fn path(&self, py: Python<'_>) -> PyResult<PathBuf> {
        self.with(py, |engine| Ok(engine.library().dir().to_owned()))
    }

    /// Name of the model that its vectors are from.
    #[getter]
    fn model(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |engine| Ok(engine.model()?.name))
    }

    /// Numbers of a vector.
    #[getter]
    fn dimension(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |engine| Ok(engine.model()?.dimension))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |engine| Ok(engine.library().status()?.vectors as usize))
    }

    /// Adds music: files, folders with all below them, playlists; what is there already and has not changed is left as it is.
    ///
    /// embedder: what listens; None: the library's model, of a new library the default one. windows: how many of a track are
    /// listened to from now on, or "all". force: listen to all again; retry: to those that failed before. threads: all of the
    /// machine where none is given. progress: is called with how many files are done and how many there are; what it raises,
    /// and Ctrl-C, ends the run: what was added until then stays, and the next one goes on. Returns what was done as `voisin add
    /// --format json` says it, with "failures": what could not be added, and why. Raises RuntimeError while another process
    /// adds to the library, ValueError for an embedder of another model.
    #[pyo3(signature = (
        paths, *, embedder = None, windows = None, force = false, retry = false, threads = None, progress = None
    ))]
    #[allow(clippy::too_many_arguments, reason = "by name, in Python")]
    fn add<'py>(
        &self,
        py: Python<'py>,
        paths: &Bound<'py, PyAny>,
        embedder: Option<PyRef<'py, PyEmbedder>>,
        windows: Option<&Bound<'py, PyAny>>,
        force: bool,
        retry: bool,
        threads: Option<usize>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let paths = match paths.extract::<PathBuf>() {
            Ok(path) => vec![path],
            Err(_) => paths.try_iter()?.map(|path| path?.extract()).collect::<PyResult<_>>()?,
        };
        let adding = Adding {
            paths,
            embedder: embedder.map(|embedder| (Arc::clone(embedder.inner()), embedder.model_ref())),
            windows: windows.map(plan).transpose()?,
            options: AddOptions { force, retry, threads: thread_count(threads)?, ..AddOptions::default() },
        };
        // Not with the engine that answers: what is called meanwhile may ask it.
        let dir = self.path(py)?;
        let run = || adding.run(&mut Engine::open(&dir, OpenMode::ReadWrite)?, progress.as_ref());
        let (added, error) = py.detach(run).map_err(raised)?;
        error.map_or_else(|| dictionaries(py, &added), Err)
    }

    /// The tracks nearest to the seeds' mean, nearest first; the seeds and their copies are left out.
    ///
    /// seeds, unlike: one, or a list of several: an id, a path, words of artist and title, or a vector, float32 [dimension]. A
    /// file that is not in the library is listened to by `embedder`. unlike: what to stay away from. limit: how many; None: all.
    /// options: `voisin.SimilarOptions`, as `voisin similar` has them: genre="Jazz", year="1970-1979", max_per_artist=1,
    /// unlike="rihanna". Raises KeyError where words mean no track or several, ValueError for values that make no sense.
    #[pyo3(
        signature = (seeds, limit = Some(10), *, unlike = None, embedder = None, **options),
        text_signature = "($self, seeds, limit=10, *, unlike=None, embedder=None, **options)"
    )]
    fn similar(
        &self,
        py: Python<'_>,
        seeds: &Bound<'_, PyAny>,
        limit: Option<i64>,
        unlike: Option<&Bound<'_, PyAny>>,
        embedder: Option<PyRef<'_, PyEmbedder>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Vec<Py<PyAny>>> {
        let mut asked: Similar = question(options, [])?;
        asked.limit = self::limit(limit)?;
        asked.filters.of_this_disk();
        if asked.passage().is_some() {
            return Err(PyValueError::new_err("from, to: expected none: passages are found by the program"));
        }
        let wanted = SeedArgument::all(seeds)?;
        let unlike = unlike.map_or_else(|| Ok(Vec::new()), SeedArgument::all)?;
        let embedder = embedder.as_deref().map(|embedder| &**embedder.inner());
        let (answer, measured) = self.with(py, |engine| {
            asked.validate(wanted.len())?;
            let seeds = SeedArgument::seeds(&wanted, engine, embedder)?;
            let unlike = SeedArgument::seeds(&unlike, engine, embedder)?;
            asked.filters.check_folders(engine)?;
            let answer = asked.run(engine, &seeds, unlike)?;
            let ids: Vec<TrackId> = answer.found.iter().map(|found| found.track.id).collect();
            Ok((answer, engine.library().descriptors(&ids)?))
        })?;
        let answers = AnswerClasses::new(py)?;
        let neighbor = |found: &voisin::SimilarTrack| {
            let track = answers.track(&found.track, &found.genres, &measured)?;
            let percentile =
                answer.standing.as_ref().and_then(|standing| standing.percentile(found.similarity));
            let neighbor = answers.make("Neighbor", |fields| {
                fields.set_item("track", track)?;
                fields.set_item("similarity", found.similarity)?;
                fields.set_item("percentile", percentile.map(|percent| f64::from(percent) / 100.0))
            });
            neighbor.map(Bound::unbind)
        };
        answer.found.iter().map(neighbor).collect()
    }

    /// Music by words for its sound, "calm piano no drums", best first.
    ///
    /// limit: how many; None: all. options: `voisin.FindOptions`, as `voisin find` has them. What is worth knowing about the
    /// answer goes to the logger "voisin". Raises ValueError where nothing of it is understood, RuntimeError for libraries whose
    /// model has no tags.
    #[pyo3(
        signature = (words, limit = Some(20), **options),
        text_signature = "($self, words, limit=20, **options)"
    )]
    fn find(
        &self,
        py: Python<'_>,
        words: String,
        limit: Option<i64>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Vec<Py<PyAny>>> {
        let mut asked: Find = question(options, [("query", words.into())])?;
        asked.limit = self::limit(limit)?;
        asked.filters.of_this_disk();
        let (answer, genres, measured) = self.with(py, |engine| {
            engine.keep_tags()?;
            asked.filters.check_folders(engine)?;
            let answer = asked.run(engine, &engine.predicted_tags()?)?;
            let tracks: Vec<Track> = answer.tracks.iter().map(|found| found.track.clone()).collect();
            let ids: Vec<TrackId> = tracks.iter().map(|track| track.id).collect();
            let (genres, measured) = (engine.genres_of(&tracks)?, engine.library().descriptors(&ids)?);
            Ok((answer, genres, measured))
        })?;
        tell(py, &answer.notes)?;
        let names: Vec<String> = answer.phrase.terms.iter().map(name).collect();
        let answers = AnswerClasses::new(py)?;
        let found = answer.tracks.iter().zip(&genres).map(|(found, genres)| {
            let track = answers.track(&found.track, genres, &measured)?;
            let terms = PyDict::new(py);
            names.iter().zip(&found.terms).try_for_each(|(name, strength)| terms.set_item(name, strength))?;
            let found = answers.make("Found", |fields| {
                fields.set_item("track", track)?;
                fields.set_item("fit", found.fit)?;
                fields.set_item("terms", terms)
            });
            found.map(Bound::unbind)
        });
        found.collect()
    }

    /// Which genre tracks are: for each a dictionary, as `voisin classify --format json` has it.
    ///
    /// tracks: one, or a list of several, as `similar` takes them. A file that is not in the library, and every file where the
    /// library has too few labels, is listened to by `embedder`. options: `voisin.ClassifyOptions`, as `voisin classify` has
    /// them. Who answers goes to the logger "voisin".
    #[pyo3(signature = (tracks, *, embedder = None, **options))]
    fn classify<'py>(
        &self,
        py: Python<'py>,
        tracks: &Bound<'py, PyAny>,
        embedder: Option<PyRef<'py, PyEmbedder>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let asked: Classify = question(options, [])?;
        let wanted = SeedArgument::all(tracks)?;
        let embedder = embedder.map(|embedder| Arc::clone(embedder.inner()));
        let (answer, news) = self.with(py, |engine| {
            at_least_one("tracks", wanted.len())?;
            let seeds = SeedArgument::seeds(&wanted, engine, embedder.as_deref())?;
            let mut news = Vec::new();
            let ready =
                || embedder.ok_or_else(|| no_embedder("too few tracks have a genre for an answer by labels"));
            let answer = asked.run(engine, seeds, ready, |one| news.push(one.to_string()))?;
            Ok((answer, news))
        })?;
        tell(py, &news)?;
        dictionaries(py, &answer.iter().map(AnswerJson::new).collect::<Vec<_>>())
    }

    /// Groups of tracks that sound alike: a dictionary, as `voisin clusters --format json` has it.
    ///
    /// options: `voisin.ClustersOptions`, as `voisin clusters` has them: detail="fine", clusters=12.
    #[pyo3(signature = (**options))]
    fn clusters<'py>(
        &self,
        py: Python<'py>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let asked: Clusters = question(options, [])?;
        let (found, members) = self.with(py, |engine| {
            let mut collection = engine.collection()?;
            let graph = neighbour_graph(engine, &collection)?;
            collection.predict_genres(&graph)?;
            let found = asked.run(engine, &collection, &graph, None, None)?;
            let members = members(&collection, &found);
            Ok((found, members))
        })?;
        dictionaries(py, &ClustersJson::new(&found, &members, &(0..members.len())))
    }

    /// Recordings that are there several times: for each a dictionary, as `voisin duplicates --format json` has it, most bytes
    /// to be won first.
    ///
    /// options: `voisin.DuplicatesOptions`, as `voisin duplicates` has them: rough=True, versions=True. Files are read unless it is
    /// rough.
    #[pyo3(signature = (**options))]
    fn duplicates<'py>(
        &self,
        py: Python<'py>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let asked: Duplicates = question(options, [])?;
        let groups = self.with(py, |engine| {
            let collection = engine.collection()?;
            Ok(asked.run(engine, &collection, |_| ())?)
        })?;
        dictionaries(py, &groups)
    }

    /// What the model hears: (ids, names, percentiles), int64 [n] ascending, the model's tags, and float32 [n, tags]: the share
    /// of the library that is less so, 0 to 1. Raises RuntimeError for libraries whose model has no tags.
    fn tags<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let (ids, names, shares) = self.with(py, |engine| {
            engine.keep_tags()?;
            let heard = engine.predicted_tags()?;
            let ids: Vec<i64> = heard.ids.iter().map(|id| id.0).collect();
            Ok((ids, heard.tags().to_vec(), heard.percentiles()))
        })?;
        (ids.into_pyarray(py), names, shares.into_pyarray(py)).into_pyobject(py)
    }

    /// Every track's raw vector: (ids, vectors), int64 [n] and float32 [n, dimension], rows of length 1, ascending by id.
    ///
    /// The arrays take over the memory that the library was read into: nothing is copied.
    fn vectors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let vectors = self.with(py, |engine| Ok(engine.library().vectors()?))?;
        let ids: Vec<i64> = vectors.ids.iter().map(|id| id.0).collect();
        (ids.into_pyarray(py), vectors.values.into_pyarray(py)).into_pyobject(py)
    }

    /// What is taken off vectors before they are compared: float32 [dimension].
    fn mean<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let space = self.with(py, |engine| Ok(LibrarySpace::of_library(engine.library())?))?;
        Ok(space.mean().to_vec().into_pyarray(py))
    }

    /// Raw vectors, float32 [n, dimension], as `similar` compares them: rows of length 1 whose inner products are its
    /// similarities. Raises ValueError for rows of another length.
    fn centred<'py>(
        &self,
        py: Python<'py>,
        vectors: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let given = numbers(vectors, "vectors")?;
        let vectors = matrix(given.as_array(), "vectors")?;
        let space = self.with(py, |engine| Ok(LibrarySpace::of_library(engine.library())?))?;
        let (expected, found) = (space.mean().len(), vectors.ncols());
        if expected != found {
            let text = format!("expected vectors of {expected} numbers, found {found}");
            return Err(PyValueError::new_err(text));
        }
        let rows = vectors.as_standard_layout().into_owned();
        Ok(space.centre_rows(rows).into_pyarray(py))
    }

    /// A track's windows: (starts, vectors), float32 [windows] in seconds, and float32 [windows, dimension] as the network
    /// gave them. Raises KeyError for an unknown id.
    fn windows(&self, py: Python<'_>, id: i64) -> PyResult<WindowArrays> {
        let windows = self.with(py, |engine| {
            let library = engine.library();
            if !library.contains(TrackId(id))? {
                return Err(LibraryError::UnknownTrack(TrackId(id)).into());
            }
            let dimension = engine.model()?.dimension;
            Ok(library.windows(TrackId(id))?.unwrap_or_else(|| voisin_library::TrackWindows::none(dimension)))
        })?;
        let values = windows.vectors.mapv(f32::from);
        Ok((windows.starts.into_pyarray(py).unbind(), values.into_pyarray(py).unbind()))
    }

    /// All tracks that pass, with tags, tempo, key and loudness, ascending by id unless `sort` says otherwise.
    ///
    /// options: `voisin.ListOptions`, as `voisin list` has them: query="words", genre="Jazz", bpm="120-128", sort="title".
    #[pyo3(signature = (**options))]
    fn tracks(&self, py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<Py<PyAny>>> {
        self.told(py, listed(options)?)
    }

    /// The tracks that pass as a table with a row for each, for data frames: polars.DataFrame(library.table()).
    ///
    /// vectors: with their vectors, in the column "vector". Where no options are said these stand in the memory that the library
    /// was read into, and nobody who takes the table over copies them. options: as `tracks` has them.
    #[pyo3(signature = (*, vectors = true, **options))]
    fn table(&self, py: Python<'_>, vectors: bool, options: Option<&Bound<'_, PyDict>>) -> PyResult<PyTable> {
        let (tracks, genres, measured) = self.known(py, listed(options)?)?;
        let vectors =
            if vectors { Some(self.with(py, |engine| Ok(engine.library().vectors()?))?) } else { None };
        py.detach(|| PyTable::new(&tracks, &genres, &measured, vectors))
    }

    /// A track by its id; raises KeyError for an unknown one.
    fn track(&self, py: Python<'_>, id: i64) -> PyResult<Py<PyAny>> {
        let track = self.told(py, |engine| Ok(vec![engine.library().track(TrackId(id))?]))?;
        track.into_iter().next().ok_or_else(|| raised(LibraryError::UnknownTrack(TrackId(id))))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Library({}, {} tracks)", self.path(py)?.display(), self.__len__(py)?))
    }

    fn __getnewargs__(&self, py: Python<'_>) -> PyResult<(PathBuf,)> {
        Ok((std::path::absolute(self.path(py)?)?,))
    }
}
