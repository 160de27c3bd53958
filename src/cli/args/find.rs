//! `find`: music by words.

use clap::Args;

use super::ListOutput;
use crate::questions::list::Find;

/// Find music by what it sounds like, in words
///
/// The words are tags of the model and what voisin's own list and a `words.tsv` in the library's folder say of them:
/// styles, moods, voices, decades. "no", "not", "without" and a minus deny what follows. Scores are percentiles of the
/// library: "calm" is calmer than most of your music. What is not understood is told.
#[derive(Debug, Args)]
#[command(
    mut_arg("query", |query| query.required(false).required_unless_present("words")),
    after_help = "Examples:\n  voisin find 'calm guitar, no voice'\n  voisin find sad female voice --year 1990-1999 --format m3u8 > rainy.m3u8\n  voisin find --words"
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
