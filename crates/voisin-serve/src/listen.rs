//! Connections: where they are waited for, how many there may be, how slow, and how they end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
use super::guard::LocalAddress;
use super::peer::Peer;

/// Open connections; for one more the oldest that has not shown the token is closed, else the longest idle.
const MOST_CONNECTIONS: usize = 512;
/// Header lines of a request.
const MOST_HEADERS: usize = 64;
/// Bytes of a request's head.
const LONGEST_HEAD: usize = 64 * 1024;
/// Time for a request's head to arrive, and that a connection may be idle.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Time for answers that are under way to be finished when the server stops.
pub(super) const STOP_TIME: Duration = Duration::from_secs(4);

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:8766`, `[::1]:8766`.
    Tcp(SocketAddr),
    /// `unix:/run/voisin.sock`.
    Unix(PathBuf),
}

impl Listen {
    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// The same port on all of this machine's addresses, where it was this machine's alone.
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
        text.parse().map(Self::Tcp).map_err(|_| {
            format!(
                "expected ADDRESS:PORT such as 127.0.0.1:8766 or [::1]:8766, or unix:PATH, found \"{text}\""
            )
        })
    }
}

pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener, #[allow(dead_code, reason = "goes with it")] SocketFile),
}

/// The file of a socket, which goes with the server.
#[cfg(unix)]
pub(super) struct SocketFile(PathBuf);

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    pub(super) async fn open(listen: &Listen) -> Result<Self, ServeError> {
        match listen {
            Listen::Tcp(address) => TcpListener::bind(address)
                .await
                .map(Self::Tcp)
                .map_err(|source| ServeError::Listen { place: address.to_string(), source }),
            Listen::Unix(path) => Self::open_unix(path),
        }
    }

    #[cfg(unix)]
    fn open_unix(path: &Path) -> Result<Self, ServeError> {
        use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
        let fault = |source| ServeError::Listen { place: path.display().to_string(), source };
        // What a killed server left behind; a live one answers, and anything else is not ours to remove.
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
        if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
            std::fs::remove_file(path).map_err(fault)?;
        }
        // Made under a name of its own, and given its name when only its owner may open it.
        let mut staged = path.as_os_str().to_owned();
        staged.push(format!(".{}", std::process::id()));
        let staged = SocketFile(staged.into());
        if path.exists() {
            return Err(fault(std::io::ErrorKind::AddrInUse.into()));
        }
        let listener = tokio::net::UnixListener::bind(&staged.0).map_err(fault)?;
        std::fs::set_permissions(&staged.0, std::fs::Permissions::from_mode(0o600)).map_err(fault)?;
        std::fs::rename(&staged.0, path).map_err(fault)?;
        Ok(Self::Unix(listener, SocketFile(path.to_owned())))
    }

    #[cfg(not(unix))]
    fn open_unix(path: &Path) -> Result<Self, ServeError> {
        let source = std::io::ErrorKind::Unsupported.into();
        Err(ServeError::Listen { place: path.display().to_string(), source })
    }

    /// Where it listens, as a page's address; `None` for a socket's file.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(..) => None,
        }
    }
}

/// The connections that are open, oldest first.
#[derive(Default)]
struct Open {
    all: Mutex<Vec<Arc<HttpConnection>>>,
}

#[derive(Default)]
pub(super) struct HttpConnection {
    /// Requests under way.
    busy: AtomicUsize,
    /// Whether a request on it has shown the token.
    admitted: AtomicBool,
    end: tokio::sync::Notify,
}

impl HttpConnection {
    /// Notes that whoever is at its other end knows the token.
    pub(super) fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }
}

impl Open {
    /// Makes room for one more and notes it; `None` where all are busy for those who know the token.
    ///
    /// Strangers give way by their age, whether busy or not: neither can they keep others out by being busy, nor does one
    /// that has just come lose its place before its request was heard.
    fn add(&self) -> Option<Arc<HttpConnection>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_CONNECTIONS {
            let stranger = all.iter().position(|open| !open.admitted.load(Ordering::Relaxed));
            let idle = || all.iter().position(|open| open.busy.load(Ordering::Relaxed) == 0);
            let closed = stranger.or_else(idle)?;
            all.remove(closed).end.notify_one();
        }
        let connection = Arc::new(HttpConnection::default());
        all.push(Arc::clone(&connection));
        Some(connection)
    }

    fn remove(&self, connection: &Arc<HttpConnection>) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|open| !Arc::ptr_eq(open, connection));
    }
}

/// Waits until the server stops.
pub(super) async fn raised(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Answers connections until `stop` turns true, then finishes what is under way.
pub(super) async fn serve(listener: Listener, router: Router, stop: watch::Receiver<bool>) {
    let mut waits = stop.clone();
    let open = Arc::new(Open::default());
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        match &listener {
            Listener::Tcp(tcp) => tokio::select! {
                accepted = tcp.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let _ = stream.set_nodelay(true);
                        let peer = Peer::Address(peer.ip().to_canonical());
                        // A connection that is gone already has none.
                        let Ok(local) = stream.local_addr() else { continue };
                        let local = Some(LocalAddress(local.ip().to_canonical()));
                        start(&mut tasks, &open, stream, (peer, local), &router, &stop);
                    }
                    // No file descriptor is free, most likely: one will be.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                () = raised(&mut waits) => break,
            },
            #[cfg(unix)]
            Listener::Unix(unix, _) => tokio::select! {
                accepted = unix.accept() => match accepted {
                    Ok((stream, _)) => start(&mut tasks, &open, stream, (Peer::Unix, None), &router, &stop),
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                () = raised(&mut waits) => break,
            },
        }
    }
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
    let (open, router, mut stop) = (Arc::clone(open), router.clone(), stop.clone());
    tasks.spawn(async move {
        let service = TowerToHyperService::new(router);
        let of = Arc::clone(&connection);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            if let Some(local) = local {
                request.extensions_mut().insert(local);
            }
            request.extensions_mut().insert(Arc::clone(&of));
            let of = Arc::clone(&of);
            of.busy.fetch_add(1, Ordering::Relaxed);
            let answer = hyper::service::Service::call(&service, request);
            async move {
                let answer = answer.await;
                of.busy.fetch_sub(1, Ordering::Relaxed);
                answer
            }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_headers(MOST_HEADERS)
            .max_buf_size(LONGEST_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(serving);
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
    fn places_are_read_as_people_write_them() {
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
        assert_eq!("unix:/run/v.sock".parse(), Ok(Listen::Unix("/run/v.sock".into())));
        for wrong in ["", "8766", "localhost:8766", "127.0.0.1", "unix:", "127.evil.com:80"] {
            assert!(wrong.parse::<Listen>().unwrap_err().contains("expected"), "{wrong}");
        }
    }
}
