//! `labels`: the source of genres, and labels by hand.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::{ReportFormat, SuspectsArgs};
use voisin::LabelSource;
use voisin::questions::genre::label_source;

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
