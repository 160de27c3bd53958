//! Converts errors to Python's exceptions.

use std::error::Error;
use std::io;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use voisin::EngineError;
use voisin_audio::AudioError;
use voisin_base::text::with_causes;
use voisin_encoder::EncoderError;
use voisin_explore::ExploreError;
use voisin_genre::GenreError;
use voisin_index::IndexError;
use voisin_library::LibraryError;

/// Converts an error to an exception, with the next step in its text: `OSError` and its subclasses for the file system,
/// `NoSuchTrack`, a `KeyError`, for missing tracks, `RuntimeError` for a library or a machine that cannot serve the call, and
/// `ValueError` for invalid arguments, also for audio that cannot be read.
pub(super) fn raised(error: impl Into<EngineError>) -> PyErr {
    let error = error.into();
    let text = with_causes(&error);
    // The file system first: its error may be the cause of the library's, and Python code catches `OSError` for both.
    if let Some(kind) = kind_of_io(&error) {
        return io::Error::new(kind, text).into();
    }
    match error {
        EngineError::NotFound(_)
        | EngineError::Ambiguous { .. }
        | EngineError::NotInLibrary { .. }
        | EngineError::Index(IndexError::Unknown(_))
        | EngineError::Genre(GenreError::UnknownGenre { .. })
        | EngineError::Explore(ExploreError::UnknownArtist { .. })
        | EngineError::Library(LibraryError::UnknownTrack(_) | LibraryError::UnknownName { .. }) => {
            no_such_track(text)
        }
        // Errors of the arguments; the library's other errors, below, are about its state.
        EngineError::Library(LibraryError::Refused(_) | LibraryError::OtherModel { .. }) => {
            PyValueError::new_err(text)
        }
        // The call is valid: it may succeed later or on another machine.
        EngineError::Library(_)
        | EngineError::Encoder(
            EncoderError::Thread(_)
            | EncoderError::DeviceStopped
            | EncoderError::Forked
            | EncoderError::Candle(_),
        )
        | EngineError::Explore(ExploreError::TooFew { .. })
        | EngineError::Genre(GenreError::TooFew(_))
        | EngineError::Lacks(..) => PyRuntimeError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}

/// A `KeyError` whose text is shown unquoted, with line breaks.
pub(super) fn no_such_track(text: String) -> PyErr {
    Python::attach(|py| {
        let raised = py
            .import("voisin")
            .and_then(|module| module.getattr("NoSuchTrack")?.call1((text,)));
        raised.map_or_else(|error| error, PyErr::from_value)
    })
}

/// The file system's kind of error, if it is one.
fn kind_of_io(error: &EngineError) -> Option<io::ErrorKind> {
    Some(match error {
        EngineError::Library(LibraryError::NotFound { .. })
        | EngineError::Audio(AudioError::NotFound { .. }) => io::ErrorKind::NotFound,
        EngineError::Library(LibraryError::ReadOnly { .. })
        | EngineError::Audio(AudioError::PermissionDenied { .. }) => {
            io::ErrorKind::PermissionDenied
        }
        EngineError::Library(LibraryError::DiskFull { .. }) => io::ErrorKind::StorageFull,
        _ => {
            // Errors of the crates below wrap those of the file system, some of them repeatedly.
            let mut causes = std::iter::successors(error.source(), |&error| error.source());
            causes.find_map(|error| Some(error.downcast_ref::<io::Error>()?.kind()))?
        }
    })
}
