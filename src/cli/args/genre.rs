//! `classify`, `genres` and `suspects`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{BackendArgs, ListOutput, TableFormat};
use voisin_questions::genre::{Classify, GenreRelations, Suspects};
use voisin_questions::values::Limit;

/// Predict the genre of tracks, with a trained head and labelled neighbours
///
/// Takes files (in the library or not), or --all for every track of the library. Each answer comes with its evidence: the
/// voting tracks, and how near they are. A track never votes for itself. Before `voisin train genre` the neighbours vote alone;
/// after it head and neighbours are combined, or one is used alone if it was clearly better on held-out artists, with a
/// calibrated probability. Tracks that sound unlike the labelled ones are "unknown". With fewer than 4 labelled tracks, or one
/// genre, the answer is a first guess from the model's tags.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin classify new.mp3\n  voisin classify --all --format csv > genres.csv\n  voisin classify --all --precision 0.9 --write-tags --dry-run\n  voisin suspects --format csv > accepted.csv && $EDITOR accepted.csv\n  voisin classify --write-tags --overwrite --from-list accepted.csv"
)]
pub(crate) struct ClassifyArgs {
    #[command(flatten)]
    pub(crate) question: Classify,
    /// Every track of the library
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) answer: super::AnswerArgs,
    #[command(flatten)]
    pub(crate) output: ListOutput,
    #[command(flatten)]
    pub(crate) write: WriteTagsArgs,
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
}

/// Writing answers into files.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tags")]
#[allow(clippy::struct_excessive_bools, reason = "switches, each of its own")]
pub(crate) struct WriteTagsArgs {
    /// Write the answer as genre tag into the files themselves (MP3, FLAC, Ogg Vorbis, Opus, M4A); unknown tracks, answers
    /// below --precision (default 0.9), and files that have a genre are left alone, and nothing is written before two genres
    /// have 8 labelled tracks each
    #[arg(long)]
    pub(crate) write_tags: bool,
    /// With --write-tags: write the genres of this table instead of predictions. Its columns are path and genre, or path
    /// and suggested, as `voisin suspects --format csv` prints them: delete the lines that you do not accept
    #[arg(long, value_name = "FILE.csv", requires = "write_tags", conflicts_with = "all", value_hint = ValueHint::FilePath)]
    pub(crate) from_list: Option<PathBuf>,
    /// With --write-tags: show what would change, and change nothing
    #[arg(long, short = 'n', requires = "write_tags")]
    pub(crate) dry_run: bool,
    /// With --write-tags: replace existing genres
    #[arg(long, requires = "write_tags")]
    pub(crate) overwrite: bool,
    /// With --write-tags: keep the files' modification times
    #[arg(long, requires = "write_tags")]
    pub(crate) keep_times: bool,
}

/// Show the library's genres, and how close they are to one another
///
/// With a genre's name: its nearest genres, and its most typical tracks.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  voisin genres\n  voisin genres rock")]
pub(crate) struct GenresArgs {
    /// Only this genre, in detail
    #[arg(value_name = "GENRE")]
    pub(crate) genre: Option<String>,
    #[command(flatten)]
    pub(crate) question: GenreRelations,
    /// Output format
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) format: TableFormat,
}

/// List tracks whose own genre looks wrong
///
/// Every track is predicted by models that were trained without its artist; those whose label is contradicted with high
/// confidence are listed, worst first, with the reason. Nothing is changed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin suspects\n  voisin suspects --limit all --format csv > suspects.csv"
)]
pub(crate) struct SuspectsArgs {
    /// Number of tracks at most
    #[arg(long, short, default_value_t = Limit::from(50), value_name = "N|all", allow_negative_numbers = true)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) question: Suspects,
    #[command(flatten)]
    pub(crate) output: ListOutput,
}
