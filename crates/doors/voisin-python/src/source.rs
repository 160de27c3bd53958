//! Opening a library in a folder on this machine.

use std::path::{Path, PathBuf};

use voisin_engine::Engine;
use voisin_library::{Library, LibraryError, OpenMode};

/// The place of a library, for this process and others.
pub(super) struct LibraryPlace {
    /// Absolute.
    pub(super) dir: PathBuf,
    /// The vector space, if it is not the default one.
    pub(super) space: Option<String>,
}

impl LibraryPlace {
    pub(super) fn open(&self) -> Result<Engine, LibraryError> {
        open_folder(&self.dir, OpenMode::ReadWrite, self.space.as_deref())
    }
}

/// Opens the library in a folder, read-only if it cannot be written.
pub(super) fn open_folder(
    dir: &Path,
    mode: OpenMode,
    space: Option<&str>,
) -> Result<Engine, LibraryError> {
    let library = match Library::open_in_space(dir, mode, space) {
        // A folder of another user, or a mounted snapshot.
        Err(LibraryError::ReadOnly { .. }) => {
            Library::open_in_space(dir, OpenMode::ReadOnly, space)?
        }
        library => library?,
    };
    Ok(Engine::from_library(library))
}
