//! Connections: addresses to listen on, limits of number and time, and shutdown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ServeError;
use super::access::LocalAddress;
use super::peer::Peer;
use super::state::lock;

/// Most open connections; for another the oldest without a token is closed.
const MOST_CONNECTIONS: usize = 512;
/// File descriptors for each of them: its own, one for a song or another server, and one in reserve for the library, the
/// model and scans.
#[cfg(unix)]
const DESCRIPTORS: u64 = 3;
/// Most header lines of a request.
const MOST_HEADERS: usize = 64;
/// Most bytes of a request's head.
const LONGEST_HEAD: usize = 64 * 1024;
/// Timeout of a request's head, and of an idle connection.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Timeout for answers in progress when the server stops.
const STOP_TIME: Duration = Duration::from_secs(4);

/// Delay after a connection that could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:8766`, `[::1]:8766`.
    Tcp(SocketAddr),
    /// `unix:/run/voisin.sock`.
    Unix(PathBuf),
}

impl Listen {
    /// Whether only this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// The same port on all addresses, if it was a local one.
    #[must_use]
    pub fn for_all(self) -> Self {
        match self {
            Self::Tcp(address) if address.ip().to_canonical().is_loopback() => {
                let all = match address {
                    SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
                    SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
                };
                Self::Tcp(SocketAddr::new(all, address.port()))
            }
            other => other,
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        // Addresses only: a name may resolve to several, or to another machine.
        text.parse().map(Self::Tcp).map_err(|_| {
            format!(
                "expected ADDRESS:PORT such as 127.0.0.1:8766 or [::1]:8766, or unix:PATH, found \"{text}\""
            )
        })
    }
}

/// A listening socket.
pub(crate) struct Listener(ListenerSocket);

enum ListenerSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(
        tokio::net::UnixListener,
        #[allow(dead_code, reason = "dropped with it")] SocketFile,
    ),
}

/// The file of a Unix socket, removed with the server.
#[cfg(unix)]
struct SocketFile(PathBuf);

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Binds the address; an error if it is in use.
    pub(crate) async fn open(listen: &Listen) -> Result<Self, ServeError> {
        match listen {
            Listen::Tcp(address) => TcpListener::bind(address)
                .await
                .map(|listener| Self(ListenerSocket::Tcp(listener)))
                .map_err(|source| ServeError::Listen {
                    place: address.to_string(),
                    source,
                }),
            Listen::Unix(path) => Self::open_unix(path),
        }
    }

    #[cfg(unix)]
    fn open_unix(path: &Path) -> Result<Self, ServeError> {
        use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
        let fault = |source| ServeError::Listen {
            place: path.display().to_string(),
            source,
        };
        // A killed server leaves its socket, which is removed; the file of a running one, or any other, stays.
        let is_socket =
            std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
        if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
            std::fs::remove_file(path).map_err(fault)?;
        }
        // Created under a temporary name, and renamed when only its owner may open it.
        let mut staged = path.as_os_str().to_owned();
        staged.push(format!(".{}", std::process::id()));
        let staged = SocketFile(staged.into());
        // The rename below would replace an existing file.
        if path.exists() {
            return Err(fault(std::io::ErrorKind::AddrInUse.into()));
        }
        let listener = tokio::net::UnixListener::bind(&staged.0).map_err(fault)?;
        std::fs::set_permissions(&staged.0, std::fs::Permissions::from_mode(0o600))
            .map_err(fault)?;
        std::fs::rename(&staged.0, path).map_err(fault)?;
        let file = SocketFile(path.to_owned());
        Ok(Self(ListenerSocket::Unix(listener, file)))
    }

    #[cfg(not(unix))]
    fn open_unix(path: &Path) -> Result<Self, ServeError> {
        let source = std::io::ErrorKind::Unsupported.into();
        Err(ServeError::Listen {
            place: path.display().to_string(),
            source,
        })
    }

    /// Its address; `None` for a Unix socket.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            ListenerSocket::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            ListenerSocket::Unix(..) => None,
        }
    }
}

/// The open connections, oldest first.
pub(crate) struct Open {
    all: Mutex<Vec<Arc<HttpConnection>>>,
    most: usize,
}

#[derive(Default)]
struct HttpConnection {
    /// Whether a request had a token or cookie.
    is_known: AtomicBool,
    end: tokio::sync::Notify,
}

/// A connection, for the middleware that knows its client.
#[derive(Clone)]
pub(crate) struct ConnectionPlace(Arc<HttpConnection>);

impl ConnectionPlace {
    /// The connection is no longer a stranger's.
    pub(crate) fn admit(&self) {
        self.0.is_known.store(true, Ordering::Relaxed);
    }
}

