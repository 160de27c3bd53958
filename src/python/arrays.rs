//! Converts Python's values to arrays.

use numpy::ndarray::{ArrayView2, ArrayViewD, Axis, Ix2};
use numpy::{AllowTypeChange, PyArrayLikeDyn};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The NumPy array of a value, of one of these kinds of elements.
fn array_of<'py>(
    value: &Bound<'py, PyAny>,
    what: &str,
    kinds: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let numpy = value.py().import("numpy")?;
    let array = numpy.call_method1("asarray", (value,)).map_err(|error| {
        let reason = error.value(value.py());
        PyTypeError::new_err(format!("{what}: expected an array of numbers: {reason}"))
    })?;
    let kind: char = array.getattr("dtype")?.getattr("kind")?.extract()?;
    if kinds.contains(kind) {
        return Ok(array);
    }
    let found = array.getattr("dtype")?.str()?;
    Err(PyTypeError::new_err(format!(
        "{what}: expected an array of numbers, found elements of the type {found}"
    )))
}

/// Real numbers of any shape, rounded to 32 bits: an array of floats or integers, or a value that NumPy converts to one.
pub(super) fn numbers<'py>(
    value: &Bound<'py, PyAny>,
    what: &str,
) -> PyResult<PyArrayLikeDyn<'py, f32, AllowTypeChange>> {
    let array = array_of(value, what, "fiu")?;
    // Keeps the second dimension of an empty array.
    let keywords = PyDict::new(value.py());
    keywords.set_item("copy", false)?;
    array
        .call_method("astype", ("float32",), Some(&keywords))?
        .extract()
}

/// One id or several, in order: integers of 64 bits.
pub(super) fn ids(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<i64>> {
    // NumPy makes an empty list an array of floats.
    if value.len().is_ok_and(|length| length == 0) {
        return Ok(Vec::new());
    }
    let array = array_of(value, what, "iu")?;
    // As Python's integers, since those of unsigned arrays may have more than 63 bits.
    let flat = array.call_method0("ravel")?.call_method0("tolist")?;
    flat.extract()
        .map_err(|_| PyValueError::new_err(format!("{what}: expected whole numbers of 64 bits")))
}

/// One row or several as rows, and whether it was a single one.
pub(super) fn rows<'a>(
    array: ArrayViewD<'a, f32>,
    what: &str,
) -> PyResult<(ArrayView2<'a, f32>, bool)> {
    let single = array.ndim() == 1;
    let array = if single {
        array.insert_axis(Axis(0))
    } else {
        array
    };
    Ok((matrix(array, what)?, single))
}

pub(super) fn matrix<'a>(array: ArrayViewD<'a, f32>, what: &str) -> PyResult<ArrayView2<'a, f32>> {
    let shape = array.shape().to_vec();
    array.into_dimensionality::<Ix2>().map_err(|_| {
        PyValueError::new_err(format!(
            "{what}: expected the shape [n, dimension], found {shape:?}"
        ))
    })
}
