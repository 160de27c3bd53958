//! The laboratory: `lab`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueHint};

use super::{EvalArgs, RandomArgs, ReportFormat, TableFormat};
use voisin_lab::dataset::Source;
use voisin_lab::model::Algorithm;
use voisin_lab::training::NetworkRecipe;

/// Show the content of a data set, its broken files, and how it would be split
///
/// DATA is `KIND:PATH` with options after commas, or a bare path whose kind is detected: fma:DIR[,subset=small|medium|
/// large|full], folder:DIR (a folder for each genre), table:FILE.csv[,audio=DIR][,path=COLUMN][,label=COLUMN][,artist=
/// COLUMN][,split=COLUMN]. A table without audio beside it is one of features: its columns of numbers.
/// Every file is opened and decoded once; broken files are listed and skipped. Where DATA names no artist, those of the
/// files' tags count.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin lab data fma:~/fma\n  voisin lab data table:train.csv,audio=train\n  voisin lab data ~/genres --output table.csv"
)]
pub(crate) struct DatasetArgs {
    /// The data set: KIND:PATH, or a path
    #[arg(value_name = "DATA")]
    pub(crate) data: Source,
    /// How a run would split it: auto, given, artist, folder, track or a CSV file (path,split)
    #[arg(long, default_value = "auto", value_name = "METHOD")]
    pub(crate) split: String,
    /// Column of the labels
    #[arg(long, default_value = "genre", value_name = "COLUMN")]
    pub(crate) label: String,
    /// Write the data set as one table, which `table:` reads
    #[arg(long, short, value_name = "FILE.csv", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) random: RandomArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// Write features of audio: descriptors, embeddings, spectrograms, or a picture of one file
///
/// DATA is as in `voisin lab data`; a bare folder that is no data set, and several paths, are audio files. --set takes the
/// values of `lab train --features` and computes the same numbers, a row for each track, into a table (.csv, which
/// table:FILE.csv reads again), or a folder: features.npy (float32 [tracks, columns]) with tracks.csv and columns.csv. Two sets go into a folder, an array for each track, named like its file: frames (float32 [frames,
/// columns]: seconds, then the rows that the statistics of fma summarise, a frame every 512 samples) and spectrogram (the
/// input of a network, float32 [128, 1288]). Existing arrays are left as they are.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin lab features ~/genres --set fma --output features.csv\n  voisin lab features fma:~/fma --set mfcc+model:musicnn-msd --output features/\n  voisin lab features ~/genres --set spectrogram --output spectrograms/\n  voisin lab features song.mp3 --set frames --output frames/\n  voisin lab features song.mp3 --picture song.svg"
)]
pub(crate) struct FeaturesArgs {
    /// A data set, or audio files and folders
    #[arg(required = true, value_name = "DATA|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) tracks: Vec<OsString>,
    /// Sets of features joined by +: own, mel, bark, mfcc, mfcc40-mean, fma, model:NAME; or frames or spectrogram alone
    #[arg(long, value_name = "S+S…")]
    pub(crate) set: Option<String>,
    /// Where to write them: a .csv file, or a folder
    #[arg(long, short, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
    /// Draw one file instead: wave, spectrum, spectrograms and cepstral coefficients, one under the other
    #[arg(long, value_name = "FILE.svg", conflicts_with_all = ["set", "output"], value_hint = ValueHint::FilePath)]
    pub(crate) picture: Option<PathBuf>,
}

/// The values of `--recipe`.
fn recipes() -> PossibleValuesParser {
    let networks = NetworkRecipe::ALL.map(|recipe| recipe.name);
    PossibleValuesParser::new(["features", "auto"].into_iter().chain(networks))
}

