//! Errors of the library and of its queries.

use std::io;
use std::path::{Path, PathBuf};

use voisin_audio::AudioError;
use voisin_base::output::OutputError;
use voisin_base::text::with_causes;
use voisin_encoder::EncoderError;
use voisin_explore::ExploreError;
use voisin_features::FeaturesError;
use voisin_genre::GenreError;
use voisin_index::IndexError;
use voisin_library::LibraryError;

use crate::questions::read::Refused;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    #[error(transparent)]
    Audio(#[from] AudioError),
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Genre(#[from] GenreError),
    #[error(transparent)]
    Explore(#[from] ExploreError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("interrupted")]
    Interrupted,
    #[error(
        "\"{text}\" fits {count} tracks{}; name one of them by its id:\n{}",
        if candidates.len() < *count { format!(", of which these are the first {}", candidates.len()) } else { String::new() },
        candidates.join("\n")
    )]
    Ambiguous {
        text: String,
        count: usize,
        candidates: Vec<String>,
    },
    #[error("{0}")]
    NotFound(String),
    /// A seed that must be a track of the library is not one.
    #[error("{}: not in the library: run \"voisin add\" on it first", path.display())]
    NotInLibrary { path: PathBuf },
    /// A file that cannot be used, with the fault and the expectation.
    #[error("{}: {problem}", path.display())]
    File {
        path: PathBuf,
        problem: String,
        source: Option<io::Error>,
    },
    /// The library has no data of this kind for an answer; the text names the next step.
    #[error("{1}")]
    Lacks(Lack, String),
    #[error("{reason}")]
    Model { reason: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    Tracks,
    Labels,
    Tags,
    Word,
    Head,
}

impl From<FeaturesError> for EngineError {
    fn from(error: FeaturesError) -> Self {
        let reason = with_causes(&error);
        Self::Model { reason }
    }
}

impl EngineError {
    pub fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File {
            path: path.to_owned(),
            problem: problem.into(),
            source: None,
        }
    }

    /// A table with a fault in a line, counted from 1; 0: in the whole file.
    pub fn table(path: &Path, line: u64, problem: &str) -> Self {
        match line {
            0 => Self::file(path, problem),
            line => Self::file(path, format!("line {line}: {problem}")),
        }
    }

    pub fn unread(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |source| Self::File {
            path: path.to_owned(),
            problem: "cannot be read".to_owned(),
            source: Some(source),
        }
    }

    /// A library, file or database whose model does not match its description.
    pub fn foreign_model(place: &str, problem: &str, next: &str) -> Self {
        let reason = format!("{place}: the model of its vectors is refused: {problem}: {next}");
        Self::Model { reason }
    }

    pub fn several_tracks(name: &str, found: usize) -> Self {
        Self::NotFound(format!("{name}: expected one track, found {found}"))
    }

    pub(crate) fn no_labels() -> Self {
        let text = "no track of this library has a genre: add tagged music, or set the source of genres with \"voisin labels folder\" or a CSV file";
        Self::Lacks(Lack::Labels, text.to_owned())
    }

    pub(crate) fn no_tracks(library: &Path) -> Self {
        let text = format!(
            "the library in {} holds no tracks yet: run \"voisin add FOLDER\" first",
            library.display()
        );
        Self::Lacks(Lack::Tracks, text)
    }

    /// The same error with another name in place of the file's path.
    #[must_use]
    pub fn of_file_known_as(mut self, path: &Path, name: &str) -> Self {
        let own_path = match &mut self {
            Self::Audio(error) => error.path_mut(),
            Self::NotInLibrary { path } | Self::File { path, .. } => Some(path),
            _ => None,
        };
        if let Some(own_path) = own_path.filter(|own_path| *own_path == path) {
            *own_path = name.into();
        }
        self
    }

    /// Whether something named does not exist, or the library has no data for an answer.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Ambiguous { .. }
            | Self::NotFound(_)
            | Self::Lacks(Lack::Tracks | Lack::Labels, _)
            | Self::Explore(ExploreError::UnknownArtist { .. }) => true,
            Self::Library(error) => error.is_not_found(),
            _ => false,
        }
    }

    /// Whether a retry may succeed without a change of the file, because it could not be read at all.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Audio(
                AudioError::NotFound { .. }
                    | AudioError::PermissionDenied { .. }
                    | AudioError::Changed { .. }
                    | AudioError::Io { .. }
            ) | Self::Interrupted
        )
    }
}
