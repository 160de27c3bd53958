//! `find`: music by words.

use clap::Args;

use super::ListOutput;
use voisin_questions::list::Find;

/// Find music by what it sounds like, in words
///
/// The words are tags of the model and what voisin's own list and a `words.tsv` in the library's folder say of them:
/// styles, moods, voices, decades, tempo, loudness. "no", "not", "without" and a minus deny what follows. "top 5 %" is
/// a rank within the library: of a genre that it lacks there is a top, too, and a line says so. What is not understood
/// is told, or asked in a space of a CLAP model, if there is one: it reads a part between commas as a whole sentence, in
/// English, and tells the share of a thousand captions that a track sounds less like.
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
