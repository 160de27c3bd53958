//! The HTTP server: the same answers as on the command line, for players, scripts, assistants and the page.
//!
//! A request passes [`listen`] (connections) and [`middleware`] (host, origin, token, sizes, time) to its route ([`routes`]).
//! A query of the table (`voisin::questions::queries`) runs on an engine with a permit ([`state`]), one about the whole library
//! at low priority, and is [`kept`]. Errors are [`problem`]s. Not here: answers themselves, and arguments (`src/cli`).
//!
//! Requests read only these files: a stored file by its id, a picture in its folder, the temporary copy of a body. A path from
//! a client is only ever compared with stored ones.

#![allow(
    clippy::result_large_err,
    reason = "a problem is made at most once for a request"
)]

mod access;
mod audio;
mod conditional;
mod cover;
mod error;
mod extract;
mod kept;
mod labels;
mod limits;
mod listen;
mod mcp;
mod middleware;
mod openapi;
mod page;
mod problem;
mod queries;
mod routes;
mod scan;
mod state;
mod subsonic;
mod token;
mod uploads;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use access::{Guard, own_names};
use listen::Open;
use scan::ScanProcess;
use state::{State, StateOptions};
use voisin_simd::allocator;

pub use error::ServeError;
pub use mcp::assist;
pub use state::LoadModel;
pub use subsonic::ServerAddress;
pub use token::Secrets;

pub struct Options {
    pub dir: PathBuf,
    pub listen: Vec<SocketAddr>,
    /// `None`: no token is needed.
    pub secrets: Option<Secrets>,
    /// Allowed host names besides its own.
    pub hosts: Vec<String>,
    /// The name of this machine, if that is allowed, too.
    pub lan: Option<String>,
    /// Proxies whose X-Forwarded-For is trusted.
    pub proxies: Vec<IpAddr>,
    /// Empty, or such as `/voisin`.
    pub base_path: String,
    /// The Subsonic server behind it.
    pub subsonic: Option<ServerAddress>,
    pub logs: bool,
    pub load_model: LoadModel,
    /// `voisin add` of the folders to scan; `None` without folders.
    pub add: Option<Box<dyn Fn() -> Command + Send + Sync>>,
}

/// Serves until `stop` is set.
///
/// - `listener`: receives log messages
/// - `ready`: receives the addresses when they accept connections
pub fn serve(
    mut options: Options,
    stop: &Arc<AtomicBool>,
    listener: impl Fn(&str) + Send + Sync + 'static,
    ready: impl FnOnce(&[String]),
) -> Result<(), ServeError> {
    // The server runs for weeks, and memory of one answer about the whole library must be
    // returned.
    allocator::give_back_large_blocks();
    let runtime = runtime()?;
    let (stopper, stopped) = watch::channel(false);
    let guard = guard_of(&mut options);
    let scans = options.add.is_some();
    let state_options = StateOptions {
        dir: options.dir,
        guard,
        scan: ScanProcess::new(options.add),
        load_model: options.load_model,
        logs: options.logs,
    };
    let state = State::new(state_options, Box::new(listener))?;
    if scans && let Err(problem) = state.scan.start() {
        state.log(problem.detail());
    }
    let state = Arc::new(state);
    let result = runtime.block_on(async {
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        let base = &state.guard.base_path;
        // All addresses first: a port in use ends the start before any request is served.
        for place in options.listen {
            let fault = |source| ServeError::Listen { place, source };
            let listener = TcpListener::bind(place).await.map_err(fault)?;
            // Of the listener, as port 0 means any free port.
            let address = listener.local_addr().map_err(fault)?;
            addresses.push(format!("http://{address}{base}/"));
            listeners.push(listener);
        }
        let router = routes::router(&state, options.subsonic);
        let connections = Arc::<Open>::default();
        let serve = |listener| {
            tokio::spawn(listen::serve(
                listener,
                router.clone(),
                Arc::clone(&connections),
                stopped.clone(),
            ))
        };
        let tasks: Vec<_> = listeners.into_iter().map(serve).collect();
        ready(&addresses);
        // Polled, since an atomic has no wake-up.
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
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

fn guard_of(options: &mut Options) -> Guard {
    let own_hosts = options.lan.as_deref().map(own_names).unwrap_or_default();
    let hosts = options.hosts.iter().map(|host| host.to_ascii_lowercase());
    let mut guard = Guard::default();
    guard.secrets = options.secrets.take();
    guard.hosts = own_hosts.into_iter().chain(hosts).collect();
    guard.base_path = std::mem::take(&mut options.base_path);
    guard.proxies = options.proxies.iter().map(IpAddr::to_canonical).collect();
    guard
}

/// The runtime of a server's connections.
fn runtime() -> Result<tokio::runtime::Runtime, ServeError> {
    tokio::runtime::Builder::new_multi_thread()
        // Queries run on blocking threads; this one mostly moves bytes.
        .worker_threads(1)
        .enable_io()
        .enable_time()
        .build()
        .map_err(ServeError::Runtime)
}
