//! `serve`, `link`, `mpd`, `mcp`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::ReportFormat;
use voisin_http::listen::Listen;
use voisin_http::peer::Peer;
use voisin_players::upstream::ServerAddress;
use voisin_questions::spans::{Seconds, length};
use voisin_questions::{Filters, Mixing, ServerMixes};

/// Default port for Lyrion: that of bliss-mixer.
pub(crate) const LMS_PORT: u16 = 12_000;

/// Serve players, scripts and browsers over HTTP
///
/// The results of `similar`, `classify`, `path`, `playlist` and others are JSON under /api/v1 (docs/serve.md;
/// GET /api/v1/openapi.json describes all of it). By default the server listens only on this machine and requires a token,
/// which it creates at its first start and keeps in the library's folder. With --lan, phones and players of the same
/// network reach it, and their browsers sign in with a code of six digits. Tracks that `voisin add` adds appear while it
/// runs. Ctrl-C ends it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin serve\n  voisin serve --listen '[::1]:9000' --folder ~/Music\n  voisin serve --lan --folder ~/Music\n  curl -H \"Authorization: Bearer $(voisin serve --show-token)\" http://127.0.0.1:8766/api/v1/status"
)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(crate) struct ServeArgs {
    /// Address to listen on: HOST:PORT, or unix:PATH for a socket that only you can open (several: all of them)
    /// [variable: `VOISIN_SERVE_LISTEN`, with commas]
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8766",
        value_delimiter = ',',
        env = "VOISIN_SERVE_LISTEN",
        hide_env = true
    )]
    pub(crate) listen: Vec<Listen>,
    /// Allow other machines of this network: listen on all of this machine's addresses, and accept its host name too
    /// [variable: `VOISIN_SERVE_LAN`]
    #[arg(
        long,
        conflicts_with = "no_token",
        env = "VOISIN_SERVE_LAN",
        hide_env = true
    )]
    pub(crate) lan: bool,
    /// Accept requests for this host name or address too, besides this machine's own addresses; 0.0.0.0: for every address,
    /// as a container must (several: all of them) [variable: `VOISIN_SERVE_ALLOW_HOST`, with commas]
    #[arg(
        long,
        value_name = "HOST",
        value_delimiter = ',',
        env = "VOISIN_SERVE_ALLOW_HOST",
        hide_env = true
    )]
    pub(crate) allow_host: Vec<String>,
    /// Accept requests from pages of this origin too, such as `https://music.example` (several: all of them) [variable:
    /// `VOISIN_SERVE_ALLOW_ORIGIN`, with commas]
    #[arg(
        long,
        value_name = "ORIGIN",
        value_delimiter = ',',
        env = "VOISIN_SERVE_ALLOW_ORIGIN",
        hide_env = true
    )]
    pub(crate) allow_origin: Vec<String>,
    /// A proxy that forwards requests of others: the last address of its X-Forwarded-For is the client, for which wrong
    /// passwords and codes are counted and logged. An address, or `unix` for clients of a socket's file (several: all of
    /// them) [variable: `VOISIN_SERVE_TRUSTED_PROXY`, with commas]
    #[arg(
        long,
        value_name = "ADDRESS",
        value_delimiter = ',',
        env = "VOISIN_SERVE_TRUSTED_PROXY",
        hide_env = true
    )]
    pub(crate) trusted_proxy: Vec<Peer>,
    /// Open the page in this machine's browser
    #[arg(long)]
    pub(crate) open: bool,
    /// File of the token, created if missing [variable: `VOISIN_SERVE_TOKEN_FILE`] [default: serve.token in the library's
    /// folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "VOISIN_SERVE_TOKEN_FILE", hide_env = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Require no token; only where no other machine can reach the server [variable: `VOISIN_SERVE_NO_TOKEN`]
    #[arg(long, conflicts_with_all = ["token_file", "show_token"], env = "VOISIN_SERVE_NO_TOKEN", hide_env = true)]
    pub(crate) no_token: bool,
    /// File whose first line is a password that signs browsers in, besides codes and the token, and whose optional second line
    /// is a password for guests; preferably as hashes, which --hash-password prints [variable: `VOISIN_SERVE_SIGN_IN_FILE`]
    #[arg(long, value_name = "FILE", conflicts_with = "no_token", env = "VOISIN_SERVE_SIGN_IN_FILE", hide_env = true, value_hint = ValueHint::FilePath)]
    pub(crate) sign_in_file: Option<PathBuf>,
    /// Prompt for a password, or read it from standard input, print its hash for --sign-in-file (Argon2id), and end
    #[arg(long, conflicts_with = "show_token")]
    pub(crate) hash_password: bool,
    /// Print the token and end
    #[arg(long)]
    pub(crate) show_token: bool,
    /// Folder of music (several: all of them): new and changed files are added, at the start and from then on [variable:
    /// `VOISIN_SERVE_FOLDER`, several as in PATH]
    #[arg(long, alias = "watch", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: Vec<PathBuf>,
    /// Scan the folders on request only: on the page, or by POST /api/v1/scan [variable: `VOISIN_SERVE_NO_WATCH`]
    #[arg(long, env = "VOISIN_SERVE_NO_WATCH", hide_env = true)]
    pub(crate) no_watch: bool,
    /// Proxy this Subsonic server: requests for similar songs are answered, all others are forwarded (docs/players.md; run
    /// `voisin link` first) [variable: `VOISIN_SERVE_SUBSONIC`]
    #[arg(
        long,
        value_name = "URL",
        env = "VOISIN_SERVE_SUBSONIC",
        hide_env = true
    )]
    pub(crate) subsonic: Option<ServerAddress>,
    /// Run `voisin link` with that server whenever the library has tracks that are not linked yet, as this user, with the
    /// password of --password-file [variable: `VOISIN_SERVE_LINK_AS`]
    #[arg(
        long,
        value_name = "NAME",
        env = "VOISIN_SERVE_LINK_AS",
        hide_env = true,
        requires = "subsonic"
    )]
    pub(crate) link_as: Option<String>,
    /// Serve the requests that plugins send to AudioMuse-AI, with the ids of this linked server [variable:
    /// `VOISIN_SERVE_AUDIOMUSE`]
    #[arg(
        long,
        value_name = "URL",
        env = "VOISIN_SERVE_AUDIOMUSE",
        hide_env = true
    )]
    pub(crate) audiomuse: Option<ServerAddress>,
    /// Serve Lyrion's plugin Bliss Mixer on a separate port, which only this machine reaches and which needs no token
    /// [variable: `VOISIN_SERVE_LMS`]
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "12000", env = "VOISIN_SERVE_LMS", hide_env = true)]
    pub(crate) lms: Option<u16>,
    /// Defaults and filters of players' mixes: options of `voisin mix` without dashes, such as
    /// `max-per-artist=2,near-only,exclude-genre=Audiobook` [variable: `VOISIN_SERVE_MIX`]
    #[arg(long, value_name = "OPTIONS", env = "VOISIN_SERVE_MIX", hide_env = true, default_value = "", hide_default_value = true, value_parser = ServerMixes::read)]
    pub(crate) mix: ServerMixes,
    /// Renew lists that were pushed longer ago than this, such as 24h (see `voisin lists`) [variable:
    /// `VOISIN_SERVE_RENEW_LISTS`]
    #[arg(long, value_name = "TIME", env = "VOISIN_SERVE_RENEW_LISTS", hide_env = true, value_parser = length)]
    pub(crate) renew_lists: Option<Seconds>,
    /// File that holds the password of a server's user, for --link-as and --renew-lists, in its first line [variable:
    /// `VOISIN_SERVE_PASSWORD_FILE`] [default: variable `VOISIN_PASSWORD`]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "VOISIN_SERVE_PASSWORD_FILE", hide_env = true)]
    pub(crate) password_file: Option<PathBuf>,
    /// Report the port to this Lyrion server
    #[arg(long, value_name = "URL", hide = true, requires = "lms")]
    pub(crate) lms_report: Option<ServerAddress>,
    /// Serve only Lyrion
    #[arg(long, hide = true, requires = "lms")]
    pub(crate) lms_only: bool,
    /// Put this before every path, for a proxy that passes it on: /voisin [variable: `VOISIN_SERVE_BASE_PATH`]
    #[arg(long, value_name = "PATH", env = "VOISIN_SERVE_BASE_PATH", hide_env = true, default_value = "", hide_default_value = true, value_parser = base_path)]
    pub(crate) base_path: String,
}

