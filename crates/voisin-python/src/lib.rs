//! voisin for Python: the wheel's native half, `voisin._voisin` (PyO3, NumPy).
//!
//! For: turning Python's arguments into ours and answers into NumPy arrays, which take the memory over instead of copying it.
//! Everything that computes lets go of the interpreter's lock. Not for: anything that another program could want; names,
//! types and their documentation are in python/voisin/__init__.pyi.

#![allow(clippy::doc_markdown, reason = "what is told of classes and methods is told to Python")]

mod embedder;
mod index;
mod library;

use pyo3::exceptions::{PyFileNotFoundError, PyKeyError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use voisin::EngineError;
use voisin_base::remedy::with_next;
use voisin_base::text::with_causes;
use voisin_library::LibraryError;

#[pymodule]
mod _voisin {
    #[pymodule_export]
    use super::embedder::{PyEmbedder, PyEmbedding, models};
    #[pymodule_export]
    use super::index::PyVectorIndex;
    #[pymodule_export]
    use super::library::{PyLibrary, PyNeighbor, PyTrack};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// An error as Python knows it: what was asked for is not there, makes no sense, or something else went wrong.
fn raised(error: impl Into<EngineError>) -> PyErr {
    let error = error.into();
    let text = with_causes(&error);
    let text = error.remedy().map_or(text.clone(), |remedy| with_next(&text, &remedy.to_string()));
    match &error {
        EngineError::Library(LibraryError::NotFound { .. }) => PyFileNotFoundError::new_err(text),
        EngineError::NoSuchTrack { .. }
        | EngineError::Ambiguous { .. }
        | EngineError::NotInLibrary { .. }
        | EngineError::Library(LibraryError::UnknownTrack(_) | LibraryError::UnknownName { .. }) => {
            PyKeyError::new_err(text)
        }
        EngineError::Library(_) | EngineError::Fault { .. } => PyRuntimeError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}
