//! The class Library.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use numpy::{IntoPyArray as _, PyArray1, PyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::adding::Adding;
use super::answers::{AnswerClasses, log_notes, neighbors};
use super::arguments::{count, dictionaries, limit, question};
use super::arrays::{matrix, numbers};
use super::embedder::{PyEmbedder, plan, thread_count};
use super::errors::{raised, refused};
use super::process::{OfProcess, on_threads};
use super::seeds::{SeedArgument, no_embedder};
use super::source::open_folder;
use super::table::PyTable;
use voisin_base::track::TrackId;
use voisin_engine::{AddOptions, Engine, GenreNews, LibrarySpace, Standing};
use voisin_explore::TrackMeta;
use voisin_genre::Genre;
use voisin_library::Vectors;
use voisin_library::{Descriptors, LibraryError, OpenMode, Track, TrackWindows, default_dir};
use voisin_questions::answers::clusters::{ClustersJson, members};
use voisin_questions::answers::find::name;
use voisin_questions::answers::genre::AnswerJson;
use voisin_questions::answers::graph::neighbour_graph;
use voisin_questions::answers::playlist::PlaylistJson;
use voisin_questions::answers::walk::WalkJson;
use voisin_questions::explore::{Clusters, Duplicates, PathBetween};
use voisin_questions::genre::Classify;
use voisin_questions::list::{Find, List};
use voisin_questions::playlist::Playlist;
use voisin_questions::seed::at_least_one;
use voisin_questions::{QuestionError, Similar, SimilarAnswer};

/// A library of music that was added from Python or by the program (`voisin add ~/Music`). It sees changes by other processes.
///
/// Library(path=None, *, create=False)
///
/// path: its folder; None: the default one. create: create a library in a folder without one. Raises FileNotFoundError without
/// a folder.
#[pyclass(name = "Library", frozen, module = "voisin")]
pub(super) struct PyLibrary {
    /// Its folder, absolute.
    dir: PathBuf,
    /// Each process opens its own: an SQLite database does not survive a fork.
    library: OfProcess<Mutex<Engine>>,
}

/// Tracks with their genres and measurements, and vectors if requested.
struct FoundTracks {
    tracks: Vec<Track>,
    genres: Vec<Vec<Genre>>,
    measured: HashMap<TrackId, Descriptors>,
    vectors: Option<Vectors>,
}

