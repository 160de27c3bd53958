//! The class VectorIndex: a search index of any vectors.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use numpy::ndarray::{Array2, ArrayView2};
use numpy::{IntoPyArray as _, PyArray1, PyArray2, PyArrayMethods as _};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyTuple};

use super::arrays::{
    count, id as id_of, ids as ids_of, mask, matrix, numbers, optional_count, rows,
};
use super::errors::{no_such_track, raised};
use super::process::{OfProcess, on_threads};
use voisin_base::output::{OutputError, OutputTarget};
use voisin_index::{
    Id, IndexError, IndexOptions, IndexStamp, Neighbor, SearchParams, Subset, VectorIndex,
};

/// The origin that files of Python's indexes name.
const ORIGIN: &str = "python";

/// A search index of vectors of any origin, by their cosines, without a library.
///
/// VectorIndex(vectors=None, ids=None, *, graph=None, m=16, ef_construction=200, target_recall=0.995)
///
/// vectors: numbers [n, dimension], floats or integers of any size, rounded to float32; lengths are ignored, and a vector of
/// length 0 is a ValueError; none: an empty index, whose dimension is that of the first vectors added. ids: integers of 64 bits
/// [n], or whole floats below 2^53, without repetitions; default: row numbers. graph: an HNSW graph over lists (None: from
/// 5 000 vectors on; without it all are compared), with 2 m links a vector (m: 4 to 32) chosen among ef_construction nearest (16
/// to 2 000). target_recall: recall@10 against an exact search, for which the width of searches is tuned when the index is
/// built, by queries without their near copies. Raises ValueError for other shapes, NaN and infinity, repeated ids, options out
/// of range, and for booleans, complex numbers, decimals, dates and strings, with the first such element; TypeError if there is
/// no array. Any threads may search, add and remove at once. Can be pickled, with its vectors.
#[pyclass(name = "VectorIndex", frozen, module = "voisin")]
pub(super) struct PyVectorIndex {
    /// A forked child copies the vectors, but no lock that a thread of its parent may have held.
    inner: OfProcess<Changing>,
    options: IndexOptions,
}

/// An index that is searched while it changes: a change is made to a copy, which shares the vectors, and replaces it.
struct Changing {
    /// Locked only to copy or replace a pointer.
    current: RwLock<Arc<VectorIndex>>,
    /// Locked while the next state is made.
    change: Mutex<()>,
}

impl Changing {
    fn new(index: VectorIndex) -> Self {
        Self {
            current: RwLock::new(Arc::new(index)),
            change: Mutex::new(()),
        }
    }

    fn snapshot(&self) -> Arc<VectorIndex> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Replaces the index by a changed one, unless the change fails.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut VectorIndex) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let _one = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = VectorIndex::clone(&self.snapshot());
        let answer = change(&mut next)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(answer)
    }
}

