//! The layer before every route of the server: authentication, admission of requests, and the state that they share.
//!
//! A request passes [`listen`] (connections) and [`middleware`] (host, origin, token, sizes, time) to a handler, which parses
//! it with [`extract`] and runs on an engine with a permit ([`state`]); errors are [`problem`]s. A path from a client is only
//! ever compared with stored ones.
//!
//! Not here: routes and the page (`voisin-serve`), the proxy of a Subsonic server (`voisin-players`), answers and their JSON
//! (`voisin-questions`).

#![allow(
    clippy::result_large_err,
    reason = "a problem is made at most once for a request"
)]

pub mod access;
pub mod cached;
mod error;
pub mod extract;
pub mod listen;
pub mod middleware;
pub mod peer;
pub mod problem;
pub mod scan;
pub mod state;
pub mod token;
pub mod uploads;

pub use error::ServeError;

/// The runtime of a server's connections.
pub fn runtime() -> Result<tokio::runtime::Runtime, ServeError> {
    tokio::runtime::Builder::new_multi_thread()
        // Queries run on blocking threads; this one mostly moves bytes.
        .worker_threads(1)
        .enable_io()
        .enable_time()
        .build()
        .map_err(ServeError::Runtime)
}
