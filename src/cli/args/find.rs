//! `find`: music by words.

use clap::Args;

use super::ListOutput;
use voisin::questions::list::Find;

/// Find music by its sound, described in words
///
/// The words are the model's tags and those that voisin's own list defines:
/// styles, moods, voices, decades, tempo, loudness. "no", "not", "without" and a minus negate the words that follow. "top 5 %"
/// is a rank within the library: even for a genre that it lacks there is a first track, and a note is printed. Words it does
/// not understand are reported. A library made with a CLAP model reads each part between commas as an English sentence, and scores a track by the share of a thousand captions that match it less.
#[derive(Debug, Args)]
#[command(
    mut_arg("query", |query| query.required(false).required_unless_present("words")),
    after_help = "Examples:\n  voisin find 'calm guitar, no voice'\n  voisin find 'dreamy synths'\n  voisin find sad female voice --year 1990-1999 --format m3u8 > sad.m3u8\n  voisin find --words"
)]
pub(crate) struct FindArgs {
    #[command(flatten)]
    pub(crate) question: Find,
    /// List the words that are understood
    #[arg(long, conflicts_with = "query")]
    pub(crate) words: bool,
    #[command(flatten)]
    pub(crate) output: ListOutput,
}
