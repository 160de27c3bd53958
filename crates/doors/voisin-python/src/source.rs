//! Where a library is: in a folder of this machine, or in a database, which is only read here.

use std::path::{Path, PathBuf};

use voisin_engine::{Engine, EngineError};
use voisin_library::{LibraryError, OpenMode};
use voisin_postgres::{Postgres, PostgresAddress, Remote};
use voisin_questions::{LibrarySource, QuestionError};

/// Where a library is opened, in this process and in others.
pub(super) enum LibraryPlace {
    /// Absolute.
    Folder(PathBuf),
    /// With how many tracks stand for all where all are compared; `None`: as many as is usual.
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

/// Opens the library in a folder, for reading where it cannot be written.
pub(super) fn open_folder(dir: &Path, mode: OpenMode) -> Result<LibrarySource, QuestionError> {
    let engine = match Engine::open(dir, mode) {
        Err(EngineError::Library(LibraryError::ReadOnly { .. })) => {
            Engine::open(dir, OpenMode::ReadOnly)?
        }
        engine => engine?,
    };
    Ok(LibrarySource::Local(Box::new(engine)))
}
