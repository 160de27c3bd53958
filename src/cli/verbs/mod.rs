//! One file a verb: each takes its arguments, asks the library, and hands the answer to `render`.
//!
//! Not for: what two verbs need. That has a file in [`cli`](super), [`render`](super::render) or the engine.

use clap::{CommandFactory as _, Subcommand};

use super::Ending;
use super::args::{
    AddArgs, AlbumsArgs, ArtistsArgs, BackupArgs, BenchArgs, ClassifyArgs, Cli, ClustersArgs,
    CompletionsArgs, ConfigArgs, DatasetArgs, DemoArgs, DuplicatesArgs, EmbedArgs, EvalArgs,
    ExamineArgs, ExportArgs, FailedArgs, FeaturesArgs, FindArgs, GenresArgs, HeardArgs, LabelsArgs,
    LinkArgs, ListArgs, ListsArgs, ManArgs, MapArgs, McpArgs, MergeArgs, MixArgs, ModelArgs,
    MpdArgs, NamesArgs, OutliersArgs, PathArgs, PlaylistArgs, PullArgs, PushArgs, RelocateArgs,
    RemoveArgs, RepairArgs, RetryArgs, ScalesArgs, ServeArgs, ShowArgs, SimilarArgs, SpaceArgs,
    StatusArgs, SuspectsArgs, TERMS, TermsArgs, TrainArgs, UndoArgs, VerifyArgs, WatchArgs,
    WorkerArgs,
};
use super::context::Context;
use super::database;
use voisin_explore::artists::Makers;

pub(super) mod add;
pub(super) mod artists;
pub(super) mod backup;
pub(super) mod bench;
pub(super) mod classify;
pub(super) mod clusters;
pub(super) mod completions;
pub(super) mod config;
pub(super) mod dataset;
pub(super) mod demo;
pub(super) mod duplicates;
pub(super) mod embed;
pub(super) mod eval;
pub(super) mod examine;
pub(super) mod export;
pub(super) mod failed;
pub(super) mod features;
pub(super) mod find;
pub(super) mod genres;
pub(super) mod heard;
pub(super) mod labels;
pub(super) mod link;
pub(super) mod list;
pub(super) mod lists;
pub(super) mod man;
pub(super) mod map;
pub(super) mod mcp;
pub(super) mod merge;
pub(super) mod mix;
pub(super) mod model;
pub(super) mod mpd;
pub(super) mod outliers;
pub(super) mod path;
pub(super) mod playlist;
pub(super) mod relocate;
pub(super) mod remove;
pub(super) mod repair;
pub(super) mod retry;
pub(super) mod scales;
pub(super) mod serve;
pub(super) mod show;
pub(super) mod similar;
pub(super) mod space;
pub(super) mod status;
pub(super) mod suspects;
pub(super) mod terms;
pub(super) mod train;
pub(super) mod undo;
pub(super) mod verify;
pub(super) mod watch;
mod write_tags;

