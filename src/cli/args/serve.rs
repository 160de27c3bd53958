//! `serve`, `mcp`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, ValueHint};

use voisin_serve::ServerAddress;

/// Serve players, scripts and browsers over HTTP
///
/// The results of `similar`, `classify`, `path`, `playlist` and others are JSON under /api/v1 (docs/serve.md;
/// GET /api/v1/openapi.json describes all of it). By default the server listens only on this machine and requires a token,
/// which it creates at its first start and keeps in the library's folder. With --lan, phones and players of the same
/// network reach it. Tracks that `voisin add` adds appear while it runs. Ctrl-C ends it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin serve\n  voisin serve --listen '[::1]:9000' --folder ~/Music\n  voisin serve --lan --folder ~/Music\n  curl -H \"Authorization: Bearer $(voisin serve --show-token)\" http://127.0.0.1:8766/api/v1/status"
)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(crate) struct ServeArgs {
    /// Address to listen on: ADDRESS:PORT, such as 127.0.0.1:8766 or [`::1`]:8766 (several: all of them)
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8766",
        value_delimiter = ','
    )]
    pub(crate) listen: Vec<SocketAddr>,
    /// Allow other machines of this network: listen on all of this machine's addresses, and accept its host name too
    #[arg(long, conflicts_with = "no_token")]
    pub(crate) lan: bool,
    /// Accept requests for this host name or address too, besides this machine's own addresses; 0.0.0.0: for every address,
    /// as a container must (several: all of them)
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(crate) allow_host: Vec<String>,
    /// A proxy that forwards requests of others: the last address of its X-Forwarded-For is the client, for which wrong
    /// tokens are counted and logged (several: all of them)
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(crate) trusted_proxy: Vec<IpAddr>,
    /// Open the page in this machine's browser
    #[arg(long)]
    pub(crate) open: bool,
    /// File of the token, or of a password instead, in its first line; a second line, if any, is one that only reads. Created
    /// if missing [default: serve.token in the library's folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// Require no token; only where no other machine can reach the server
    #[arg(long, conflicts_with_all = ["token_file", "show_token"])]
    pub(crate) no_token: bool,
    /// Print the token and end
    #[arg(long)]
    pub(crate) show_token: bool,
    /// Folder of music (several: all of them): new and changed files are added, at the start and from then on
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: Vec<PathBuf>,
    /// Proxy this Subsonic server: requests for similar songs are answered, all others are forwarded (docs/serve.md)
    #[arg(long, value_name = "URL")]
    pub(crate) subsonic: Option<ServerAddress>,
    /// Put this before every path, for a proxy that passes it on: /voisin
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true, value_parser = base_path)]
    pub(crate) base_path: String,
}

/// Serve an assistant over the Model Context Protocol, on standard input and output
///
/// The assistant starts this itself; its settings name the command (docs/serve.md). Its tools are named like the verbs:
/// similar, find, list, show, classify, playlist, genres, status. None of them changes the library or a file. It ends when
/// the assistant closes standard input.
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
