//! The class VectorIndex: a search index of any vectors.

use std::io::Cursor;
use std::path::PathBuf;

use numpy::ndarray::{Array2, ArrayView1, ArrayView2};
use numpy::{IntoPyArray as _, PyArray1, PyArray2, PyArrayMethods as _};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyTuple};
use rayon::prelude::*;

use super::arrays::{
    count, id as id_of, ids as ids_of, mask, matrix, numbers, optional_count, rows,
};
use super::errors::{no_such_track, raised};
use super::process::{OfProcess, on_threads};
use voisin_base::output::{OutputError, OutputTarget};
use voisin_index::{
    Id, IndexError, IndexMetric, IndexOptions, IndexStamp, Neighbor, SearchMode, SearchParams,
    SharedIndex, Subset, VectorIndex,
};

/// The origin that files of Python's indexes name.
const ORIGIN: &str = "python";

/// A search index of vectors of any origin, without a library.
///
/// VectorIndex(vectors=None, ids=None, *, metric="cosine", graph=None, m=16, ef_construction=200, target_recall=0.995)
///
/// vectors: numbers [n, dimension], floats or integers of any size, rounded to float32; none: an empty index, whose
/// dimension is that of the first vectors added. ids: integers of 64 bits [n], or whole floats below 2^53, without repetitions;
/// default: row numbers. metric: "cosine" (lengths are ignored; a vector of length 0 is a ValueError),
/// "ip" (inner product) or "l2" (Euclidean distance, of vectors stored at 32 bits, not 16; 5 bytes a number). graph: an HNSW graph besides the lists (None: from 5 000 vectors on), with 2 m links a vector (m: 4 to
/// 32) chosen among ef_construction nearest (16 to 2 000). target_recall: recall@10 against an exact search, for which
/// the width of searches is tuned when the index is built, by queries without their near copies. Raises ValueError for other
/// shapes, NaN and infinity, repeated ids, options out of range, and for booleans, complex numbers, decimals, dates and
/// strings, with the first such element; TypeError if there is no array. Any threads may search, add and remove at once. Can
/// be pickled, with its vectors.
#[pyclass(name = "VectorIndex", frozen, module = "voisin")]
pub(super) struct PyVectorIndex {
    /// A forked child copies the vectors, but no lock that a thread of its parent may have held.
    inner: OfProcess<SharedIndex>,
    options: IndexOptions,
}

/// Ids and values, [queries, k] each.
type FoundArrays = (Array2<i64>, Array2<f32>);

fn numbered(n: usize) -> Vec<Id> {
    // No array has 2^63 rows, so the cast is exact.
    (0..n as i64).map(Id).collect()
}

fn unknown(id: i64) -> PyErr {
    no_such_track(format!("the index holds no vector of the id {id}"))
}

