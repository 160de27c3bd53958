//! `find`: music by words.

use clap::Args;

use super::search::FilterArgs;
use super::{Limit, ListOutput};

/// Find music by what it sounds like, in words
///
/// The words are tags of the model and what data/words.tsv and a `words.tsv` in the library's folder say of them:
/// styles, moods, voices, decades. "no", "not", "without" and a minus deny what follows. Scores are percentiles of the
/// library: "calm" is calmer than most of your music. What is not understood is told.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin find 'calm guitar, no voice'\n  voisin find sad female voice --year 1990-1999 --format m3u8 > rainy.m3u8\n  voisin find --words"
)]
pub(crate) struct FindArgs {
    /// What to look for
    #[arg(value_name = "WORD", required_unless_present = "words", allow_hyphen_values = false)]
    pub(crate) phrase: Vec<String>,
    /// List the words that are understood
    #[arg(long, conflicts_with = "phrase")]
    pub(crate) words: bool,
    /// How many
    #[arg(long, short, default_value_t = Limit::from(20), value_name = "N|all", allow_negative_numbers = true)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) filters: FilterArgs,
    #[command(flatten)]
    pub(crate) output: ListOutput,
}
