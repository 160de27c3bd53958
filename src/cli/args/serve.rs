//! `serve`, `link`, `mpd`, `mcp`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::ReportFormat;
use voisin_http::listen::Listen;
use voisin_http::peer::Peer;
use voisin_players::upstream::ServerAddress;
use voisin_questions::spans::{Seconds, length};
use voisin_questions::{Filters, Mixing, ServerMixes};

/// Lyrion's port where nobody says another: that of bliss-mixer.
pub(crate) const LMS_PORT: u16 = 12_000;

/// Answer players, scripts and browsers over HTTP
///
/// What `similar`, `classify`, `path`, `playlist` and the others say, as JSON under /api/v1 (docs/serve.md;
/// GET /api/v1/openapi.json describes all of it). The server listens on this machine alone, unless told otherwise, and asks
/// for a token, which it makes at its first start and keeps in the library's folder. With --lan telephones and players of
/// the same network reach it, and a code of six digits lets their browsers in. It sees what `voisin add` adds meanwhile.
/// Ctrl-C ends it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin serve\n  voisin serve --listen '[::1]:9000' --folder ~/Music\n  voisin serve --lan --folder ~/Music\n  curl -H \"Authorization: Bearer $(voisin serve --show-token)\" http://127.0.0.1:8766/api/v1/status"
)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(crate) struct ServeArgs {
    /// Answer from the library in this database (see voisin push); genres, clusters, the map and what else is about all its
    /// tracks is refused without --copy [variable: `VOISIN_BACKEND`]
    #[arg(long, value_name = "URL", conflicts_with_all = ["folder", "subsonic", "audiomuse", "renew_lists"])]
    pub(crate) backend: Option<String>,
    /// With a backend: keep a copy of it in this folder and answer from there once it is complete. It follows the database,
    /// and the next start goes on with it [variable: `VOISIN_SERVE_COPY`]
    #[arg(long, value_name = "DIR", env = "VOISIN_SERVE_COPY", hide_env = true, value_hint = ValueHint::DirPath, conflicts_with_all = ["folder", "subsonic", "audiomuse", "renew_lists"])]
    pub(crate) copy: Option<PathBuf>,
    /// Where to listen: ADDRESS:PORT, or unix:PATH for a socket that only you can open (several: all of them)
    /// [variable: `VOISIN_SERVE_LISTEN`, with commas]
    #[arg(
        long,
        value_name = "PLACE",
        default_value = "127.0.0.1:8766",
        value_delimiter = ',',
        env = "VOISIN_SERVE_LISTEN",
        hide_env = true
    )]
    pub(crate) listen: Vec<Listen>,
    /// Let other machines of this network in: listen on all of this machine's addresses, and answer for its name too
    /// [variable: `VOISIN_SERVE_LAN`]
    #[arg(
        long,
        conflicts_with = "no_token",
        env = "VOISIN_SERVE_LAN",
        hide_env = true
    )]
    pub(crate) lan: bool,
    /// Answer for this host name or address too, this machine's own addresses always; 0.0.0.0: for every address, as a
    /// container must (several: all of them) [variable: `VOISIN_SERVE_ALLOW_HOST`, with commas]
    #[arg(
        long,
        value_name = "HOST",
        value_delimiter = ',',
        env = "VOISIN_SERVE_ALLOW_HOST",
        hide_env = true
    )]
    pub(crate) allow_host: Vec<String>,
    /// Let pages of this origin ask too, such as `https://music.example` (several: all of them) [variable:
    /// `VOISIN_SERVE_ALLOW_ORIGIN`, with commas]
    #[arg(
        long,
        value_name = "ORIGIN",
        value_delimiter = ',',
        env = "VOISIN_SERVE_ALLOW_ORIGIN",
        hide_env = true
    )]
    pub(crate) allow_origin: Vec<String>,
    /// A proxy whose requests are those of others: the last address of its X-Forwarded-For is who asks, whose wrong passwords
    /// and codes are counted and logged. An address, or `unix` for who comes by a socket's file (several: all of them)
    /// [variable: `VOISIN_SERVE_TRUSTED_PROXY`, with commas]
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
    /// File of the token; made if it is not there [variable: `VOISIN_SERVE_TOKEN_FILE`] [default: serve.token in the
    /// library's folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "VOISIN_SERVE_TOKEN_FILE", hide_env = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Ask nobody for a token; only where nothing but this machine can reach the server [variable:
    /// `VOISIN_SERVE_NO_TOKEN`]
    #[arg(long, conflicts_with_all = ["token_file", "show_token"], env = "VOISIN_SERVE_NO_TOKEN", hide_env = true)]
    pub(crate) no_token: bool,
    /// File whose first line is a password that signs browsers in, beside codes and the token, and the second line, if there is
    /// one, a password for guests; better than a password is what --hash-password prints for it [variable: `VOISIN_SERVE_SIGN_IN_FILE`]
    #[arg(long, value_name = "FILE", conflicts_with = "no_token", env = "VOISIN_SERVE_SIGN_IN_FILE", hide_env = true, value_hint = ValueHint::FilePath)]
    pub(crate) sign_in_file: Option<PathBuf>,
    /// Ask for a password, or read it from standard input, print a line for --sign-in-file that does not tell it (Argon2id),
    /// and end
    #[arg(long, conflicts_with = "show_token")]
    pub(crate) hash_password: bool,
    /// Print the token and end
    #[arg(long)]
    pub(crate) show_token: bool,
    /// Folder of music (several: all of them): what is new or changed there is added, at the start and from then on [variable:
    /// `VOISIN_SERVE_FOLDER`, several as in PATH]
    #[arg(long, alias = "watch", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: Vec<PathBuf>,
    /// Look through the folders when that is asked for alone: on the page, or by POST /api/v1/scan [variable:
    /// `VOISIN_SERVE_NO_WATCH`]
    #[arg(long, env = "VOISIN_SERVE_NO_WATCH", hide_env = true)]
    pub(crate) no_watch: bool,
    /// Stand in front of this Subsonic server: what sounds alike is answered, everything else handed on (docs/players.md;
    /// run `voisin link` first) [variable: `VOISIN_SERVE_SUBSONIC`]
    #[arg(
        long,
        value_name = "URL",
        env = "VOISIN_SERVE_SUBSONIC",
        hide_env = true
    )]
    pub(crate) subsonic: Option<ServerAddress>,
    /// Run `voisin link` with that server whenever the library has tracks that it does not know yet, as this user of it, whose
    /// password is that of --password-file [variable: `VOISIN_SERVE_LINK_AS`]
    #[arg(
        long,
        value_name = "NAME",
        env = "VOISIN_SERVE_LINK_AS",
        hide_env = true,
        requires = "subsonic"
    )]
    pub(crate) link_as: Option<String>,
    /// Answer what plugins ask AudioMuse-AI, by the ids of this linked server [variable: `VOISIN_SERVE_AUDIOMUSE`]
    #[arg(
        long,
        value_name = "URL",
        env = "VOISIN_SERVE_AUDIOMUSE",
        hide_env = true
    )]
    pub(crate) audiomuse: Option<ServerAddress>,
    /// Answer Lyrion's plugin Bliss Mixer on a port of its own, which only this machine reaches and which asks for no token
    /// [variable: `VOISIN_SERVE_LMS`]
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "12000", env = "VOISIN_SERVE_LMS", hide_env = true)]
    pub(crate) lms: Option<u16>,
    /// Mixes of players and the tracks that may be in them: options of `voisin mix` without dashes, such as
    /// `max-per-artist=2,near-only,exclude-genre=Audiobook` [variable: `VOISIN_SERVE_MIX`]
    #[arg(long, value_name = "WISHES", env = "VOISIN_SERVE_MIX", hide_env = true, default_value = "", hide_default_value = true, value_parser = ServerMixes::read)]
    pub(crate) mix: ServerMixes,
    /// Renew lists that were pushed longer ago than this, such as 24h (see `voisin lists`) [variable:
    /// `VOISIN_SERVE_RENEW_LISTS`]
    #[arg(long, value_name = "TIME", env = "VOISIN_SERVE_RENEW_LISTS", hide_env = true, value_parser = length)]
    pub(crate) renew_lists: Option<Seconds>,
    /// File that holds the password of a server's user, for --link-as and --renew-lists, in its first line [variable:
    /// `VOISIN_SERVE_PASSWORD_FILE`] [default: variable `VOISIN_PASSWORD`]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "VOISIN_SERVE_PASSWORD_FILE", hide_env = true)]
    pub(crate) password_file: Option<PathBuf>,
    /// Tell this Lyrion server the port
    #[arg(long, value_name = "URL", hide = true, requires = "lms")]
    pub(crate) lms_report: Option<ServerAddress>,
    /// Answer Lyrion alone
    #[arg(long, hide = true, requires = "lms")]
    pub(crate) lms_only: bool,
    /// Put this before every path, for a proxy that passes it on: /voisin [variable: `VOISIN_SERVE_BASE_PATH`]
    #[arg(long, value_name = "PATH", env = "VOISIN_SERVE_BASE_PATH", hide_env = true, default_value = "", hide_default_value = true, value_parser = base_path)]
    pub(crate) base_path: String,
}

