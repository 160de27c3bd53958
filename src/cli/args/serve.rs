//! `serve`, `mcp`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use voisin_http::listen::Listen;
use voisin_http::peer::Peer;
use voisin_players::upstream::ServerAddress;

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
    /// Query the library in this database (see voisin push); genres, clusters, the map and all else that needs all of
    /// its tracks are refused without --copy [variable: `VOISIN_BACKEND`]
    #[arg(long, value_name = "URL", conflicts_with_all = ["folder", "subsonic"])]
    pub(crate) backend: Option<String>,
    /// With a backend: keep a copy of it in this folder and query that once it is complete. It follows the database,
    /// and the next start continues it [variable: `VOISIN_SERVE_COPY`]
    #[arg(long, value_name = "DIR", env = "VOISIN_SERVE_COPY", hide_env = true, value_hint = ValueHint::DirPath, conflicts_with_all = ["folder", "subsonic"])]
    pub(crate) copy: Option<PathBuf>,
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
    /// Proxy this Subsonic server: requests for similar songs are answered, all others are forwarded (docs/serve.md)
    /// [variable: `VOISIN_SERVE_SUBSONIC`]
    #[arg(
        long,
        value_name = "URL",
        env = "VOISIN_SERVE_SUBSONIC",
        hide_env = true
    )]
    pub(crate) subsonic: Option<ServerAddress>,
    /// Put this before every path, for a proxy that passes it on: /voisin [variable: `VOISIN_SERVE_BASE_PATH`]
    #[arg(long, value_name = "PATH", env = "VOISIN_SERVE_BASE_PATH", hide_env = true, default_value = "", hide_default_value = true, value_parser = base_path)]
    pub(crate) base_path: String,
}

/// Serve an assistant over the Model Context Protocol, on standard input and output
///
/// The assistant starts this itself; its settings name the command (docs/serve.md). Its tools are named like the verbs:
/// similar, find, words, list, show, classify, path, playlist, genres, clusters, suspects, duplicates, status.
/// None of them changes the library or a file. It ends when the assistant closes standard input.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin mcp\n  voisin mcp --library ~/jazz\n  voisin mcp --backend postgres://reader@db.example/music\n\nIn an assistant's settings:\n  {\"mcpServers\": {\"voisin\": {\"command\": \"voisin\", \"args\": [\"mcp\"]}}}"
)]
pub(crate) struct McpArgs {
    /// Query the library in this database (see voisin push); queries that need all of its tracks are refused [variable:
    /// `VOISIN_BACKEND`]
    #[arg(long, value_name = "URL")]
    pub(crate) backend: Option<String>,
}

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
