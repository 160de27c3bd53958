//! Converts keyword arguments to queries, and answers to dictionaries.

use std::path::PathBuf;

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde::Serialize;
use serde_json::{Map, Value};

use voisin::questions::read::Refused;

/// The fields of a query.
pub(super) fn fields(options: Option<&Bound<'_, PyDict>>) -> PyResult<Map<String, Value>> {
    let mut fields = Map::new();
    for (name, value) in options.into_iter().flat_map(PyDictMethods::iter) {
        let name: String = name.extract()?;
        let value = json(&value, &name)?;
        fields.insert(name, value);
    }
    Ok(fields)
}

/// The exception of a refused field.
pub(super) fn unread(refused: Refused) -> PyErr {
    // An unknown keyword is a `TypeError` in Python. The error has no kind for that, but an empty
    // field and this text.
    let is_unknown = refused.field.is_empty() && refused.expected.starts_with("a field of");
    let text = refused.to_string();
    if is_unknown {
        PyTypeError::new_err(text)
    } else {
        PyValueError::new_err(text)
    }
}

/// A number of 0 or more.
pub(super) fn count(name: &str, found: Option<i64>) -> PyResult<Option<usize>> {
    let Some(found) = found else { return Ok(None) };
    usize::try_from(found).map(Some).map_err(|_| {
        PyValueError::new_err(format!(
            "{name}: expected 1 or more, or 0 for all, found {found}"
        ))
    })
}

/// Converts a value to JSON: text and paths, numbers, booleans, dictionaries, lists and other iterables.
fn json(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Value> {
    if value.is_none() {
        return Ok(Value::Null);
    }
    // Before integers, since `True` is an `int` in Python, and would become 1.
    if let Ok(flag) = value.extract::<bool>() {
        return Ok(flag.into());
    }
    // Before floats, which would accept integers and round those beyond 2^53.
    match value.extract::<i64>() {
        Ok(number) => return Ok(number.into()),
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
            return Err(PyValueError::new_err(format!(
                "{name}: expected a number of 64 bits, found {value}"
            )));
        }
        Err(_) => {}
    }
    // Before iterables, since text would become a list of letters.
    if let Ok(text) = value.extract::<String>() {
        return Ok(text.into());
    }
    if let Ok(number) = value.extract::<f64>() {
        let finite = serde_json::Number::from_f64(number).map(Value::Number);
        return finite.ok_or_else(|| {
            PyValueError::new_err(format!("{name}: expected a finite number, found {number}"))
        });
    }
    // `os.PathLike`: text was handled above.
    if let Ok(path) = value.extract::<PathBuf>() {
        return Ok(path.to_string_lossy().into());
    }
    if let Ok(fields) = value.cast::<PyDict>() {
        let field = |(key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            let key: String = key.extract()?;
            let value = json(&value, &format!("{name}.{key}"))?;
            Ok((key, value))
        };
        return Ok(Value::Object(
            fields.iter().map(field).collect::<PyResult<_>>()?,
        ));
    }
    let items = value.try_iter().map_err(|_| {
        let found = value.get_type();
        PyTypeError::new_err(format!(
            "{name}: expected text, a number, True or False, or a list of these, found {found}"
        ))
    })?;
    let items = items.map(|item| json(&item?, name));
    Ok(Value::Array(items.collect::<PyResult<_>>()?))
}

/// An answer as dictionaries and lists.
pub(super) fn dictionaries<'py>(
    py: Python<'py>,
    answer: &impl Serialize,
) -> PyResult<Bound<'py, PyAny>> {
    let text =
        serde_json::to_vec(answer).map_err(|error| PyValueError::new_err(error.to_string()))?;
    loads(py, &text)
}

/// JSON as dictionaries and lists.
pub(super) fn loads<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    py.import("json")?.call_method1("loads", (text,))
}