/// Find a media server's songs in the library, so that players can ask by its ids
///
/// Asks a Subsonic server (Navidrome, gonic, Ampache, supysonic and others) or Jellyfin for its songs, and notes which track
/// each of them is: by the end of its path, MBID, ISRC, or title, artists, album and length. Run it again when music was added,
/// or let `voisin serve --link-as` do so. Neither password nor name is kept.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin link http://127.0.0.1:4533 --user me\n  voisin link http://127.0.0.1:4533 --user me --password-file ~/.navidrome --format json\n  voisin link"
)]
pub(crate) struct LinkArgs {
    /// Address of the server [default: show the servers that are linked]
    #[arg(value_name = "URL", requires = "user")]
    pub(crate) server: Option<ServerAddress>,
    /// Who you are there
    #[arg(long, short, value_name = "NAME", requires = "server")]
    pub(crate) user: Option<String>,
    #[arg(help = "File that holds the password in its first line [default: variable VOISIN_PASSWORD, else you are asked]", long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "server")]
    pub(crate) password_file: Option<PathBuf>,
    /// It is a Jellyfin server
    #[arg(long, requires = "server", conflicts_with = "plex")]
    pub(crate) jellyfin: bool,
    /// It is a Plex server, whose token (X-Plex-Token) is the password
    #[arg(long, requires = "server")]
    pub(crate) plex: bool,
    /// Forget the ids of this server
    #[arg(long, value_name = "URL", conflicts_with_all = ["server", "user", "password_file"])]
    pub(crate) forget: Option<ServerAddress>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// Take in what was heard and liked, so that mixes know it
///
/// `voisin serve --subsonic` notes by itself what its users' players tell: what they heard, starred and rated. This takes in
/// exports of `ListenBrainz`, unpacked (listens and feedback, a JSON object a line), and of Last.fm: JSON as its API answers, or
/// CSV with the columns uts, artist, album and track, or artist, album, track and date without a heading. Loved tracks are
/// told from plays by the file's name ("loved"). A line that cannot be read is named and left out. Mixes then leave out what is disliked, and what was heard within a day; what is liked or heard often comes sooner
/// (`voisin mix --taste`, `--not-heard`). It stays in the library.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin heard ~/listenbrainz_me --listener me\n  voisin heard\n  voisin heard --forget me"
)]
pub(crate) struct HeardArgs {
    /// Files of listens or feedback, or the folder of an export [default: show the listeners]
    #[arg(value_name = "EXPORT", value_hint = ValueHint::AnyPath)]
    pub(crate) file: Vec<PathBuf>,
    /// Who listened, as players name them
    #[arg(long, value_name = "NAME", default_value = "me")]
    pub(crate) listener: String,
    /// Forget what this listener heard and thinks
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    pub(crate) forget: Option<String>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// Fill MPD's queue with what sounds like the song that plays
///
/// The song that plays is never disturbed. Songs are known by the end of their path, so MPD's music folder need not be
/// named; both must have the same files. Random order is refused, because it would undo the order of the list.
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
    /// Put a playlist around the song that plays in the place of all others of the queue
    #[command(after_help = "Example:\n  voisin mpd playlist --limit 30 --max-per-artist 1")]
    Playlist {
        #[command(flatten)]
        common: MpdCommon,
        /// How many songs, the one that plays not among them
        #[arg(long, short, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Keep the queue and put the list behind it
        #[arg(long)]
        keep_queue: bool,
    },
    /// Put the songs nearest to the one that plays right behind it
    #[command(after_help = "Example:\n  voisin mpd similar --limit 3")]
    Similar {
        #[command(flatten)]
        common: MpdCommon,
        /// How many songs
        #[arg(long, short, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Keep the queue from running out, until Ctrl-C: what comes is near to what played last, and nothing comes twice
    #[command(after_help = "Example:\n  voisin mpd follow --ahead 3")]
    Follow {
        #[command(flatten)]
        common: MpdCommon,
        /// How many songs there shall be after the one that plays
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

/// Answer an assistant that speaks the Model Context Protocol, over standard input and output
///
/// The assistant starts this itself; its settings name the command (docs/serve.md). What it can ask are tools called as the
/// verbs are: similar, mix, find, words, list, show, classify, path, playlist, lists, `list_now`, genres, clusters, suspects, duplicates, status.
/// None of them changes the library or a file. It ends when the assistant closes standard input.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin mcp\n  voisin mcp --library ~/jazz\n  voisin mcp --backend postgres://reader@db.example/music\n\nIn an assistant's settings:\n  {\"mcpServers\": {\"voisin\": {\"command\": \"voisin\", \"args\": [\"mcp\"]}}}"
)]
pub(crate) struct McpArgs {
    /// Answer from the library in this database (see voisin push); what is about all its tracks is refused [variable:
    /// `VOISIN_BACKEND`]
    #[arg(long, value_name = "URL")]
    pub(crate) backend: Option<String>,
}

fn base_path(text: &str) -> Result<String, String> {
    // It is put before every path of the page and of redirects: no quotes, no dot segments, no
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