/// Ids from Python.
fn index_ids(ids: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<Id>> {
    Ok(ids_of(ids, what)?.into_iter().map(Id).collect())
}

/// Arrays of lists of at most `most` neighbours; missing ones are -1 and NaN.
fn arrays(found: Vec<Vec<Neighbor>>, most: usize) -> FoundArrays {
    // As wide as the longest row, without columns of only -1.
    let k = found.iter().map(Vec::len).max().unwrap_or(most);
    let mut ids = Array2::from_elem((found.len(), k), -1_i64);
    let mut values = Array2::from_elem((found.len(), k), f32::NAN);
    for (row, neighbors) in found.into_iter().enumerate() {
        for (column, neighbor) in neighbors.into_iter().enumerate() {
            ids[[row, column]] = neighbor.id.0;
            values[[row, column]] = neighbor.similarity;
        }
    }
    (ids, values)
}

/// An index that is built on this module's threads.
fn shared(index: VectorIndex) -> SharedIndex {
    SharedIndex::building_in(index, Box::new(|build| on_threads(build)))
}

impl PyVectorIndex {
    fn built(
        py: Python<'_>,
        options: IndexOptions,
        ids: &[Id],
        vectors: ArrayView2<'_, f32>,
    ) -> PyResult<Self> {
        let built = py.detach(|| on_threads(|| VectorIndex::build(ids, vectors, &options)));
        Ok(Self::of(built.map_err(raised)?))
    }

    fn of(index: VectorIndex) -> Self {
        let options = index.options();
        Self {
            inner: OfProcess::with(shared(index)),
            options,
        }
    }

    fn inner(&self) -> &SharedIndex {
        // In a forked child: a copy of the vectors with its own lock.
        let take_over = |parents: Option<&SharedIndex>| {
            parents
                .map(|parents| shared(VectorIndex::clone(&parents.snapshot())))
                .ok_or(())
        };
        match self.inner.get(take_over) {
            Ok(inner) => inner,
            Err(()) => unreachable!("there is one from the beginning"),
        }
    }

    fn opened(
        py: Python<'_>,
        open: impl FnOnce() -> Result<(VectorIndex, IndexStamp), IndexError> + Send,
    ) -> PyResult<Self> {
        let (index, _) = py.detach(|| on_threads(open)).map_err(raised)?;
        Ok(Self::of(index))
    }

    /// Writes the index with all changes.
    fn write(
        &self,
        py: Python<'_>,
        write: impl FnOnce(&VectorIndex, &IndexStamp) -> Result<(), IndexError> + Send,
    ) -> PyResult<()> {
        let write = || {
            let index = self.inner().snapshot();
            let dimension = index.dimension();
            write(
                &index,
                &IndexStamp {
                    generation: 0,
                    model_fingerprint: ORIGIN.to_owned(),
                    dimension,
                },
            )
        };
        py.detach(|| on_threads(write)).map_err(raised)
    }

    fn found(
        &self,
        rows: ArrayView2<'_, f32>,
        k: usize,
        params: &SearchParams<'_>,
        pass: Option<&[Id]>,
        groups: Option<&[(Id, usize)]>,
    ) -> Result<FoundArrays, IndexError> {
        let index = self.inner().snapshot();
        let subset = pass.map(|pass| index.subset_of(pass));
        let most = subset.as_ref().map_or(index.len(), Subset::len);
        let params = SearchParams {
            subset: subset.as_ref(),
            ..*params
        };
        // `k` may be any number, but the results are limited to vectors that pass.
        let k = k.min(most);
        let all: Vec<_> = rows.outer_iter().collect();
        let found = match (groups, &all[..]) {
            (Some(groups), all) => {
                // `ids` are ascending, so that the list of `grouped` is sorted. An id added since then
                // has no group of the caller, and gets the one at its place between the
                // others.
                let group = |id: Id| {
                    groups
                        .binary_search_by_key(&id, |it| it.0)
                        .map(|at| groups[at].1)
                };
                let best = |row: &ArrayView1<'_, f32>| {
                    index.search_groups(&row.to_vec(), k, &params, group)
                };
                on_threads(|| all.par_iter().map(best).collect::<Result<_, _>>())?
            }
            // A single query is faster than starting other threads.
            (None, [row]) => vec![index.search(&row.to_vec(), k, &params)?],
            _ => on_threads(|| index.search_batch(rows, k, &params))?,
        };
        Ok(arrays(found, k))
    }
}

/// The ids that pass a filter, and groups.
impl PyVectorIndex {
    fn ids_now(&self, py: Python<'_>) -> Vec<Id> {
        py.detach(|| self.inner().with(VectorIndex::ids))
    }

    fn passing(&self, py: Python<'_>, filter: &Bound<'_, PyAny>) -> PyResult<Vec<Id>> {
        if filter.is_callable() {
            let mut pass = Vec::new();
            // The ids are copied first, since the function may use or change the index.
            for id in self.ids_now(py) {
                if filter.call1((id.0,))?.is_truthy()? {
                    pass.push(id);
                }
            }
            return Ok(pass);
        }
        let Some(mask) = mask(filter, "filter")? else {
            return index_ids(filter, "filter");
        };
        let ids = self.ids_now(py);
        same_length("filter", mask.len(), ids.len())?;
        let passing = ids.into_iter().zip(mask).filter(|(_, passes)| *passes);
        Ok(passing.map(|(id, _)| id).collect())
    }

    /// The number of each id's group.
    fn grouped(&self, py: Python<'_>, groups: &Bound<'_, PyAny>) -> PyResult<Vec<(Id, usize)>> {
        let ids = self.ids_now(py);
        let labels: Vec<Bound<'_, PyAny>> = if groups.is_callable() {
            let group_of = |id: &Id| groups.call1((id.0,));
            ids.iter().map(group_of).collect::<PyResult<_>>()?
        } else {
            groups.try_iter()?.collect::<PyResult<_>>()?
        };
        same_length("groups", labels.len(), ids.len())?;
        let numbers = PyDict::new(py);
        let number = |label: Bound<'_, PyAny>| {
            // Labels are any hashable Python values, numbered by a dictionary.
            let next = numbers.len();
            numbers.call_method1("setdefault", (label, next))?.extract()
        };
        let numbered = ids.into_iter().zip(labels);
        numbered
            .map(|(id, label)| Ok((id, number(label)?)))
            .collect()
    }
}

