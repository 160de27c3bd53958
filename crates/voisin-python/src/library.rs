//! A library and its tracks.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use numpy::{AllowTypeChange, IntoPyArray as _, PyArray1, PyArray2, PyArrayLike1};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::answers::Answers;
use super::arrays::{matrix, numbers};
use super::embedder::PyEmbedder;
use super::errors::raised;
use voisin::{Engine, EngineError, LibrarySpace, Seed, SimilarOptions};
use voisin_base::track::TrackId;
use voisin_index::SearchMode;
use voisin_library::{LibraryError, OpenMode, Track, TrackFilter, default_dir};

/// A library, as the program makes it (`voisin add ~/Music`). It sees what the program changes meanwhile.
///
/// Library(path=None)
///
/// path: its folder; None: the default one. Raises FileNotFoundError where there is none.
#[pyclass(name = "Library", frozen, module = "voisin")]
pub(super) struct PyLibrary {
    engine: Mutex<Engine>,
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

    /// One value, or a list of them.
    fn all(seeds: &Bound<'_, PyAny>) -> PyResult<Vec<Self>> {
        match seeds.cast::<PyList>() {
            Ok(list) => list.iter().map(|seed| Self::of(&seed)).collect(),
            Err(_) => Ok(vec![Self::of(seeds)?]),
        }
    }

    fn seed(&self, engine: &Engine, embedder: Option<&voisin::Embedder>) -> Result<Seed, EngineError> {
        match self {
            Self::Id(id) => engine.seed_of(*id),
            Self::Named(name) => engine.seed(name, || {
                embedder.ok_or_else(|| EngineError::Model {
                    reason: "this file is not in the library: expected embedder= to listen to it".to_owned(),
                })
            }),
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

impl PyLibrary {
    /// Works with the engine, without the interpreter's lock.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Engine) -> Result<T, EngineError> + Send,
    ) -> PyResult<T> {
        py.detach(|| work(&mut self.engine.lock().unwrap_or_else(PoisonError::into_inner))).map_err(raised)
    }

    /// Tracks with all that is known of them.
    fn told(
        &self,
        py: Python<'_>,
        find: impl FnOnce(&Engine) -> Result<Vec<Track>, EngineError> + Send,
    ) -> PyResult<Vec<Py<PyAny>>> {
        let (tracks, genres, measured) = self.with(py, |engine| {
            let tracks = find(engine)?;
            let ids: Vec<TrackId> = tracks.iter().map(|track| track.id).collect();
            let (genres, measured) = (engine.genres_of(&tracks)?, engine.library().descriptors(&ids)?);
            Ok((tracks, genres, measured))
        })?;
        let answers = Answers::new(py)?;
        let told = tracks.iter().zip(&genres).map(|(track, genres)| answers.track(track, genres, &measured));
        told.map(|track| track.map(Bound::unbind)).collect()
    }
}

#[pymethods]
impl PyLibrary {
    #[new]
    #[pyo3(signature = (path = None))]
    fn new(py: Python<'_>, path: Option<PathBuf>) -> PyResult<Self> {
        let dir = match path {
            Some(path) => path,
            None => default_dir(),
        };
        let opened = py.detach(|| match Engine::open(&dir, OpenMode::ReadWrite) {
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

    /// The tracks nearest to the seeds' mean, nearest first; the seeds and their copies are left out.
    ///
    /// seeds: one, or a list of several: an id, a path, words of artist and title, or a vector, float32 [dimension]. A file that
    /// is not in the library is listened to by `embedder`. Filters are lists of names, as on the command line; `exact`
    /// compares with all. Raises KeyError where words mean no track or several, ValueError for arguments that make no sense.
    #[pyo3(signature = (
        seeds, limit = 10, *, genre = None, exclude_genre = None, artist = None, exclude_artist = None,
        year_from = None, year_to = None, folder = None, max_per_artist = None, min_similarity = None,
        include_seed = false, exact = false, embedder = None
    ))]
    #[allow(clippy::too_many_arguments, reason = "they are Python's keywords")]
    fn similar(
        &self,
        py: Python<'_>,
        seeds: &Bound<'_, PyAny>,
        limit: usize,
        genre: Option<Vec<String>>,
        exclude_genre: Option<Vec<String>>,
        artist: Option<Vec<String>>,
        exclude_artist: Option<Vec<String>>,
        year_from: Option<i32>,
        year_to: Option<i32>,
        folder: Option<PathBuf>,
        max_per_artist: Option<usize>,
        min_similarity: Option<f32>,
        include_seed: bool,
        exact: bool,
        embedder: Option<PyRef<'_, PyEmbedder>>,
    ) -> PyResult<Vec<Py<PyAny>>> {
        let wanted = SeedArgument::all(seeds)?;
        let options = SimilarOptions {
            limit,
            filter: TrackFilter {
                genres: genre.unwrap_or_default(),
                exclude_genres: exclude_genre.unwrap_or_default(),
                artists: artist.unwrap_or_default(),
                exclude_artists: exclude_artist.unwrap_or_default(),
                year_from,
                year_to,
                folders: folder.iter().map(|folder| voisin_library::stored_path(folder)).collect(),
                ..TrackFilter::default()
            },
            max_per_artist,
            min_similarity,
            include_seed,
            mode: if exact { SearchMode::Exact } else { SearchMode::Auto },
            ..SimilarOptions::default()
        };
        let embedder = embedder.as_deref().map(PyEmbedder::inner);
        let (found, measured) = self.with(py, |engine| {
            let seeds = wanted.iter().map(|one| one.seed(engine, embedder)).collect::<Result<Vec<_>, _>>()?;
            let found = engine.similar(&seeds, &options)?;
            let ids: Vec<TrackId> = found.iter().map(|found| found.track.id).collect();
            Ok((found, engine.library().descriptors(&ids)?))
        })?;
        let answers = Answers::new(py)?;
        let neighbor = |found: &voisin::SimilarTrack| {
            let track = answers.track(&found.track, &found.genres, &measured)?;
            let neighbor = answers.make("Neighbor", |fields| {
                fields.set_item("track", track)?;
                fields.set_item("similarity", found.similarity)
            });
            neighbor.map(Bound::unbind)
        };
        found.iter().map(neighbor).collect()
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
        let space = self.with(py, |engine| LibrarySpace::of_library(engine.library()))?;
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
        let space = self.with(py, |engine| LibrarySpace::of_library(engine.library()))?;
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

    /// All tracks, ascending by id.
    fn tracks(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        self.told(py, |engine| Ok(engine.library().tracks()?))
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