/// Adds vectors, and builds the index again where that makes searches faster.
fn put(index: &mut VectorIndex, ids: &[Id], rows: ArrayView2<'_, f32>) -> Result<(), IndexError> {
    if ids.len() != rows.nrows() {
        return Err(IndexError::Count {
            ids: ids.len(),
            vectors: rows.nrows(),
        });
    }
    // The first vectors set the dimension.
    if index.is_empty() {
        *index = VectorIndex::build(ids, rows, &index.options())?;
        return Ok(());
    }
    for (&id, row) in ids.iter().zip(rows.outer_iter()) {
        index.insert(id, &row.to_vec())?;
    }
    if index.needs_rebuild() {
        let (ids, vectors) = index.vectors();
        *index = VectorIndex::build_from(&ids, vectors, &index.options())?;
    }
    Ok(())
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
            inner: OfProcess::with(Changing::new(index)),
            options,
        }
    }

    fn inner(&self) -> &Changing {
        // In a forked child: a copy of the vectors with its own lock.
        let take_over = |parents: Option<&Changing>| {
            parents
                .map(|parents| Changing::new(VectorIndex::clone(&parents.snapshot())))
                .ok_or(())
        };
        match self.inner.get(take_over) {
            Ok(inner) => inner,
            Err(()) => unreachable!("there is one from the beginning"),
        }
    }

    fn snapshot(&self) -> Arc<VectorIndex> {
        self.inner().snapshot()
    }

    fn opened(
        py: Python<'_>,
        open: impl FnOnce() -> Result<(VectorIndex, IndexStamp), IndexError> + Send,
    ) -> PyResult<Self> {
        let (index, _) = py.detach(|| on_threads(open)).map_err(raised)?;
        Ok(Self::of(index))
    }

    /// Passes on the index with the stamp of its file.
    fn write<T: Send>(
        &self,
        py: Python<'_>,
        write: impl FnOnce(&VectorIndex, &IndexStamp) -> Result<T, IndexError> + Send,
    ) -> PyResult<T> {
        let write = || {
            let index = self.snapshot();
            let stamp = IndexStamp {
                generation: 0,
                model_fingerprint: ORIGIN.to_owned(),
                dimension: index.dimension(),
            };
            write(&index, &stamp)
        };
        py.detach(|| on_threads(write)).map_err(raised)
    }

    fn found(
        &self,
        rows: ArrayView2<'_, f32>,
        k: usize,
        params: &SearchParams<'_>,
        pass: Option<&[Id]>,
    ) -> Result<FoundArrays, IndexError> {
        let index = self.snapshot();
        let subset = pass.map(|pass| index.subset_of(pass));
        let most = subset.as_ref().map_or(index.len(), Subset::len);
        let params = SearchParams {
            subset: subset.as_ref(),
            ..*params
        };
        // `k` may be any number, but the results are limited to vectors that pass.
        let k = k.min(most);
        let found = if rows.nrows() == 1 {
            // A single query is faster than starting other threads.
            vec![index.search(&rows.row(0).to_vec(), k, &params)?]
        } else {
            on_threads(|| index.search_batch(rows, k, &params))?
        };
        Ok(arrays(found, k))
    }
}

