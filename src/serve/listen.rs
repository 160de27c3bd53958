//! Connections: addresses to listen on, and shutdown.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::limits::{
    ACCEPT_AGAIN, HEAD_TIME, LONGEST_HEAD, MOST_CONNECTIONS, MOST_HEADERS, STOP_TIME,
};
use super::state::lock;

/// The open connections, oldest first.
#[derive(Default)]
pub(crate) struct Open(Mutex<Vec<Arc<OpenConnection>>>);

#[derive(Default)]
struct OpenConnection {
    /// Whether a request had a token or cookie.
    is_known: AtomicBool,
    end: tokio::sync::Notify,
}

/// A connection, for the middleware: an extension of its requests, which a client cannot forge as it can a header.
#[derive(Clone)]
pub(crate) struct Connection {
    /// The other end.
    pub(crate) peer: IpAddr,
    /// The address of this machine that it was made to.
    pub(crate) local: IpAddr,
    open: Arc<OpenConnection>,
}

impl Connection {
    /// The connection is no longer a stranger's.
    pub(crate) fn admit(&self) {
        self.open.is_known.store(true, Ordering::Relaxed);
    }
}

impl Open {
    /// Adds a connection; `None` if there is no room.
    fn add(&self) -> Option<Arc<OpenConnection>> {
        let is_full = lock(&self.0).len() >= MOST_CONNECTIONS;
        if is_full && !self.end_stranger() {
            return None;
        }
        let connection = Arc::<OpenConnection>::default();
        lock(&self.0).push(Arc::clone(&connection));
        Some(connection)
    }

    /// Ends the oldest connection without a token, whether busy or not: strangers cannot lock out others by being busy, and
    /// a new one is not closed before its request was read.
    fn end_stranger(&self) -> bool {
        let mut all = lock(&self.0);
        let stranger = all
            .iter()
            .position(|open| !open.is_known.load(Ordering::Relaxed));
        // `notify_one` stores its permit, so that a connection that is just starting ends, too.
        stranger.map(|at| all.remove(at).end.notify_one()).is_some()
    }

    /// Ends a stranger's connection and waits for a moment. Called when the process has no free file descriptor.
    async fn make_room(&self) {
        self.end_stranger();
        // `accept` fails at once while no descriptor is free: without a pause this loop would spin.
        tokio::time::sleep(ACCEPT_AGAIN).await;
    }

    fn remove(&self, connection: &Arc<OpenConnection>) {
        lock(&self.0).retain(|open| !Arc::ptr_eq(open, connection));
    }
}

/// Waits until the server stops.
pub(crate) async fn raised(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Serves connections until `stop` turns true, then finishes the answers in progress.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    open: Arc<Open>,
    stop: watch::Receiver<bool>,
) {
    let mut waits = stop.clone();
    let mut tasks = JoinSet::new();
    loop {
        // The set keeps ended tasks until they are joined.
        while tasks.try_join_next().is_some() {}
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => start(&mut tasks, &open, (stream, peer), &router, &stop),
                // Most likely no file descriptor is free.
                Err(_) => open.make_room().await,
            },
            () = raised(&mut waits) => break,
        }
    }
    // No new connections while the last answers are finished.
    drop(listener);
    let finished = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_TIME, finished).await;
}

fn start(
    tasks: &mut JoinSet<()>,
    open: &Arc<Open>,
    (stream, peer): (TcpStream, SocketAddr),
    router: &Router,
    stop: &watch::Receiver<bool>,
) {
    // Answers are written at once; Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    // A closed connection has no address.
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let Some(added) = open.add() else { return };
    let connection = Connection {
        peer: peer.ip().to_canonical(),
        local: local.ip().to_canonical(),
        open: Arc::clone(&added),
    };
    let open = Arc::clone(open);
    let router = router.clone();
    let mut stop = stop.clone();
    tasks.spawn(async move {
        let service = TowerToHyperService::new(router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(connection.clone());
            hyper::service::Service::call(&service, request)
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_headers(MOST_HEADERS)
            .max_buf_size(LONGEST_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(serving);
        // Dropping `serving` closes the connection.
        tokio::select! {
            _ = &mut serving => {}
            () = added.end.notified() => {}
            () = raised(&mut stop) => {
                serving.as_mut().graceful_shutdown();
                let _ = serving.await;
            }
        }
        open.remove(&added);
    });
}
