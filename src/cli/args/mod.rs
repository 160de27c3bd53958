//! The command line as clap reads it: one structure per verb, each with an example.
//!
//! For: options, their parsing, and messages about invalid ones. Not for: running the verbs; that is
//! [`verbs`](super::verbs).

pub(crate) mod backend;
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
mod mistakes;
mod model;
mod search;
mod serve;
mod source;
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
    PathBufValueParser, PossibleValue, PossibleValuesParser, TypedValueParser, ValueParser,
};
use clap::{Args, Parser, ValueHint};
use voisin_encoder::{CpuPath, DeviceChoice};
use voisin_index::GraphBuilder;
use voisin_questions::Filters;

pub(crate) use backend::{PullArgs, PushArgs};
pub(crate) use eval::{EvalArgs, EvalCommand, EvalOutput, RetrievalArgs};
pub(crate) use eval_genre::EvalGenreArgs;
pub(crate) use explore::{
    AlbumsArgs, ArtistsArgs, ClustersArgs, DuplicatesArgs, MakersArgs, MapArgs, PathArgs,
    PlaylistArgs,
};
pub(crate) use find::FindArgs;
pub(crate) use genre::{ClassifyArgs, GenresArgs, SuspectsArgs};
pub(crate) use keeping::{BackupArgs, RelocateArgs, WatchArgs};
pub(crate) use lab::{
    AnswerArgs, DatasetArgs, EvalClassifierArgs, FeaturesArgs, TrainClassifierArgs,
};
pub(crate) use labels::{LabelsArgs, LabelsCommand};
pub(crate) use library::{
    AddArgs, DemoArgs, EmbedArgs, EmbedFormat, ExportArgs, FailedArgs, RemoveArgs, RetryArgs,
    StatusArgs, VerifyArgs, WindowCount,
};
pub(crate) use library::{EmbedParquetArgs, ExportFormat};
pub(crate) use list::{ListArgs, ShowArgs};
pub(crate) use mistakes::message;
pub(crate) use model::{
    CompletionsArgs, LibraryNames, ManArgs, ModelArgs, ModelCommand, NamesArgs,
};
pub(crate) use search::{
    ListFormat, ListOutput, ReportFormat, SimilarArgs, TableFormat, check_csv_ending,
};
pub(crate) use serve::{McpArgs, ServeArgs};
pub(crate) use source::BackendArgs;
pub(crate) use train::{TrainArgs, TrainCommand, TrainGenreArgs};
pub(crate) use undo::UndoArgs;
pub(crate) use units::RandomArgs;

/// A parser that accepts one of `names` and converts it by the type's [`FromStr`].
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
/// voisin analyses your music files and stores one vector per track in a library of its own, which it searches.
/// Your files are changed only by `classify --write-tags`, and by `undo`, which takes that back.
#[derive(Debug, Parser)]
#[command(
    name = "voisin",
    version,
    max_term_width = 110,
    propagate_version = true,
    after_help = "Start here:\n  voisin add ~/Music       analyse a folder (again later: only what changed)\n  voisin find calm guitar  what sounds like these words?\n  voisin similar id:1      what sounds like this track? (or words of its name)\n  voisin classify new.mp3  which genre is this?\n\nExit codes: 0 success, 1 some files failed or nothing was found, 2 an invalid command line or an error, 130 interrupted."
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
    /// Implementation that builds an index's graph: voisin, or the crate `hnsw_rs` [default: voisin]
    #[arg(long, global = true, value_parser = one_of::<GraphBuilder>(["voisin", "hnsw_rs"]), value_name = "NAME")]
    pub(crate) index_builder: Option<GraphBuilder>,
    /// Maximum number of threads [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Print only results and errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more: each file, the device, the index
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    #[arg(
        help = "Colours; auto: on a terminal, unless NO_COLOR is set or TERM is dumb; CLICOLOR_FORCE has the effect of always [default: auto]",
        long,
        global = true,
        value_enum,
        value_name = "WHEN"
    )]
    pub(crate) color: Option<Colour>,
    /// Implementation of the network on a CPU: voisin's own kernels, or Candle layer by layer (slow; for traces and checks)
    #[arg(long, global = true, value_parser = one_of::<CpuPath>(["fast", "candle"]), default_value = "fast")]
    pub(crate) engine: CpuPath,
    #[command(flatten)]
    pub(crate) trace: TraceOptions,
}

/// The command line. Of the global options, the help of a verb shows only `--library`.
pub(crate) fn command() -> clap::Command {
    // Global options are listed only in the help of `voisin` itself, since they would fill the screen.
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
            // By the type of the parser, so that every new option with a path is checked.
            let is_path = option.get_value_parser().type_id() == ValueParser::path_buf().type_id();
            if is_path {
                option.value_parser(PathBufValueParser::new().try_map(units::on_disk))
            } else {
                option
            }
        });
        checked.mut_subcommands(with_paths_on_disk)
    }
    // The short help names filters without explaining them: many verbs have the same, and they fill a screen.
    fn with_short_filters(command: clap::Command, known: &HashSet<clap::Id>) -> clap::Command {
        // Fewer filters take no more room than the line that would name them.
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
    // Before `build`, which copies the global options into every verb.
    let mut command = <Cli as clap::CommandFactory>::command();
    command.build();
    let command = command.mut_args(|option| {
        let is_short = !option.is_global_set() || option.get_id() == "library";
        option.hide_short_help(!is_short)
    });
    let command = command.mut_subcommands(shorten);
    // A filter is recognised by its id: a separate command provides those of the structure.
    let known = Filters::augment_args(clap::Command::new("filters"));
    let known = known
        .get_arguments()
        .map(|filter| filter.get_id().clone())
        .collect();
    groups::with_groups(with_paths_on_disk(with_short_filters(command, &known)))
}

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
        for option in ["--length", "--limit", "--shuffle", "--seed", "--variety"] {
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