/// Train classifiers on a data set, compare them, and evaluate the best one
///
/// RUN is a new folder, for settings, data, out-of-fold and test predictions, the fitted model, report.json and
/// report.html. Artists are kept on one side of every split where they are known. The test part is used once, to evaluate
/// the algorithm that was best on the validation part or in the folds. Its result is bit-for-bit reproducible. The same
/// command starts an interrupted run again, with the features that it has computed, and goes on with a network from its
/// last epoch.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin lab train table:train.csv,audio=train challenge --algorithm logistic,svm --folds 5\n  voisin lab train features.csv run --algorithm boost --set settings.boost.rounds=500\n  voisin lab train table:train.csv,audio=train challenge --recipe auto\n  voisin lab train ~/genres run --features model:musicnn-msd --dry-run\n  voisin lab train fma:~/fma run --recipe cnn-gap --set network.training.epochs=20\n  voisin lab train ~/genres run --recipe cnn-lstm-mfcc --try network.copies=0,3 --folds 5"
)]
pub(crate) struct TrainClassifierArgs {
    /// The data set: KIND:PATH, or a path (see `voisin lab data --help`)
    #[arg(value_name = "DATA")]
    pub(crate) data: Source,
    /// The run's folder
    #[arg(value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub(crate) run: PathBuf,
    /// Kind of run: features (as the other options define it), auto (algorithms of every kind, evaluated in five folds and
    /// combined; other options change it), or a network on spectrograms: baseline-cnn, baseline-cnn-bn, cnn-gap,
    /// cnn-lstm-mfcc, cnn-lstm-time [default: features]
    #[arg(long, value_name = "NAME", value_parser = recipes())]
    pub(crate) recipe: Option<String>,
    /// One or several of majority, knn, logistic, svm, forest, boost [default: logistic]
    #[arg(long, value_name = "A,A…", value_delimiter = ',')]
    pub(crate) algorithm: Vec<Algorithm>,
    /// Sets of features joined by +: own (numbers in the data set), mel, bark, mfcc, mfcc40-mean, fma, model:NAME
    /// [default: own if there are any, else fma+model:NAME of the default model]
    #[arg(long, value_name = "S+S…")]
    pub(crate) features: Option<String>,
    /// Column of the labels [default: genre]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) label: Option<String>,
    /// How the data is split: auto, given, artist, folder, track or a CSV file (path,split) [default: auto]
    #[arg(long, value_name = "METHOD")]
    pub(crate) split: Option<String>,
    /// Cross-validate in this many folds instead of on one validation part
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(2..=100))]
    pub(crate) folds: Option<u32>,
    /// Repeats, each with other folds
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) repeats: Option<u32>,
    /// Any setting of config.toml: settings.svm.c=3, network.copies=2 …; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,
    /// Try every value of a setting, and with several --try every combination: each is evaluated on the validation part or in
    /// folds in RUN/trials, and the best one becomes the run, which is evaluated on the test part; may be repeated
    #[arg(long = "try", value_name = "KEY=V1,V2…", value_parser = pair)]
    pub(crate) tries: Vec<(String, String)>,
    /// Try this many of the combinations of --try, drawn at random, instead of all
    #[arg(long, value_name = "N", requires = "tries", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) trials: Option<u32>,
    /// Seed of the random numbers: the same number gives the same result [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) random_seed: Option<u64>,
    /// Show what would be done, and write nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        // Only at the first `=`: values may hold more of them.
        Some((key, value)) if !key.is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(format!("expected KEY=VALUE, found \"{text}\"")),
    }
}

/// Show a run's results, compare runs, or score a submission against the true labels
///
/// Runs are compared on the tracks that both were evaluated on: the difference in accuracy, with an interval from a bootstrap
/// of whole groups.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin lab report run\n  voisin lab report run1 run2 --html compare.html\n  voisin lab report --submission submission.csv --truth truth.csv"
)]
pub(crate) struct EvalClassifierArgs {
    /// Folders of finished runs; others are compared with the first
    #[arg(value_name = "RUN", required_unless_present = "submission", conflicts_with = "submission", value_hint = ValueHint::DirPath)]
    pub(crate) runs: Vec<PathBuf>,
    /// Score a table of titles and labels
    #[arg(long, value_name = "FILE.csv", requires = "truth", value_hint = ValueHint::FilePath)]
    pub(crate) submission: Option<PathBuf>,
    /// The true labels
    #[arg(long, value_name = "FILE.csv", requires = "submission", value_hint = ValueHint::FilePath)]
    pub(crate) truth: Option<PathBuf>,
    /// Write the report or the comparison as a page
    #[arg(long, value_name = "FILE.html", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// Predict with a run of `voisin lab train`, instead of the library
///
/// DATA is files, folders, or one data set such as table:test.csv,audio=test.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin lab predict run ~/Music\n  voisin lab predict run table:test.csv,audio=test --submission answers.csv --like sample.csv\n  voisin lab predict run ~/Music --vectors inner.npy"
)]
pub(crate) struct PredictArgs {
    /// The run's folder
    #[arg(value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub(crate) run: PathBuf,
    /// Files, folders, or a data set
    #[arg(required = true, value_name = "DATA|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) tracks: Vec<OsString>,
    /// Write a submission for a challenge, one row for every requested title
    #[arg(long, value_name = "OUT.csv", value_hint = ValueHint::FilePath, group = "written")]
    pub(crate) submission: Option<PathBuf>,
    /// With --submission: take header, rows and their order from this table
    #[arg(long, value_name = "SAMPLE.csv", requires = "submission", value_hint = ValueHint::FilePath)]
    pub(crate) like: Option<PathBuf>,
    /// Write the numbers of a network's inner layer for each track instead, as float32 [tracks, numbers], with a table of the
    /// tracks beside it (OUT.csv): `voisin add --vectors OUT.npy --tracks OUT.csv --model NAME` makes a library of them
    #[arg(long, value_name = "OUT.npy", value_hint = ValueHint::FilePath, group = "written")]
    pub(crate) vectors: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) format: TableFormat,
}

/// Data sets, features and classifiers of your own, evaluated
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin lab data ~/genres\n  voisin lab train ~/genres run --algorithm svm,forest\n  voisin lab report run\n  voisin lab predict run ~/Music"
)]
pub(crate) struct LabArgs {
    #[command(subcommand)]
    pub(crate) command: LabCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    Data(DatasetArgs),
    Features(FeaturesArgs),
    Train(Box<TrainClassifierArgs>),
    Report(EvalClassifierArgs),
    Predict(PredictArgs),
    Eval(EvalArgs),
}
