//! `serve`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::serve::Listen;

/// Answer players, scripts and browsers over HTTP
///
/// What `similar`, `classify`, `path`, `playlist` and the others say, as JSON under /api/v1 (docs/serve.md;
/// GET /api/v1/openapi.json describes all of it). The server listens on this machine alone, unless told otherwise, and asks
/// for a token, which it makes at its first start and keeps in the library's folder. It sees what `voisin add` adds
/// meanwhile. Ctrl-C ends it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin serve\n  voisin serve --listen '[::1]:9000' --folder ~/Music\n  curl -H \"Authorization: Bearer $(voisin serve --show-token)\" http://127.0.0.1:8766/api/v1/status"
)]
pub(crate) struct ServeArgs {
    /// Where to listen: ADDRESS:PORT, or unix:PATH for a socket that only you can open (several: all of them)
    #[arg(long, value_name = "PLACE", default_value = "127.0.0.1:8766")]
    pub(crate) listen: Vec<Listen>,
    /// Answer for this host name or address too; those of this machine itself always (several: all of them)
    #[arg(long, value_name = "HOST")]
    pub(crate) allow_host: Vec<String>,
    /// Let pages of this origin ask too, such as `https://music.example` (several: all of them)
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
    /// File of the token; made if it is not there [default: serve.token in the library's folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// Ask nobody for a token; only where nothing but this machine can reach the server
    #[arg(long, conflicts_with_all = ["token_file", "show_token"])]
    pub(crate) no_token: bool,
    /// Print the token and end
    #[arg(long)]
    pub(crate) show_token: bool,
    /// Folder that POST /api/v1/scan looks through (several: all of them)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: Vec<PathBuf>,
    /// Put this before every path, for a proxy that passes it on: /voisin
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true, value_parser = base_path)]
    pub(crate) base_path: String,
}

fn base_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    let parts_fit = path.split('/').skip(1).all(|part| !part.is_empty() && part != "." && part != "..");
    if path.is_empty() || (path.starts_with('/') && path.chars().all(plain) && parts_fit) {
        return Ok(path.to_owned());
    }
    Err(format!("expected a path such as /voisin, found \"{text}\""))
}
