//! `classify` and `genres`.

use clap::Args;

use super::{SearchArgs, TableFormat};

/// Name the genre of tracks, by the labelled tracks that sound like them
///
/// Takes files (in the library or not), or --all for every track of the library. Each answer comes with its
/// evidence: who voted, and how near they are. A track never votes for itself.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin classify new.mp3\n  voisin classify --all --format csv > genres.csv"
)]
pub(crate) struct ClassifyArgs {
    /// Files, `id:NUMBER`, or words that match artist and title
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "TRACK")]
    pub(crate) tracks: Vec<std::ffi::OsString>,
    /// Every track of the library
    #[arg(long)]
    pub(crate) all: bool,
    /// How many neighbours vote
    #[arg(long, short = 'k', default_value_t = 15, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) neighbours: u32,
    /// Voters by other artists only
    #[arg(long)]
    pub(crate) other_artists: bool,
    #[command(flatten)]
    pub(crate) search: SearchArgs,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) format: TableFormat,
}

/// Show the library's genres, and how near they lie to each other
///
/// With a genre's name: what that genre is nearest to, and which of its tracks are typical or on the border.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  voisin genres\n  voisin genres punk")]
pub(crate) struct GenresArgs {
    /// Only this genre, in detail
    #[arg(value_name = "GENRE")]
    pub(crate) genre: Option<String>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) format: TableFormat,
}
