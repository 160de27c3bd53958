//! The server: answers over HTTP, the same as the command line's, for players, scripts, assistants and the page.
//!
//! For: what the server consists of and how it runs, its routes ([`api`]), and what they look like on the wire. Not for: who
//! may ask and how requests are admitted (`voisin-http`), other programs' interfaces (`voisin-players`), answers themselves
//! (`voisin-engine`, `voisin-explore`; their JSON is in `voisin-questions`), nor arguments (`src/cli`).
//!
//! Read from the disk is a stored file by its id, a picture beside it, or the temporary copy of a body.

#![allow(
    clippy::result_large_err,
    reason = "a problem is made at most once for a request"
)]

mod api;
mod audio;
mod mcp;
#[cfg(test)]
mod openapi;
mod page;
mod qr;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use voisin_http::access::{Guard, allowed_names, own_names};
use voisin_http::devices::{Rights, readable};
use voisin_http::listen::{self, Listen, Listener, Open};
use voisin_http::peer::Peer;
use voisin_http::scan::ScanProcess;
use voisin_http::sessions::Sessions;
use voisin_http::state::{LoadModel, OpenElsewhere, State};
use voisin_http::token::Token;
use voisin_http::{ServeError, runtime};
use voisin_kernels::allocator;
use voisin_players::lms::{self, Lms};
use voisin_players::upstream::ServerAddress;
use voisin_players::{link, lists};
use voisin_questions::ServerMixes;

pub use mcp::assist;
pub use qr::for_terminal as qr_for_terminal;

/// Brings a copy of a library elsewhere up to date, or says why it cannot. It is given who is told how many tracks are there,
/// of how many.
pub type Follow = Box<dyn FnMut(&mut dyn FnMut(u64, u64)) -> Result<(), String> + Send>;

/// From one look at a library elsewhere to the next.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// How the server runs.
pub struct Options {
    /// The library's folder.
    pub dir: PathBuf,
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// `None`: nobody is asked for one.
    pub token: Option<Token>,
    /// Host names that it answers for besides its own.
    pub hosts: Vec<String>,
    /// The name of this machine, where it answers for that too.
    pub lan: Option<String>,
    /// Proxies whose X-Forwarded-For says who asks.
    pub proxies: Vec<Peer>,
    /// Pages of other origins that may ask it.
    pub origins: Vec<String>,
    /// Empty, or `/voisin`.
    pub base_path: String,
    /// The Subsonic server that it stands in front of.
    pub subsonic: Option<ServerAddress>,
    /// The linked media server whose plugins ask as they ask AudioMuse-AI.
    pub audiomuse: Option<ServerAddress>,
    /// Lyrion's port.
    pub lms: Option<Lms>,
    /// The defaults of mixes.
    pub mixes: ServerMixes,
    /// Folders of music that were named at the start.
    pub folders: Vec<PathBuf>,
    /// Whether each request is told.
    pub logs: bool,
    /// Makes the library's model ready.
    pub load_model: LoadModel,
    /// Opens the library that is asked; `None` where it is here.
    pub elsewhere: Option<OpenElsewhere>,
    /// Brings a copy of that library up to date; `None` where there is to be none.
    pub follow: Option<Follow>,
    /// `voisin add` of the folders that a scan looks through; `None` where none was named.
    pub add: Option<Box<dyn Fn() -> Command + Send + Sync>>,
    /// Whether a scan begins with the server.
    pub scans: bool,
    /// `voisin link` of that server, where its songs are to be noted again when the library has new tracks.
    pub link: Option<Box<dyn Fn() -> Command + Send + Sync>>,
    /// `voisin lists push`; `None` where the library is a copy.
    pub push: Option<Box<dyn Fn() -> Command + Send + Sync>>,
    /// How old lists become that are put elsewhere; `None`: nobody renews them.
    pub renew_lists: Option<Duration>,
}

