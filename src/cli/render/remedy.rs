//! The next step after an error, with commands and options.

use crate::cli::database;
use crate::cli::remote::PULL;
use voisin_base::remedy::{Remedy, with_next};
use voisin_base::text::{count, with_causes};
use voisin_encoder::EncoderError;
use voisin_engine::{EngineError, GenreNews};
use voisin_explore::ExploreError;
use voisin_genre::GenreError;
use voisin_library::LibraryError;
use voisin_questions::{LocalOnly, QuestionError};

/// An error with its causes, each once, and the next step.
pub(crate) fn advised(error: &(dyn std::error::Error + 'static)) -> String {
    with_remedy(&with_causes(error), remedy(error).as_ref())
}

/// A text and the next step.
pub(crate) fn with_remedy(text: &str, remedy: Option<&Remedy>) -> String {
    remedy.map_or(text.to_owned(), |remedy| with_next(text, &words(remedy)))
}

/// News of the genre method, and the next step.
pub(crate) fn advised_news(news: &GenreNews) -> String {
    news.remedy().map_or(news.to_string(), |remedy| {
        format!("{news}; {}", words(&remedy))
    })
}

/// The remedy of an error or of what caused it.
fn remedy(error: &(dyn std::error::Error + 'static)) -> Option<Remedy> {
    macro_rules! first_of {
        // Downcast by type, since `dyn Error` has no remedies; a new kind of error must be added to
        // the list below.
        ($($error:ty)*) => {
            None$(.or_else(|| error.downcast_ref::<$error>().and_then(<$error>::remedy)))*
        };
    }
    database::remedy(error)
        .or_else(|| first_of! { QuestionError LocalOnly EngineError LibraryError EncoderError GenreError ExploreError })
        // The outermost error that has one is the most specific to the command.
        .or_else(|| remedy(error.source()?))
}

fn words(remedy: &Remedy) -> String {
    let text = match remedy {
        Remedy::AddMusic => "run \"voisin add FOLDER\" first",
        Remedy::AddMusicOrOtherLibrary => {
            "run \"voisin add FOLDER\" first, or name another one with --library"
        }
        Remedy::AddFile => "run \"voisin add\" on it first",
        Remedy::Reanalyse => "analyse the file again with \"voisin add\"",
        Remedy::RemoveOrAdd => {
            "remove it with \"voisin remove\" first, or run \"voisin add\" on the new folder instead"
        }
        Remedy::RestoreOrAdd => {
            "restore a copy of it, or run \"voisin add FOLDER\" to analyse again"
        }
        Remedy::OtherLibrary => "name another folder with --library",
        Remedy::OtherRights => "check the rights of the file and its folder, or use --library",
        Remedy::OtherModel => "use that model, or a new library with --library",
        Remedy::LibraryOfOtherModel => "add your music to another --library with one of them",
        Remedy::Verify => "run \"voisin verify\"",
        Remedy::NameTrack => "give a path, id:NUMBER, or words of artist and title",
        Remedy::NameTracks => "name files, id:NUMBER, words, playlists or folders",
        Remedy::SeeTracks => "\"voisin list\" lists all tracks",
        Remedy::SeeFolders => "\"voisin list --sort path\" shows its folders",
        Remedy::SeeArtists => "\"voisin artists\" lists all artists",
        Remedy::SeeAlbums => "\"voisin albums\" lists all albums",
        Remedy::SeeGenres => "\"voisin genres\" lists all genres",
        Remedy::SeeClusters => "\"voisin clusters\" lists all clusters",
        Remedy::SeeWords(known) => {
            return format!(
                "\"voisin find --words\" lists all {}; whole sentences need a library made with a CLAP model (voisin model import, voisin add --model)",
                count(*known as u64, "word")
            );
        }
        Remedy::SeeModels => {
            "give a manifest (.json) or weights file, or run \"voisin model list\""
        }
        Remedy::GiveGenres => {
            "give more tracks a genre (\"voisin labels\" shows the source of genres)"
        }
        Remedy::GiveGenresOrList => {
            "give more tracks a genre (\"voisin labels\" shows the source of genres), or write genres of your own with --from-list"
        }
        Remedy::SetLabelSource => {
            "add tagged music, or set the source of genres with --label-from folder or a CSV file"
        }
        Remedy::TrainGenres => "\"voisin train genre\" trains one",
        Remedy::TrainGenresOn(labels) => {
            return format!("\"voisin train genre --label-from {labels}\" trains one");
        }
        Remedy::UseCpu => "use --device cpu",
        Remedy::Push(place) => return format!("\"voisin push --to {place}\" sends one"),
        Remedy::Pull => PULL,
        Remedy::OtherTables => "voisin push --print-ddl prints tables for them",
        // The others contain neither command nor option, so their own text fits.
        other => return other.to_string(),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_command_line_names_commands_and_options() {
        let text = String::from;
        let all = [
            Remedy::AddMusic,
            Remedy::AddMusicOrOtherLibrary,
            Remedy::AddFile,
            Remedy::Reanalyse,
            Remedy::RemoveOrAdd,
            Remedy::RestoreOrAdd,
            Remedy::OtherLibrary,
            Remedy::OtherRights,
            Remedy::OtherModel,
            Remedy::LibraryOfOtherModel,
            Remedy::Verify,
            Remedy::SeeTracks,
            Remedy::SeeFolders,
            Remedy::SeeArtists,
            Remedy::SeeAlbums,
            Remedy::SeeGenres,
            Remedy::SeeClusters,
            Remedy::SeeWords(7),
            Remedy::SeeModels,
            Remedy::GiveGenres,
            Remedy::GiveGenresOrList,
            Remedy::SetLabelSource,
            Remedy::TrainGenres,
            Remedy::TrainGenresOn(text("folder")),
            Remedy::UseCpu,
            Remedy::Push(text("postgres://localhost/music")),
            Remedy::Pull,
            Remedy::OtherTables,
        ];
        let is_for_a_shell = |text: &str| {
            let words: Vec<&str> = text.split([' ', '"', '(']).collect();
            words.contains(&"voisin") || words.iter().any(|word| word.starts_with('-'))
        };
        for remedy in all {
            assert!(
                is_for_a_shell(&words(&remedy)),
                "{remedy:?}: {}",
                words(&remedy)
            );
            assert!(!is_for_a_shell(&remedy.to_string()), "{remedy:?}: {remedy}");
        }
    }

    #[test]
    fn a_remedy_is_found_below_other_errors() {
        let missing = LibraryError::NotFound {
            dir: "/none".into(),
        };
        let error = anyhow::Error::from(EngineError::from(missing)).context("cannot begin");
        let expected = "cannot begin: no library in /none: run \"voisin add FOLDER\" first, or name another one with --library";
        assert_eq!(advised(error.as_ref()), expected);
    }
}
