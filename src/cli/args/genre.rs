//! `classify`, `tag`, `genres`, `labels` and `train`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::{ListOutput, ReportFormat};
use voisin::LabelSource;
use voisin::questions::genre::{Classify, Suspects, label_source};
use voisin::questions::values::Limit;
use voisin_genre::WELL_KNOWN;

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

/// Show or set the source of the library's genres, or label single tracks by hand
///
/// The source is a property of the library, and every command that uses genres reads it: the files' tags, the name of the
/// folder that a file lies in, or a CSV file with the columns path and genre, which is read again each time. Labels
/// given by hand take precedence over the source. They are kept in the library, by the audio itself; your files are not
/// touched.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  voisin labels\n  voisin labels folder\n  voisin labels genres.csv\n  voisin labels set id:17 'Death Metal'\n  voisin labels suspects"
)]
pub(crate) struct LabelsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<LabelsCommand>,
    /// Source of genres from now on: tags, folder, or a CSV file with the columns path and genre [default: show it]
    #[arg(value_name = "tags|folder|CSV", value_parser = label_source)]
    pub(crate) source: Option<LabelSource>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabelsCommand {
    Set(SetLabelArgs),
    Unset(UnsetLabelArgs),
    Suspects(Box<SuspectsArgs>),
}

/// Give tracks a genre of your own, which takes precedence over the source
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin labels set id:17 Zeuhl\n  voisin labels set ~/Music/song.mp3 'Rock; Pop'"
)]
pub(crate) struct SetLabelArgs {
    /// Tracks of the library: files, `id:NUMBER`, words, playlists
    #[arg(required = true, num_args = 1.., value_name = "TRACK")]
    pub(crate) tracks: Vec<OsString>,
    /// The genre; several with `;` between them
    #[arg(required = true, value_name = "GENRE")]
    pub(crate) genre: String,
}

/// Remove labels set by hand, so that the source applies again
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin labels unset id:17")]
pub(crate) struct UnsetLabelArgs {
    /// Tracks of the library: files, `id:NUMBER`, words, playlists
    #[arg(required = true, value_name = "TRACK")]
    pub(crate) tracks: Vec<OsString>,
}

/// Train a genre head on the library's labelled tracks, from stored vectors
///
/// Nothing is decoded. Model selection and the quality that is printed are both based on held-out artists. The head is kept in
/// the library's folder and used by `voisin classify` from then on, which trains it again, with the same options, once a tenth
/// of the labels have changed; `voisin status` shows how many have.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin train\n  voisin labels folder && voisin train --min-tracks 20"
)]
pub(crate) struct TrainArgs {
    /// Genres with fewer tracks are left to the neighbours
    #[arg(long, default_value_t = WELL_KNOWN as u32, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) min_tracks: u32,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}
