//! `eval`: genres, neighbours and vectors, evaluated against labels.

use clap::{Args, Subcommand, ValueHint};

use super::EvalClassifierArgs;
use super::units::{ReportFile, with_ending};
use super::{EvalGenreArgs, ReportFormat};
use voisin_questions::genre::LabelArgs;

/// Measure how well genres, neighbours and vectors fit the labels of a library
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin eval genre --report genres.html\n  voisin eval retrieval --robustness"
)]
pub(crate) struct EvalArgs {
    #[command(subcommand)]
    pub(crate) command: EvalCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    Genre(EvalGenreArgs),
    Retrieval(RetrievalArgs),
    Embedding(EmbeddingArgs),
    Classifier(EvalClassifierArgs),
    Index(super::EvalIndexArgs),
}

/// Options of both evaluations.
#[derive(Debug, Clone, Args)]
pub(crate) struct EvalOutput {
    #[command(flatten)]
    pub(crate) labels: LabelArgs,
    /// Genres to count as one, separated by commas; may be repeated
    #[arg(long, value_name = "GENRE,GENRE")]
    pub(crate) join: Vec<String>,
    /// Leave out genres with fewer tracks than this
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) min_tracks: u32,
    /// Write a report in Markdown, with plots (SVG) beside it
    #[arg(long, value_name = "FILE.md", value_hint = ValueHint::FilePath, value_parser = markdown)]
    pub(crate) report: Option<ReportFile>,
    /// Replace existing files that voisin did not make
    #[arg(long, requires = "report")]
    pub(crate) force: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

fn markdown(text: &str) -> Result<ReportFile, String> {
    with_ending(text, "md")
}

/// Do neighbours share the query's genre? Precision, average precision, k-NN accuracy
///
/// Labels are the first genre of each track. Tracks by the query's artist never count as its neighbours (the
/// artist filter of Pampalk, Flexer and Widmer, 2005). Spreads are over redraws of the queries. With --robustness:
/// degraded copies are made in a temporary folder and used as queries; how many find their original first?
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin eval retrieval --neighbours 10 --join pop,rock --report retrieval.md\n  voisin eval retrieval --robustness --sample 50 --format json"
)]
pub(crate) struct RetrievalArgs {
    /// Number of neighbours
    #[arg(long, short = 'k', default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) neighbours: u32,
    /// First standardise every dimension to mean 0 and deviation 1 over the library
    #[arg(long)]
    pub(crate) standardise: bool,
    /// Also make degraded copies and see whether they find their original
    #[arg(long)]
    pub(crate) robustness: bool,
    /// Tracks to make degraded copies of, evenly spread over the library; 0 takes all
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) sample: u32,
    #[command(flatten)]
    pub(crate) output: EvalOutput,
}

/// Can simple classifiers read the genre off the vectors? Linear and RBF-SVM probes
///
/// All tracks of an artist are in one fold. Means and deviations are over repeats.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  voisin eval embedding --folds 5 --repeats 3 --join pop,rock --format json"
)]
pub(crate) struct EmbeddingArgs {
    /// Folds; all tracks of an artist are in one
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=100))]
    pub(crate) folds: u32,
    /// Repeats, each with other folds
    #[arg(long, alias = "seeds", default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) repeats: u32,
    /// Weight of errors in the support vector machine
    #[arg(long, default_value_t = 3.0, value_name = "C")]
    pub(crate) svm_c: f64,
    /// Weight of errors in the logistic regression
    #[arg(long, default_value_t = 0.1, value_name = "C")]
    pub(crate) linear_c: f64,
    #[command(flatten)]
    pub(crate) output: EvalOutput,
}
