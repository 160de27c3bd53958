//! The next step after an error, as data: the command line and the server word it for their users. Its own words are for
//! those who call voisin from a program, in Rust or Python.

use std::borrow::Cow;
use std::fmt;

/// The step that helps after an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// In words that suit everybody.
    Words(Cow<'static, str>),
    /// Add music to the library.
    AddMusic,
    /// Add music to the library, or take another one.
    AddMusicOrOtherLibrary,
    /// Add this file to the library.
    AddFile,
    /// Let this file be listened to again.
    ListenAgain,
    /// Take this file out of the library, or add the new one.
    RemoveOrAdd,
    /// Put a copy of the library back, or listen again.
    RestoreOrAdd,
    /// Take another library.
    OtherLibrary,
    /// Let the library's folder be written, or take another library.
    OtherRights,
    /// Take the library's model, or a new library.
    OtherModel,
    /// A library of this kind of content ids, or files listened to again.
    OtherIdentity(String),
    /// Make a library with one of these models.
    LibraryOfOtherModel,
    /// Repair the library.
    Repair,
    /// Repair the library, then listen again.
    RepairAndAdd,
    /// Check the library.
    Verify,
    /// Finish the upgrade to this model, or give it up.
    EndUpgrade(String),
    /// Name a track.
    NameTrack,
    /// Name tracks, or what stands for several.
    NameTracks,
    /// See which tracks there are.
    SeeTracks,
    /// See which folders there are.
    SeeFolders,
    /// See which artists there are.
    SeeArtists,
    /// See which albums there are.
    SeeAlbums,
    /// See which genres there are.
    SeeGenres,
    /// See which clusters there are.
    SeeClusters,
    /// See which words are understood: so many.
    SeeWords(usize),
    /// See which models there are.
    SeeModels,
    /// Fetch the files of a model that came with voisin once, or change the library over to another.
    FetchModel,
    /// See how a question is asked.
    SeeQuestions,
    /// Give more tracks a genre.
    GiveGenres,
    /// Give more tracks a genre, or write those of a list.
    GiveGenresOrList,
    /// Say where genres come from.
    SayLabels,
    /// Train the genre head.
    TrainGenres,
    /// Train the genre head on these labels, which are not the library's own.
    TrainGenresOn(String),
    /// Do not ask the neighbours alone.
    LeaveOutNeighbours,
    /// Compute on a CPU.
    UseCpu,
    /// Send a library to this database.
    Push(String),
    /// Fetch the library from the database.
    Pull,
    /// Make the database's tables for vectors of another length.
    OtherTables,
    /// Have the database's mean renewed.
    RenewMean,
    /// Say where MPD is.
    SayMpd,
    /// Give the password that MPD asks for.
    SayMpdPassword,
    /// Give another name or password.
    OtherLogin,
    /// Name another file, or say that this one may go.
    Replace,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Words(words) => words,
            Self::AddMusic | Self::AddMusicOrOtherLibrary => "add music to the library first",
            Self::AddFile => "add the file to the library first",
            Self::ListenAgain => "add the file again, so that it is listened to",
            Self::RemoveOrAdd => "take it out of the library first, or add the new folder instead",
            Self::RestoreOrAdd => "put a copy of it back, or add the music again",
            Self::OtherLibrary => "name another folder",
            Self::OtherRights => "check the rights of the file and its folder",
            Self::OtherModel => "use that model, or a new library",
            Self::OtherIdentity(held) => {
                return write!(f, "use another library, or ids of the kind \"{held}\"");
            }
            Self::LibraryOfOtherModel => "use a library with one of them",
            Self::Repair => "have the library repaired",
            Self::RepairAndAdd => "have the library repaired, then add the music again",
            Self::Verify => "try again; if this lasts, have the library checked",
            Self::EndUpgrade(next) => {
                return write!(f, "finish the upgrade to {next}, or give it up");
            }
            Self::NameTrack | Self::NameTracks => {
                "name tracks by their id, path, or words of artist and title"
            }
            Self::SeeTracks => "see which tracks the library has",
            Self::SeeFolders => "see the paths of the library's tracks",
            Self::SeeArtists => "see which artists the library has",
            Self::SeeAlbums => "see which albums the library has",
            Self::SeeGenres => "see which genres the library has",
            Self::SeeClusters => "see which clusters there are",
            Self::SeeWords(known) => return write!(f, "{known} words are"),
            Self::SeeModels => "take one of them, or name a manifest (.json) or weights file",
            Self::FetchModel => {
                "fetch them from research/former-models of voisin's sources, or have the library changed over to \
                 another model"
            }
            Self::SeeQuestions => "send what is expected",
            Self::GiveGenres | Self::GiveGenresOrList => "give more tracks a genre",
            Self::SayLabels => "add tagged music, or say where genres come from",
            Self::TrainGenres => "have the library's genre head trained",
            Self::TrainGenresOn(labels) => {
                return write!(
                    f,
                    "have the library's genre head trained on labels from {labels}"
                );
            }
            Self::LeaveOutNeighbours => "leave out the number of neighbours",
            Self::UseCpu => "use the device \"cpu\"",
            Self::Push(place) => return write!(f, "send a library to {place}"),
            Self::Pull => "bring the library to this disk first",
            Self::OtherTables => "make tables for vectors of that length",
            Self::RenewMean => "delete its row and have it renewed",
            Self::SayMpd => "is it running, and is this where it listens",
            Self::SayMpdPassword => "give the one that it asks for",
            Self::OtherLogin => "check both",
            Self::Replace => "name another, or say that it may be replaced",
        })
    }
}

impl<T: Into<Cow<'static, str>>> From<T> for Remedy {
    fn from(words: T) -> Self {
        Self::Words(words.into())
    }
}

/// An error's text with the next step behind it.
pub fn with_next(text: &str, next: &str) -> String {
    let colon = if text.ends_with('?') { "" } else { ":" };
    format!("{text}{colon} {next}")
}