/// The verbs: for each its arguments, the function that runs it, and `busy` where a spinner shows that it is at work, since
/// it may take long and shows no progress by itself.
macro_rules! verbs {
    ($context:ident, $args:ident; $(
        $(#[$attribute:meta])* $verb:ident($arguments:ty) => $run:expr $(, $busy:ident)?;
    )*) => {
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command {
            $($(#[$attribute])* $verb($arguments),)*
        }

        impl Command {
            pub(super) fn run(self, $context: &Context) -> anyhow::Result<Ending> {
                match self {
                    $(Self::$verb($args) => $run,)*
                }
            }

            /// Whether a spinner shows that the verb is at work.
            pub(super) fn is_busy(&self) -> bool {
                match self {
                    $(Self::$verb(_) => verbs!(@is_busy $($busy)?),)*
                }
            }
        }
    };
    (@is_busy) => { false };
    (@is_busy busy) => { true };
}

verbs! {
    context, args;
    Demo(DemoArgs) => demo::run(context, &args);
    #[command(visible_alias = "scan")]
    Add(AddArgs) => add::run(context, args);
    Watch(WatchArgs) => watch::run(context, &args);
    Similar(SimilarArgs) => similar::run(context, &args), busy;
    Mix(MixArgs) => mix::run(context, &args), busy;
    #[command(visible_alias = "ls")]
    List(ListArgs) => list::run(context, &args), busy;
    Show(ShowArgs) => show::run(context, &args), busy;
    Find(FindArgs) => find::run(context, &args), busy;
    Classify(ClassifyArgs) => classify::run(context, &args), busy;
    Genres(GenresArgs) => genres::run(context, &args), busy;
    Labels(LabelsArgs) => labels::run(context, &args), busy;
    Undo(UndoArgs) => undo::run(context, &args), busy;
    Suspects(SuspectsArgs) => suspects::run(context, &args), busy;
    Scales(ScalesArgs) => scales::run(context, &args), busy;
    Train(TrainArgs) => train::run(context, &args.command);
    Eval(EvalArgs) => eval::run(context, &args.command), busy;
    Clusters(ClustersArgs) => clusters::run(context, &args), busy;
    Map(MapArgs) => map::run(context, &args), busy;
    Path(PathArgs) => path::run(context, &args), busy;
    Playlist(PlaylistArgs) => playlist::run(context, &args), busy;
    Lists(ListsArgs) => lists::run(context, &args), busy;
    Artists(ArtistsArgs) => artists::artists(context, &args), busy;
    Albums(AlbumsArgs) => artists::run(context, Makers::Albums, &args.makers), busy;
    Duplicates(DuplicatesArgs) => duplicates::run(context, &args);
    Outliers(OutliersArgs) => outliers::run(context, &args), busy;
    Serve(ServeArgs) => serve::run(context, args);
    Link(LinkArgs) => link::run(context, &args);
    Heard(HeardArgs) => heard::run(context, &args);
    Mpd(MpdArgs) => mpd::run(context, &args);
    Mcp(McpArgs) => mcp::run(context, &args);
    Dataset(DatasetArgs) => dataset::run(context, &args);
    Features(FeaturesArgs) => features::run(context, &args);
    Embed(EmbedArgs) => embed::run(context, &args);
    Status(StatusArgs) => status::run(context, &args), busy;
    Failed(FailedArgs) => failed::run(context, &args);
    Retry(RetryArgs) => retry::run(context, &args);
    Remove(RemoveArgs) => remove::run(context, &args), busy;
    Relocate(RelocateArgs) => relocate::run(context, &args), busy;
    Backup(BackupArgs) => backup::run(context, &args), busy;
    Verify(VerifyArgs) => verify::run(context, &args), busy;
    Repair(RepairArgs) => repair::run(context, &args), busy;
    Export(ExportArgs) => export::run(context, &args), busy;
    Merge(MergeArgs) => merge::run(context, &args), busy;
    Push(PushArgs) => database::push(context, &args);
    Pull(PullArgs) => database::pull(context, &args);
    Worker(WorkerArgs) => database::worker(context, &args);
    Bench(BenchArgs) => bench::run(context, &args);
    Model(ModelArgs) => model::run(context, &args.command);
    Space(SpaceArgs) => space::run(context, &args.command);
    Config(ConfigArgs) => config::run(context, &args);
    Completions(CompletionsArgs) => completions::run(&Cli::command(), args.shell);
    Man(ManArgs) => man::run(Cli::command(), &args);
    /// Meaning of the words in tables
    #[command(long_about = TERMS, after_help = "Example:\n  voisin help terms")]
    Terms(TermsArgs) => terms::run(&args);
    #[command(hide = true)]
    Examine(ExamineArgs) => examine::run(args);
    #[command(hide = true)]
    LibraryNames(NamesArgs) => completions::names(context, &args);
}
