//! `classify`, `tag`, `genres` and `labels suspects`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{ListOutput, ReportFormat};
use voisin::questions::genre::{Classify, GenreRelations, Suspects};
use voisin::questions::values::Limit;

/// Predict the genre of tracks, with a trained head and labelled neighbours
///
/// Takes files (in the library or not), or --all for every track of the library. Each answer comes with its evidence: the
/// voting tracks, and how near they are. A track never votes for itself. Before `voisin train` the neighbours vote alone;
/// after it head and neighbours are combined, with a calibrated probability. Tracks that sound unlike the labelled ones
/// are "unknown". With fewer than 4 labelled tracks, or one genre, the answer is a first guess from the model's tags.
#[derive(Debug, Args)]
#[command(
    mut_arg("tracks", |tracks| tracks.required_unless_present("all").conflicts_with("all")),
    after_help = "Examples:\n  voisin classify new.mp3\n  voisin classify --all --format csv > genres.csv"
)]
pub(crate) struct ClassifyArgs {
    #[command(flatten)]
    pub(crate) question: Classify,
    /// Every track of the library
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// Write predicted genres into the files themselves, or undo that
///
/// Into MP3, FLAC, Ogg Vorbis, Opus and M4A. Unknown tracks, answers below --precision [default here: 0.9], and files that have
/// a genre are left alone, and nothing is written before two genres have 8 labelled tracks each. --undo restores the files of
/// the last run, byte for byte where they did not change since; where other bytes changed, only the tags are restored.
#[derive(Debug, Args)]
#[command(
    mut_arg("tracks", |tracks| tracks
        .required_unless_present_any(["all", "from_list", "undo"])
        .conflicts_with_all(["all", "from_list", "undo"])),
    after_help = "Examples:\n  voisin tag --all --dry-run\n  voisin tag ~/Music/new\n  voisin tag --undo\n  voisin labels suspects --format csv > accepted.csv && $EDITOR accepted.csv\n  voisin tag --overwrite --from accepted.csv"
)]
#[allow(clippy::struct_excessive_bools, reason = "switches, each of its own")]
pub(crate) struct TagArgs {
    #[command(flatten)]
    pub(crate) question: Classify,
    /// Every track of the library
    #[arg(long, conflicts_with = "from_list")]
    pub(crate) all: bool,
    /// Write the genres of this table instead of predictions. Its columns are path and genre, or path and suggested, as
    /// `voisin labels suspects --format csv` prints them: delete the lines that you do not accept
    #[arg(long = "from", value_name = "FILE.csv", value_hint = ValueHint::FilePath)]
    pub(crate) from_list: Option<PathBuf>,
    /// Restore the former tags of the last run's files
    #[arg(long, conflicts_with_all = ["all", "from_list", "overwrite"])]
    pub(crate) undo: bool,
    /// Show what would change, and change nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Replace existing genres
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Keep the files' modification times
    #[arg(long)]
    pub(crate) keep_times: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
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
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// List tracks whose own genre looks wrong
///
/// Every track is predicted by models that were trained without its artist; those whose label is contradicted with high
/// confidence are listed, worst first, with the reason. Nothing is changed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin labels suspects\n  voisin labels suspects --limit all --format csv > suspects.csv"
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
