//! voisin for Python: the wheel's native half, `voisin._voisin` (PyO3, NumPy).
//!
//! For: conversion of arguments and answers; NumPy arrays take over the memory without a copy. Computations release the
//! interpreter's lock. Types are in python/voisin/_voisin.pyi, named queries in python/voisin/__init__.py.

#![allow(
    clippy::doc_markdown,
    reason = "doc comments of classes and methods are Python's docstrings"
)]

mod adding;
mod arguments;
mod arrays;
mod audio;
mod embedder;
mod errors;
mod index;
mod library;
mod seeds;

use pyo3::prelude::*;

#[pymodule]
mod _voisin {
    #[pymodule_export]
    use super::embedder::{PyEmbedder, models};
    #[pymodule_export]
    use super::index::PyVectorIndex;
    #[pymodule_export]
    use super::library::PyLibrary;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
