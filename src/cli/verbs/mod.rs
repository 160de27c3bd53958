//! One file per verb: each takes its arguments, queries the library, and passes the result to `render`.
//!
//! Not for: code that two verbs share. That is in [`cli`](super), [`render`](super::render) or the engine.

use clap::Subcommand;

use super::Ending;
use super::args;
use super::context::Context;
use super::database;

mod add;
mod artists;
mod classify;
mod clusters;
mod completions;
mod demo;
mod duplicates;
mod embed;
mod export;
mod find;
mod genres;
mod lab;
mod labels;
mod list;
mod map;
mod mcp;
mod model;
mod path;
mod playlist;
mod remove;
mod retry;
mod serve;
mod show;
mod similar;
mod status;
mod suspects;
mod tag;
mod train;
mod undo;
mod verify;
mod watch;

/// The verbs, in the order in which a new user needs them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(args::DemoArgs),
    #[command(visible_alias = "scan")]
    Add(Box<args::AddArgs>),
    Similar(Box<args::SimilarArgs>),
    Find(Box<args::FindArgs>),
    Playlist(Box<args::PlaylistArgs>),
    Path(Box<args::PathArgs>),
    #[command(visible_alias = "ls")]
    List(Box<args::ListArgs>),
    Show(args::ShowArgs),
    Classify(Box<args::ClassifyArgs>),
    Genres(args::GenresArgs),
    Labels(args::LabelsArgs),
    Train(args::TrainArgs),
    Tag(Box<args::TagArgs>),
    Map(args::MapArgs),
    Clusters(Box<args::ClustersArgs>),
    Duplicates(args::DuplicatesArgs),
    Serve(Box<args::ServeArgs>),
    Mcp(args::McpArgs),
    Status(args::StatusArgs),
    Remove(args::RemoveArgs),
    Verify(args::VerifyArgs),
    Export(args::ExportArgs),
    Push(args::PushArgs),
    Pull(args::PullArgs),
    Model(args::ModelArgs),
    Lab(args::LabArgs),
    Embed(args::EmbedArgs),
    Completions(args::CompletionsArgs),
}

impl Command {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Ending> {
        match self {
            Self::Demo(args) => demo::run(context, &args),
            Self::Add(args) => add::run(context, &args),
            Self::Similar(args) => similar::run(context, &args),
            Self::Find(args) => find::run(context, &args),
            Self::Playlist(args) => playlist::run(context, &args),
            Self::Path(args) => path::run(context, &args),
            Self::List(args) => list::run(context, &args),
            Self::Show(args) => show::run(context, &args),
            Self::Classify(args) => classify::run(context, &args),
            Self::Genres(args) => genres::run(context, &args),
            Self::Labels(args) => labels::run(context, &args),
            Self::Train(args) => train::run(context, &args),
            Self::Tag(args) => tag::run(context, &args),
            Self::Map(args) => map::run(context, &args),
            Self::Clusters(args) => clusters::run(context, &args),
            Self::Duplicates(args) => duplicates::run(context, &args),
            Self::Serve(args) => serve::run(context, *args),
            Self::Mcp(args) => mcp::run(context, &args),
            Self::Status(args) => status::run(context, &args),
            Self::Remove(args) => remove::run(context, &args),
            Self::Verify(args) => verify::run(context, &args),
            Self::Export(args) => export::run(context, &args),
            Self::Push(args) => database::push(context, &args),
            Self::Pull(args) => database::pull(context, &args),
            Self::Model(args) => model::run(context, &args.command),
            Self::Lab(args) => lab::run(context, &args.command),
            Self::Embed(args) => embed::run(context, &args),
            Self::Completions(args) => completions::run(args::command(), args.shell),
        }
    }

    /// Whether it can ask a library in a database.
    pub(super) fn asks_a_database(&self) -> bool {
        matches!(
            self,
            Self::Similar(_) | Self::List(_) | Self::Show(_) | Self::Classify(_)
        )
    }

    /// Whether a spinner is shown while the verb runs: those with a display of their own, or none, are excepted.
    pub(super) fn is_busy(&self) -> bool {
        !matches!(
            self,
            Self::Demo(_)
                | Self::Add(_)
                | Self::Train(_)
                | Self::Duplicates(_)
                | Self::Serve(_)
                | Self::Mcp(_)
                | Self::Lab(_)
                | Self::Embed(_)
                | Self::Push(_)
                | Self::Pull(_)
                | Self::Model(_)
                | Self::Completions(_)
        )
    }
}
