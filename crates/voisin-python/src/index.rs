//! The vector index alone: any unit vectors will do.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use numpy::ndarray::{Array2, Axis};
use numpy::{
    AllowTypeChange, IntoPyArray as _, PyArrayLike1, PyArrayLike2, PyArrayLikeDyn, PyArrayMethods as _,
};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::raised;
use voisin_base::track::TrackId;
use voisin_index::{IndexOptions, IndexStamp, SearchMode, SearchParams};

/// What an index of Python's is made of, as its file says.
const ORIGIN: &str = "python";

/// A search index of vectors of any origin, without a library.
///
/// VectorIndex(vectors, ids=None)
///
/// vectors: float32 [n, dimension], rows of length 1. ids: int64 [n], each once; the row numbers where none are given. Raises
/// ValueError for other shapes and lengths. Searching, adding and removing may be done from any threads.
#[pyclass(name = "VectorIndex", frozen, module = "voisin")]
pub(super) struct PyVectorIndex {
    inner: RwLock<voisin_index::VectorIndex>,
}

impl PyVectorIndex {
    fn read<T>(&self, work: impl FnOnce(&voisin_index::VectorIndex) -> T) -> T {
        work(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, work: impl FnOnce(&mut voisin_index::VectorIndex) -> T) -> T {
        work(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl PyVectorIndex {
    #[new]
    #[pyo3(signature = (vectors, ids = None))]
    fn new(
        py: Python<'_>,
        vectors: PyArrayLike2<'_, f32, AllowTypeChange>,
        ids: Option<PyArrayLike1<'_, i64, AllowTypeChange>>,
    ) -> PyResult<Self> {
        let vectors = vectors.as_array();
        let ids: Vec<TrackId> = match ids {
            Some(ids) => ids.as_array().iter().map(|&id| TrackId(id)).collect(),
            None => (0..vectors.nrows() as i64).map(TrackId).collect(),
        };
        let built = py.detach(|| voisin_index::VectorIndex::build(&ids, vectors, &IndexOptions::default()));
        Ok(Self { inner: RwLock::new(built.map_err(raised)?) })
    }

    /// Opens an index that was saved.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let opened = py.detach(|| voisin_index::VectorIndex::open(&path));
        Ok(Self { inner: RwLock::new(opened.map_err(raised)?.0) })
    }

    /// Writes the index to a file, whole or not at all.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| {
            self.read(|index| {
                let stamp = IndexStamp {
                    generation: 0,
                    model_fingerprint: ORIGIN.to_owned(),
                    dimension: index.dimension(),
                };
                index.save(&path, &stamp)
            })
        })
        .map_err(raised)
    }

    /// The k nearest of each query, nearest first: (ids, similarities), int64 and float32, both [queries, k].
    ///
    /// queries: float32 [queries, dimension], rows of length 1, or one of [dimension], for which both answers are [k]. k is at
    /// most the number of vectors. exact: compare with all. width: candidates that are kept; more is slower and finds more.
    #[pyo3(signature = (queries, k = 10, *, exact = false, width = None))]
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: PyArrayLikeDyn<'py, f32, AllowTypeChange>,
        k: usize,
        exact: bool,
        width: Option<usize>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let queries = queries.as_array();
        let single = queries.ndim() == 1;
        let rows = match queries.ndim() {
            1 => queries.insert_axis(Axis(0)),
            _ => queries,
        };
        let rows = rows.into_dimensionality::<numpy::ndarray::Ix2>().map_err(|_| {
            PyValueError::new_err("queries: expected the shape [dimension] or [queries, dimension]")
        })?;
        let (n, mode) = (rows.nrows(), if exact { SearchMode::Exact } else { SearchMode::Auto });
        let (ids, similarities) = py
            .detach(|| {
                self.read(|index| {
                    let params = SearchParams { mode, ef: width, ..SearchParams::default() };
                    let k = k.min(index.len());
                    let found = index.search_batch(rows, k, &params)?;
                    // A list is short only where there is no more: never, without a filter.
                    let mut ids = Array2::from_elem((n, k), -1_i64);
                    let mut similarities = Array2::from_elem((n, k), f32::NAN);
                    for (row, neighbors) in found.into_iter().enumerate() {
                        for (column, neighbor) in neighbors.into_iter().enumerate() {
                            ids[[row, column]] = neighbor.track.0;
                            similarities[[row, column]] = neighbor.similarity;
                        }
                    }
                    Ok((ids, similarities))
                })
            })
            .map_err(|error: voisin_index::IndexError| raised(error))?;
        let k = [ids.ncols()];
        let (ids, similarities) = (ids.into_pyarray(py), similarities.into_pyarray(py));
        if single {
            return (ids.reshape(k)?, similarities.reshape(k)?).into_pyobject(py);
        }
        (ids, similarities).into_pyobject(py)
    }

    /// Puts a vector in, float32 [dimension], of length 1; raises ValueError where the id is taken.
    fn add(&self, py: Python<'_>, id: i64, vector: PyArrayLike1<'_, f32, AllowTypeChange>) -> PyResult<()> {
        let vector = vector.as_array().to_vec();
        py.detach(|| self.write(|index| index.insert(TrackId(id), &vector))).map_err(raised)
    }

    /// Takes a vector out; raises KeyError where there is none of this id.
    fn remove(&self, py: Python<'_>, id: i64) -> PyResult<()> {
        if py.detach(|| self.write(|index| index.remove(TrackId(id)))) {
            return Ok(());
        }
        Err(PyKeyError::new_err(id))
    }

    /// Numbers of a vector.
    #[getter]
    fn dimension(&self, py: Python<'_>) -> usize {
        py.detach(|| self.read(voisin_index::VectorIndex::dimension))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| self.read(voisin_index::VectorIndex::len))
    }

    fn __contains__(&self, py: Python<'_>, id: i64) -> bool {
        py.detach(|| self.read(|index| index.contains(TrackId(id))))
    }
}
