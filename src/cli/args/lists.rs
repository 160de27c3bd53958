//! `lists`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::{ListOutput, ReportFormat};
use voisin_players::mpd::PORT as MPD_PORT;
use voisin_players::upstream::ServerAddress;
use voisin_questions::saved::SavedQuestion;
use voisin_questions::spans::Seconds;

/// Keep questions under names, and put their answers where players find them
///
/// A list is a question: what sounds like something, a mix, a path, words, filters. It is asked anew whenever it is shown or
/// pushed, so that a mix is another one each time and a list has what was added since. `push` makes it a playlist of a
/// Subsonic server, of MPD, or a file, and remembers where, so that `voisin lists push` alone, or `voisin serve --renew-lists
/// 24h`, renews them all.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  voisin lists save evening --template evening\n  voisin lists save 'like nina' mix 'nina simone sinnerman' --limit 40\n  voisin lists show evening\n  voisin lists push evening --folder ~/Music/playlists\n  voisin lists push evening --server http://127.0.0.1:4533 --user me\n  voisin lists push"
)]
pub(crate) struct ListsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ListsCommand>,
    /// How the lists are printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ListsCommand {
    /// Keep a question under a name, in the place of one that has it
    #[command(
        after_help = "Examples:\n  voisin lists save today --template today\n  voisin lists save 'slow jazz' list --genre jazz --bpm -90 --limit 60\n  voisin lists save 'anything calm' mix --tag calm"
    )]
    Save {
        /// Name of the list
        #[arg(value_name = "NAME")]
        name: String,
        /// Keep one that is ready (see `voisin lists templates`)
        #[arg(long, value_name = "TEMPLATE")]
        template: Option<String>,
        #[command(subcommand)]
        question: Option<Box<SavedQuestion>>,
    },
    /// Ask a list's question now
    #[command(
        after_help = "Examples:\n  voisin lists show evening\n  voisin lists show evening --random-seed 7 --format m3u8 > evening.m3u8"
    )]
    Show {
        /// The list
        #[arg(value_name = "NAME")]
        name: String,
        /// Where the random numbers of a mix start: the same list again [default: another one each time, which is told]
        #[arg(long, value_name = "N")]
        random_seed: Option<u64>,
        #[command(flatten)]
        output: ListOutput,
    },
    /// Forget a list; what was pushed stays where it is
    #[command(after_help = "Example:\n  voisin lists remove evening")]
    Remove {
        /// The list
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Ask lists' questions now, and put the answers where players find them
    #[command(
        after_help = "Examples:\n  voisin lists push\n  voisin lists push evening --folder ~/Music/playlists\n  voisin lists push jazz --folder ~/Music/playlists --smart\n  voisin lists push evening --server http://127.0.0.1:4533 --user me\n  voisin lists push evening --mpd"
    )]
    Push(PushListsArgs),
    /// Show the lists that are ready to be kept
    #[command(after_help = "Example:\n  voisin lists templates")]
    Templates {
        /// How they are printed
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
    /// Make it a playlist of this server, whose songs are linked (see `voisin link`): of the Subsonic API, or as the next options say.
    /// One list can be put on several servers, one command each
    #[arg(long, value_name = "URL", requires_all = ["user", "name"])]
    pub(crate) server: Option<ServerAddress>,
    /// The server is Jellyfin (10.9 or newer)
    #[arg(long, requires = "server", conflicts_with = "plex")]
    pub(crate) jellyfin: bool,
    /// The server is Plex, whose token (X-Plex-Token) is the password
    #[arg(long, requires = "server")]
    pub(crate) plex: bool,
    /// Who you are there
    #[arg(long, short, value_name = "NAME", requires = "server")]
    pub(crate) user: Option<String>,
    #[arg(help = "File that holds the password of the server's user in its first line [default: variable VOISIN_PASSWORD, else you are asked]", long, value_name = "FILE", value_hint = ValueHint::FilePath)]
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
    /// In that folder: the rules of Navidrome's smart playlists (NAME.nsp) instead, which it follows by itself; for `list`
    /// with filters that it knows
    #[arg(long, requires = "folder")]
    pub(crate) smart: bool,
    /// Take the place of a playlist of that name that this list did not make
    #[arg(long)]
    pub(crate) force: bool,
    /// No longer put it anywhere: what is there stays
    #[arg(long, requires = "name", conflicts_with_all = ["server", "mpd", "folder"])]
    pub(crate) forget: bool,
    /// Only lists that were last pushed longer ago than this
    #[arg(long, value_name = "TIME")]
    pub(crate) older_than: Option<Seconds>,
}