/// Finds the requested tracks; by default all.
fn listed(
    limit: Option<i64>,
    after: Option<i64>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<impl FnOnce(&mut Engine) -> Result<Vec<Track>, QuestionError> + Send + use<>> {
    // Without options: all tracks in one read, without filters and order.
    let is_all = limit.is_none() && after.is_none() && options.is_none();
    let mut question_fields: List = question(options, [])?;
    question_fields.filters.of_this_disk();
    let limit = count("limit", "for all", limit)?.unwrap_or(usize::MAX);
    Ok(move |engine: &mut Engine| {
        if is_all {
            return Ok(engine.library().tracks()?);
        }
        question_fields.filters.check_licences(engine.library())?;
        question_fields.filters.check_folders(engine)?;
        let query = question_fields.query(engine, limit, after.map(TrackId))?;
        Ok(engine.list(&query)?.tracks)
    })
}

/// Starts and vectors.
type WindowArrays = (Py<PyArray1<f32>>, Py<PyArray2<f32>>);

/// Measurements of the tracks found.
fn measured(
    engine: &Engine,
    answer: &SimilarAnswer,
) -> Result<HashMap<TrackId, Descriptors>, QuestionError> {
    let ids: Vec<TrackId> = answer.found.iter().map(|found| found.track.id).collect();
    Ok(engine.library().derived().descriptors(&ids)?)
}

impl PyLibrary {
    fn lock(&self) -> Result<MutexGuard<'_, Engine>, QuestionError> {
        let library = self
            .library
            .get(|_| on_threads(|| open_folder(&self.dir, OpenMode::ReadWrite)).map(Mutex::new))?;
        Ok(library.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs work on the library, without the interpreter's lock.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Engine) -> Result<T, QuestionError> + Send,
    ) -> PyResult<T> {
        let answer = py.detach(|| {
            // Locked here, as a thread of the pool could cause a deadlock.
            let mut library = self.lock()?;
            let engine: &mut Engine = &mut library;
            on_threads(|| work(engine))
        });
        answer.map_err(refused)
    }

    /// Its vector space.
    fn space(&self, py: Python<'_>) -> PyResult<LibrarySpace> {
        self.with(py, |engine| Ok(LibrarySpace::of_library(engine.library())?))
    }

    /// Tracks with their genres and measurements.
    fn known(
        &self,
        py: Python<'_>,
        vectors: bool,
        find: impl FnOnce(&mut Engine) -> Result<Vec<Track>, QuestionError> + Send,
    ) -> PyResult<FoundTracks> {
        self.with(py, |engine| {
            let tracks = find(engine)?;
            // One read for the measurements of all tracks.
            let ids: Vec<TrackId> = tracks.iter().map(|track| track.id).collect();
            let genres = engine.genres().genres_of(&tracks)?;
            let measured = engine.library().derived().descriptors(&ids)?;
            let vectors = if vectors {
                Some(engine.library().vectors()?)
            } else {
                None
            };
            Ok(FoundTracks {
                tracks,
                genres,
                measured,
                vectors,
            })
        })
    }

    /// Converts them to Python's tracks.
    fn dictionaries(
        &self,
        py: Python<'_>,
        find: impl FnOnce(&mut Engine) -> Result<Vec<Track>, QuestionError> + Send,
    ) -> PyResult<Vec<Py<PyAny>>> {
        let known = self.known(py, false, find)?;
        let answers = AnswerClasses::new(py)?;
        let dictionaries = known.tracks.iter().zip(&known.genres);
        let dictionaries =
            dictionaries.map(|(track, genres)| answers.track(track, genres, &known.measured));
        dictionaries.map(|track| track.map(Bound::unbind)).collect()
    }
}

#[pymethods]
impl PyLibrary {
    #[new]
    #[pyo3(signature = (path = None, *, create = false))]
    fn new(py: Python<'_>, path: Option<PathBuf>, create: bool) -> PyResult<Self> {
        let place = path.unwrap_or_else(default_dir);
        let open = || -> Result<_, QuestionError> {
            let mode = if create {
                OpenMode::Create
            } else {
                OpenMode::ReadWrite
            };
            Ok(open_folder(&place, mode)?)
        };
        // Opened now, although each process opens its own, so that the constructor raises errors.
        let opened = py.detach(|| on_threads(open)).map_err(refused)?;
        // Absolute: a pickled library may be opened in another working directory.
        let dir = std::path::absolute(place)?;
        Ok(Self {
            dir,
            library: OfProcess::with(Mutex::new(opened)),
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
    /// embedder: the model; None: the library's model, or for a new library the default one. windows: how many of a track are
    /// analysed in this and later runs, or "all". force: analyse all again; retry: those that failed before. threads: by
    /// default one per core. remove_missing: remove files that are gone from these folders.
    /// Ctrl-C end the run: added files stay, and the next run continues. Returns the JSON of `voisin add --format json` as a
    /// dictionary, with "failures": files that could not be added, and the reasons. Raises RuntimeError while another process
    /// adds to the library, ValueError for an embedder of another model.
    #[pyo3(signature = (
        paths, *, embedder = None, windows = None, force = false, retry = false, remove_missing = false,
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
        windows: Option<&Bound<'py, PyAny>>,
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
        let adding = Adding {
            paths,
            embedder: embedder.map(|embedder| (Arc::clone(embedder.inner()), embedder.model_ref())),
            windows: windows.map(plan).transpose()?,
            remove_missing,
            options: AddOptions {
                force,
                retry,
                threads: thread_count(threads)?,
                ..AddOptions::default()
            },
        };
        let dir = self.path();
        // Not on the engine for queries, which callbacks may use.
        let run = || {
            let mut engine = on_threads(|| Engine::open(dir, OpenMode::ReadWrite))?;
            adding.run(&mut engine, progress.as_ref())
        };
        let (added, error) = py.detach(run).map_err(raised)?;
        error.map_or_else(|| dictionaries(py, &added), Err)
    }

    /// The tracks nearest to the seeds' mean, nearest first; the seeds and their copies are left out.
    ///
    /// seeds, unlike: one, or a list of several: an id, a name (a path, words, "artist:NAME"; docs/grammar.md lists all forms), or a
    /// vector, float32 [dimension]. A file that is not in the library is analysed by `embedder`. unlike: tracks to avoid.
    /// limit: how many; None: all. options: `voisin.SimilarOptions`, as of `voisin similar`: genre="Jazz", year="1970-1979",
    /// max_per_artist=1, unlike="rihanna". Raises KeyError if words match no track or several, ValueError for invalid values.
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
        let mut similar: Similar = question(options, [])?;
        similar.limit = self::limit(limit)?;
        similar.filters.of_this_disk();
        if similar.part().is_some() {
            return Err(PyValueError::new_err(
                "from, to: expected none: use \"voisin similar\" for a part of a track",
            ));
        }
        let wanted = SeedArgument::all(seeds)?;
        let unlike = unlike.map_or_else(|| Ok(Vec::new()), SeedArgument::all)?;
        let embedder = embedder.as_deref().map(|embedder| &**embedder.inner());
        let (answer, measured, notes) = self.with(py, |engine| {
            similar.validate(wanted.len())?;
            let mut notes = Vec::new();
            let seeds = SeedArgument::seeds(&wanted, engine, embedder, &mut notes)?.all();
            let unlike = SeedArgument::seeds(&unlike, engine, embedder, &mut notes)?.all();
            similar.filters.check_licences(engine.library())?;
            similar.filters.check_folders(engine)?;
            let answer = similar.run(engine, &seeds, unlike)?;
            let measured = measured(engine, &answer)?;
            // Python's objects are created outside, since this part runs without the interpreter's lock.
            Ok((answer, measured, notes))
        })?;
        log_notes(py, &notes)?;
        neighbors(py, &answer, &measured)
    }

    /// A playlist around tracks, in an order of small steps: a dictionary, the JSON of `voisin playlist`.
    ///
    /// seeds: as of `similar`, but no vectors; None: a cluster's tracks, or those that pass the filters.
    /// limit: how many; None: all; length in the options replaces it. options: `voisin.PlaylistOptions`, as of `voisin
    /// playlist`: length=3600, max_per_artist=1.
    #[pyo3(
        signature = (seeds = None, limit = Some(20), *, embedder = None, **options),
        text_signature = "($self, seeds=None, limit=20, *, embedder=None, **options)"
    )]
    fn playlist<'py>(
        &self,
        py: Python<'py>,
        seeds: Option<&Bound<'py, PyAny>>,
        limit: Option<i64>,
        embedder: Option<PyRef<'py, PyEmbedder>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut playlist: Playlist = question(options, [])?;
        // The default number of tracks would otherwise truncate a list with a length.
        if !playlist.has_length() {
            playlist.limit = Some(self::limit(limit)?);
        }
        playlist.filters.of_this_disk();
        let wanted = seeds.map_or_else(|| Ok(Vec::new()), SeedArgument::all_with_names)?;
        let embedder = embedder.as_deref().map(|embedder| &**embedder.inner());
        let found = self.with(py, |engine| {
            playlist.validate()?;
            let mut notes = Vec::new();
            let seeds = SeedArgument::seeds(&wanted, engine, embedder, &mut notes)?;
            playlist.filters.check_licences(engine.library())?;
            playlist.filters.check_folders(engine)?;
            let (collection, list) = playlist.of_library(engine, &seeds.named, &seeds.of_lists)?;
            let tracks: Vec<&TrackMeta> =
                list.rows.iter().map(|&row| &collection.meta[row]).collect();
            let standing = list.standing.as_ref();
            let json = PlaylistJson::new(engine, &tracks, standing)?;
            Ok((json, list, notes))
        })?;
        let (json, list, mut news) = found;
        news.extend(list.standing.as_ref().and_then(Standing::far));
        log_notes(py, &news)?;
        dictionaries(py, &json)
    }

    /// A path from one track to another: a dictionary, the JSON of `voisin path`.
    ///
    /// start, end: as of `similar`, each one track, but no vectors. via: one, or a list of several, to pass in this order.
    /// options: `voisin.PathOptions`, as of `voisin path`: steps=10, max_per_artist=1.
    #[pyo3(signature = (start, end, *, via = None, embedder = None, **options))]
    fn path_between<'py>(
        &self,
        py: Python<'py>,
        start: &Bound<'py, PyAny>,
        end: &Bound<'py, PyAny>,
        via: Option<&Bound<'py, PyAny>>,
        embedder: Option<PyRef<'py, PyEmbedder>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let [start, end] = [start, end].map(SeedArgument::with_name);
        let mut stops = vec![start?, end?];
        // Only because the query requires both ends; the tracks are passed as
        // `stops`.
        let ends = [("from", stops[0].as_json()), ("to", stops[1].as_json())];
        let path: PathBetween = question(options, ends)?;
        stops.extend(via.map_or_else(|| Ok(Vec::new()), SeedArgument::all_with_names)?);
        let embedder = embedder.as_deref().map(|embedder| &**embedder.inner());
        let found = self.with(py, |engine| {
            let mut notes = Vec::new();
            let stops = SeedArgument::stops(&stops, engine, embedder, &mut notes)?;
            let (collection, walk) = path.answer(engine, &stops)?;
            let json = WalkJson::new(engine, &collection, &walk)?;
            Ok((json, notes))
        })?;
        let (json, news) = found;
        log_notes(py, &news)?;
        dictionaries(py, &json)
    }

    /// Tracks that match words for their sound, "calm piano no drums", best first.
    ///
    /// limit: how many; None: all. options: `voisin.FindOptions`, as of `voisin find`. Notes on the answer are logged by the
    /// logger "voisin". Raises ValueError if no word is known, RuntimeError for libraries whose model has no tags.
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
        let mut find: Find = question(options, [("query", words.into())])?;
        find.limit = self::limit(limit)?;
        find.filters.of_this_disk();
        let (answer, genres, measured) = self.with(py, |engine| {
            engine.words_mut().keep_tags()?;
            find.filters.check_folders(engine)?;
            let tags = engine.words().predicted_tags()?;
            let answer = find.run(engine, &tags)?;
            let tracks: Vec<Track> = answer
                .tracks
                .iter()
                .map(|found| found.track.clone())
                .collect();
            let ids: Vec<TrackId> = tracks.iter().map(|track| track.id).collect();
            let genres = engine.genres().genres_of(&tracks)?;
            let measured = engine.library().derived().descriptors(&ids)?;
            Ok((answer, genres, measured))
        })?;
        log_notes(py, &answer.notes)?;
        let names: Vec<String> = answer.phrase.terms.iter().map(name).collect();
        let answers = AnswerClasses::new(py)?;
        let found = answer.tracks.iter().zip(&genres).map(|(found, genres)| {
            let track = answers.track(&found.track, genres, &measured)?;
            let terms = PyDict::new(py);
            names
                .iter()
                .zip(&found.terms)
                .try_for_each(|(name, strength)| terms.set_item(name, strength))?;
            let captions = PyDict::new(py);
            for (name, likeness) in names.iter().zip(&found.likeness) {
                // A term found by tags has no similarity to captions.
                likeness.map_or(Ok(()), |share| captions.set_item(name, share))?;
            }
            let found = answers.make("Found", |fields| {
                fields.set_item("track", track)?;
                fields.set_item("fit", found.fit)?;
                fields.set_item("terms", terms)?;
                fields.set_item("captions", captions)
            });
            found.map(Bound::unbind)
        });
        found.collect()
    }

    /// The genres of tracks: for each a dictionary, the JSON of `voisin classify`.
    ///
    /// tracks: one, or a list of several, as of `similar`. A file that is not in the library, and every file if the library
    /// has too few labels, is analysed by `embedder`. options: `voisin.ClassifyOptions`, as of `voisin classify`. The method
    /// is logged by the logger "voisin".
    #[pyo3(signature = (tracks, *, embedder = None, **options))]
    fn classify<'py>(
        &self,
        py: Python<'py>,
        tracks: &Bound<'py, PyAny>,
        embedder: Option<PyRef<'py, PyEmbedder>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let classify: Classify = question(options, [])?;
        let wanted = SeedArgument::all(tracks)?;
        let embedder = embedder.map(|embedder| Arc::clone(embedder.inner()));
        let (answers, reports) = self.with(py, |engine| {
            // An empty list is probably a mistake of the caller.
            at_least_one("tracks", wanted.len())?;
            let mut reports = Vec::new();
            let tracks = SeedArgument::tracks(&wanted, engine, embedder.as_deref(), &mut reports)?;
            let why = "too few tracks have a genre to classify by their labels";
            let ready = || embedder.ok_or_else(|| no_embedder(why));
            let report = |news: GenreNews| reports.push(news.to_string());
            let answers = classify.run(engine, tracks, ready, report)?;
            Ok((answers, reports))
        })?;
        log_notes(py, &reports)?;
        dictionaries(py, &answers.iter().map(AnswerJson::new).collect::<Vec<_>>())
    }

    /// Groups of tracks that sound alike: a dictionary, the JSON of `voisin clusters`.
    ///
    /// options: `voisin.ClustersOptions`, as of `voisin clusters`: clusters=12.
    #[pyo3(signature = (**options))]
    fn clusters<'py>(
        &self,
        py: Python<'py>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let clusters: Clusters = question(options, [])?;
        let (found, members) = self.with(py, |engine| {
            let mut collection = engine.collection()?;
            let graph = neighbour_graph(engine, &collection)?;
            engine.genres().predict(&mut collection, &graph)?;
            let found = clusters.run(engine, &collection, &graph, None, None)?;
            let members = members(&collection, &found);
            Ok((found, members))
        })?;
        dictionaries(
            py,
            &ClustersJson::new(&found, &members, &(0..members.len())),
        )
    }

    /// Recordings in several files: for each a dictionary, the JSON of `voisin duplicates`, largest saving first.
    fn duplicates<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let groups = self.with(py, |engine| {
            let collection = engine.collection()?;
            Ok(Duplicates {}.run(engine, &collection, |_| ())?)
        })?;
        dictionaries(py, &groups)
    }

    /// The model's tags: (ids, names, percentiles), int64 [n] ascending, the model's tags, and float32 [n, tags]: the share
    /// of tracks that fit the tag less, 0 to 1. Raises RuntimeError for libraries whose model has no tags.
    fn tags<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let (ids, names, shares) = self.with(py, |engine| {
            engine.words_mut().keep_tags()?;
            let tags = engine.words().predicted_tags()?;
            let ids: Vec<i64> = tags.ids.iter().map(|id| id.0).collect();
            Ok((ids, tags.tags().to_vec(), tags.percentiles()))
        })?;
        (ids.into_pyarray(py), names, shares.into_pyarray(py)).into_pyobject(py)
    }

    /// Every track's raw vector: (ids, vectors), int64 [n] and float32 [n, dimension], rows of length 1, ascending by id.
    ///
    /// The arrays take over the memory that the library was read into, without a copy.
    fn vectors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let vectors = self.with(py, |engine| Ok(engine.library().vectors()?))?;
        let ids: Vec<i64> = vectors.ids.iter().map(|id| id.0).collect();
        (ids.into_pyarray(py), vectors.values.into_pyarray(py)).into_pyobject(py)
    }

    /// The mean relative to which vectors are compared: float32 [dimension].
    fn mean<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let space = self.space(py)?;
        Ok(space.mean().to_vec().into_pyarray(py))
    }

    /// Converts raw vectors, float32 [n, dimension], to those that `similar` compares: rows of length 1 whose inner products
    /// are its similarities. Raises ValueError for rows of another length.
    fn centred<'py>(
        &self,
        py: Python<'py>,
        vectors: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let given = numbers(vectors, "vectors")?;
        let vectors = matrix(given.as_array(), "vectors")?;
        let space = self.space(py)?;
        let expected = space.mean().len();
        let found = vectors.ncols();
        if expected != found {
            let text = format!("expected vectors of {expected} numbers, found {found}");
            return Err(PyValueError::new_err(text));
        }
        let rows = vectors.as_standard_layout().into_owned();
        Ok(space.centre_rows(rows).into_pyarray(py))
    }

    /// A track's windows: (starts, vectors), float32 [windows] in seconds, and float32 [windows, dimension], the network's
    /// output. Raises KeyError for an unknown id.
    fn windows(&self, py: Python<'_>, id: i64) -> PyResult<WindowArrays> {
        let id = TrackId(id);
        let windows = self.with(py, |engine| {
            if !engine.library().contains(id)? {
                return Err(LibraryError::UnknownTrack(id).into());
            }
            let dimension = engine.model()?.dimension;
            let windows = engine.library().windows(id)?;
            // A track without stored windows is no error.
            Ok(windows.unwrap_or_else(|| TrackWindows::none(dimension)))
        })?;
        let values = windows.vectors.mapv(f32::from);
        Ok((
            windows.starts.into_pyarray(py).unbind(),
            values.into_pyarray(py).unbind(),
        ))
    }

    /// Tracks that pass the filters, with tags, tempo, key and loudness, sorted by id or `sort`.
    ///
    /// limit: how many; None: all. after: only those behind this id in the order, the last one of the previous page.
    /// options: `voisin.ListOptions`, as of `voisin list`: query="words", genre="Jazz", bpm="120-128", sort="title". Raises
    /// KeyError for an id that no longer exists.
    #[pyo3(signature = (limit = None, *, after = None, **options))]
    fn tracks(
        &self,
        py: Python<'_>,
        limit: Option<i64>,
        after: Option<i64>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Vec<Py<PyAny>>> {
        self.dictionaries(py, listed(limit, after, options)?)
    }

    /// The tracks that pass the filters as a table with a row for each, for data frames: polars.DataFrame(library.table()).
    ///
    /// limit, after, options: as of `tracks`. vectors: with their vectors, in the column "vector". For a whole library in a
    /// folder, these are in the memory that it was read into, without a copy.
    #[pyo3(signature = (limit = None, *, after = None, vectors = true, **options))]
    fn table(
        &self,
        py: Python<'_>,
        limit: Option<i64>,
        after: Option<i64>,
        vectors: bool,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyTable> {
        let known = self.known(py, vectors, listed(limit, after, options)?)?;
        py.detach(|| PyTable::new(&known.tracks, &known.genres, &known.measured, known.vectors))
    }

    /// A track by its id; raises KeyError for an unknown one.
    fn track(&self, py: Python<'_>, id: i64) -> PyResult<Py<PyAny>> {
        let id = TrackId(id);
        let track = self.dictionaries(py, |engine| Ok(vec![engine.library().track(id)?]))?;
        track
            .into_iter()
            .next()
            .ok_or_else(|| raised(LibraryError::UnknownTrack(id)))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Library({}, {} tracks)",
            self.path().display(),
            self.__len__(py)?
        ))
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> ((OsString,), Bound<'py, PyDict>) {
        let options = PyDict::new(py);
        // The arguments of `__new__`, without `create`: a copy must not create a library elsewhere.
        ((self.dir.clone().into_os_string(),), options)
    }
}
