//! A library and its tracks.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use numpy::{AllowTypeChange, IntoPyArray as _, PyArray1, PyArray2, PyArrayLike1, PyReadonlyArray2};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::embedder::PyEmbedder;
use super::raised;
use voisin::{Engine, EngineError, LibrarySpace, Seed, SimilarOptions};
use voisin_base::track::TrackId;
use voisin_index::SearchMode;
use voisin_learn::genre::Genre;
use voisin_library::{LibraryError, OpenMode, TrackFilter, default_dir};

/// A library, as the program makes it (`voisin add ~/Music`). It sees what the program changes meanwhile.
///
/// Library(path=None)
///
/// path: its folder; None: the default one. Raises FileNotFoundError where there is none.
#[pyclass(name = "Library", frozen, module = "voisin")]
pub(super) struct PyLibrary {
    engine: Mutex<Engine>,
}

/// A track of a library.
#[pyclass(name = "Track", frozen, get_all, skip_from_py_object, module = "voisin")]
#[derive(Clone)]
pub(super) struct PyTrack {
    /// Its number in this library.
    id: i64,
    /// Its file; of several the first.
    path: PathBuf,
    /// As its tags say; None where they are silent.
    title: Option<String>,
    /// As its tags say; None where they are silent.
    artist: Option<String>,
    /// As its tags say; None where they are silent.
    album: Option<String>,
    /// As the library's label source has them.
    genres: Vec<String>,
    /// As its tags say; None where they are silent.
    year: Option<i32>,
    /// Its length.
    seconds: f64,
    /// Its content id, 64 hexadecimal digits: the same for the same audio in every library of this kind.
    content: String,
}

/// A track that was found.
#[pyclass(name = "Neighbor", frozen, get_all, module = "voisin")]
pub(super) struct PyNeighbor {
    /// The track.
    track: PyTrack,
    /// Cosine similarity to the seeds' mean, -1 to 1.
    similarity: f32,
}

impl PyTrack {
    fn of(track: voisin_library::Track, genres: &[Genre]) -> Self {
        Self {
            id: track.id.0,
            path: track.path,
            title: track.tags.title,
            artist: track.tags.artist,
            album: track.tags.album,
            genres: genres.iter().map(|genre| genre.name().to_owned()).collect(),
            year: track.tags.year,
            seconds: track.audio.seconds,
            content: track.audio.content.to_string(),
        }
    }
}

#[pymethods]
impl PyTrack {
    fn __repr__(&self) -> String {
        let name = self.title.clone().unwrap_or_else(|| self.path.display().to_string());
        format!("Track(id={}, {:?} by {:?})", self.id, name, self.artist.as_deref().unwrap_or_default())
    }
}

#[pymethods]
impl PyNeighbor {
    fn __repr__(&self) -> String {
        format!("Neighbor({:.4}, {})", self.similarity, self.track.__repr__())
    }
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
    ) -> PyResult<Vec<PyNeighbor>> {
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
        let found = self.with(py, |engine| {
            let seeds = wanted.iter().map(|one| one.seed(engine, embedder)).collect::<Result<Vec<_>, _>>()?;
            engine.similar(&seeds, &options)
        })?;
        let neighbor = |found: voisin::SimilarTrack| PyNeighbor {
            track: PyTrack::of(found.track, &found.genres),
            similarity: found.similarity,
        };
        Ok(found.into_iter().map(neighbor).collect())
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
        vectors: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let space = self.with(py, |engine| LibrarySpace::of_library(engine.library()))?;
        let (expected, found) = (space.mean().len(), vectors.as_array().ncols());
        if expected != found {
            let text = format!("expected vectors of {expected} numbers, found {found}");
            return Err(PyValueError::new_err(text));
        }
        let rows = vectors.as_array().as_standard_layout().into_owned();
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
    fn tracks(&self, py: Python<'_>) -> PyResult<Vec<PyTrack>> {
        self.with(py, |engine| {
            let tracks = engine.library().tracks()?;
            let genres = engine.genres_of(&tracks)?;
            Ok(tracks.into_iter().zip(genres).map(|(track, genres)| PyTrack::of(track, &genres)).collect())
        })
    }

    /// A track by its id; raises KeyError for an unknown one.
    fn track(&self, py: Python<'_>, id: i64) -> PyResult<PyTrack> {
        self.with(py, |engine| {
            let track = engine.library().track(TrackId(id))?;
            let genres = engine.genres_of(std::slice::from_ref(&track))?.pop().unwrap_or_default();
            Ok(PyTrack::of(track, &genres))
        })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Library({}, {} tracks)", self.path(py)?.display(), self.__len__(py)?))
    }
}
