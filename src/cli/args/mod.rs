//! The command line as clap reads it: one structure per verb, each with an example.
//!
//! For: what can be typed, how it is read, and what is said of a mistake. Not for: doing anything about it; that is
//! [`verbs`](super::verbs).

pub(crate) mod backend;
mod config;
mod eval;
mod eval_genre;
mod explore;
mod find;
mod genre;
mod groups;
mod keeping;
mod lab;
mod labels;
mod library;
mod list;
mod lists;
mod mistakes;
mod model;
mod scales;
mod search;
mod serve;
mod source;
mod space;
mod train;
mod undo;
mod units;

use std::collections::HashSet;
use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;

use crate::cli::render::screen::Colour;
use crate::cli::trace::TraceOptions;
use crate::cli::verbs::Command;
use clap::builder::{
    BoolishValueParser, PathBufValueParser, PossibleValue, PossibleValuesParser, TypedValueParser,
    ValueParser,
};
use clap::{ArgAction, Args, Parser, ValueHint};
use voisin_encoder::{CpuPath, DeviceChoice, Precision};
use voisin_index::GraphBuilder;
use voisin_questions::Filters;

pub(crate) use backend::{EvalIndexArgs, PullArgs, PushArgs, WorkerArgs};
pub(crate) use config::ConfigArgs;
pub(crate) use eval::{EmbeddingArgs, EvalArgs, EvalCommand, EvalOutput, RetrievalArgs};
pub(crate) use eval_genre::EvalGenreArgs;
pub(crate) use explore::{
    AlbumsArgs, ArtistsArgs, ClustersArgs, DuplicatesArgs, MakersArgs, MapArgs, MapColour,
    OutliersArgs, PathArgs, PlaylistArgs,
};
pub(crate) use find::FindArgs;
pub(crate) use genre::{ClassifyArgs, GenresArgs, SuspectsArgs};
pub(crate) use keeping::{BackupArgs, RelocateArgs, WatchArgs};
pub(crate) use lab::{
    AnswerArgs, DatasetArgs, EvalClassifierArgs, FeaturesArgs, TrainClassifierArgs,
};
pub(crate) use labels::{LabelsArgs, LabelsCommand};
pub(crate) use library::{
    AddArgs, DemoArgs, EmbedArgs, EmbedFormat, ExamineArgs, ExportArgs, FailedArgs, MergeArgs,
    RemoveArgs, RepairArgs, RetryArgs, StatusArgs, VerifyArgs, WindowCount,
};
pub(crate) use library::{EmbedParquetArgs, ExportFormat};
pub(crate) use list::{ListArgs, ShowArgs};
pub(crate) use lists::{ListsArgs, ListsCommand, PushListsArgs};
pub(crate) use mistakes::message;
pub(crate) use model::{
    Against, BenchArgs, BenchKind, CompletionsArgs, LibraryNames, ManArgs, ModelArgs, ModelCommand,
    NamesArgs,
};
pub(crate) use scales::{EvalScaleArgs, ScaleSource, ScalesArgs, ScalesCommand, TrainScaleArgs};
pub(crate) use search::{ListFormat, ListOutput, MixArgs, ReportFormat, SimilarArgs, TableFormat};
pub(crate) use serve::McpArgs;
pub(crate) use serve::{HeardArgs, LMS_PORT, LinkArgs, MpdArgs, MpdCommand, MpdCommon, ServeArgs};
pub(crate) use source::BackendArgs;
pub(crate) use space::{SpaceArgs, SpaceCommand};
pub(crate) use train::{TrainArgs, TrainCommand, TrainGenreArgs};
pub(crate) use undo::UndoArgs;
pub(crate) use units::RandomArgs;

