//! One file per verb: each takes its arguments, queries the library, and passes the result to `render`.
//!
//! Not for: code that two verbs share. That is in [`cli`](super), [`render`](super::render) or the engine.

use clap::{CommandFactory as _, Subcommand};

use super::Ending;
use super::args::{self, Cli};
use super::context::Context;
use super::database;
use voisin_explore::artists::Makers;

pub(super) mod add;
pub(super) mod artists;
pub(super) mod backup;
pub(super) mod classify;
pub(super) mod clusters;
pub(super) mod completions;
pub(super) mod dataset;
pub(super) mod demo;
pub(super) mod duplicates;
pub(super) mod embed;
pub(super) mod eval;
pub(super) mod export;
pub(super) mod failed;
pub(super) mod features;
pub(super) mod find;
pub(super) mod genres;
pub(super) mod labels;
pub(super) mod list;
pub(super) mod man;
pub(super) mod map;
pub(super) mod mcp;
pub(super) mod model;
pub(super) mod path;
pub(super) mod playlist;
pub(super) mod relocate;
pub(super) mod remove;
pub(super) mod retry;
pub(super) mod serve;
pub(super) mod show;
pub(super) mod similar;
pub(super) mod status;
pub(super) mod suspects;
pub(super) mod train;
pub(super) mod undo;
pub(super) mod verify;
pub(super) mod watch;
mod write_tags;

/// The verbs: for each its arguments, its group and place in `voisin --help`, the function that runs it, and `busy` if a
/// spinner is shown while it runs, since it may take long and has no progress display.
macro_rules! verbs {
    ($context:ident, $args:ident; $(
        $(#[$attribute:meta])*
        $verb:ident($arguments:ident) $(in $group:literal, $place:literal)? => $run:expr
        $(, $busy:ident)?;
    )*) => {
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command {
            $($(#[$attribute])* $verb(args::$arguments),)*
        }

        /// The verbs that the help lists, with their groups and places in them.
        pub(super) const LISTED: &[(&str, &str, u8)] =
            &[$($((stringify!($verb), $group, $place),)?)*];

        impl Command {
            pub(super) fn run(self, $context: &Context) -> anyhow::Result<Ending> {
                match self {
                    $(Self::$verb($args) => $run,)*
                }
            }

            /// Whether a spinner is shown while the verb runs.
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
    Demo(DemoArgs) in "Help", 1 => demo::run(context, &args);
    #[command(visible_alias = "scan")]
    Add(AddArgs) in "Library", 1 => add::run(context, args);
    Watch(WatchArgs) in "Library", 2 => watch::run(context, &args);
    Similar(SimilarArgs) in "Listen", 1 => similar::run(context, &args), busy;
    #[command(visible_alias = "ls")]
    List(ListArgs) in "Listen", 6 => list::run(context, &args), busy;
    Show(ShowArgs) in "Listen", 7 => show::run(context, &args), busy;
    Find(FindArgs) in "Listen", 2 => find::run(context, &args), busy;
    Classify(ClassifyArgs) in "Genres", 1 => classify::run(context, &args), busy;
    Genres(GenresArgs) in "Genres", 2 => genres::run(context, &args), busy;
    Labels(LabelsArgs) in "Genres", 3 => labels::run(context, &args), busy;
    Undo(UndoArgs) in "Genres", 7 => undo::run(context, &args), busy;
    Suspects(SuspectsArgs) in "Genres", 4 => suspects::run(context, &args), busy;
    Train(TrainArgs) in "Genres", 5 => train::run(context, &args.command);
    Eval(EvalArgs) in "Genres", 6 => eval::run(context, &args.command), busy;
    Clusters(ClustersArgs) in "Shape of the collection", 2 => clusters::run(context, &args), busy;
    Map(MapArgs) in "Shape of the collection", 1 => map::run(context, &args), busy;
    Path(PathArgs) in "Listen", 5 => path::run(context, &args), busy;
    Playlist(PlaylistArgs) in "Listen", 4 => playlist::run(context, &args), busy;
    Artists(ArtistsArgs) in "Shape of the collection", 3 => artists::artists(context, &args), busy;
    Albums(AlbumsArgs) in "Shape of the collection", 4
        => artists::run(context, Makers::Albums, &args.makers), busy;
    Duplicates(DuplicatesArgs) in "Shape of the collection", 5 => duplicates::run(context, &args);
    Serve(ServeArgs) in "Players", 1 => serve::run(context, args);
    Mcp(McpArgs) in "Players", 2 => mcp::run(context, &args);
    Dataset(DatasetArgs) in "Research", 1 => dataset::run(context, &args);
    Features(FeaturesArgs) in "Research", 2 => features::run(context, &args);
    Embed(EmbedArgs) in "Research", 3 => embed::run(context, &args);
    Status(StatusArgs) in "Library", 3 => status::run(context, &args), busy;
    Failed(FailedArgs) in "Library", 4 => failed::run(context, &args);
    Retry(RetryArgs) in "Library", 5 => retry::run(context, &args);
    Remove(RemoveArgs) in "Library", 6 => remove::run(context, &args), busy;
    Relocate(RelocateArgs) in "Library", 7 => relocate::run(context, &args), busy;
    Backup(BackupArgs) in "Library", 8 => backup::run(context, &args), busy;
    Verify(VerifyArgs) in "Library", 9 => verify::run(context, &args), busy;
    Export(ExportArgs) in "Research", 4 => export::run(context, &args), busy;
    Push(PushArgs) in "Several machines", 1 => database::push(context, &args);
    Pull(PullArgs) in "Several machines", 2 => database::pull(context, &args);
    Model(ModelArgs) in "Research", 5 => model::run(context, &args.command);
    Completions(CompletionsArgs) in "Help", 4 => completions::run(&Cli::command(), args.shell);
    Man(ManArgs) in "Help", 3 => man::run(Cli::command(), &args);
    #[command(hide = true)]
    LibraryNames(NamesArgs) => completions::names(context, &args);
}
