//! Stands before every route of the server: who may ask, how requests are admitted, and the state that they share.
//!
//! A request comes through [`listen`] (connections) and [`middleware`] (host, origin, token, sizes, time) to a handler, which
//! reads it with [`ask`] and asks an engine behind a permit ([`state`]); what fails is a [`problem`]. A path that a client
//! names is only ever compared with stored ones.
//!
//! Not here: routes and the page (`voisin-serve`), players and other servers (`voisin-players`), answers and their JSON
//! (`voisin-questions`).

#![allow(
    clippy::result_large_err,
    reason = "a problem is made at most once for a request"
)]

pub mod access;
pub mod ask;
pub mod cached;
pub mod devices;
mod error;
pub mod guess_limit;
pub mod listen;
pub mod middleware;
pub mod peer;
pub mod problem;
pub mod process;
pub mod scan;
pub mod sessions;
pub mod state;
pub mod token;
pub mod uploads;

pub use error::ServeError;

/// The threads that a server's connections are served by.
pub fn runtime() -> Result<tokio::runtime::Runtime, ServeError> {
    tokio::runtime::Builder::new_multi_thread()
        // Work is done on blocking threads; this one mostly moves bytes.
        .worker_threads(1)
        .enable_io()
        .enable_time()
        .build()
        .map_err(ServeError::Runtime)
}
