//! Where a library is: in a folder of this machine, or in a database, which is only read here.

use std::path::{Path, PathBuf};

use voisin_engine::Engine;
use voisin_library::{Library, LibraryError, OpenMode};
use voisin_postgres::{Postgres, PostgresAddress, Remote};
use voisin_questions::{LibrarySource, QuestionError};

/// Where a library is opened, in this process and in others.
pub(super) enum LibraryPlace {
    /// Absolute, and the vector space that answers, where it is not the default one.
    Folder(PathBuf, Option<String>),
    /// With how many tracks stand for all where all are compared; `None`: as many as is usual.
    Database(Box<PostgresAddress>, Option<usize>),
}

impl LibraryPlace {
    pub(super) fn open(&self) -> Result<LibrarySource, QuestionError> {
        match self {
            Self::Folder(dir, space) => open_folder(dir, OpenMode::ReadWrite, space.as_deref()),
            Self::Database(address, sample) => {
                let remote = Remote::open(Postgres::open(address)?)?;
                Ok(LibrarySource::Remote(Box::new(remote.with_sample(*sample))))
            }
        }
    }
}

/// Opens the library in a folder, for reading where it cannot be written.
pub(super) fn open_folder(
    dir: &Path,
    mode: OpenMode,
    space: Option<&str>,
) -> Result<LibrarySource, QuestionError> {
    let library = match Library::open_in_space(dir, mode, space) {
        // A folder of somebody else, or a mounted snapshot: answers need no writing.
        Err(LibraryError::ReadOnly { .. }) => {
            Library::open_in_space(dir, OpenMode::ReadOnly, space)?
        }
        library => library?,
    };
    Ok(LibrarySource::Local(Box::new(Engine::from_library(
        library,
    ))))
}
