//! The command line as clap reads it: one structure per verb, each with an example.
//!
//! For: options, their parsing, and messages about invalid ones. Not for: running the verbs; that is
//! [`verbs`](super::verbs).

mod eval;
mod explore;
mod genre;
mod lab;
mod library;
mod search;
mod serve;
mod units;

use std::collections::HashSet;
use std::path::PathBuf;

use crate::cli::verbs::Command;
use clap::{Args, Parser, ValueHint};
use voisin::questions::Filters;
use voisin_encoder::DeviceChoice;

pub(crate) use eval::{EvalArgs, EvalCommand, EvalGenreArgs, EvalOutput, RetrievalArgs};
pub(crate) use explore::{
    ClustersArgs, DuplicatesArgs, FindArgs, ListArgs, MapArgs, PathArgs, PlaylistArgs, ShowArgs,
};
pub(crate) use genre::{
    ClassifyArgs, GenresArgs, LabelsArgs, LabelsCommand, SuspectsArgs, TagArgs, TrainArgs,
};
pub(crate) use lab::{
    DatasetArgs, EvalClassifierArgs, FeaturesArgs, LabArgs, LabCommand, PredictArgs,
    TrainClassifierArgs,
};
pub(crate) use library::{
    AddArgs, CompletionsArgs, DemoArgs, EmbedArgs, EmbedFormat, ExportArgs, ModelArgs,
    ModelCommand, PullArgs, PushArgs, RemoveArgs, StatusArgs, VerifyArgs,
};
pub(crate) use search::{
    By, ListFormat, ListOutput, Output, ReportFormat, SimilarArgs, TableFormat, check_csv_ending,
};
pub(crate) use serve::{McpArgs, ServeArgs};
pub(crate) use units::RandomArgs;

/// Finds tracks that sound alike, names their genres, and shows how genres cluster.
///
/// voisin analyses your music files and stores one vector per track in a library of its own, which it searches.
/// Your files are changed only by `tag`, and by `tag --undo`, which takes that back.
#[derive(Debug, Parser)]
#[command(
    name = "voisin",
    version,
    max_term_width = 110,
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
    #[arg(help = "Folder of the library, or for similar, list, show and classify postgresql://… [variable: VOISIN_LIBRARY] [default: $XDG_DATA_HOME/voisin, that is ~/.local/share/voisin]", long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
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
    /// Maximum number of threads [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Print only results and errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more: each file, the device, the index
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

/// The command line. The help of a verb has `--library` alone of the global options, and filters only if it is long.
pub(crate) fn command() -> clap::Command {
    fn shorten(command: clap::Command, filters: &HashSet<clap::Id>) -> clap::Command {
        let command = command.mut_args(|option| {
            let is_filter = filters.contains(option.get_id());
            // Options that follow the filters in a structure inherit their heading.
            let heading = option.get_help_heading().unwrap_or_default();
            let is_inherited = !is_filter && heading.starts_with("Filters");
            let option = if is_inherited {
                option.help_heading(None::<&str>)
            } else {
                option
            };
            let is_global = option.is_global_set() && option.get_id() != "library";
            let hide = is_global || option.is_hide_set();
            option.hide(hide).hide_short_help(is_filter)
        });
        command.mut_subcommands(|verb| shorten(verb, filters))
    }
    let filters = Filters::augment_args(clap::Command::new("filters"));
    let filters = filters.get_arguments().map(clap::Arg::get_id);
    let filters = filters.cloned().collect();
    let mut command = <Cli as clap::CommandFactory>::command();
    // Copies the global options into every verb.
    command.build();
    command.mut_subcommands(|verb| shorten(verb, &filters))
}

/// The command line with the verbs and options of the first screen alone, which is printed without any word.
pub(crate) fn first_screen() -> clap::Command {
    const FIRST: [&str; 9] = [
        "add",
        "similar",
        "find",
        "playlist",
        "classify",
        "genres",
        "map",
        "duplicates",
        "serve",
    ];
    command()
        .mut_subcommands(|verb| {
            let is_hidden = !FIRST.contains(&verb.get_name());
            verb.hide(is_hidden)
        })
        .mut_args(|option| {
            let is_hidden = option.is_global_set() && option.get_id() != "library";
            option.hide(is_hidden)
        })
        .disable_help_subcommand(true)
        .after_help(
            "voisin --help lists all commands and options, voisin COMMAND --help those of one.",
        )
}

#[cfg(test)]
mod tests {
    use super::{command, first_screen};

    fn words(command: &clap::Command) -> usize {
        let help = command.clone().term_width(110).render_long_help();
        let count = help.to_string().split_whitespace().count();
        let below = command.get_subcommands();
        let below = below.filter(|verb| verb.get_name() != "help");
        count + below.map(words).sum::<usize>()
    }

    #[test]
    fn help_is_short() {
        let screen = first_screen().term_width(80).render_help().to_string();
        assert!(screen.lines().count() <= 40, "{screen}");
        let mut all = command();
        let similar = all.find_subcommand_mut("similar").unwrap().clone();
        let similar = similar.term_width(110).render_help().to_string();
        assert!(similar.lines().count() <= 45, "{similar}");
        let words = words(&command());
        assert!(words <= 9_000, "{words}");
    }
}
