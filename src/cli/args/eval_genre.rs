//! `lab eval genre`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::eval::html;
use super::{RandomArgs, ReportFormat};
use voisin::questions::genre::LabelArgs;
use voisin_genre::WELL_KNOWN;

/// Cross-validate the genre engine and baseline classifiers
///
/// Every track is predicted by an engine that was trained without its artist; all model selection takes place inside the
/// training part. The trained head, the neighbours' vote and both joined are compared with an RBF support vector machine, the
/// nearest centroid, and the majority class.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin lab eval genre --report genres.html\n  voisin lab eval genre --label-from folder --format json"
)]
pub(crate) struct EvalGenreArgs {
    #[command(flatten)]
    pub(crate) labels_from: LabelArgs,
    /// Folds; all tracks of an artist are in one
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=50))]
    pub(crate) folds: u32,
    /// Repeats, each with other folds
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) repeats: u32,
    #[command(flatten)]
    pub(crate) random: RandomArgs,
    /// Genres with fewer tracks are left to the neighbours
    #[arg(long, default_value_t = WELL_KNOWN as u32, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) min_tracks: u32,
    /// Leave out the baseline classifiers
    #[arg(long)]
    pub(crate) no_rivals: bool,
    /// Genres to count as one, separated by commas; may be repeated
    #[arg(long, value_name = "GENRE,GENRE")]
    pub(crate) join: Vec<String>,
    /// Write the report as one self-contained page
    #[arg(long, alias = "html", value_name = "FILE.html", value_hint = ValueHint::FilePath, value_parser = html)]
    pub(crate) report: Option<PathBuf>,
    /// Format of the report
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}
