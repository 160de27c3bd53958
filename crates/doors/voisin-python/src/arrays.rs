//! Converts Python's values to arrays.

use numpy::ndarray::{ArrayView2, ArrayViewD, Axis, Ix2};
use numpy::{AllowTypeChange, PyArrayLikeDyn};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList};

/// The NumPy array of a value, and the letter of its kind of elements.
fn array_of<'py>(value: &Bound<'py, PyAny>, what: &str) -> PyResult<(Bound<'py, PyAny>, char)> {
    let is_no_array = || {
        let found = value
            .get_type()
            .name()
            .map_or_else(|_| "something else".to_owned(), |name| name.to_string());
        PyTypeError::new_err(format!(
            "{what}: expected an array of numbers, found {found}"
        ))
    };
    let numpy = value.py().import("numpy")?;
    let array = numpy.call_method1("asarray", (value,)).map_err(|error| {
        // Mostly rows of different lengths.
        if error.is_instance_of::<PyValueError>(value.py()) {
            let reason = error.value(value.py());
            PyTypeError::new_err(format!("{what}: expected an array of numbers: {reason}"))
        } else {
            is_no_array()
        }
    })?;
    let kind: char = array.getattr("dtype")?.getattr("kind")?.extract()?;
    let ndim: usize = array.getattr("ndim")?.extract()?;
    // `asarray` makes any object an array without dimensions; only numbers are accepted.
    if ndim == 0 && !"fiubc".contains(kind) {
        return Err(is_no_array());
    }
    Ok((array, kind))
}

/// The error of an unexpected element.
fn unlike(what: &str, expected: &str, at: usize, element: &Bound<'_, PyAny>) -> PyErr {
    let shown = |element: &Bound<'_, PyAny>| -> PyResult<String> {
        // A NumPy scalar is shown as Python's value, without its type.
        let item = element
            .call_method0("item")
            .unwrap_or_else(|_| element.clone());
        let kind = item.get_type().name()?.to_string();
        Ok(format!("{kind} {}", item.repr()?))
    };
    let found = shown(element).unwrap_or_else(|_| "something else".to_owned());
    PyValueError::new_err(format!(
        "{what}: expected {expected}, found {found} at index {at}"
    ))
}

/// An error for the first element of an array that fails `is_fit`.
fn first_unlike(
    array: &Bound<'_, PyAny>,
    what: &str,
    expected: &str,
    is_fit: impl Fn(&Bound<'_, PyAny>) -> bool,
) -> PyResult<()> {
    for (at, element) in array.getattr("flat")?.try_iter()?.enumerate() {
        let element = element?;
        if !is_fit(&element) {
            return Err(unlike(what, expected, at, &element));
        }
    }
    Ok(())
}

/// Real numbers of any shape, rounded to 32 bits: an array of floats or integers, or a value that NumPy converts to one.
pub(super) fn numbers<'py>(
    value: &Bound<'py, PyAny>,
    what: &str,
) -> PyResult<PyArrayLikeDyn<'py, f32, AllowTypeChange>> {
    let (array, kind) = array_of(value, what)?;
    if !"fiu".contains(kind) {
        // Integers beyond 64 bits are objects, too, and rounded as others.
        let is_number = |element: &Bound<'_, PyAny>| {
            kind == 'O'
                && (element.is_instance_of::<PyInt>() || element.is_instance_of::<PyFloat>())
                && !element.is_instance_of::<PyBool>()
        };
        first_unlike(&array, what, "real numbers", is_number)?;
    }
    // Keeps the second dimension of an empty array.
    let keywords = PyDict::new(value.py());
    keywords.set_item("copy", false)?;
    array
        .call_method("astype", ("float32",), Some(&keywords))?
        .extract()
}

/// One id or several, in order: integers of 64 bits, or floats that are whole below 2^53.
pub(super) fn ids(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<i64>> {
    const EXPECTED: &str = "whole numbers of 64 bits";
    /// Larger floats are not exact integers.
    const LARGEST: f64 = 9_007_199_254_740_992.;
    let (array, kind) = array_of(value, what)?;
    let shape: Vec<usize> = array.getattr("shape")?.extract()?;
    if shape.len() > 1 {
        return Err(PyValueError::new_err(format!(
            "{what}: expected the shape [n], found {shape:?}"
        )));
    }
    // Signed integers need no check; unsigned and object arrays may have values beyond 64
    // bits.
    let is_id = |element: &Bound<'_, PyAny>| match kind {
        'u' | 'O' => element.extract::<i64>().is_ok() && !element.is_instance_of::<PyBool>(),
        'f' => element
            .extract::<f64>()
            .is_ok_and(|x| x.fract() == 0. && x.abs() < LARGEST),
        _ => false,
    };
    if kind != 'i' {
        first_unlike(&array, what, EXPECTED, is_id)?;
    }
    let array: PyArrayLikeDyn<'_, i64, AllowTypeChange> =
        array.call_method1("astype", ("int64",))?.extract()?;
    Ok(array.as_array().iter().copied().collect())
}

/// A single id.
pub(super) fn id(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    // As a list of one, for the same messages and limits as of several.
    let several = ids(PyList::new(value.py(), [value])?.as_any(), "id")?;
    several
        .first()
        .copied()
        .ok_or_else(|| PyValueError::new_err("id: expected one"))
}

/// A number of results, lists or links.
pub(super) fn count(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    value.extract().map_err(|error: PyErr| {
        // PyO3's message for -1 is about an unsigned type, which Python does not have.
        if error.is_instance_of::<PyOverflowError>(value.py()) {
            PyValueError::new_err(format!("expected a number from 0 on, found {value}"))
        } else {
            error
        }
    })
}

/// As [`count`]; `None` for the default.
pub(super) fn optional_count(value: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    (!value.is_none()).then(|| count(value)).transpose()
}

/// A mask, if the value is an array of booleans.
pub(super) fn mask(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Option<Vec<bool>>> {
    let (array, kind) = array_of(value, what)?;
    if kind != 'b' {
        return Ok(None);
    }
    let array: PyArrayLikeDyn<'_, bool, AllowTypeChange> = array.extract()?;
    Ok(Some(array.as_array().iter().copied().collect()))
}

/// One row or several as rows, and whether it was a single one.
pub(super) fn rows<'a>(
    array: ArrayViewD<'a, f32>,
    what: &str,
) -> PyResult<(ArrayView2<'a, f32>, bool)> {
    // The answer to one row is one row, not a matrix.
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
