//! Opening a library: in a folder on this machine, or in a database, which is only read.

use std::path::{Path, PathBuf};

use voisin_engine::Engine;
use voisin_library::{Library, LibraryError, OpenMode};
use voisin_postgres::{Postgres, PostgresAddress, Remote};
use voisin_questions::{LibrarySource, QuestionError};

/// The place of a library, for this process and others.
pub(super) enum LibraryPlace {
    /// An absolute path.
    Folder(PathBuf),
    /// An address, and the size of the sample for comparisons of all tracks; `None`: the default.
    Database(Box<PostgresAddress>, Option<usize>),
}

impl LibraryPlace {
    pub(super) fn open(&self) -> Result<LibrarySource, QuestionError> {
        match self {
            Self::Folder(dir) => open_folder(dir, OpenMode::ReadWrite),
            Self::Database(address, sample) => {
                let remote = Remote::open(Postgres::open(address)?)?;
                Ok(LibrarySource::Remote(Box::new(remote.with_sample(*sample))))
            }
        }
    }
}

/// Opens the library in a folder, read-only if it cannot be written.
pub(super) fn open_folder(dir: &Path, mode: OpenMode) -> Result<LibrarySource, QuestionError> {
    let library = match Library::open(dir, mode) {
        // A folder of another user, or a mounted snapshot.
        Err(LibraryError::ReadOnly { .. }) => Library::open_to_read(dir)?,
        library => library?,
    };
    Ok(LibrarySource::Local(Box::new(Engine::from_library(
        library,
    ))))
}
