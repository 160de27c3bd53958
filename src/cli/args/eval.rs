//! `lab eval`: genres and neighbours, evaluated against labels.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::units::with_ending;
use super::{RandomArgs, ReportFormat};
use voisin_genre::WELL_KNOWN;

/// Measure how well genres and neighbours fit the labels of a library
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin lab eval genre --report genres.html\n  voisin lab eval retrieval --report neighbours.html"
)]
pub(crate) struct EvalArgs {
    #[command(subcommand)]
    pub(crate) command: EvalCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    Genre(EvalGenreArgs),
    Retrieval(RetrievalArgs),
}

/// Options of an evaluation.
#[derive(Debug, Clone, Args)]
pub(crate) struct EvalOutput {
    /// Genres to count as one, separated by commas; may be repeated
    #[arg(long, value_name = "GENRE,GENRE")]
    pub(crate) join: Vec<String>,
    /// Leave out genres with fewer tracks than this
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) min_tracks: u32,
    /// Write the report as one self-contained page
    #[arg(long, value_name = "FILE.html", value_hint = ValueHint::FilePath, value_parser = html)]
    pub(crate) report: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

pub(super) fn html(text: &str) -> Result<PathBuf, String> {
    with_ending(text, "html")
}

/// Do neighbours share the query's genre?
///
/// Labels are the first genre of each track. Tracks by the query's artist never count as its neighbours (the
/// artist filter of Pampalk, Flexer and Widmer, 2005). The spread is over redraws of the queries.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin lab eval retrieval --neighbours 10 --join pop,rock --report retrieval.html"
)]
pub(crate) struct RetrievalArgs {
    /// Number of neighbours
    #[arg(long, short = 'k', default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) neighbours: u32,
    #[command(flatten)]
    pub(crate) output: EvalOutput,
}

/// Cross-validate the genre engine
///
/// Every track is predicted by an engine that was trained without its artist; all model selection takes place inside the
/// training part. The trained head and the neighbours' vote are compared with both joined.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin lab eval genre --report genres.html\n  voisin lab eval genre --folds 3 --format json"
)]
pub(crate) struct EvalGenreArgs {
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
