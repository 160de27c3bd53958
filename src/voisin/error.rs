//! Errors of the engine.

use std::path::{Path, PathBuf};

use voisin_audio::AudioError;
use voisin_base::output::OutputError;
use voisin_base::text::{count, did_you_mean};
use voisin_encoder::EncoderError;
use voisin_explore::ExploreError;
use voisin_features::FeaturesError;
use voisin_genre::GenreError;
use voisin_index::IndexError;
use voisin_library::LibraryError;

/// A hint on how to search by sentences.
pub(super) const HOW_TO_READ: &str = "whole sentences need a library made with a CLAP model: voisin model import, voisin add --model";

const NAME_TRACK: &str = "give a path, id:NUMBER, or words of artist and title";

/// A failure of the engine, or of one of the parts it joins.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Decoding, resampling or tags.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// The front end.
    #[error(transparent)]
    Features(#[from] FeaturesError),
    /// The network, its weights or the device.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The catalogue.
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Labels and votes.
    #[error(transparent)]
    Genre(#[from] GenreError),
    /// An output path.
    #[doc(hidden)]
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Clusters, maps, paths, playlists.
    #[error(transparent)]
    Explore(#[from] ExploreError),
    /// A library, file or database whose model does not match its description.
    #[error("{place}: the model of its vectors is refused: {problem}: {next}")]
    ForeignModel {
        /// The library, the file or the database.
        place: String,
        /// The expectation and the finding.
        problem: String,
        /// The next step.
        next: &'static str,
    },
    /// A seed that must be a track of the library is not one.
    #[error("{}: not in the library: run \"voisin add\" on it first", path.display())]
    NotInLibrary {
        /// The file.
        path: PathBuf,
    },
    /// A file is shorter than one window of the model.
    #[error("{}: {seconds:.2} s of audio, at least {least:.2} s are needed", path.display())]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Its length.
        seconds: f64,
        /// Length of the model's window.
        least: f64,
    },
    /// No window of a file is louder than the floor.
    #[error("{}: silent throughout", path.display())]
    Silent {
        /// The file.
        path: PathBuf,
    },
    /// The same audio, under another name, failed in the same run.
    #[error("{}: the same audio as {}, which failed", path.display(), other.display())]
    SameAsFailed {
        /// The file.
        path: PathBuf,
        /// The file whose audio it shares.
        other: PathBuf,
    },
    /// An internal fault while one file was processed; the run continued.
    #[error("{}: internal fault: {message}; please report it with this file", path.display())]
    Fault {
        /// The file.
        path: PathBuf,
        /// The fault's own message.
        message: String,
    },
    /// The run was stopped.
    #[error("interrupted")]
    Interrupted,
    /// A seed that matches several tracks.
    #[error(
        "\"{text}\" fits {count} tracks{}; name one of them by its id{}:\n{}",
        if candidates.len() < *count { format!(", of which these are the first {}", candidates.len()) } else { String::new() },
        artist.as_ref().map_or_else(String::new, |artist| format!(", or all of this artist's: \"artist:{artist}\"")),
        candidates.join("\n")
    )]
    Ambiguous {
        /// The seed's text.
        text: String,
        /// Number of tracks that it matches.
        count: usize,
        artist: Option<String>,
        /// The candidates, one per line.
        candidates: Vec<String>,
    },
    /// A seed that is neither a file nor in the library.
    #[error(
        "\"{text}\" is neither a file nor a track of this library{}",
        if candidates.is_empty() {
            format!(": {NAME_TRACK}")
        } else {
            format!(": did you mean one of these?\n{}", candidates.join("\n"))
        }
    )]
    NoSuchTrack {
        /// The seed's text.
        text: String,
        /// Tracks with a similar name, one per line.
        candidates: Vec<String>,
    },
    /// A name of several tracks where one is expected.
    #[error("{text}: expected one track, found {found}")]
    SeveralTracks {
        /// The name.
        text: String,
        /// Number of tracks that it names.
        found: usize,
    },
    /// A folder or playlist that names no track.
    #[error("{}: {problem}", path.display())]
    NothingListed {
        /// The folder or file.
        path: PathBuf,
        /// The expectation, the finding and the next step.
        problem: String,
    },
    /// No seed was named.
    #[error("expected a seed, found none: name files, id:NUMBER, words, playlists or folders")]
    NoSeeds,
    /// A track without a vector.
    #[error("track {id} has no vector: analyse the file again with \"voisin add\"")]
    NoVector { id: voisin_base::track::TrackId },
    /// Nothing to search.
    #[error("the library in {} holds no tracks yet: run \"voisin add FOLDER\" first", dir.display())]
    EmptyLibrary {
        /// The library's folder.
        dir: PathBuf,
    },
    #[error(
        "no track of this library has a genre: add tagged music, or set the source of genres with --label-from folder or a CSV file"
    )]
    NoLabels,
    /// A file of labels or groups that cannot be read.
    #[error("cannot read {}", path.display())]
    ReadTable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A file of labels or groups with invalid contents.
    #[error("{}{}: {problem}", path.display(), if *line > 0 { format!(", line {line}") } else { String::new() })]
    Table {
        /// The file.
        path: PathBuf,
        /// Counted from 1; 0: the whole file.
        line: u64,
        /// The fault, and the expectation.
        problem: String,
    },
    /// A phrase without any known word.
    #[error(
        "nothing of \"{text}\" is understood: {}\"voisin find --words\" lists all {}; {HOW_TO_READ}",
        did_you_mean(suggestions),
        count(*known as u64, "word")
    )]
    Words {
        /// The phrase.
        text: String,
        /// Known words with a similar spelling.
        suggestions: Vec<String>,
        /// Number of known words.
        known: usize,
    },
    /// A word of a phrase may deny others.
    #[error(
        "\"{0}\" may deny the words beside it, expected \"no WORD\", \"without WORD\" or \"-WORD\""
    )]
    UnclearNegation(String),
    /// Words need a model with tags.
    #[error(
        "the model {model} has no tags that words could mean; models with tags: {others}: add your music to another --library with one of them"
    )]
    NoTags {
        /// The library's model.
        model: String,
        /// Models with tags.
        others: String,
    },
    /// An operation that needs a trained head.
    #[error("{what} needs a trained head: {next}")]
    NoHead {
        /// The operation.
        what: &'static str,
        /// How to train one.
        next: String,
    },
    /// Seeds whose mean has no direction.
    #[error(
        "the seeds point in opposite directions and leave nothing to search for: name fewer of them"
    )]
    SeedsCancel,
    /// The model could not be loaded, or is invalid.
    #[error("{reason}")]
    Model {
        /// The reason, with its causes.
        reason: String,
    },
    /// Writing results failed.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}

impl EngineError {
    /// The same error with another name in place of the file's path.
    #[must_use]
    pub fn of_file_known_as(mut self, path: &Path, name: &str) -> Self {
        let own_path = match &mut self {
            Self::Audio(error) => error.path_mut(),
            Self::NotInLibrary { path }
            | Self::TooShort { path, .. }
            | Self::Silent { path }
            | Self::Fault { path, .. } => Some(path),
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
            | Self::NoSuchTrack { .. }
            | Self::NothingListed { .. }
            | Self::NoSeeds
            | Self::EmptyLibrary { .. }
            | Self::NoLabels
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
            ) | Self::SameAsFailed { .. }
                | Self::Interrupted
        )
    }
}
