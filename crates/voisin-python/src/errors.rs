//! voisin's errors as Python's own.

use std::error::Error as _;
use std::io;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use voisin::EngineError;
use voisin_audio::AudioError;
use voisin_base::remedy::with_next;
use voisin_base::text::with_causes;
use voisin_encoder::EncoderError;
use voisin_explore::ExploreError;
use voisin_index::IndexError;
use voisin_learn::genre::GenreError;
use voisin_library::LibraryError;
use voisin_questions::QuestionError;

/// An error as Python knows it, with the next step in its text: of the file system as `OSError` and what it is beneath it, for
/// what is not there `NoSuchTrack`, a `KeyError`, for a library or a machine that cannot answer `RuntimeError`, and for
/// arguments that make no sense, audio that cannot be read among them, `ValueError`.
pub(super) fn raised(error: impl Into<EngineError>) -> PyErr {
    let error = error.into();
    let text = with_causes(&error);
    let text = error.remedy().map_or(text.clone(), |remedy| with_next(&text, &remedy.to_string()));
    if let Some(kind) = kind_of_io(&error) {
        return io::Error::new(kind, text).into();
    }
    match error {
        EngineError::NoSuchTrack { .. }
        | EngineError::Ambiguous { .. }
        | EngineError::NotInLibrary { .. }
        | EngineError::Index(IndexError::Unknown(_))
        | EngineError::Genre(GenreError::UnknownGenre { .. })
        | EngineError::Explore(ExploreError::UnknownArtist { .. })
        | EngineError::Library(LibraryError::UnknownTrack(_) | LibraryError::UnknownName { .. }) => {
            no_such_track(text)
        }
        EngineError::Library(
            LibraryError::Dimension { .. }
            | LibraryError::BadVector { .. }
            | LibraryError::OtherModel { .. }
            | LibraryError::OtherIdentity { .. }
            | LibraryError::NoPath { .. }
            | LibraryError::PathEncoding { .. }
            | LibraryError::NothingBelow { .. },
        ) => PyValueError::new_err(text),
        EngineError::Library(_)
        | EngineError::Encoder(
            EncoderError::Thread(_) | EncoderError::DeviceStopped | EncoderError::Candle(_),
        )
        | EngineError::Explore(ExploreError::TooFew { .. })
        | EngineError::Genre(GenreError::TooFew(_))
        | EngineError::EmptyLibrary { .. }
        | EngineError::NoLabels
        | EngineError::NoHead { .. }
        | EngineError::NoTags { .. }
        | EngineError::NoVector { .. }
        | EngineError::Shape
        | EngineError::Fault { .. } => PyRuntimeError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}

/// Why a question has no answer, as Python knows it.
pub(super) fn refused(error: QuestionError) -> PyErr {
    match error {
        QuestionError::Engine(error) => raised(error),
        other => {
            let text = other.to_string();
            let next = other.remedy().map(|remedy| with_next(&text, &remedy.to_string()));
            PyValueError::new_err(next.unwrap_or(text))
        }
    }
}

/// A `KeyError` whose text is shown as it is, in lines.
pub(super) fn no_such_track(text: String) -> PyErr {
    Python::attach(|py| {
        let raised =
            py.import("voisin._answers").and_then(|module| module.getattr("NoSuchTrack")?.call1((text,)));
        raised.map_or_else(|error| error, PyErr::from_value)
    })
}

/// What the file system said, if it was that.
fn kind_of_io(error: &EngineError) -> Option<io::ErrorKind> {
    match error {
        EngineError::Library(LibraryError::NotFound { .. })
        | EngineError::Audio(AudioError::NotFound { .. }) => {
            return Some(io::ErrorKind::NotFound);
        }
        EngineError::Library(LibraryError::ReadOnly { .. })
        | EngineError::Audio(AudioError::PermissionDenied { .. }) => {
            return Some(io::ErrorKind::PermissionDenied);
        }
        EngineError::Library(LibraryError::DiskFull { .. }) => return Some(io::ErrorKind::StorageFull),
        _ => {}
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}
