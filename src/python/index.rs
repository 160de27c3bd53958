//! The class VectorIndex: a search index of any vectors.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use numpy::ndarray::{Array2, ArrayView2};
use numpy::{IntoPyArray as _, PyArray1, PyArrayMethods as _};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::arrays::{ids as ids_of, matrix, numbers, rows};
use super::errors::{no_such_track, raised};
use voisin_base::output::{OutputError, OutputTarget};
use voisin_index::{
    Id, IndexError, IndexOptions, IndexStamp, Neighbor, SearchParams, Subset, VectorIndex,
};

/// The origin that files of Python's indexes name.
const ORIGIN: &str = "python";

/// A search index of vectors of any origin, by their cosines, without a library.
///
/// VectorIndex(vectors=None, ids=None)
///
/// vectors: numbers [n, dimension], rounded to float32; lengths are ignored, and a vector of length 0 is a ValueError; none: an
/// empty index, whose dimension is that of the first vectors added. ids: integers of 64 bits [n] without repetitions; default:
/// row numbers. Raises ValueError for other shapes, NaN, infinity and repeated ids, TypeError for what is no array of numbers.
/// Any threads may search, add and remove at once.
#[pyclass(name = "VectorIndex", frozen, module = "voisin")]
pub(super) struct PyVectorIndex {
    /// Locked only to copy or replace a pointer.
    current: RwLock<Arc<VectorIndex>>,
    /// Locked while the next state is made.
    change: Mutex<()>,
    process: u32,
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

type FoundArrays = (Array2<i64>, Array2<f32>);

fn index_ids(ids: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<Id>> {
    Ok(ids_of(ids, what)?.into_iter().map(Id).collect())
}

/// Arrays of lists of at most `most` neighbours; missing ones are -1 and NaN.
fn arrays(found: Vec<Vec<Neighbor>>, most: usize) -> FoundArrays {
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
    fn of(index: VectorIndex) -> Self {
        Self {
            current: RwLock::new(Arc::new(index)),
            change: Mutex::new(()),
            process: std::process::id(),
        }
    }

    fn snapshot(&self) -> Arc<VectorIndex> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Refuses a forked child, in which the threads and locks of its parent never answer.
    fn check_process(&self) -> PyResult<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        let text = "an index cannot be used after a fork: load it in this process";
        Err(PyRuntimeError::new_err(text))
    }

    /// Replaces the index by a changed copy, which shares the vectors, unless the change fails.
    fn change<T: Send>(
        &self,
        py: Python<'_>,
        change: impl FnOnce(&mut VectorIndex) -> Result<T, IndexError> + Send,
    ) -> PyResult<T> {
        self.check_process()?;
        let changed = py.detach(|| {
            let _one = self.change.lock().unwrap_or_else(PoisonError::into_inner);
            let mut next = VectorIndex::clone(&self.snapshot());
            let answer = change(&mut next)?;
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
            Ok::<T, IndexError>(answer)
        });
        changed.map_err(raised)
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
        let k = k.min(most);
        let found = if rows.nrows() == 1 {
            vec![index.search(&rows.row(0).to_vec(), k, &params)?]
        } else {
            index.search_batch(rows, k, &params)?
        };
        Ok(arrays(found, k))
    }
}

#[pymethods]
impl PyVectorIndex {
    #[new]
    #[pyo3(signature = (vectors = None, ids = None))]
    fn new(
        py: Python<'_>,
        vectors: Option<&Bound<'_, PyAny>>,
        ids: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        // Without rows the dimension is free; the first vectors added set it.
        let none = Array2::zeros((0, 1));
        let given = vectors.map(|vectors| numbers(vectors, "vectors"));
        let given = given.transpose()?;
        let vectors = match &given {
            Some(vectors) => matrix(vectors.as_array(), "vectors")?,
            None => none.view(),
        };
        let ids = match ids {
            Some(given) => index_ids(given, "ids")?,
            // No array has 2^63 rows, so the cast is exact.
            None => (0..vectors.nrows() as i64).map(Id).collect(),
        };
        let options = IndexOptions::default();
        let built = py.detach(|| VectorIndex::build(&ids, vectors, &options));
        Ok(Self::of(built.map_err(raised)?))
    }

    /// Opens a saved index. Raises ValueError if the file is damaged or no index, OSError if it cannot be read.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let (index, _) = py.detach(|| VectorIndex::open(&path)).map_err(raised)?;
        Ok(Self::of(index))
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
        let index = self.snapshot();
        let stamp = IndexStamp {
            generation: 0,
            model_fingerprint: ORIGIN.to_owned(),
            dimension: index.dimension(),
        };
        py.detach(|| index.save(&target, &stamp)).map_err(raised)
    }

    /// The k nearest of each query, nearest first: (ids, similarities), int64 and float32, both [queries, k].
    ///
    /// queries: numbers [queries, dimension], or one of [dimension], for which both answers are [k]; ValueError for another
    /// dimension, NaN and infinity, and a query of length 0. k is limited to the number of vectors; if a query has fewer
    /// results, -1 and NaN follow. similarities: cosines. exact: compare with all vectors. width: candidates of the graph for
    /// one query, lists that are read for several; more is slower and finds more. ids: only these.
    #[pyo3(signature = (queries, k = 10, *, exact = false, width = None, ids = None))]
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        k: usize,
        exact: bool,
        width: Option<usize>,
        ids: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        self.check_process()?;
        let queries = numbers(queries, "queries")?;
        let (rows, single) = rows(queries.as_array(), "queries")?;
        let pass = ids.map(|ids| index_ids(&ids, "ids")).transpose()?;
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
    /// Raises ValueError if an id exists, and as the constructor does.
    fn add(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let vectors = numbers(vectors, "vectors")?;
        let (rows, _) = rows(vectors.as_array(), "vectors")?;
        let ids = index_ids(ids, "ids")?;
        self.change(py, |index| put(index, &ids, rows))
    }

    /// Removes a vector; raises KeyError if there is none of this id.
    fn remove(&self, py: Python<'_>, id: i64) -> PyResult<()> {
        if self.change(py, |index| Ok(index.remove(Id(id))))? {
            return Ok(());
        }
        let text = format!("the index holds no vector of the id {id}");
        Err(no_such_track(text))
    }

    /// All ids, ascending, int64 [n].
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let all = self.snapshot().ids();
        let all: Vec<i64> = all.into_iter().map(|id| id.0).collect();
        all.into_pyarray(py)
    }

    /// Dimension of the vectors.
    #[getter]
    fn dimension(&self) -> usize {
        self.snapshot().dimension()
    }

    fn __len__(&self) -> usize {
        self.snapshot().len()
    }
}