impl Default for Open {
    /// As many as the process has descriptors for, at most [`MOST_CONNECTIONS`].
    fn default() -> Self {
        #[cfg(unix)]
        let most = {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
            let limit = limit.map_or(usize::MAX, |limit| {
                usize::try_from(limit / DESCRIPTORS).unwrap_or(usize::MAX)
            });
            MOST_CONNECTIONS.min(limit)
        };
        #[cfg(not(unix))]
        let most = MOST_CONNECTIONS;
        Self {
            all: Mutex::default(),
            most,
        }
    }
}

impl Open {
    /// Adds a connection; `None` if there is no room.
    fn add(&self) -> Option<Arc<HttpConnection>> {
        let is_full = lock(&self.all).len() >= self.most;
        if is_full && !self.end_stranger() {
            return None;
        }
        let connection = Arc::new(HttpConnection::default());
        lock(&self.all).push(Arc::clone(&connection));
        Some(connection)
    }

    /// Ends the oldest connection without a token, whether busy or not: strangers cannot lock out others by being busy, and
    /// a new one is not closed before its request was read.
    fn end_stranger(&self) -> bool {
        let mut all = lock(&self.all);
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

    fn remove(&self, connection: &Arc<HttpConnection>) {
        lock(&self.all).retain(|open| !Arc::ptr_eq(open, connection));
    }
}

/// Waits until the server stops.
pub(crate) async fn raised(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Serves connections until `stop` turns true, then finishes the answers in progress.
pub(crate) async fn serve(
    listener: Listener,
    router: Router,
    open: Arc<Open>,
    stop: watch::Receiver<bool>,
) {
    let mut waits = stop.clone();
    let mut tasks = JoinSet::new();
    loop {
        // The set keeps ended tasks until they are joined.
        while tasks.try_join_next().is_some() {}
        match &listener.0 {
            ListenerSocket::Tcp(tcp) => tokio::select! {
                accepted = tcp.accept() => match accepted {
                    Ok((stream, peer)) => {
                        // Answers are written at once; Nagle's algorithm would only delay
                        // them.
                        let _ = stream.set_nodelay(true);
                        let peer = Peer::Address(peer.ip().to_canonical());
                        // A closed connection has none.
                        let Ok(local) = stream.local_addr() else { continue };
                        let local = Some(LocalAddress(local.ip().to_canonical()));
                        start(&mut tasks, &open, stream, (peer, local), &router, &stop);
                    }
                    // Most likely no file descriptor is free.
                    Err(_) => open.make_room().await,
                },
                () = raised(&mut waits) => break,
            },
            #[cfg(unix)]
            ListenerSocket::Unix(unix, _) => tokio::select! {
                accepted = unix.accept() => match accepted {
                    Ok((stream, _)) => start(&mut tasks, &open, stream, (Peer::Unix, None), &router, &stop),
                    Err(_) => open.make_room().await,
                },
                () = raised(&mut waits) => break,
            },
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
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (peer, local): (Peer, Option<LocalAddress>),
    router: &Router,
    stop: &watch::Receiver<bool>,
) {
    let Some(connection) = open.add() else { return };
    let open = Arc::clone(open);
    let router = router.clone();
    let mut stop = stop.clone();
    tasks.spawn(async move {
        let service = TowerToHyperService::new(router);
        let place = ConnectionPlace(Arc::clone(&connection));
        let service = service_fn(move |mut request: Request<Incoming>| {
            // An extension, which a client cannot forge as it can a header.
            request.extensions_mut().insert(peer);
            if let Some(local) = local {
                request.extensions_mut().insert(local);
            }
            request.extensions_mut().insert(place.clone());
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
            () = connection.end.notified() => {}
            () = raised(&mut stop) => {
                serving.as_mut().graceful_shutdown();
                let _ = serving.await;
            }
        }
        open.remove(&connection);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed() {
        let local: Listen = "127.0.0.1:8766".parse().unwrap();
        assert!(local.is_local());
        assert!("[::1]:1".parse::<Listen>().unwrap().is_local());
        assert!("[::ffff:127.0.0.1]:1".parse::<Listen>().unwrap().is_local());
        assert!(!"0.0.0.0:80".parse::<Listen>().unwrap().is_local());
        assert!(!"[::]:80".parse::<Listen>().unwrap().is_local());
        let all = |text: &str| text.parse::<Listen>().unwrap().for_all();
        assert_eq!(all("127.0.0.1:8766"), "0.0.0.0:8766".parse().unwrap());
        assert_eq!(all("[::1]:1"), "[::]:1".parse().unwrap());
        for same in ["192.168.1.10:80", "unix:/run/v.sock"] {
            assert_eq!(all(same), same.parse().unwrap());
        }
        assert_eq!(
            "unix:/run/v.sock".parse(),
            Ok(Listen::Unix("/run/v.sock".into()))
        );
        for wrong in [
            "",
            "8766",
            "localhost:8766",
            "127.0.0.1",
            "unix:",
            "127.evil.com:80",
        ] {
            assert!(
                wrong.parse::<Listen>().unwrap_err().contains("expected"),
                "{wrong}"
            );
        }
    }
}