/// The ids that pass a filter.
impl PyVectorIndex {
    fn ids_now(&self, py: Python<'_>) -> Vec<Id> {
        py.detach(|| self.snapshot().ids())
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
        vectors = None, ids = None, *, graph = None, m = 16, ef_construction = 200, target_recall = 0.995
    ))]
    #[allow(clippy::too_many_arguments, reason = "by name, in Python")]
    fn new(
        py: Python<'_>,
        vectors: Option<&Bound<'_, PyAny>>,
        ids: Option<&Bound<'_, PyAny>>,
        graph: Option<bool>,
        #[pyo3(from_py_with = count)] m: usize,
        #[pyo3(from_py_with = count)] ef_construction: usize,
        target_recall: f64,
    ) -> PyResult<Self> {
        let options = IndexOptions {
            // A threshold in vectors: always, never, or the default.
            graph_from: match graph {
                Some(true) => 0,
                Some(false) => usize::MAX,
                None => IndexOptions::default().graph_from,
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
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Self::opened(py, || VectorIndex::open(&path))
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
    /// dimension, NaN and infinity, and a query of length 0. k is limited to the number of vectors that pass; if a query has
    /// fewer results, -1 and NaN follow. similarities: cosines. exact: compare with all vectors. width: candidates of the graph
    /// for one query, lists that are read for several; more is slower and finds more. filter: only these: an array of ids, a
    /// mask of booleans in the order of `ids`, or a function that is called once with each id and returns whether it passes.
    #[pyo3(signature = (queries, k = 10, *, exact = false, width = None, filter = None))]
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = count)] k: usize,
        exact: bool,
        #[pyo3(from_py_with = optional_count)] width: Option<usize>,
        filter: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let queries = numbers(queries, "queries")?;
        let (rows, single) = rows(queries.as_array(), "queries")?;
        let pass = filter.map(|filter| self.passing(py, &filter)).transpose()?;
        let params = SearchParams {
            exact,
            width,
            ..SearchParams::default()
        };
        let found = py.detach(|| self.found(rows, k, &params, pass.as_deref()));
        let (ids, values) = found.map_err(raised)?;
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
        let add = || self.inner().change(|index| put(index, &ids, rows));
        py.detach(|| on_threads(add)).map_err(raised)
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
        let replace = |index: &mut VectorIndex| {
            ids.iter().for_each(|&id| _ = index.remove(id));
            put(index, &ids, rows)
        };
        py.detach(|| on_threads(|| self.inner().change(replace)))
            .map_err(raised)
    }

    /// Removes a vector; raises KeyError if there is none of this id.
    fn remove(&self, py: Python<'_>, #[pyo3(from_py_with = id_of)] id: i64) -> PyResult<()> {
        let remove = |index: &mut VectorIndex| Ok(index.remove(Id(id)));
        if py.detach(|| self.inner().change(remove)).map_err(raised)? {
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
        let vector = py.detach(|| self.snapshot().vector(Id(id)));
        vector
            .map(|vector| vector.into_pyarray(py))
            .ok_or_else(|| unknown(id))
    }

    /// All ids, ascending, int64 [n].
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let all = py.detach(|| self.snapshot().ids());
        all.into_iter()
            .map(|id| id.0)
            .collect::<Vec<_>>()
            .into_pyarray(py)
    }

    /// The options of the last build; "recall" is the measured recall@10 of its searches, None if they compare all.
    #[getter]
    fn options<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let options = PyDict::new(py);
        let graph = match self.options.graph_from {
            0 => Some(true),
            usize::MAX => Some(false),
            _ => None,
        };
        options.set_item("graph", graph)?;
        options.set_item("m", self.options.m)?;
        options.set_item("ef_construction", self.options.ef_construction)?;
        options.set_item("target_recall", self.options.target_recall)?;
        let recall = py.detach(|| self.snapshot().stats().recall);
        options.set_item("recall", recall)?;
        Ok(options)
    }

    /// Dimension of the vectors.
    #[getter]
    fn dimension(&self, py: Python<'_>) -> usize {
        py.detach(|| self.snapshot().dimension())
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
        let replace = |index: &mut VectorIndex| {
            *index = built;
            Ok(())
        };
        // Concurrent searches see the old or the new vectors.
        py.detach(|| inner.inner().change(replace))
            .map_err(raised)?;
        Ok(this)
    }

    /// As scikit-learn's NearestNeighbors: (distances, ids), both [queries, n_neighbors], or only ids.
    ///
    /// X: queries; none: every vector, without itself, in the order of ids. Distances are 1 - cosine (within 5e-5, so that
    /// vectors nearer to each other than that may be in another order).
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
            py.detach(|| self.found(queries, n_neighbors, &params, None))
        } else {
            let index = self.snapshot();
            py.detach(|| {
                on_threads(|| index.knn_graph(n_neighbors, &params)).map(|found| arrays(found, 0))
            })
        };
        let (ids, mut values) = found.map_err(raised)?;
        values.mapv_inplace(|value| 1. - value);
        let ids: Bound<'py, PyArray2<i64>> = ids.into_pyarray(py);
        if return_distance {
            return Ok((values.into_pyarray(py), ids).into_pyobject(py)?.into_any());
        }
        Ok(ids.into_any())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let bytes = self.write(py, VectorIndex::to_bytes)?;
        let unpickle = py.get_type::<Self>().getattr("_unpickle")?;
        (unpickle, (PyBytes::new(py, &bytes),)).into_pyobject(py)
    }

    #[staticmethod]
    fn _unpickle(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        Self::opened(py, || VectorIndex::from_bytes(bytes))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| self.snapshot().len())
    }

    fn __contains__(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        // An integer of more than 64 bits is no id of any vector.
        if id.is_instance_of::<PyInt>() && id.extract::<i64>().is_err() {
            return Ok(false);
        }
        let id = Id(id_of(id)?);
        Ok(py.detach(|| self.snapshot().contains(id)))
    }
}
