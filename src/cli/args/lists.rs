//! `lists`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::{ListOutput, ReportFormat};
use voisin_players::mpd::PORT as MPD_PORT;
use voisin_players::upstream::ServerAddress;
use voisin_questions::saved::SavedQuestion;
use voisin_questions::spans::Seconds;

/// Save queries and send their results to players
///
/// A list is a saved query: similar tracks, a mix, a path, words, filters. It is run again whenever it is shown or pushed, so
/// that a mix differs each time and a list includes tracks added since. `push` makes it a playlist of a Subsonic server, of
/// MPD, or a file, and remembers where, so that `voisin lists push` alone, or `voisin serve --renew-lists 24h`, renews them
/// all.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  voisin lists save evening --template evening\n  voisin lists save 'like nina' mix 'nina simone sinnerman' --limit 40\n  voisin lists show evening\n  voisin lists push evening --folder ~/Music/playlists\n  voisin lists push evening --server http://127.0.0.1:4533 --user me\n  voisin lists push"
)]
pub(crate) struct ListsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ListsCommand>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ListsCommand {
    /// Save a query under a name, replacing one of that name
    #[command(
        after_help = "Examples:\n  voisin lists save today --template today\n  voisin lists save 'slow jazz' list --genre jazz --bpm -90 --limit 60\n  voisin lists save 'anything calm' mix --tag calm"
    )]
    Save {
        /// Name of the list
        #[arg(value_name = "NAME")]
        name: String,
        /// Save this template (see `voisin lists templates`)
        #[arg(long, value_name = "TEMPLATE")]
        template: Option<String>,
        #[command(subcommand)]
        question: Option<Box<SavedQuestion>>,
    },
    /// Run a list's query now
    #[command(
        after_help = "Examples:\n  voisin lists show evening\n  voisin lists show evening --random-seed 7 --format m3u8 > evening.m3u8"
    )]
    Show {
        /// The list
        #[arg(value_name = "NAME")]
        name: String,
        /// Seed of a mix's random numbers: the same number gives the same list [default: another each time, which is printed]
        #[arg(long, value_name = "N")]
        random_seed: Option<u64>,
        #[command(flatten)]
        output: ListOutput,
    },
    /// Delete a list; playlists that were pushed stay where they are
    #[command(after_help = "Example:\n  voisin lists remove evening")]
    Remove {
        /// The list
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Run lists' queries now and send the results to players
    #[command(
        after_help = "Examples:\n  voisin lists push\n  voisin lists push evening --folder ~/Music/playlists\n  voisin lists push jazz --folder ~/Music/playlists --smart\n  voisin lists push evening --server http://127.0.0.1:4533 --user me\n  voisin lists push evening --mpd"
    )]
    Push(PushListsArgs),
    /// Show the templates of lists
    #[command(after_help = "Example:\n  voisin lists templates")]
    Templates {
        /// Output format
        #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
        format: ReportFormat,
    },
}

#[derive(Debug, Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(crate) struct PushListsArgs {
    /// The lists [default: all that were pushed before]
    #[arg(value_name = "NAME")]
    pub(crate) name: Vec<String>,
    /// Make it a playlist of this server, whose songs are linked (see `voisin link`): with the Subsonic API, unless the next options
    /// name another. One list can be put on several servers, one command each
    #[arg(long, value_name = "URL", requires_all = ["user", "name"])]
    pub(crate) server: Option<ServerAddress>,
    /// The server is Jellyfin (10.9 or newer)
    #[arg(long, requires = "server", conflicts_with = "plex")]
    pub(crate) jellyfin: bool,
    /// The server is Plex, whose token (X-Plex-Token) is the password
    #[arg(long, requires = "server")]
    pub(crate) plex: bool,
    /// Your user name on that server
    #[arg(long, short, value_name = "NAME", requires = "server")]
    pub(crate) user: Option<String>,
    #[arg(help = "File that holds the password of the server's user in its first line [default: variable VOISIN_PASSWORD, else a prompt]", long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) password_file: Option<PathBuf>,
    /// Make it a stored playlist of MPD; its queue stays as it is
    #[arg(long, requires = "name")]
    pub(crate) mpd: bool,
    #[arg(
        help = "Where MPD is, as `voisin mpd` takes it [variable: MPD_HOST] [default: localhost]",
        long,
        value_name = "HOST",
        requires = "mpd"
    )]
    pub(crate) host: Option<String>,
    /// Its port
    #[arg(long, value_name = "PORT", requires = "mpd", default_value_t = MPD_PORT)]
    pub(crate) port: u16,
    /// Write it into this folder, as NAME.m3u8 with paths relative to it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "name")]
    pub(crate) folder: Option<PathBuf>,
    /// In that folder: write the rules of a Navidrome smart playlist (NAME.nsp) instead, which Navidrome evaluates itself; for
    /// `list` with filters that it supports
    #[arg(long, requires = "folder")]
    pub(crate) smart: bool,
    /// Replace a playlist of that name that this list did not make
    #[arg(long)]
    pub(crate) force: bool,
    /// Stop renewing it anywhere; existing playlists stay
    #[arg(long, requires = "name", conflicts_with_all = ["server", "mpd", "folder"])]
    pub(crate) forget: bool,
    /// Only lists that were last pushed longer ago than this
    #[arg(long, value_name = "TIME")]
    pub(crate) older_than: Option<Seconds>,
}
