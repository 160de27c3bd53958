//! Arrays as Python gives them.

use numpy::ndarray::{ArrayView2, ArrayViewD, Axis, Ix2};
use numpy::{AllowTypeChange, PyArrayLikeDyn};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// Numbers of any shape: an array, or what NumPy makes one of.
pub(super) fn numbers<'py, T>(
    value: &Bound<'py, PyAny>,
    what: &str,
) -> PyResult<PyArrayLikeDyn<'py, T, AllowTypeChange>>
where
    T: numpy::Element,
    PyArrayLikeDyn<'py, T, AllowTypeChange>: for<'a> FromPyObject<'a, 'py>,
{
    value.extract().map_err(|_| {
        let found = value
            .get_type()
            .name()
            .map_or_else(|_| "something else".to_owned(), |name| name.to_string());
        PyTypeError::new_err(format!(
            "{what}: expected an array of numbers, found {found}"
        ))
    })
}

/// One row or many, as rows, and whether it was one.
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
    Ok((
        matrix_as(array, what, "[dimension] or [n, dimension]")?,
        single,
    ))
}

/// Rows.
pub(super) fn matrix<'a>(array: ArrayViewD<'a, f32>, what: &str) -> PyResult<ArrayView2<'a, f32>> {
    matrix_as(array, what, "[n, dimension]")
}

fn matrix_as<'a>(
    array: ArrayViewD<'a, f32>,
    what: &str,
    expected: &str,
) -> PyResult<ArrayView2<'a, f32>> {
    let shape = array.shape().to_vec();
    array.into_dimensionality::<Ix2>().map_err(|_| {
        PyValueError::new_err(format!(
            "{what}: expected the shape {expected}, found {shape:?}"
        ))
    })
}