/// An option that takes one of `names`, as the type's own [`FromStr`] reads them.
fn one_of<T>(
    names: impl IntoIterator<Item = impl Into<PossibleValue>>,
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

/// Finds tracks that sound alike, names their genres, and shows how genres cluster.
///
/// voisin listens to your music files, keeps one vector per track in a library of its own, and answers from there.
/// Your files are read, and changed only by `classify --write-tags`.
#[derive(Debug, Parser)]
#[command(
    name = "voisin",
    version,
    max_term_width = 110,
    propagate_version = true,
    after_help = "Start here:\n  voisin add ~/Music       analyse a folder (again later: only what changed)\n  voisin find calm guitar  what sounds like these words?\n  voisin similar id:1      what sounds like this track? (words of its name do as well)\n  voisin classify new.mp3  which genre is this?\n\nExit codes: 0 fine, 1 some files failed or nothing was found, 2 a mistake on the command line or a fault, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every verb takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    #[arg(help = "Folder of the library [variable: VOISIN_LIBRARY] [default: $XDG_DATA_HOME/voisin, that is ~/.local/share/voisin]", long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) library: Option<PathBuf>,
    #[arg(
        help = "Model: a name from `voisin model list`, a manifest, or a weights file [variable: VOISIN_MODEL]",
        long,
        global = true,
        value_name = "MODEL"
    )]
    pub(crate) model: Option<String>,
    #[arg(
        help = "Where the network runs: auto, cpu, cuda or cuda:N [variable: VOISIN_DEVICE] [default: auto]",
        long,
        global = true,
        value_name = "DEVICE"
    )]
    pub(crate) device: Option<DeviceChoice>,
    /// Who builds the graph of an index: voisin, or the crate `hnsw_rs`; in config.toml index-builder [default: voisin]
    #[arg(long, global = true, value_parser = one_of::<GraphBuilder>(["voisin", "hnsw_rs"]), value_name = "NAME")]
    pub(crate) index_builder: Option<GraphBuilder>,
    /// At most this many threads, everywhere [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Say nothing but results and errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more: each file, the device, the index
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    #[arg(
        help = "Colours: auto is on a terminal, unless NO_COLOR is set or TERM is dumb; CLICOLOR_FORCE is always [default: auto]",
        long,
        global = true,
        value_enum,
        value_name = "WHEN"
    )]
    pub(crate) color: Option<Colour>,
    /// Who computes on a CPU: voisin's own kernels, or Candle layer by layer (slow; for traces and checks)
    #[arg(long, global = true, value_parser = one_of::<CpuPath>(["fast", "candle"]), default_value = "fast")]
    pub(crate) engine: CpuPath,
    /// Number type of the network's products: f32, or bf16, which takes about half the time where the processor or GPU has
    /// it and moves a track's vector by a cosine of less than 0.001
    #[arg(long, global = true, default_value_t = Precision::F32, value_name = "f32|bf16")]
    pub(crate) dtype: Precision,
    #[command(flatten)]
    pub(crate) trace: TraceOptions,
}

/// Words of variables that say no.
const NO: [&str; 6] = ["0", "false", "no", "off", "n", "f"];

/// The command line, with the options that all commands take in the help of `voisin --help` alone, but for the library's.
pub(crate) fn command() -> clap::Command {
    // Global options stand once, in the help of `voisin` itself; below it they would fill each
    // screen.
    fn shorten(command: clap::Command) -> clap::Command {
        let hidden = command.mut_args(|option| {
            let hide =
                option.is_global_set() && option.get_id() != "library" || option.is_hide_set();
            option.hide(hide)
        });
        hidden.mut_subcommands(shorten)
    }
    fn with_paths_on_disk(command: clap::Command) -> clap::Command {
        let checked = command.mut_args(|option| {
            // By the type of the parser, so that a new option with a path is checked without being
            // listed anywhere.
            let is_path = option.get_value_parser().type_id() == ValueParser::path_buf().type_id();
            if is_path {
                option.value_parser(PathBufValueParser::new().try_map(units::on_disk))
            } else {
                option
            }
        });
        checked.mut_subcommands(with_paths_on_disk)
    }
    // A variable that is empty, or says no, is one that is not given: clap would count it for what options exclude.
    fn with_variables_as_meant(command: clap::Command) -> clap::Command {
        let meant = command.mut_args(|option| {
            let Some(value) = option.get_env().and_then(std::env::var_os) else {
                return option;
            };
            let is_switch = matches!(option.get_action(), ArgAction::SetTrue);
            let word = value.to_string_lossy().trim().to_ascii_lowercase();
            if word.is_empty() || is_switch && NO.contains(&word.as_str()) {
                option.env(None::<&str>)
            } else if is_switch {
                option.value_parser(BoolishValueParser::new())
            } else {
                option
            }
        });
        meant.mut_subcommands(with_variables_as_meant)
    }
    // Filters are the same for many verbs, and fill a screen.
    fn with_short_filters(command: clap::Command, known: &HashSet<clap::Id>) -> clap::Command {
        // Fewer than this take no more room than the line that would name them.
        const MANY: usize = 5;
        let is_filter = |option: &clap::Arg| {
            option.get_help_heading() == Some("Filters") && known.contains(option.get_id())
        };
        // Options that follow the filters in a structure inherit their heading.
        let command = command.mut_args(|option| {
            if option.get_help_heading() == Some("Filters") && !is_filter(&option) {
                option.help_heading(None::<&str>)
            } else {
                option
            }
        });
        let filters: Vec<String> = command
            .get_arguments()
            .filter(|option| is_filter(option))
            .filter_map(|option| Some(format!("--{}", option.get_long()?)))
            .collect();
        let command = if filters.len() < MANY {
            command
        } else {
            let examples = command.get_after_help().cloned().unwrap_or_default();
            let named = format!("Filters, as --help explains them: {}", filters.join(", "));
            command
                .mut_args(|option| {
                    let hide = is_filter(&option);
                    option.hide_short_help(hide)
                })
                .after_help(format!("{named}\n\n{examples}"))
                .after_long_help(examples)
        };
        command.mut_subcommands(|verb| with_short_filters(verb, known))
    }
    // Variables first: `build` copies global options into every verb as they are then.
    let mut command = with_variables_as_meant(<Cli as clap::CommandFactory>::command());
    command.build();
    let command = command.mut_args(|option| {
        let is_short = !option.is_global_set() || option.get_id() == "library";
        option.hide_short_help(!is_short)
    });
    let command = command.mut_subcommands(shorten);
    // Filters are told by the ids that their own structure defines, on a command made for that
    // alone.
    let known = Filters::augment_args(clap::Command::new("filters"));
    let known = known
        .get_arguments()
        .map(|filter| filter.get_id().clone())
        .collect();
    groups::with_groups(with_paths_on_disk(with_short_filters(command, &known)))
}

