//! Converts keyword arguments to queries, and answers to dictionaries, by Python's own JSON.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde::Serialize;
use serde_json::{Map, Value};

/// The fields of a query: text, numbers, booleans, dictionaries, lists; others, such as paths, as `str` writes them.
pub(super) fn fields(options: Option<&Bound<'_, PyDict>>) -> PyResult<Map<String, Value>> {
    let Some(options) = options else {
        return Ok(Map::new());
    };
    let py = options.py();
    let how = PyDict::new(py);
    how.set_item("default", py.get_type::<PyString>())?;
    how.set_item("allow_nan", false)?;
    let json = py.import("json")?;
    let text: String = json
        .call_method("dumps", (options,), Some(&how))?
        .extract()?;
    serde_json::from_str(&text).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// An answer as dictionaries and lists.
pub(super) fn dictionaries<'py>(
    py: Python<'py>,
    answer: &impl Serialize,
) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_vec(answer);
    loads(
        py,
        &text.map_err(|error| PyValueError::new_err(error.to_string()))?,
    )
}

pub(super) fn loads<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    py.import("json")?.call_method1("loads", (text,))
}
