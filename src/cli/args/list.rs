//! The verbs that show what is in the library: list, show.

use clap::Args;

use super::{ListOutput, ReportFormat};
use voisin::questions::list::List;

/// Show what is in the library, with the ids that other commands take
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin list\n  voisin list nina simone --sort year\n  voisin list --genre ambient --licence cc-by --format m3u8 > beds.m3u8\n  voisin list --year 1970-1979 --sort added --reverse --limit 20"
)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) question: List,
    /// List the files that could not be added instead, and why
    #[arg(long, conflicts_with = "query")]
    pub(crate) failed: bool,
    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// Show all data of a track
///
/// Its tags and files, whether they still exist, the predicted genre with its reason, its cluster as of the last
/// `voisin clusters`, tempo, key and loudness if they were measured, and the tracks nearest to it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin show ~/Music/song.flac\n  voisin show id:17 --format json"
)]
pub(crate) struct ShowArgs {
    /// Files of the library, `id:NUMBER`, words, or playlists
    #[arg(required = true, value_name = "TRACK")]
    pub(crate) tracks: Vec<std::ffi::OsString>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}