/// `voisin help terms`.
pub(crate) const TERMS: &str = "What the words in tables mean

similarity         cosine of two tracks' vectors less the library's mean, -1 to
                   1: higher is nearer, 0 no more alike than any two tracks of
                   this library
distance           1 - similarity, 0 to 2: lower is nearer; of two genres 0 to
                   1, the mean of three measures: centroids (the genres' mean
                   directions), neighbourhoods (their nearest tracks), votes
                   (neighbours of the one that belong to the other)
cohesion           mean similarity of tracks to their common direction: 1 if
                   all sound the same
lift (x2.0)        how many times as frequent here as in the whole library
share              part of the votes or of the tracks, in per cent
probability        calibrated: of answers at 80 %, four in five are right
head               a classifier trained on your genres by \"voisin train genre\"
neighbours         the labelled tracks that sound most alike; their genres vote
together, fused    head and neighbours as one answer
novelty            \"stranger than 48 %\": nearly half of the labelled tracks
                   are more familiar: nearer to the rest, of surer genre
artists left out   predicted by models trained without the artist: what to
                   expect of new music
calibration error  how far a probability is from how often it comes true, in
                   the mean
outlier's score    how many times the usual spread a track's distance to its
                   neighbours is above the median (robust standard deviations)
suspect's score    how much more probable the suggested genre is than the
                   track's own, -1 to 1
noise              tracks that belong to no cluster
generation         counts the changes of the library, so that a stale index is
                   noticed

Of the laboratory (docs/lab.md)

data set, label    tracks to learn from, and what is to be learnt of each; a
                   class is all tracks of one label
spectrogram        how loud each frequency is at each moment; mel bands are
                   narrow below and wide above, as the ear hears
MFCC               mel-frequency cepstral coefficients: the outline of a mel
                   spectrum in a few numbers
embedding          the numbers that a network gives for a piece of music, near
                   each other for what it hears as alike
training,          what is learnt from, what chooses among settings and epochs,
validation, test   and what judges once at the end
folds              parts by turns: each judged by what learnt from the others
leakage            what is on two sides of a split and makes figures too good
epoch, batch       once through all of the training part; what one step is of
overfitting        better and better on tracks that are learnt from, worse on
                   others
attractor          a class that is answered much more often than it occurs
window, crop       a piece of a track; \"local\" decisions are about it, \"global\"
                   ones about the track
anchor             what keeps tracks as near to each other as a pretrained
                   network has them";

#[derive(Debug, Args)]
pub(crate) struct TermsArgs {}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn short_help_shows_what_is_no_filter() {
        let short_help = |verb: &str| {
            let mut all = command();
            let found = all.find_subcommand_mut(verb).unwrap();
            found.render_help().to_string()
        };
        let playlist = short_help("playlist");
        let (options, filters) = playlist.split_once("Filters, as --help").unwrap();
        let (filters, _) = filters.split_once("\n\n").unwrap();
        for option in ["--length", "--limit", "--shuffle", "--seed", "--harmonic"] {
            assert!(options.contains(option), "{option}: {playlist}");
            let named: Vec<&str> = filters.split([',', ' ', '\n']).collect();
            assert!(!named.contains(&option), "{option}: {filters}");
        }
        assert!(options.contains("[default: 20]"), "{options}");
        assert!(filters.contains("--genre"), "{filters}");
        assert!(short_help("similar").contains("--max-per-artist <N>"));
    }

    #[test]
    fn examples_fit_a_line() {
        fn check(command: &clap::Command) {
            let examples = command.get_after_long_help().or(command.get_after_help());
            let examples = examples.map(ToString::to_string).unwrap_or_default();
            let mut is_continued = false;
            for line in examples.lines() {
                let is_example = is_continued || line.starts_with("  voisin ");
                assert!(!is_example || line.chars().count() <= 100, "{line}");
                is_continued = is_example && line.ends_with(" \\");
            }
            command.get_subcommands().for_each(check);
        }
        check(&command());
    }
}
