//! voisin for Python: the wheel's native half, `voisin._voisin` (PyO3, NumPy).
//!
//! For: turning Python's arguments into ours and answers into NumPy arrays, which take the memory over instead of copying it.
//! Everything that computes lets go of the interpreter's lock. Not for: anything that another program could want; names,
//! types are in python/voisin/_voisin.pyi, what answers are made of in python/voisin/_answers.py.

#![allow(
    clippy::doc_markdown,
    reason = "what is told of classes and methods is told to Python"
)]

mod adding;
mod answers;
mod arguments;
mod arrays;
mod audio;
mod embedder;
mod errors;
mod index;
mod library;
mod process;
mod seeds;
mod source;
mod table;
mod workers;

use pyo3::prelude::*;

#[pymodule]
mod _voisin {
    #[pymodule_export]
    use super::adding::examine;
    #[pymodule_export]
    use super::embedder::{PyEmbedder, models};
    #[pymodule_export]
    use super::index::PyVectorIndex;
    #[pymodule_export]
    use super::library::PyLibrary;
    #[pymodule_export]
    use super::table::PyTable;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // At import, before any model is loaded: `Embedder("weights.pth")` depends on it.
        voisin_import::accept_foreign_weights();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