/// Find a media server's songs in the library, so that players can use its ids
///
/// Fetches the songs of a Subsonic server (Navidrome, gonic, Ampache, supysonic and others) or Jellyfin, and matches each to a
/// track: by the end of its path, MBID, ISRC, or title, artists, album and length. Run it again when music was added, or let
/// `voisin serve --link-as` do so. Neither password nor name is stored.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin link http://127.0.0.1:4533 --user me\n  voisin link http://127.0.0.1:4533 --user me --password-file ~/.navidrome --format json\n  voisin link"
)]
pub(crate) struct LinkArgs {
    /// Address of the server [default: show the servers that are linked]
    #[arg(value_name = "URL", requires = "user")]
    pub(crate) server: Option<ServerAddress>,
    /// User name on that server
    #[arg(long, short, value_name = "NAME", requires = "server")]
    pub(crate) user: Option<String>,
    #[arg(help = "File that holds the password in its first line [default: variable VOISIN_PASSWORD, else a prompt]", long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "server")]
    pub(crate) password_file: Option<PathBuf>,
    /// It is a Jellyfin server
    #[arg(long, requires = "server", conflicts_with = "plex")]
    pub(crate) jellyfin: bool,
    /// It is a Plex server, whose token (X-Plex-Token) is the password
    #[arg(long, requires = "server")]
    pub(crate) plex: bool,
    /// Delete the ids of this server
    #[arg(long, value_name = "URL", conflicts_with_all = ["server", "user", "password_file"])]
    pub(crate) forget: Option<ServerAddress>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// Import listening history and ratings for mixes
///
/// `voisin serve --subsonic` records by itself which songs its users' players report as played, starred and rated. This command
/// imports exports of `ListenBrainz`, unpacked (listens and feedback, a JSON object a line), and of Last.fm: JSON of its API, or
/// CSV with the columns uts, artist, album and track, or artist, album, track and date without a heading. A file with "loved" in
/// its name has loved tracks instead of plays. Malformed lines are reported and skipped. Mixes then leave out disliked songs and
/// those played within a day, and prefer songs that are liked or played often (`voisin mix --taste`, `--not-heard`). The history
/// stays in the library.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin heard ~/listenbrainz_me --listener me\n  voisin heard\n  voisin heard --forget me"
)]
pub(crate) struct HeardArgs {
    /// Files of listens or feedback, or the folder of an export [default: show the listeners]
    #[arg(value_name = "EXPORT", value_hint = ValueHint::AnyPath)]
    pub(crate) file: Vec<PathBuf>,
    /// Name of the listener, as in players
    #[arg(long, value_name = "NAME", default_value = "me")]
    pub(crate) listener: String,
    /// Delete the history and ratings of this listener
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    pub(crate) forget: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// Fill MPD's queue with songs that sound like the current one
///
/// The current song keeps playing. Songs are matched by the end of their path, so MPD's music folder need not be given; both
/// must have the same files. Random order is refused, because it would undo the order of the list.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin mpd playlist --limit 30\n  voisin mpd similar --limit 3\n  voisin mpd follow"
)]
pub(crate) struct MpdArgs {
    #[command(subcommand)]
    pub(crate) command: MpdCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MpdCommand {
    /// Replace the rest of the queue with a playlist around the current song
    #[command(after_help = "Example:\n  voisin mpd playlist --limit 30 --max-per-artist 1")]
    Playlist {
        #[command(flatten)]
        common: MpdCommon,
        /// Number of songs, without the current one
        #[arg(long, short, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Keep the queue and append the list
        #[arg(long)]
        keep_queue: bool,
    },
    /// Insert the songs nearest to the current one right after it
    #[command(after_help = "Example:\n  voisin mpd similar --limit 3")]
    Similar {
        #[command(flatten)]
        common: MpdCommon,
        /// Number of songs
        #[arg(long, short, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Keep the queue filled until Ctrl-C: added songs are near to those played last, and none comes twice
    #[command(after_help = "Example:\n  voisin mpd follow --ahead 3")]
    Follow {
        #[command(flatten)]
        common: MpdCommon,
        /// Number of songs to keep queued after the current one
        #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        ahead: u32,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct MpdCommon {
    #[arg(
        help = "Where MPD is: a host, PASSWORD@HOST, the path of a socket, or @NAME [variable: MPD_HOST] [default: localhost]",
        long,
        value_name = "HOST"
    )]
    pub(crate) host: Option<String>,
    #[arg(
        help = "Its port [variable: MPD_PORT] [default: 6600]",
        long,
        value_name = "PORT"
    )]
    pub(crate) port: Option<u16>,
    #[command(flatten)]
    pub(crate) filters: Filters,
    #[command(flatten)]
    pub(crate) mixing: Mixing,
}

/// Serve an assistant over the Model Context Protocol, on standard input and output
///
/// The assistant starts this itself; its settings name the command (docs/serve.md). Its tools are named like the verbs:
/// similar, mix, find, words, list, show, classify, path, playlist, lists, `list_now`, genres, clusters, suspects, duplicates, status.
/// None of them changes the library or a file. It ends when the assistant closes standard input.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin mcp\n  voisin mcp --library ~/jazz\n\nIn an assistant's settings:\n  {\"mcpServers\": {\"voisin\": {\"command\": \"voisin\", \"args\": [\"mcp\"]}}}"
)]
pub(crate) struct McpArgs {}

fn base_path(text: &str) -> Result<String, String> {
    // It is prepended to every path of the page and of redirects: no quotes, no dot segments, no
    // "//host".
    let path = text.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    let parts_fit = path
        .split('/')
        .skip(1)
        .all(|part| !part.is_empty() && part != "." && part != "..");
    if path.is_empty() || (path.starts_with('/') && path.chars().all(plain) && parts_fit) {
        return Ok(path.to_owned());
    }
    Err(format!("expected a path such as /voisin, found \"{text}\""))
}
