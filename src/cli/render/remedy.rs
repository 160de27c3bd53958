//! The next step after an error, in the words of the command line.

use crate::cli::database;
use crate::cli::remote::PULL;
use voisin_base::output::OutputError;
use voisin_base::remedy::{Remedy, with_next};
use voisin_base::text::{count, with_causes};
use voisin_encoder::EncoderError;
use voisin_engine::{EngineError, GenreNews};
use voisin_explore::ExploreError;
use voisin_genre::GenreError;
use voisin_lab::LabError;
use voisin_library::LibraryError;
use voisin_players::link::LinkError;
use voisin_players::lists::ListError;
use voisin_players::mpd::MpdError;
use voisin_questions::{LocalOnly, QuestionError};

/// An error with its causes, each once, and what to do about it.
pub(crate) fn advised(error: &(dyn std::error::Error + 'static)) -> String {
    with_remedy(&with_causes(error), remedy(error).as_ref())
}

/// A text, and what to do about it.
pub(crate) fn with_remedy(text: &str, remedy: Option<&Remedy>) -> String {
    remedy.map_or(text.to_owned(), |remedy| with_next(text, &words(remedy)))
}

/// News of who answers, and what to do about it.
pub(crate) fn advised_news(news: &GenreNews) -> String {
    news.remedy().map_or(news.to_string(), |remedy| {
        format!("{news}; {}", words(&remedy))
    })
}

/// The remedy of an error or of what caused it.
fn remedy(error: &(dyn std::error::Error + 'static)) -> Option<Remedy> {
    macro_rules! first_of {
        // An error is asked by its type, for `dyn Error` has no remedies; a new kind of error must
        // be added to the list below.
        ($($error:ty)*) => {
            None$(.or_else(|| error.downcast_ref::<$error>().and_then(<$error>::remedy)))*
        };
    }
    database::remedy(error)
        .or_else(|| first_of! { QuestionError LocalOnly EngineError LibraryError EncoderError GenreError ExploreError MpdError LinkError ListError LabError OutputError })
        // The outermost that has one: nearer to what was asked for.
        .or_else(|| remedy(error.source()?))
}

fn words(remedy: &Remedy) -> String {
    let text = match remedy {
        Remedy::AddMusic => "run \"voisin add FOLDER\" first",
        Remedy::AddMusicOrOtherLibrary => {
            "run \"voisin add FOLDER\" first, or name another one with --library"
        }
        Remedy::AddFile => "run \"voisin add\" on it first",
        Remedy::ListenAgain => "listen to the file again with \"voisin add\"",
        Remedy::RemoveOrAdd => {
            "take it out with \"voisin remove\" first, or run \"voisin add\" on the new folder instead"
        }
        Remedy::RestoreOrAdd => {
            "put a copy of it back, or run \"voisin add FOLDER\" to listen again"
        }
        Remedy::OtherLibrary => "name another folder with --library",
        Remedy::OtherRights => "check the rights of the file and its folder, or use --library",
        Remedy::OtherModel => "use that model, or a new library with --library",
        Remedy::OtherIdentity(held) => {
            return format!("use another --library, or listen again with --identity {held}");
        }
        Remedy::LibraryOfOtherModel => "add your music to another --library with one of them",
        Remedy::Repair => "run \"voisin repair\"",
        Remedy::RepairAndAdd => "run \"voisin repair\", then \"voisin add\"",
        Remedy::Verify => "run \"voisin verify\"",
        Remedy::EndUpgrade(next) => {
            return format!(
                "\"voisin model upgrade {next}\" goes on with it, \"voisin model upgrade --give-up\" ends it"
            );
        }
        Remedy::NameTrack => {
            "give a path, id:NUMBER, words of artist and title, or sounds:WORDS (sentences need a CLAP model: voisin model import, voisin space add)"
        }
        Remedy::NameTracks => "name files, id:NUMBER, words, playlists or folders",
        Remedy::SeeTracks => "\"voisin list\" shows those there are",
        Remedy::SeeFolders => "\"voisin list --sort path\" shows where its tracks lie",
        Remedy::SeeArtists => "\"voisin artists\" lists those there are",
        Remedy::SeeAlbums => "\"voisin albums\" lists those there are",
        Remedy::SeeGenres => "\"voisin genres\" lists those there are",
        Remedy::SeeClusters => "\"voisin clusters\" lists those there are",
        Remedy::SeeWords(known) => {
            return format!(
                "\"voisin find --words\" lists the {} that are",
                count(*known as u64, "word")
            );
        }
        Remedy::SeeModels => {
            "give a manifest (.json) or weights file, or run \"voisin model list\""
        }
        Remedy::FetchModel => {
            "fetch them from research/former-models of voisin's sources, or change over with \"voisin model upgrade\""
        }
        Remedy::GiveGenres => {
            "give more tracks a genre (\"voisin labels\" says where genres come from)"
        }
        Remedy::GiveGenresOrList => {
            "give more tracks a genre (\"voisin labels\" says where genres come from), or write genres of your own with --from-list"
        }
        Remedy::SayLabels => {
            "add tagged music, or say where genres come from with --label-from folder or a CSV file"
        }
        Remedy::TrainGenres => "\"voisin train genre\" trains one",
        Remedy::TrainGenresOn(labels) => {
            return format!("\"voisin train genre --label-from {labels}\" trains one");
        }
        Remedy::LeaveOutNeighbours => "leave out -k, which asks the neighbours alone",
        Remedy::UseCpu => "use --device cpu",
        Remedy::Push(place) => return format!("\"voisin push --to {place}\" sends one there"),
        Remedy::Pull => PULL,
        Remedy::OtherTables => "voisin push --print-ddl prints tables for them",
        Remedy::RenewMean => "delete its row and run voisin push --recentre",
        Remedy::SayMpd => {
            "is it running? --host and --port, or MPD_HOST and MPD_PORT, say where it is"
        }
        Remedy::SayMpdPassword => "MPD_HOST or --host takes it as PASSWORD@HOST",
        Remedy::OtherLogin => "see --user and the password",
        Remedy::Replace => "name another, or replace it with --force",
        // These name neither command nor option, so their own text fits everywhere.
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
            Remedy::ListenAgain,
            Remedy::RemoveOrAdd,
            Remedy::RestoreOrAdd,
            Remedy::OtherLibrary,
            Remedy::OtherRights,
            Remedy::OtherModel,
            Remedy::OtherIdentity(text("quick")),
            Remedy::LibraryOfOtherModel,
            Remedy::Repair,
            Remedy::RepairAndAdd,
            Remedy::Verify,
            Remedy::EndUpgrade(text("musicnn-msd")),
            Remedy::SeeTracks,
            Remedy::SeeFolders,
            Remedy::SeeArtists,
            Remedy::SeeAlbums,
            Remedy::SeeGenres,
            Remedy::SeeClusters,
            Remedy::SeeWords(7),
            Remedy::SeeModels,
            Remedy::FetchModel,
            Remedy::GiveGenres,
            Remedy::GiveGenresOrList,
            Remedy::SayLabels,
            Remedy::TrainGenres,
            Remedy::TrainGenresOn(text("folder")),
            Remedy::LeaveOutNeighbours,
            Remedy::UseCpu,
            Remedy::Push(text("postgres://localhost/music")),
            Remedy::Pull,
            Remedy::OtherTables,
            Remedy::RenewMean,
            Remedy::SayMpd,
            Remedy::SayMpdPassword,
            Remedy::OtherLogin,
            Remedy::Replace,
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