/// Refuses an array without an element for each vector.
fn same_length(what: &str, found: usize, expected: usize) -> PyResult<()> {
    if found == expected {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "{what}: expected one for each of the {expected} ids, found {found}"
    )))
}

#[pymethods]
impl PyVectorIndex {
    #[new]
    #[pyo3(signature = (
        vectors = None, ids = None, *, metric = "cosine", graph = None, m = 16, ef_construction = 200, target_recall = 0.995
    ))]
    #[allow(clippy::too_many_arguments, reason = "by name, in Python")]
    fn new(
        py: Python<'_>,
        vectors: Option<&Bound<'_, PyAny>>,
        ids: Option<&Bound<'_, PyAny>>,
        metric: &str,
        graph: Option<bool>,
        #[pyo3(from_py_with = count)] m: usize,
        #[pyo3(from_py_with = count)] ef_construction: usize,
        target_recall: f64,
    ) -> PyResult<Self> {
        let options = IndexOptions {
            metric: metric.parse().map_err(PyValueError::new_err)?,
            // Thresholds in vectors: always, never, or the default.
            graph_from: match graph {
                Some(true) => 0,
                Some(false) => usize::MAX,
                None => IndexOptions::default().graph_from,
            },
            graph_to: match graph {
                Some(true) => usize::MAX,
                _ => IndexOptions::default().graph_to,
            },
            m,
            ef_construction,
            target_recall,
            ..IndexOptions::default()
        };
        // Without rows the dimension is free; the first vectors added set it.
        let none = Array2::zeros((0, 1));
        let vectors = vectors
            .map(|vectors| numbers(vectors, "vectors"))
            .transpose()?;
        let vectors = match &vectors {
            Some(vectors) => matrix(vectors.as_array(), "vectors")?,
            None => none.view(),
        };
        let ids = match ids {
            Some(given) => index_ids(given, "ids")?,
            None => numbered(vectors.nrows()),
        };
        Self::built(py, options, &ids, vectors)
    }

    /// Opens a saved index. Raises ValueError if the file is damaged or no index, OSError if it cannot be read.
    ///
    /// durable: changes by add, upsert, remove and fit are on the disk when these return, so that a killed process loses none.
    /// They append changes to the file, and write the whole file when the index is built again. Only one process at a time can
    /// hold such a file (OSError for others, which may load it without durable); a forked child's index is separate and not
    /// stored.
    #[staticmethod]
    #[pyo3(signature = (path, *, durable = false))]
    fn load(py: Python<'_>, path: PathBuf, durable: bool) -> PyResult<Self> {
        if !durable {
            return Self::opened(py, || VectorIndex::open(&path));
        }
        // Later builds by `add` run on this process's threads, too.
        let build_in = Box::new(|build: &mut (dyn FnMut() + Send)| on_threads(build));
        let opened = py.detach(|| on_threads(|| SharedIndex::open_building_in(&path, build_in)));
        let shared = opened.map_err(raised)?;
        let options = shared.with(VectorIndex::options);
        Ok(Self {
            inner: OfProcess::with(shared),
            options,
        })
    }

    /// Writes the index with all changes to one file, atomically. An existing index is replaced; another file only with
    /// force, and a device or a pipe never.
    #[pyo3(signature = (path, *, force = false))]
    fn save(&self, py: Python<'_>, path: PathBuf, force: bool) -> PyResult<()> {
        let refused = |error: OutputError| std::io::Error::new(error.kind(), error.to_string());
        let target = OutputTarget::whole(&path)
            .and_then(|output| output.target())
            .map_err(refused)?;
        // A wrong path must not overwrite music or documents.
        if !force && !VectorIndex::can_replace(&target) {
            let text = format!(
                "{} exists and is no index: choose another path, or replace it with force=True",
                path.display()
            );
            return Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, text).into());
        }
        self.write(py, |index, stamp| index.save(&target, stamp))
    }

    /// The k nearest of each query, nearest first: (ids, similarities), int64 and float32, both [queries, k].
    ///
    /// queries: numbers [queries, dimension], or one of [dimension], for which both answers are [k]; ValueError for another
    /// dimension, NaN and infinity, and for cosines a query of length 0. k is limited to the number of vectors that pass; if
    /// a query has fewer results, -1 and NaN follow. similarities: cosines, inner products, or for "l2" distances, smallest first.
    /// exact: compare with all vectors. width: number of lists (with a graph: candidates) to search; more is slower and finds
    /// more. candidates: vectors of those lists that are compared in full, by default as target_recall needs. filter: only
    /// these: an array of ids, a mask of booleans in the order of `ids`, or a function that is called once with each id and
    /// returns whether it passes. least: only those of at least this similarity; radius: for "l2", only those of at most this
    /// distance. groups: only the nearest of each group; the group of each id, in the order of `ids`, or a function of an id.
    #[pyo3(signature = (
        queries, k = 10, *, exact = false, width = None, candidates = None, filter = None, least = None, radius = None,
        groups = None
    ))]
    #[allow(clippy::too_many_arguments, reason = "by name, in Python")]
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = count)] k: usize,
        exact: bool,
        #[pyo3(from_py_with = optional_count)] width: Option<usize>,
        #[pyo3(from_py_with = optional_count)] candidates: Option<usize>,
        filter: Option<Bound<'py, PyAny>>,
        least: Option<f32>,
        radius: Option<f32>,
        groups: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let queries = numbers(queries, "queries")?;
        let (rows, single) = rows(queries.as_array(), "queries")?;
        let is_euclidean = self.options.metric == IndexMetric::Euclidean;
        let least = match (least, radius) {
            (None, None) => None,
            (Some(least), None) if !is_euclidean && !least.is_nan() => Some(least),
            // The index ranks by similarity, here the negative distance.
            (None, Some(radius)) if is_euclidean && radius >= 0. => Some(-radius),
            _ => {
                return Err(PyValueError::new_err(
                    "expected either `least`, a similarity for \"cosine\" and \"ip\", or `radius`, a distance from 0 on for \"l2\"",
                ));
            }
        };
        let pass = filter.map(|filter| self.passing(py, &filter)).transpose()?;
        let groups = groups.map(|groups| self.grouped(py, &groups)).transpose()?;
        let mode = if exact {
            SearchMode::Exact
        } else {
            SearchMode::Auto
        };
        let params = SearchParams {
            mode,
            ef: width,
            candidates,
            least,
            ..SearchParams::default()
        };
        let found = py.detach(|| self.found(rows, k, &params, pass.as_deref(), groups.as_deref()));
        let (ids, mut values) = found.map_err(raised)?;
        if is_euclidean {
            // Back to distances; NaN stays NaN.
            values.mapv_inplace(|value| -value);
        }
        let k = [ids.ncols()];
        let ids = ids.into_pyarray(py);
        let values = values.into_pyarray(py);
        if single {
            return (ids.reshape(k)?, values.reshape(k)?).into_pyobject(py);
        }
        (ids, values).into_pyobject(py)
    }

    /// Adds vectors: one, an id and numbers [dimension], or several, ids [n] and numbers [n, dimension]; all of them or none.
    /// Raises ValueError if an id exists, and as the constructor does. Builds the index again when that makes searches
    /// faster.
    fn add(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let vectors = numbers(vectors, "vectors")?;
        let (rows, _) = rows(vectors.as_array(), "vectors")?;
        let ids = index_ids(ids, "ids")?;
        py.detach(|| self.inner().add(&ids, rows)).map_err(raised)
    }

    /// As add, but replaces the vectors of existing ids.
    fn upsert(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let vectors = numbers(vectors, "vectors")?;
        let (rows, _) = rows(vectors.as_array(), "vectors")?;
        let ids = index_ids(ids, "ids")?;
        py.detach(|| self.inner().upsert(&ids, rows))
            .map_err(raised)
    }

    /// Removes a vector; raises KeyError if there is none of this id.
    fn remove(&self, py: Python<'_>, #[pyo3(from_py_with = id_of)] id: i64) -> PyResult<()> {
        if py.detach(|| self.inner().remove(Id(id))).map_err(raised)? {
            return Ok(());
        }
        Err(unknown(id))
    }

    /// The vector of an id, float32 [dimension], as it is stored (16 bits a component; at length 1 for cosines); raises
    /// KeyError if there is none.
    fn vector<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = id_of)] id: i64,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let vector = py.detach(|| self.inner().with(|index| index.vector(Id(id))));
        vector
            .map(|vector| vector.into_pyarray(py))
            .ok_or_else(|| unknown(id))
    }

    /// All ids, ascending, int64 [n].
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let all = py.detach(|| self.inner().with(VectorIndex::ids));
        all.into_iter()
            .map(|id| id.0)
            .collect::<Vec<_>>()
            .into_pyarray(py)
    }

    /// The options of the last build; "recall" is the measured recall@10 of its searches, None if they compare all.
    #[getter]
    fn options<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let options = PyDict::new(py);
        options.set_item("metric", self.options.metric.name())?;
        let graph = match self.options.graph_from {
            0 => Some(true),
            usize::MAX => Some(false),
            _ => None,
        };
        options.set_item("graph", graph)?;
        options.set_item("m", self.options.m)?;
        options.set_item("ef_construction", self.options.ef_construction)?;
        options.set_item("target_recall", self.options.target_recall)?;
        let recall = py.detach(|| self.inner().with(|index| index.stats().recall));
        options.set_item("recall", recall)?;
        Ok(options)
    }

    /// Dimension of the vectors.
    #[getter]
    fn dimension(&self, py: Python<'_>) -> usize {
        py.detach(|| self.inner().with(VectorIndex::dimension))
    }

    /// As scikit-learn's estimators: builds the index from these vectors only, with row numbers as ids. Returns the index.
    #[pyo3(signature = (X, y = None))]
    #[expect(non_snake_case, reason = "as scikit-learn calls it")]
    fn fit<'py>(
        this: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        y: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        let _ = y;
        let given = numbers(X, "X")?;
        let py = this.py();
        let inner = this.get();
        let vectors = matrix(given.as_array(), "X")?;
        let ids = numbered(vectors.nrows());
        let built = py.detach(|| on_threads(|| VectorIndex::build(&ids, vectors, &inner.options)));
        let built = built.map_err(raised)?;
        // Replaced atomically under the index's lock: concurrent searches see the old or the
        // new vectors.
        py.detach(|| inner.inner().replace(built)).map_err(raised)?;
        Ok(this)
    }

    /// As scikit-learn's NearestNeighbors: (distances, ids), both [queries, n_neighbors], or only ids.
    ///
    /// X: queries; none: every vector, without itself, in the order of ids. Distances are 1 - cosine (within 5e-5, so that
    /// vectors nearer to each other than that may be in another order), the inner product's negative, or Euclidean.
    #[pyo3(signature = (X = None, n_neighbors = 5, return_distance = true))]
    #[expect(non_snake_case, reason = "as scikit-learn calls it")]
    fn kneighbors<'py>(
        &self,
        py: Python<'py>,
        X: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = count)] n_neighbors: usize,
        return_distance: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let params = SearchParams::default();
        let found = if let Some(queries) = X {
            let queries = numbers(queries, "X")?;
            let queries = matrix(queries.as_array(), "X")?;
            py.detach(|| self.found(queries, n_neighbors, &params, None, None))
        } else {
            let index = self.inner().snapshot();
            py.detach(|| {
                on_threads(|| index.knn_graph(n_neighbors, &params)).map(|found| arrays(found, 0))
            })
        };
        let (ids, mut values) = found.map_err(raised)?;
        let cosine = self.options.metric == IndexMetric::Cosine;
        values.mapv_inplace(|value| if cosine { 1. - value } else { -value });
        let ids: Bound<'py, PyArray2<i64>> = ids.into_pyarray(py);
        if return_distance {
            return Ok((values.into_pyarray(py), ids).into_pyobject(py)?.into_any());
        }
        Ok(ids.into_any())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let mut bytes = Cursor::new(Vec::new());
        self.write(py, |index, stamp| index.write_to(&mut bytes, stamp))?;
        let unpickle = py.get_type::<Self>().getattr("_unpickle")?;
        (unpickle, (PyBytes::new(py, bytes.get_ref()),)).into_pyobject(py)
    }

    #[staticmethod]
    fn _unpickle(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        Self::opened(py, || VectorIndex::from_bytes(bytes))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| self.inner().with(VectorIndex::len))
    }

    fn __contains__(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        // An integer of more than 64 bits is no id of any vector.
        if id.is_instance_of::<PyInt>() && id.extract::<i64>().is_err() {
            return Ok(false);
        }
        let id = Id(id_of(id)?);
        Ok(py.detach(|| self.inner().with(|index| index.contains(id))))
    }
}
