//! Opening a library in a folder on this machine.

use std::path::Path;

use voisin_engine::Engine;
use voisin_library::{Library, LibraryError, OpenMode};

/// Opens the library in a folder, read-only if it cannot be written.
pub(super) fn open_folder(dir: &Path, mode: OpenMode) -> Result<Engine, LibraryError> {
    let library = match Library::open(dir, mode) {
        // A folder of another user, or a mounted snapshot.
        Err(LibraryError::ReadOnly { .. }) => Library::open_to_read(dir)?,
        library => library?,
    };
    Ok(Engine::from_library(library))
}
