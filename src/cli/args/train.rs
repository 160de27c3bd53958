//! `train`: the genre head.

use clap::Args;

use super::{RandomArgs, ReportFormat};
use voisin::LabelSource;
use voisin_genre::WELL_KNOWN;

/// Train a genre head on the library's labelled tracks, from stored vectors
///
/// Nothing is decoded. Model selection and the quality that is printed are both based on held-out artists. The head is kept in
/// the library's folder and used by `voisin classify` from then on, which trains it again, with the same options, once a tenth
/// of the labels have changed; `voisin status` shows how many have.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin train\n  voisin train --label-from folder\n  voisin train --label-from labels.csv --min-tracks 20"
)]
pub(crate) struct TrainArgs {
    /// Source of genres, for this head and from now on, as set by `voisin labels`: tags, folder (the name of the folder a
    /// file lies in), or a CSV file with the columns path and genre [default: that of `voisin labels`]
    #[arg(long, value_name = "tags|folder|CSV", value_parser = voisin::questions::genre::label_source)]
    pub(crate) label_from: Option<LabelSource>,
    /// Genres with fewer tracks are left to the neighbours
    #[arg(long, default_value_t = WELL_KNOWN as u32, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) min_tracks: u32,
    /// Folds for validation; all tracks of an artist are in one
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=20))]
    pub(crate) folds: u32,
    #[command(flatten)]
    pub(crate) random: RandomArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}
