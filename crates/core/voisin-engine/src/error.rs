//! Errors where the parts are joined.

use std::path::{Path, PathBuf};

use voisin_audio::AudioError;
use voisin_base::output::OutputError;
use voisin_base::remedy::Remedy;
use voisin_base::text::or_did_you_mean;
use voisin_encoder::EncoderError;
use voisin_explore::ExploreError;
use voisin_features::FeaturesError;
use voisin_genre::GenreError;
use voisin_index::IndexError;
use voisin_library::LibraryError;

/// How to have sentences understood.
pub(super) const HOW_TO_READ: &str = "whole sentences are understood in a library or a space of a CLAP model: voisin model import, voisin space add";

fn how_to_read(reads: bool) -> String {
    if reads {
        String::new()
    } else {
        format!("; {HOW_TO_READ}")
    }
}

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
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Labels and votes.
    #[error(transparent)]
    Genre(#[from] GenreError),
    /// A place that was named to write to.
    #[doc(hidden)]
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Clusters, maps, paths, playlists.
    #[error(transparent)]
    Explore(#[from] ExploreError),
    /// A library, file or database whose model cannot be what it is said to be.
    #[error("{place}: the model of its vectors is refused: {problem}")]
    ForeignModel {
        /// The library, the file or the database.
        place: String,
        /// The expectation and the finding.
        problem: String,
        /// The next step.
        next: Remedy,
    },
    /// Likeness in feel to what was never measured.
    #[error("the energy of no seed is known: expected a track that \"add\" measured")]
    NoEnergy,
    /// Too few values to learn a scale from.
    #[error("a scale is learned from 20 tracks by three artists at least, found {found}")]
    FewValues {
        /// The values that there are.
        found: String,
    },
    /// A seed that must be a track of the library is not one.
    #[error("{}: not in the library", path.display())]
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
    /// Something that must not happen did, while one file was handled; the run went on.
    #[error("{}: internal fault: {message}; please report it with this file", path.display())]
    Fault {
        /// The file.
        path: PathBuf,
        /// The fault's own message.
        message: String,
    },
    /// The encoder returned another number of values than windows times dimension.
    #[error(
        "the encoder returned a matrix of the wrong shape; please report it with the model's name"
    )]
    Shape,
    /// The manifest of a model cannot be kept with its vectors.
    #[error(
        "the manifest of model {model} cannot be written as JSON; please report it with the model's name"
    )]
    Manifest {
        /// The model's name.
        model: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// Someone asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A seed that fits several tracks equally well.
    #[error(
        "\"{text}\" fits {count} tracks{}; name one of them by its id{}:\n{}",
        if candidates.len() < *count { format!(", of which these are the first {}", candidates.len()) } else { String::new() },
        artist.as_ref().map_or_else(String::new, |artist| format!(", or all of this artist's: \"artist:{artist}\"")),
        candidates.join("\n")
    )]
    Ambiguous {
        /// The question's text.
        text: String,
        /// How many tracks it fits.
        count: usize,
        /// The artist of all of them, where they have one.
        artist: Option<String>,
        /// The candidates, one line each.
        candidates: Vec<String>,
    },
    /// A seed that is neither a file nor anything in the library.
    #[error(
        "\"{text}\" is neither a file nor a track of this library{}",
        if candidates.is_empty() {
            String::new()
        } else {
            format!(": did you mean one of these?\n{}", candidates.join("\n"))
        }
    )]
    NoSuchTrack {
        /// The question's text.
        text: String,
        /// Tracks whose names are spelt much like it, one line each.
        candidates: Vec<String>,
    },
    /// No seed was named.
    #[error("expected a seed, found none")]
    NoSeeds,
    /// A track without a vector, after damage: a repair took it out.
    #[error("track {id} has no vector")]
    NoVector {
        /// The track.
        id: voisin_base::track::TrackId,
    },
    /// Nothing to search.
    #[error("the library in {} holds no tracks yet", dir.display())]
    EmptyLibrary {
        /// The library's folder.
        dir: PathBuf,
    },
    /// No track of the library has a genre.
    #[error("no track of this library has a genre")]
    NoLabels,
    /// A file of labels or groups that cannot be read.
    #[error("cannot read {}", path.display())]
    ReadTable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A file of labels or groups that makes no sense.
    #[error("{}{}: {problem}", path.display(), if *line > 0 { format!(", line {line}") } else { String::new() })]
    Table {
        /// The file.
        path: PathBuf,
        /// Counted from 1; 0: the whole file.
        line: u64,
        /// The fault, and the expectation.
        problem: String,
    },
    /// Words that mean nothing here.
    #[error("nothing of \"{text}\" is understood{}{}", or_did_you_mean(suggestions), how_to_read(*reads))]
    Words {
        /// The question's text.
        text: String,
        /// Words that are spelt much like it.
        suggestions: Vec<String>,
        /// How many are understood.
        known: usize,
        /// Whether the library's model reads sentences.
        reads: bool,
    },
    /// Words need a model with tags.
    #[error("the model {model} has no tags that words could mean; models with tags: {others}")]
    NoTags {
        /// The library's model.
        model: String,
        /// Models with tags.
        others: String,
    },
    /// Something that only a trained head can do.
    #[error("{what} needs a trained head")]
    NoHead {
        /// The kind of thing that is missing.
        what: &'static str,
        /// How to have one.
        next: Remedy,
    },
    /// Seeds that cancel each other out.
    #[error(
        "the seeds point in opposite directions and leave nothing to search for: name fewer of them"
    )]
    SeedsCancel,
    /// The model could not be made ready.
    #[error("{reason}")]
    Model {
        /// Why, with its causes.
        reason: String,
    },
    /// No process could be started to examine a file that may crash the decoder.
    #[error("{}: cannot start the process that examines it", path.display())]
    Examine {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
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
    /// The next step, where the message does not have it.
    pub fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            Self::Encoder(error) => return error.remedy(),
            Self::Library(error) => return error.remedy(),
            Self::Genre(error) => return error.remedy(),
            Self::Explore(error) => return error.remedy(),
            Self::Output(error) => return error.remedy(),
            Self::ForeignModel { next, .. } | Self::NoHead { next, .. } => next.clone(),
            Self::NotInLibrary { .. } => Remedy::AddFile,
            Self::NoSuchTrack { candidates, .. } if candidates.is_empty() => Remedy::NameTrack,
            Self::NoSeeds => Remedy::NameTracks,
            Self::NoVector { .. } => Remedy::RepairAndAdd,
            Self::EmptyLibrary { .. } => Remedy::AddMusic,
            Self::NoLabels => Remedy::SayLabels,
            Self::Words { known, .. } => Remedy::SeeWords(*known),
            Self::NoTags { .. } => Remedy::LibraryOfOtherModel,
            _ => return None,
        })
    }

    /// The same of a file that its owner knows by another name than its path.
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

    /// Whether trying again may help although the file has not changed: it could not be read, which says nothing
    /// of its contents.
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
