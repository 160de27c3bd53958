//! The next step after an error, as data: the command line and the server render it for their users. Its `Display` text
//! is for callers in Rust and Python.

use std::borrow::Cow;
use std::fmt;

/// The next step after an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// A text that fits all callers.
    Words(Cow<'static, str>),
    /// Add music to the library.
    AddMusic,
    /// Add music to the library, or use another one.
    AddMusicOrOtherLibrary,
    /// Add this file to the library.
    AddFile,
    /// Add this file again, to analyse it.
    Reanalyse,
    /// Remove this file from the library, or add the new one.
    RemoveOrAdd,
    /// Restore a copy of the library, or add the music again.
    RestoreOrAdd,
    /// Use another library.
    OtherLibrary,
    /// Make the library's folder writable, or use another library.
    OtherRights,
    /// Use the library's model, or a new library.
    OtherModel,
    /// Use a library with one of these models.
    LibraryOfOtherModel,
    /// Check the library.
    Verify,
    /// Name a track.
    NameTrack,
    /// Name tracks, or groups of tracks.
    NameTracks,
    /// List the tracks.
    SeeTracks,
    /// List the folders.
    SeeFolders,
    /// List the artists.
    SeeArtists,
    /// List the albums.
    SeeAlbums,
    /// List the genres.
    SeeGenres,
    /// List the clusters.
    SeeClusters,
    /// List the known words, this many.
    SeeWords(usize),
    /// List the models.
    SeeModels,
    /// See the documentation of queries.
    ListQueries,
    /// Give more tracks a genre.
    GiveGenres,
    /// Give more tracks a genre, or write those of a list.
    GiveGenresOrList,
    /// Set the source of labels.
    SetLabelSource,
    /// Train the genre head.
    TrainGenres,
    /// Train the genre head on these labels, which are not the library's own.
    TrainGenresOn(String),
    /// Compute on a CPU.
    UseCpu,
    /// Send a library to this database.
    Push(String),
    /// Pull the library from the database.
    Pull,
    /// Create tables for vectors of another length in the database.
    OtherTables,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Words(words) => words,
            Self::AddMusic | Self::AddMusicOrOtherLibrary => "add music to the library first",
            Self::AddFile => "add the file or folder to the library first",
            Self::Reanalyse => "add the file again to analyse it",
            Self::RemoveOrAdd => "remove it from the library first, or add the new folder instead",
            Self::RestoreOrAdd => "put a copy of it back, or add the music again",
            Self::OtherLibrary => "name another folder",
            Self::OtherRights => "check the permissions of the file and its folder",
            Self::OtherModel => "use that model, or a new library",
            Self::LibraryOfOtherModel => "use a library with one of them",
            Self::Verify => "try again; if the error persists, verify the library",
            Self::NameTrack | Self::NameTracks => {
                "name tracks by their id, path, or words of artist and title"
            }
            Self::SeeTracks => "list the library's tracks",
            Self::SeeFolders => "list the paths of the library's tracks",
            Self::SeeArtists => "list the library's artists",
            Self::SeeAlbums => "list the library's albums",
            Self::SeeGenres => "list the library's genres",
            Self::SeeClusters => "list the clusters",
            Self::SeeWords(known) => return write!(f, "{known} words are"),
            Self::SeeModels => "use one of them, or a manifest (.json) or weights file",
            Self::ListQueries => "send what is expected",
            Self::GiveGenres | Self::GiveGenresOrList => "give more tracks a genre",
            Self::SetLabelSource => "add tagged music, or set the source of labels",
            Self::TrainGenres => "train the library's genre head",
            Self::TrainGenresOn(labels) => {
                return write!(f, "train the library's genre head on labels from {labels}");
            }
            Self::UseCpu => "use the device \"cpu\"",
            Self::Push(place) => return write!(f, "send a library to {place}"),
            Self::Pull => "bring the library to this disk first",
            Self::OtherTables => "make tables for vectors of that length",
        })
    }
}

impl<T: Into<Cow<'static, str>>> From<T> for Remedy {
    fn from(words: T) -> Self {
        Self::Words(words.into())
    }
}

/// An error's text followed by the next step.
pub fn with_next(text: &str, next: &str) -> String {
    let colon = if text.ends_with('?') { "" } else { ":" };
    format!("{text}{colon} {next}")
}
