//! The HTTP server: the same answers as on the command line, for players, scripts, assistants and the page.
//!
//! For: starting and stopping the server, its routes ([`api`]) and their formats. Not for: authentication and admission of
//! requests (`voisin-http`), the proxy of a Subsonic server (`voisin-players`), answers themselves
//! (`voisin-engine`, `voisin-explore`; their JSON is in `voisin-questions`), nor arguments (`src/cli`).
//!
//! Requests read only these files: a stored file by its id, a picture in its folder, the temporary copy of a body.

#![allow(
    clippy::result_large_err,
    reason = "a problem is made at most once for a request"
)]

mod api;
mod audio;
mod mcp;
mod openapi;
mod page;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use voisin_http::access::{Guard, allowed_names, own_names};
use voisin_http::listen::{self, Listen, Listener, Open};
use voisin_http::peer::Peer;
use voisin_http::scan::ScanProcess;
use voisin_http::state::{LoadModel, State};
use voisin_http::token::Secrets;
use voisin_http::{ServeError, runtime};
use voisin_kernels::allocator;
use voisin_players::upstream::ServerAddress;

pub use mcp::assist;

/// Options of the server.
pub struct Options {
    /// The library's folder.
    pub dir: PathBuf,
    /// Addresses to listen on.
    pub listen: Vec<Listen>,
    /// `None`: no token is needed.
    pub secrets: Option<Secrets>,
    /// Allowed host names besides its own.
    pub hosts: Vec<String>,
    /// The name of this machine, if that is allowed, too.
    pub lan: Option<String>,
    /// Proxies whose X-Forwarded-For is trusted.
    pub proxies: Vec<Peer>,
    /// Empty, or such as `/voisin`.
    pub base_path: String,
    /// The Subsonic server behind it.
    pub subsonic: Option<ServerAddress>,
    /// Whether requests are logged.
    pub logs: bool,
    /// Loads the library's model.
    pub load_model: LoadModel,
    /// `voisin add` of the folders to scan; `None` without folders.
    pub add: Option<Box<dyn Fn() -> Command + Send + Sync>>,
}

/// Serves until `stop` is set.
///
/// - `listener`: receives log messages
/// - `ready`: receives the addresses when they accept connections
pub fn serve(
    options: Options,
    stop: &Arc<AtomicBool>,
    listener: impl Fn(&str) + Send + Sync + 'static,
    ready: impl FnOnce(&[String]),
) -> Result<(), ServeError> {
    // The server runs for weeks, and memory of one answer about the whole library must be
    // returned.
    allocator::give_back_large_blocks();
    let runtime = runtime()?;
    let (stopper, stopped) = watch::channel(false);
    let own_hosts = options.lan.as_deref().map(own_names).unwrap_or_default();
    let mut guard = Guard::default();
    guard.secrets = options.secrets;
    guard.hosts = own_hosts
        .into_iter()
        .chain(options.hosts.iter().flat_map(|host| allowed_names(host)))
        .collect();
    guard.base_path = options.base_path;
    guard.proxies = options.proxies;
    let scans = options.add.is_some();
    let state = State::new(
        options.dir,
        guard,
        ScanProcess::new(options.add),
        stopped.clone(),
        options.load_model,
        Box::new(listener),
        options.logs,
    )?;
    if scans && let Err(problem) = state.scan.start() {
        state.log(problem.detail());
    }
    let state = Arc::new(state);
    let result = runtime.block_on(async {
        let mut open = Vec::new();
        // All addresses first: a port in use ends the start before any request is served.
        for place in &options.listen {
            open.push((place, Listener::open(place).await?));
        }
        let router = api::router(&state, options.subsonic)?;
        let addresses: Vec<String> = open
            .iter()
            .map(|(place, listener)| match (listener.address(), place) {
                // Of the listener, not of the option: port 0 means any free port.
                (Some(address), _) => format!("http://{address}{}/", state.guard.base_path),
                (None, Listen::Unix(path)) => format!("unix:{}", path.display()),
                (None, Listen::Tcp(address)) => address.to_string(),
            })
            .collect();
        let connections = Arc::<Open>::default();
        let serve = |(_, listener)| {
            tokio::spawn(listen::serve(
                listener,
                router.clone(),
                Arc::clone(&connections),
                stopped.clone(),
            ))
        };
        let tasks: Vec<_> = open.into_iter().map(serve).collect();
        ready(&addresses);
        // Polled, since an atomic has no wake-up. The same loop starts builds of the index that
        // requests need.
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            state.start_building();
        }
        // Before the tasks are joined: this ends them, and streams of events, too.
        stopper.send_replace(true);
        state.scan.stop();
        for task in tasks {
            let _ = task.await;
        }
        Ok(())
    });
    // Running computations have no client any more.
    runtime.shutdown_background();
    result
}