/// Answers until `stop` is raised.
///
/// - `listener`: is told what happens
/// - `ready`: is told the addresses once they answer, and a code that lets a device in
pub fn serve(
    options: Options,
    stop: &Arc<AtomicBool>,
    listener: impl Fn(&str) + Send + Sync + 'static,
    ready: impl FnOnce(&[String], Option<&str>),
) -> Result<(), ServeError> {
    // A server lives for weeks, and one answer about the whole library must not hold its memory
    // until the end.
    allocator::give_back_large_blocks();
    let runtime = runtime()?;
    let (stopper, stopped) = watch::channel(false);
    let own_hosts = options.lan.as_deref().map(own_names).unwrap_or_default();
    let mut guard = Guard::default();
    guard.token = options.token;
    guard.hosts = own_hosts
        .into_iter()
        .chain(options.hosts.iter().flat_map(|host| allowed_names(host)))
        .collect();
    guard.origins = options.origins;
    guard.base_path = options.base_path;
    guard.proxies = options.proxies;
    guard.sessions = Sessions::of_folder(&options.dir);
    let mut state = State::new(
        options.dir,
        guard,
        ScanProcess::new(options.add),
        stopped.clone(),
        options.load_model,
        Box::new(listener),
        options.logs,
    )?;
    // Before the state is shared: from here on it can only be read.
    state.elsewhere = options.elsewhere;
    state.mixes = options.mixes;
    state.push = options.push;
    if options.scans
        && let Err(problem) = state.scan.start()
    {
        state.say(problem.detail());
    }
    let state = Arc::new(state);
    if let Some(mut follow) = options.follow {
        let state = Arc::clone(&state);
        let stop = Arc::clone(stop);
        // Before the first request: without it a query about all tracks would be told that there is
        // no copy.
        state.set_copying(0, 0);
        // It may wait long for an answer: nobody waits for it at the end.
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let followed = follow(&mut |done, total| state.set_copying(done, total));
                if followed.is_ok() {
                    state.set_copied();
                }
                state.set_away(followed.err());
                std::thread::sleep(FOLLOW_EVERY);
            }
        });
    }
    if let Some(age) = options.renew_lists {
        let state = Arc::clone(&state);
        let stop = Arc::clone(stop);
        std::thread::spawn(move || lists::renew(&state, age, &stop));
    }
    // Only with a server in front of which this one stands: its ids are what players ask with.
    if let (Some(server), Some(link)) = (options.subsonic.clone(), options.link) {
        let state = Arc::clone(&state);
        let stop = Arc::clone(stop);
        std::thread::spawn(move || link::keep_linked(&state, &server, &link, &stop));
    }
    let result = runtime.block_on(async {
        let mut open = Vec::new();
        // All places first: a port that is taken ends the start before anybody is answered.
        for place in &options.listen {
            open.push((place, Listener::open(place).await?));
        }
        let router = api::router(&state, options.subsonic, options.audiomuse)?;
        let addresses: Vec<String> = open
            .iter()
            .map(|(place, listener)| match (listener.address(), place) {
                // Of the listener, not of the option: port 0 means any that is free.
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
        let mut tasks: Vec<_> = open.into_iter().map(serve).collect();
        let mut addresses = addresses;
        if let Some(lms) = &options.lms {
            let place = Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, lms.port)));
            let listener = Listener::open(&place).await?;
            let port = listener
                .address()
                .map_or(lms.port, |address| address.port());
            addresses.push(format!("http://127.0.0.1:{port}/api/mix"));
            let router = lms::router(&state, &options.folders);
            // Its connections show no token, so they have places of their own.
            let connections = Arc::<Open>::default();
            tasks.push(tokio::spawn(listen::serve(
                listener,
                router,
                connections,
                stopped.clone(),
            )));
            // In the background: Lyrion may start later than this server.
            if let Some(server) = lms.report.clone() {
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    if let Err(problem) = lms::report(server, port).await {
                        state.say(&format!("Lyrion does not know the port {port}: {problem}"));
                    }
                });
            }
        }
        // A new code at each start, so that the first device can be let in by whoever sees the
        // terminal.
        let code = match &state.guard.token {
            Some(_) => Some(
                state
                    .guard
                    .devices
                    .code(Rights::Change)
                    .map_err(|_| ServeError::Random)?,
            ),
            None => None,
        };
        ready(&addresses, code.map(|code| readable(&code)).as_deref());
        // Polled, since an atomic wakes nobody. The same loop begins builds of the index that
        // requests asked for.
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            state.start_building();
        }
        // Before the tasks are waited for: this is what ends them, and streams of events too.
        stopper.send_replace(true);
        state.scan.stop();
        for task in tasks {
            let _ = task.await;
        }
        Ok(())
    });
    // Computations under way have nobody to answer any more.
    runtime.shutdown_background();
    result
}
